//! How far something is that takes its time, for a person at a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    time::Duration,
};

/// How often the time is shown anew.
const TICK: Duration = Duration::from_millis(250);

/// A line on standard error, if that is a terminal; else nothing.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Nothing of `count` things is done yet.
    pub fn new(what: &'static str, count: usize) -> Self {
        if cfg!(test) || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::with_draw_target(Some(count as u64), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:24}] {pos}/{len} {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        bar.tick();
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// One more is done, one way or the other; `tell` prints what came of it.
    pub fn step<T>(&self, tell: impl FnOnce() -> T) -> T {
        let told = self.0.suspend(tell);
        self.0.inc(1);
        told
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
