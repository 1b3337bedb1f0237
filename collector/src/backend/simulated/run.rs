//! A simulated container and its newest run.

use super::{super::Seen, script::Plan};
use sexton_common::{ExitStatus, wire::State};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    /// What everybody sees.
    pub(super) seen: watch::Sender<Seen>,
    /// How often it was created.
    pub(super) created: u32,
    /// What is being done to it.
    pub(super) call: Option<&'static str>,
    /// Its newest run.
    pub(super) run: Option<Run>,
}

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is seen of it yet.
    Hidden,
    Creating,
    Running,
    Paused,
    /// Dead, and being cleaned.
    Dead,
    Gc,
    Clean,
}

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) generation: u64,
    pub(super) phase: Phase,
    pub(super) plan: Plan,
    /// Something was done to it.
    pub(super) wake: Arc<Notify>,
    pub(super) started: Instant,
    /// When it ends by itself, if it is not frozen before.
    natural: Option<Instant>,
    /// When it took SIGTERM, if it does.
    termed: Option<Instant>,
    /// SIGTERM waits for the thaw.
    pending: bool,
    frozen_at: Option<Instant>,
    /// When it was sent SIGKILL, or will be.
    pub(super) kill_at: Option<Instant>,
    /// It is removed once it is clean.
    pub(super) remove: bool,
}

impl Run {
    pub(super) fn new(generation: u64, plan: Plan) -> Self {
        Self {
            generation,
            phase: Phase::Hidden,
            plan,
            wake: Arc::default(),
            started: Instant::now(),
            natural: None,
            termed: None,
            pending: false,
            frozen_at: None,
            kill_at: None,
            remove: false,
        }
    }

    pub(super) fn alive(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Paused)
    }

    pub(super) fn start(&mut self) {
        self.phase = Phase::Running;
        self.started = Instant::now();
        self.natural = self.plan.ends.map(|(after, _)| self.started + after);
    }

    /// When and how it ends, as things are.
    pub(super) fn end(&self) -> Option<(Instant, ExitStatus)> {
        let by = |number| ExitStatus::Signal { number, core_dumped: false };
        let killed = self.kill_at.map(|at| (at + self.plan.dies, by(9)));
        let awake = self.phase == Phase::Running;
        let natural = self.natural.zip(self.plan.ends).map(|(at, (_, status))| (at, status)).filter(|_| awake);
        let termed = self.termed.zip(self.plan.term).map(|(at, after)| (at + after, by(15))).filter(|_| awake);
        [natural, termed, killed].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// It is sent SIGTERM, or SIGKILL now or later.
    pub(super) fn signal(&mut self, signal: i32, at: Instant) {
        match signal {
            9 => self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at))),
            15 if self.phase == Phase::Paused => self.pending = true,
            15 => self.termed = self.termed.or(Some(at)),
            _ => {}
        }
        self.wake.notify_one();
    }

    pub(super) fn pause(&mut self) {
        self.phase = Phase::Paused;
        self.frozen_at = Some(Instant::now());
        self.wake.notify_one();
    }

    pub(super) fn resume(&mut self) {
        let Some(frozen) = self.frozen_at.take() else { return };
        self.phase = Phase::Running;
        let asleep: Duration = frozen.elapsed();
        self.natural = self.natural.map(|at| at + asleep);
        self.termed = self.termed.map(|at| at + asleep);
        if std::mem::take(&mut self.pending) {
            self.signal(15, Instant::now());
        }
        self.wake.notify_one();
    }

    pub(super) fn shown(&self) -> State {
        match self.phase {
            Phase::Hidden | Phase::Creating => State::Creating,
            Phase::Running => State::Running,
            Phase::Paused => State::Paused,
            Phase::Dead => State::Stopping,
            Phase::Gc => State::Gc,
            Phase::Clean => State::Stopped,
        }
    }
}
