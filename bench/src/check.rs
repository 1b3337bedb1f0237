//! Whether anything has become worse than a stored run, beyond what noise does.

use crate::report::{Ratio, Report};
use std::{fs, path::Path};

/// How much larger a ratio may be than the stored one, by scenario: memory is counted, times are measured on a machine
/// where other things run too.
pub fn band(scenario: &str) -> f64 {
    match scenario {
        "memory" => 0.10,
        "start" => 0.15,
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
/// should not depend on how often was measured, but cases that a quick run does not have are left out.
pub fn compare<'a>(now: &'a Report, before: &Report) -> Vec<Compared<'a>> {
    let mut compared = Vec::new();
    for scenario in &now.scenarios {
        let Some(stored) = before.scenarios.iter().find(|stored| stored.name == scenario.name) else { continue };
        for ratio in &scenario.ratios {
            let same = stored.ratios.iter().find(|stored| stored.key() == ratio.key());
            compared.extend(same.map(|same| Compared { scenario: &scenario.name, now: ratio, before: same.ratio }));
        }
    }
    compared
}
