//! What is in the way of a step, and what would tell that it goes.

use sexton_common::{ProcessIdentity, gc::Step};
use std::path::PathBuf;

/// What is in the way of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Of which step.
    pub step: Step,
    /// In one line, for people: what it is and what to do about it.
    pub what: String,
    /// The processes whose end would help; at most [`Obstacle::HOLDERS`], those that matter most first.
    pub holders: Vec<Holder>,
    /// Cgroups (v2) whose `cgroup.events` tell of a change.
    pub cgroups: Vec<PathBuf>,
    /// Whether a change of our mount table would help.
    pub mounts: bool,
}

/// A process that is in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub process: ProcessIdentity,
    /// Why it is in the way, e.g. `in cgroup /x`, `cwd`, `fd 3`, `in mount namespace 4026531841`.
    pub how: String,
    /// The frozen cgroup that keeps it from dying.
    pub frozen_by: Option<PathBuf>,
    /// Its mount namespace, if that is another one than ours.
    pub mount_ns: Option<u64>,
}

impl Obstacle {
    /// More are not named.
    pub const HOLDERS: usize = 16;

    /// Of which nothing but its words is known.
    #[must_use]
    pub fn new(step: Step, what: impl Into<String>) -> Self {
        Self { step, what: what.into(), holders: Vec::new(), cgroups: Vec::new(), mounts: false }
    }

    /// Whether it is the same again, whatever its words: those of programs have the time in them.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let said = matches!(self.step, Step::Runtime | Step::Commands);
        let who = |one: &Self| one.holders.iter().map(|holder| holder.process).collect::<Vec<_>>();
        self.step == other.step && (said || self.what == other.what) && who(self) == who(other)
    }
}
