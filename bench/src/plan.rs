//! How much is measured, and how the contestants take turns.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sexton_tests::{Node, Options};
use std::{path::PathBuf, time::Duration};

/// How much is measured.
#[derive(Debug)]
pub struct Plan {
    /// Under 90 seconds in all instead of under ten minutes.
    pub quick: bool,
    bar: ProgressBar,
}

impl Plan {
    /// Progress goes to standard error, on a terminal.
    pub fn new(quick: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{spinner} {prefix} {msg} ({elapsed})").unwrap());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { quick, bar }
    }

    /// One of two numbers.
    pub fn of<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Says which scenario runs.
    pub fn begin(&self, name: &str) {
        self.bar.reset();
        self.bar.set_prefix(name.to_owned());
        self.bar.set_message("");
    }

    /// Says what is being done.
    pub fn say(&self, words: impl Into<String>) {
        self.bar.set_message(words.into());
    }

    /// Nothing more to say.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    /// A node as on a real machine: state in memory, data on disk.
    pub fn node(&self, options: Options) -> Node {
        Node::with_state_on(in_memory().as_deref(), options)
    }

    /// So many rounds, in each of which every contestant has its turn: a machine that becomes slower does so for all.
    pub fn turns(&self, what: &str, rounds: usize, turns: &mut [&mut dyn FnMut(usize)]) {
        for round in 0..rounds {
            self.say(format!("{what}, round {} of {rounds}", round + 1));
            for turn in &mut *turns {
                turn(round);
            }
        }
    }
}

/// A directory of a tmpfs, as `/run` is on most machines.
pub fn in_memory() -> Option<PathBuf> {
    let places = ["/run", "/dev/shm"].map(PathBuf::from);
    places.into_iter().find(|place| {
        // TMPFS_MAGIC, statfs(2).
        nix::sys::statfs::statfs(place).is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
    })
}
