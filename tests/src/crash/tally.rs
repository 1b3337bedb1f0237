//! What became of the points.

use super::killer::Kill;
use std::fmt;

/// What became of a point where all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every exit is there, and exact.
    Exact,
    /// The user's process never ran, and nothing says that it did.
    NeverStarted,
    /// As that; the container waits, created, until somebody removes it.
    LeftWaiting,
    /// The status is unknown, and nobody could have known it.
    Unknown,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An exit is lost, told twice, or told wrong.
    Lost,
    /// Something is left, or does not come to rest.
    Leaked,
    /// Something else that must not be.
    Wrong,
}

/// A point where something is wrong.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What kind.
    pub fault: Fault,
    /// What was found.
    pub found: String,
}

impl Violation {
    /// Something is lost.
    pub fn lost(found: impl Into<String>) -> Self {
        Self { fault: Fault::Lost, found: found.into() }
    }

    /// Something is left.
    pub fn leaked(found: impl Into<String>) -> Self {
        Self { fault: Fault::Leaked, found: found.into() }
    }

    /// Something else.
    pub fn wrong(found: impl Into<String>) -> Self {
        Self { fault: Fault::Wrong, found: found.into() }
    }
}

/// The sums.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Points at which the program was killed.
    pub swept: u64,
    /// Points that its life did not reach this time.
    pub beyond: u64,
    exact: u64,
    never_started: u64,
    left_waiting: u64,
    unknown: u64,
    lost: u64,
    leaked: u64,
    wrong: u64,
}

impl Tally {
    /// Counts a point.
    pub fn add(&mut self, killed: bool, result: &Result<Outcome, Violation>) {
        *(if killed { &mut self.swept } else { &mut self.beyond }) += 1;
        *match result {
            Ok(Outcome::Exact) => &mut self.exact,
            Ok(Outcome::NeverStarted) => &mut self.never_started,
            Ok(Outcome::LeftWaiting) => &mut self.left_waiting,
            Ok(Outcome::Unknown) => &mut self.unknown,
            Err(violation) => match violation.fault {
                Fault::Lost => &mut self.lost,
                Fault::Leaked => &mut self.leaked,
                Fault::Wrong => &mut self.wrong,
            },
        } += 1;
    }

    /// The sums as one JSON object.
    #[must_use]
    pub fn json(&self, program: &str, seed: u64, jobs: u64, took: std::time::Duration) -> serde_json::Value {
        let Self { swept, beyond, exact, never_started, left_waiting, unknown, lost, leaked, wrong } = self;
        serde_json::json!({
            "program": program, "seed": seed, "jobs": jobs, "seconds": took.as_secs(), "swept": swept,
            "beyond": beyond, "exact": exact, "never_started": never_started, "left_waiting": left_waiting,
            "unknown": unknown, "lost": lost, "leaked": leaked, "wrong": wrong,
        })
    }

    /// How many points have something wrong.
    #[must_use]
    pub fn violations(&self) -> u64 {
        self.lost + self.leaked + self.wrong
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { swept, beyond, exact, never_started, left_waiting, unknown, lost, leaked, wrong } = self;
        write!(
            f,
            "{swept} points swept ({beyond} beyond the end): {exact} exact, {never_started} never started, \
             {left_waiting} left waiting, {unknown} allowed unknown, {lost} lost, {leaked} leaked, {wrong} otherwise wrong"
        )
    }
}

const LONGEST: usize = 4000;

/// The first line, and the last few.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (head, tail) = lines.split_at(lines.len().saturating_sub(count));
    head.iter().take(2).chain(tail).copied().collect::<Vec<_>>().join("\n    ")
}

/// A violation with all that is needed to see it again.
#[must_use]
pub fn story(program: &str, stop: u64, kill: Option<&Kill>, violation: &Violation) -> String {
    let place = kill.map_or_else(
        || "not reached".to_owned(),
        |kill| {
            let side = if kill.entry { "before" } else { "after" };
            format!("{side} {} (after {})", kill.call, kill.before.join(" "))
        },
    );
    // A panic of the harness may quote a whole log.
    let found = if violation.found.len() > LONGEST { last_lines(&violation.found, 6) } else { violation.found.clone() };
    format!("VIOLATION {program} N={stop} {place}: {:?}: {found}", violation.fault)
}
