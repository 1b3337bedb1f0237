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

    /// Whether it is the same again, whatever its words: those of programs have the time in them, and those of a process
    /// what it is just at.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let said = matches!(self.step, Step::Runtime | Step::Commands) || !self.holders.is_empty();
        self.step == other.step
            && (said || self.what == other.what)
            && self.holders.len() == other.holders.len()
            && self.are_among(other)
    }

    /// Whether less is in the way than there was: it came further, or some of the same processes have gone. Others that
    /// came are no progress.
    #[must_use]
    pub fn is_less_than(&self, before: &Self) -> bool {
        let fewer = !self.holders.is_empty() && self.holders.len() < before.holders.len();
        self.step > before.step || self.step == before.step && fewer && self.are_among(before)
    }

    fn are_among(&self, other: &Self) -> bool {
        self.holders.iter().all(|one| other.holders.iter().any(|their| their.process == one.process))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_come_and_go_are_no_progress() {
        let holder = |pid| {
            let process = ProcessIdentity::gone(pid).unwrap();
            Holder { process, how: "x".into(), frozen_by: None, mount_ns: None }
        };
        let with = |pids: &[u32], what: &str| Obstacle {
            holders: pids.iter().map(|pid| holder(*pid)).collect(),
            ..Obstacle::new(Step::Cgroups, what)
        };
        assert!(with(&[1, 2], "in state R").is_like(&with(&[2, 1], "in state S")));
        assert!(!with(&[1, 2], "x").is_like(&with(&[1, 3], "x")));
        assert!(with(&[1], "x").is_less_than(&with(&[1, 2], "x")));
        for (now, before) in [(&[1, 3][..], &[1, 2][..]), (&[3], &[1, 2]), (&[1, 2], &[1, 2]), (&[], &[1])] {
            assert!(!with(now, "x").is_less_than(&with(before, "x")), "{now:?} after {before:?}");
        }
        let (files, mounts) = (Obstacle::new(Step::Files, "x"), Obstacle::new(Step::Mounts, "x"));
        assert!(files.is_less_than(&mounts) && !mounts.is_less_than(&files));
        assert!(!Obstacle::new(Step::Files, "y").is_like(&files));
    }
}
