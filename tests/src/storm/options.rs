//! What `sexton-storm` is asked to do.

use std::time::Duration;

/// What it says to `--help`.
pub const HELP: &str = "\
Usage: sexton-storm [OPTION]...

Starts many containers, kills all of them in one instant, and checks that every exit is exact, told once to each
subscriber, and that nothing is left. Needs root, runc and busybox; the programs are those in $SEXTON_BIN_DIR.
Without --kind: 1,000 real containers and 10,000 light ones, both with and without --kill-collector 500.

  --kind KIND          real: runc and busybox; light: single processes below real shims, by a runtime of our own
  --count N            how many (1,000 real ones, 10,000 light ones); in batches, if the machine cannot hold them
  --batch N            at most so many at once (2,500)
  --kill-collector MS  SIGKILL the collector, and start it again, every so often from the strike on
  --keeper YES         1: the collector has a keeper, and so nothing may be unknown, whatever is killed (0)
  --kill-shims PERCENT kill so many shims in the same storm (0; 10 with --kill-collector)
  --jobs N             how many are launched at a time (two for every core)
  --seed S             chooses ends and order (the clock)

Execs are not stormed: there is no exec yet.
";

/// What a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// runc's, with busybox in it.
    Real,
    /// A process of its own, and nothing else.
    Light,
}

impl Kind {
    /// As it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Light => "light",
        }
    }

    fn usual(self) -> u64 {
        match self {
            Self::Real => 1000,
            Self::Light => 10_000,
        }
    }
}

/// One storm.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Of what.
    pub kind: Kind,
    /// How many in all.
    pub count: u64,
    /// At most so many at once.
    pub batch: u64,
    /// How often the collector is killed.
    pub kill_collector: Option<Duration>,
    /// How many in a hundred shims are killed.
    pub kill_shims: u64,
    /// Whether the collector has a keeper: then nothing may be unknown.
    pub keeper: bool,
    /// How many are launched at a time.
    pub jobs: u64,
    /// What chance comes from.
    pub seed: u64,
}

impl Storm {
    /// With the usual numbers.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let seed = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_secs());
        let jobs = std::thread::available_parallelism().map_or(2, |cores| 2 * cores.get() as u64);
        Self { kind, count: kind.usual(), batch: 2500, kill_collector: None, kill_shims: 0, keeper: false, jobs, seed }
    }
}

type Wish = Box<dyn Fn(&mut Storm)>;

/// The storms of a command line without the program's name.
///
/// # Errors
/// What is wrong with it, or [`HELP`].
pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Vec<Storm>, String> {
    let mut kind = None;
    let mut wishes: Vec<Wish> = Vec::new();
    let (mut killing, mut sparing) = (false, false);
    while let Some(option) = words.next() {
        if option == "--help" || option == "-h" {
            return Err(HELP.into());
        }
        let value = words.next().ok_or_else(|| format!("{option} needs a value, or is unknown: see --help"))?;
        if option == "--kind" {
            let found = [Kind::Real, Kind::Light].into_iter().find(|kind| kind.name() == value);
            kind = Some(found.ok_or_else(|| format!("there is no kind {value}: see --help"))?);
            continue;
        }
        let number = value.parse::<u64>().map_err(|e| format!("{option} {value}: {e}"))?;
        wishes.push(match option.as_str() {
            "--count" => Box::new(move |storm| storm.count = number.max(1)),
            "--batch" => Box::new(move |storm| storm.batch = number.max(1)),
            "--kill-collector" => {
                killing = true;
                Box::new(move |storm| storm.kill_collector = Some(Duration::from_millis(number)))
            }
            "--kill-shims" => {
                sparing = true;
                Box::new(move |storm| storm.kill_shims = number.min(100))
            }
            "--keeper" => Box::new(move |storm| storm.keeper = number != 0),
            "--jobs" => Box::new(move |storm| storm.jobs = number.max(1)),
            "--seed" => Box::new(move |storm| storm.seed = number),
            _ => return Err(format!("unknown option {option}: see --help")),
        });
    }
    let kinds = kind.map_or(vec![Kind::Real, Kind::Light], |kind| vec![kind]);
    // Both ways, unless one was asked for.
    let ways = if killing || kind.is_some() { vec![killing] } else { vec![false, true] };
    let mut storms = Vec::new();
    for kind in kinds {
        for &killing in &ways {
            let mut storm = Storm::new(kind);
            if killing {
                storm.kill_collector = Some(Duration::from_millis(500));
                storm.kill_shims = if sparing { 0 } else { 10 };
            }
            for wish in &wishes {
                wish(&mut storm);
            }
            storms.push(storm);
        }
    }
    Ok(storms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &[&str]) -> Result<Vec<Storm>, String> {
        parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        let all = asked(&[]).unwrap();
        assert_eq!(all.iter().map(|storm| storm.count).collect::<Vec<_>>(), [1000, 1000, 10_000, 10_000]);
        assert_eq!(all.iter().filter(|storm| storm.kill_collector.is_some() && storm.kill_shims == 10).count(), 2);
        let one = asked(&["--kind", "light", "--count", "7", "--kill-collector", "90", "--kill-shims", "3"]).unwrap();
        assert!(!one[0].keeper && asked(&["--kind", "real", "--keeper", "1"]).unwrap()[0].keeper);
        assert_eq!((one.len(), one[0].kind, one[0].count, one[0].kill_shims), (1, Kind::Light, 7, 3));
        assert_eq!(one[0].kill_collector, Some(Duration::from_millis(90)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, part) in [
            (&["--kind", "big"][..], "big"),
            (&["--count"], "--count"),
            (&["--walk", "1"], "--walk"),
            (&["--help"], "Usage"),
        ] {
            assert!(asked(words).unwrap_err().contains(part), "{words:?}");
        }
    }
}
