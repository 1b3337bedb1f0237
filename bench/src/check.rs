//! Whether anything has become worse than a stored run, beyond what noise does.

use crate::{
    report::{Ratio, Report},
    summary::Stat,
};
use std::{fs, path::Path};

/// How much larger a ratio may be than the stored one, by scenario: memory is counted, but by pages, of which a shim has
/// six; times are measured on a machine where other things run too. Runs of the same binaries on an idle machine, full and
/// quick, were up to 27 % apart in `start`.
pub fn band(scenario: &str) -> f64 {
    match scenario {
        "memory" => 0.20,
        "start" => 0.35,
        "scale" => 0.50,
        _ => 0.75,
    }
}

/// A ratio of this run beside the stored one.
#[derive(Debug)]
pub struct Compared<'a> {
    /// Whose it is.
    pub scenario: &'a str,
    /// Of this run.
    pub now: &'a Ratio,
    /// The stored one.
    pub before: f64,
}

impl Compared<'_> {
    /// Whether it is worse than the stored one by more than its scenario's band.
    pub fn is_worse(&self) -> bool {
        // What was nothing may become a little of something.
        self.now.ratio > self.before * (1.0 + band(self.scenario)) && self.now.ratio > 0.01
    }
}

/// Reads a stored run.
///
/// # Errors
/// Words for a person: the path, what is wrong with it, and what to do.
pub fn stored(path: &Path) -> Result<Report, String> {
    let text = fs::read_to_string(path);
    let text =
        text.map_err(|e| format!("{}: {e}: run `make bench` once to have something to compare with", path.display()))?;
    serde_json::from_str(&text).map_err(|e| {
        format!("{}: {e}: not a report of this version: run `make bench` to write a new one", path.display())
    })
}

/// Every ratio that both runs have. Those of a quick run are compared with a full one's as well: ratios of medians
/// should not depend on how often was measured. What depends on that is left out: cases that a quick run does not have,
/// and its p99, which is the largest of two dozen.
pub fn compare<'a>(now: &'a Report, before: &Report) -> Vec<Compared<'a>> {
    let mut compared = Vec::new();
    for scenario in &now.scenarios {
        let Some(stored) = before.scenarios.iter().find(|stored| stored.name == scenario.name) else { continue };
        for ratio in scenario.ratios.iter().filter(|ratio| !now.quick || ratio.stat == Stat::Median) {
            let same = stored.ratios.iter().find(|stored| stored.key() == ratio.key());
            compared.extend(same.map(|same| Compared { scenario: &scenario.name, now: ratio, before: same.ratio }));
        }
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        machine::Machine,
        report::{Scenario, Unit},
        summary::Samples,
    };

    const WHAT: &str = "exit to subscriber";

    /// With one ratio of this scenario, in these cases.
    fn report(scenario: &str, quick: bool, cases: &[(&str, f64)]) -> Report {
        let mut measured = Scenario::new(scenario, "");
        for (case, value) in cases {
            measured.row(WHAT, case, "sexton", Unit::Ms, &Samples::from_iter([*value]));
            measured.row(WHAT, case, "conmon", Unit::Ms, &Samples::from_iter([10.0]));
            measured.compare(WHAT, case, Stat::Median, "sexton", "conmon", Some(0.25));
        }
        let machine = Machine::here(Path::new("/tmp"), Path::new("/tmp"));
        Report { date: String::new(), quick, seconds: 1.0, machine, scenarios: vec![measured] }
    }

    fn worse(now: &Report, before: &Report) -> Vec<bool> {
        compare(now, before).iter().map(Compared::is_worse).collect()
    }

    #[test]
    fn worse_is_what_is_beyond_its_band() {
        let before = report("memory", false, &[("", 2.0)]);
        for (now, is_worse) in [(1.0, false), (2.0, false), (2.39, false), (2.41, true), (20.0, true)] {
            assert_eq!(worse(&report("memory", false, &[("", now)]), &before), [is_worse], "{now}");
        }
        // The band is the scenario's.
        let before = report("exit", false, &[("", 2.0)]);
        assert_eq!(worse(&report("exit", false, &[("", 3.4)]), &before), [false]);
        assert_eq!(worse(&report("exit", false, &[("", 3.6)]), &before), [true]);
    }

    #[test]
    fn a_little_instead_of_nothing_is_not_worse() {
        let before = report("scale", false, &[("", 0.0)]);
        assert_eq!(worse(&before, &before), [false]);
        assert_eq!(worse(&report("scale", false, &[("", 0.05)]), &before), [false]);
        assert_eq!(worse(&report("scale", false, &[("", 5.0)]), &before), [true]);
    }

    #[test]
    fn something_against_nothing_can_be_stored() {
        let mut now = report("scale", false, &[]);
        now.scenarios[0].value(WHAT, "", "sextond", Unit::Percent, 0.1);
        now.scenarios[0].limit(WHAT, "", Stat::Median, "sextond", ("nothing", 0.0), None);
        let again: Report = serde_json::from_str(&serde_json::to_string(&now).unwrap()).unwrap();
        assert_eq!(worse(&now, &again), [false]);
        assert!(crate::output::markdown(&again).contains("∞"));
    }

    #[test]
    fn what_only_one_of_them_has_is_left_out() {
        let full = report("exit", false, &[("", 2.0), ("200 neighbours", 2.0)]);
        let quick = report("exit", true, &[("", 9.0), ("50 neighbours", 9.0)]);
        assert_eq!(worse(&quick, &full), [true], "the one that both have");
        assert_eq!(worse(&full, &quick), [false]);
        let mut tail = report("exit", true, &[("", 2.0)]);
        tail.scenarios[0].compare(WHAT, "", Stat::P99, "sexton", "conmon", None);
        assert_eq!((worse(&tail, &tail).len(), tail.scenarios[0].ratios.len()), (1, 2), "its p99 is not compared");
        assert!(worse(&report("storm", false, &[("", 9.0)]), &full).is_empty(), "another scenario");
    }

    #[test]
    fn a_stored_run_is_read_or_it_is_said_why_not() {
        let dir = std::env::temp_dir().join(format!("sexton-bench-check-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("latest.json");
        let words = stored(&path).unwrap_err();
        assert!(words.contains("make bench") && words.contains("latest.json"), "{words}");
        let text = serde_json::to_string(&report("exit", false, &[("", 2.0)])).unwrap();
        fs::write(&path, &text).unwrap();
        let read = stored(&path).unwrap();
        assert_eq!(worse(&report("exit", false, &[("", 2.0)]), &read), [false]);
        for damaged in [&text[..text.len() / 2], "", "{}", &text.replace("\"ms\"", "\"hours\"")] {
            fs::write(&path, damaged).unwrap();
            let words = stored(&path).unwrap_err();
            assert!(words.contains("not a report of this version"), "{words}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
