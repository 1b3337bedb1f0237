//! What the limit of descriptors allows.
//!
//! A part of it is the reserve, kept for what must go on whatever is watched: clients, runtimes, launches, files.
//! Each of these has a bound of its own below it, so that none can take all of it. The rest are seats (`seats.rs`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sexton_common::descriptors;

/// Bounds that keep the collector within its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Descriptors that are open before there is any container.
    standing: u64,
    /// Descriptors that watch containers.
    pub seats: usize,
    /// How many seats may be overdrawn for a moment, until one that was asked back is free.
    pub overdraft: usize,
    /// Clients at once, a descriptor each.
    pub clients: usize,
    /// Runtimes at once, a pidfd and a pipe each.
    pub runtimes: usize,
    /// Launches at once, a pidfd and two pipes each, and what streams came along.
    pub launches: usize,
    /// Threads that do what may block, a file or two each.
    pub threads: usize,
}

/// Below this nothing works.
pub const LEAST: u64 = 48;
/// What the collector opens for itself: event loop, log, lock, socket, signals, inotify.
const OWN: u64 = 16;
/// No process has more descriptors than this (`fs.nr_open`), and none is without a limit.
const MOST: usize = 1 << 31;

impl Budget {
    /// For a limit, and the descriptors that are open before there is any container.
    #[must_use]
    pub fn of(limit: u64, standing: u64) -> Self {
        let most = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let reserve = most(descriptors::reserve(limit));
        Self {
            standing,
            seats: most(descriptors::seats(limit, standing)).min(MOST),
            overdraft: reserve / 16,
            clients: (reserve * 3 / 8).min(4096),
            runtimes: (reserve / 8).min(512),
            launches: (reserve / 16).min(256),
            threads: (reserve / 8).min(64),
        }
    }

    /// For the limit as it is by now: somebody may have changed it.
    #[must_use]
    pub fn renewed(self) -> Self {
        Self::of(limit(), self.standing)
    }
}

/// As many descriptors as we may have; what that allows, and the limit that our children get instead. `passed`: how many
/// of those that are open belong to containers, and are theirs or closed soon.
#[must_use]
pub fn raise(passed: usize) -> (Budget, Rlimit) {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if let Err(e) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = %e, "the limit of open files stays at {:?}", before.current);
    }
    (Budget::of(limit(), open().saturating_sub(passed as u64) + OWN), before)
}

/// How many descriptors we may have.
#[must_use]
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many descriptors we have right now.
#[must_use]
pub fn open() -> u64 {
    std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_together_stays_within_the_limit() {
        for limit in [64, 100, 128, 256, 1000, 1024, 4096, 65536, 1 << 20] {
            let budget = Budget::of(limit, 20);
            let work = budget.clients + 2 * budget.runtimes + 3 * budget.launches + budget.threads + budget.overdraft;
            assert!(20 + budget.seats + work <= limit as usize, "{limit}: {budget:?}");
            let least = [budget.overdraft, budget.clients, budget.runtimes, budget.launches, budget.threads];
            assert!(least.iter().all(|&bound| bound >= 2), "{limit}: {budget:?}");
        }
        let usual = Budget::of(1 << 20, 20);
        assert_eq!((usual.clients, usual.runtimes, usual.launches, usual.threads), (4096, 512, 256, 64));
        assert_eq!(Budget::of(u64::MAX, 20).seats, MOST);
    }
}
