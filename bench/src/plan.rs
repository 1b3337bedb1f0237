//! How much is measured, and how the contestants take turns.

use crate::{fleet::Fleet, interrupt, peers::Kind, report::Scenario};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sexton_tests::{Node, Options, random::Random};
use std::{path::PathBuf, sync::Mutex, time::Duration};

/// How much is measured.
pub struct Plan {
    /// Under 90 seconds in all instead of under ten minutes.
    pub quick: bool,
    bar: ProgressBar,
    /// What one scenario has started and another may use.
    fleets: Mutex<Vec<Fleet>>,
}

impl Plan {
    /// Progress goes to standard error, on a terminal.
    pub fn new(quick: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{spinner} {prefix} {msg} ({elapsed})").unwrap());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { quick, bar, fleets: Mutex::default() }
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

    /// Says what is about to be done.
    ///
    /// # Panics
    /// If the user has interrupted it.
    pub fn say(&self, words: impl Into<String>) {
        interrupt::check();
        self.bar.set_message(words.into());
    }

    /// Those of the contestants that can be measured here; the others are named in the scenario's notes.
    pub fn present(&self, kinds: &[Kind], scenario: &mut Scenario) -> Vec<Kind> {
        let is_present = |kind: &&Kind| match kind.missing() {
            Some(program) => {
                scenario.note(format!("SKIPPED {}: {program} is not installed", kind.name()));
                false
            }
            None => true,
        };
        kinds.iter().filter(is_present).copied().collect()
    }

    /// A contestant with at least so many idle containers: those that another scenario has kept, and what is missing.
    /// It is the caller's; [`Plan::keep`] gives it to the next one.
    pub fn fleet(&self, kind: Kind, size: usize) -> Fleet {
        let kept = {
            let mut fleets = self.fleets.lock().unwrap();
            fleets.iter().position(|fleet| fleet.kind == kind).map(|place| fleets.swap_remove(place))
        };
        let mut fleet = kept.unwrap_or_else(|| Fleet::new(kind, self));
        fleet.grow(self, size);
        fleet
    }

    /// For the next scenario: all of its members must run, and nothing else of the contestant's.
    pub fn keep(&self, fleet: Fleet) {
        self.fleets.lock().unwrap().push(fleet);
    }

    /// Nothing more to say, and nothing that runs.
    pub fn end(&self) {
        self.bar.set_message("cleaning up");
        self.fleets.lock().unwrap().clear();
        self.bar.finish_and_clear();
    }

    /// A node as on a real machine: state in memory, data on disk.
    pub fn node(&self, options: Options) -> Node {
        Node::with_state_on(in_memory().as_deref(), options)
    }

    /// So many rounds, in each of which every contestant has its turn: a machine that becomes slower does so for all.
    /// Each round has its own order, the same in every run: who comes after somebody who leaves work behind would
    /// always pay for it.
    pub fn turns(&self, what: &str, rounds: usize, turns: &mut [&mut dyn FnMut(usize)]) {
        let mut chance = Random(0);
        let mut order: Vec<_> = (0..turns.len()).collect();
        for round in 0..rounds {
            self.say(format!("{what}, round {} of {rounds}", round + 1));
            chance.shuffle(&mut order);
            for &turn in &order {
                turns[turn](round);
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
