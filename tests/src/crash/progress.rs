//! How far the sweep is: a line that is written anew on a terminal, one now and then elsewhere.

use super::tally::Tally;
use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

/// See the module.
#[derive(Debug)]
pub struct Progress {
    name: &'static str,
    points: usize,
    done: usize,
    begin: Instant,
    told: Instant,
}

const ON_A_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(20);

impl Default for Progress {
    fn default() -> Self {
        Self::new("", 0)
    }
}

impl Progress {
    /// Of so many points.
    #[must_use]
    pub fn new(name: &'static str, points: usize) -> Self {
        let now = Instant::now();
        Self { name, points, done: 0, begin: now, told: now }
    }

    /// Since it began.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// One more is done.
    pub fn tell(&mut self, at: u64, tally: &Tally) {
        self.done += 1;
        let terminal = std::io::stderr().is_terminal();
        let (pause, end) = if terminal { (ON_A_TERMINAL, "\x1b[K\r") } else { (ELSEWHERE, "\n") };
        if self.told.elapsed() < pause {
            return;
        }
        self.told = Instant::now();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = self.done as f64 / self.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let left = Duration::from_secs_f64(self.points.saturating_sub(self.done) as f64 / rate);
        let Self { name, done, points, .. } = self;
        let bad = tally.violations();
        eprint!("{name}: {done}/{points} N={at} {rate:.1}/s, {left:.0?} left, {bad} violations{end}");
        let _ = std::io::stderr().flush();
    }
}
