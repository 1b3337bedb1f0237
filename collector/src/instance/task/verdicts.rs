//! What follows from the end of a run, and from an attempt to start one.

use super::{FIRST_PAUSE, MAX_PAUSE, Task, nanos, tally};
use crate::instance::{
    Go,
    policy::{self, Stay, Verdict},
};
use sexton_common::{
    Stamp, WallTime,
    instance::{Ended, Next},
    wire::{ApiError, ErrorCode, EventKind, Launched},
};
use std::time::Duration;

impl Task {
    pub(super) fn decide(&mut self, ended: Ended) {
        let instance = &mut self.instance;
        instance.last = Some(ended);
        instance.launch.generation = ended.generation;
        let ran = ended.ran_ns.map(Duration::from_nanos);
        let (policy, by_user) = (instance.launch.restart, instance.stopped_by_user);
        let verdict = policy::after_exit(policy, tally(instance), by_user, &ended.status, ran, &self.around.rules);
        self.follow(verdict, ended.generation);
    }

    /// It ended before anybody had started it.
    pub(super) fn rest(&mut self, ended: Ended) {
        self.instance.last = Some(ended);
        self.instance.launch.generation = ended.generation;
        (self.instance.next, self.dirty) = (Next::Nothing { after: ended.generation }, true);
    }

    pub(super) fn follow(&mut self, verdict: Verdict, after: u64) {
        let now = self.around.now();
        let instance = &mut self.instance;
        let tally = match verdict {
            Verdict::Restart { tally, delay } => {
                instance.next = Next::Start { after, due: later(now, delay) };
                self.tell = Some(EventKind::Restarting);
                tally
            }
            Verdict::Stay { tally, why } => {
                instance.next = Next::Nothing { after };
                if matches!(why, Stay::Exhausted | Stay::Unknown) {
                    tracing::warn!(id = %instance.id, policy = %instance.launch.restart, count = tally.count, "not started again: its policy gives up");
                    self.tell = Some(EventKind::GaveUp);
                }
                tally
            }
        };
        (instance.count, instance.delay_ms, instance.unknowns) = (tally.count, tally.delay_ms, tally.unknowns);
        self.dirty = true;
    }

    pub(super) fn created(&mut self, created: Result<Launched, ApiError>) {
        let after = match self.instance.next {
            Next::Start { after, .. } | Next::Nothing { after } => after,
            Next::Run => self.instance.launch.generation,
        };
        match &created {
            Ok(launched) => {
                let instance = &mut self.instance;
                instance.launch.generation = launched.generation;
                (instance.next, instance.failure) = (Next::Run, None);
                (self.dirty, self.not_before, self.retry) = (true, 0, Duration::ZERO);
            }
            Err(e) => {
                let id = &self.instance.id;
                let known = self.instance.failure.as_deref() == Some(e.message.as_str());
                if !known {
                    tracing::warn!(%id, error = %e, "it could not be started again");
                    self.instance.failure = Some(e.message.clone());
                }
                let nobodys = matches!(
                    e.code,
                    ErrorCode::Busy
                        | ErrorCode::Full
                        | ErrorCode::Maintenance
                        | ErrorCode::InGc
                        | ErrorCode::AlreadyExists
                        | ErrorCode::ShuttingDown
                );
                let in_gc = e.code == ErrorCode::InGc;
                self.dirty |= !(known && nobodys && self.outcomes.is_empty());
                if self.instance.stopped_by_user || self.instance.removing || !self.outcomes.is_empty() {
                    // Who asked for it hears of it, and asks again or not.
                    match self.before.take().filter(|_| in_gc) {
                        // Nobody has asked for anything: what was to come by itself still comes.
                        Some(before) => self.instance = *before,
                        None => self.instance.next = Next::Nothing { after },
                    }
                } else if nobodys {
                    self.awaits_gc = in_gc;
                    self.retry = (self.retry * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
                    self.not_before = self.around.now().boot_ns + nanos(self.retry);
                } else {
                    let policy = self.instance.launch.restart;
                    let verdict = policy::after_failed_start(policy, tally(&self.instance), false, &self.around.rules);
                    self.follow(verdict, after);
                }
            }
        }
        self.before = None;
        self.outcome = Some(created);
    }

    /// What came of a creation, to those who wait for it: what they hear is on disk, if the disk takes it, or a collector
    /// that comes next would try again what has been answered.
    pub(super) fn reply(&mut self) {
        let Some(created) = self.outcome.take() else { return };
        self.show(None);
        for outcome in self.outcomes.drain(..) {
            // A client that has gone away wants no answer.
            let _ = outcome.send(created.clone());
        }
        let go = if created.is_ok() { Go::Run } else { Go::Done };
        for held in self.held.drain(..) {
            let _ = held.send(Ok(go.clone()));
        }
    }
}

fn later(now: Stamp, delay: Duration) -> Stamp {
    let delay = nanos(delay);
    Stamp { wall: WallTime(now.wall.0.saturating_add(delay)), boot_ns: now.boot_ns.saturating_add(delay) }
}
