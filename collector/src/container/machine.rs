//! A container's life as a pure function: `(state, event) -> (state, actions)`.
//!
//! ```text
//!             init known           started              exit known
//!  Creating -------------> Created ---------> Running ----------------> Stopping --all observed gone--> Stopped
//!   |    |                   |                 |    ^ shim dead            |  ^                            |
//!   |    | shim dead:        | shim dead       v                in the way |  | due, or asked              | removed
//!   |    | never started     +-----------> Orphaned --init gone-->         v  |                            v
//!   |    +----------------------------------------> Stopping               Gc                            Gone
//!   |                    (killed, and does not die: shown as Gc until its exit is known)
//!   +-- its directory vanished: the shim undid a failed launch ------------------------------------------> Gone
//! ```
//!
//! A running or orphaned container may be paused besides. Every event has an outcome in every state. An exit counts once (I1), whoever tells of it and however
//! often (I2); after it no event leads back to life. At most one job runs at a time: starting, freezing, cleaning
//! and burying one container never overlap (I7).

mod wishes;

#[cfg(test)]
use super::event::Refusal;
use super::event::{Action, Event};
use sexton_common::{
    launch::OnShimDeath,
    wire::{EventKind, State as Shown},
};

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Launched, the runtime is at it.
    Creating,
    /// Its init waits to be started.
    Created,
    /// Its process runs, its shim watches.
    Running,
    /// Its process runs, its shim is dead; we watch.
    Orphaned,
    /// Its exit is known; being cleaned.
    Stopping,
    /// Something was in the way of cleaning.
    Gc,
    /// Clean.
    Stopped,
    /// Removed.
    Gone,
}

/// What is being done for it right now, outside the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Job {
    /// The runtime starts it.
    Start,
    /// It is being frozen.
    Freeze,
    /// It is being thawed.
    Thaw,
    /// It is being thawed so that it can end.
    ThawToEnd,
    /// It is being cleaned.
    Clean,
    /// Its files are being removed.
    Bury,
}

/// The machine's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    /// Where it is.
    pub phase: Phase,
    /// What is being done.
    pub job: Option<Job>,
    /// Whether it is to be removed once it is clean.
    pub remove: bool,
    /// Whether it is killed when its shim is dead.
    pub kill_orphan: bool,
    /// It was killed and does not die: in GC, its exit awaited.
    pub stuck: bool,
    /// It is removed to make room for its next run: nobody is told.
    pub silent: bool,
    /// It was seen frozen by its own freezer.
    pub paused: bool,
    /// It is to end, and must not stay frozen.
    pub ending: bool,
}

impl Machine {
    /// At the beginning of a phase.
    #[must_use]
    pub fn new(phase: Phase, remove: bool) -> Self {
        Self { phase, job: None, remove, kill_orphan: false, stuck: false, silent: false, paused: false, ending: false }
    }

    /// The same, with a policy for the death of its shim.
    #[must_use]
    pub fn on_shim_death(self, policy: OnShimDeath) -> Self {
        Self { kill_orphan: policy == OnShimDeath::Kill, ..self }
    }

    /// The same, found frozen or not.
    #[must_use]
    pub fn frozen(self, frozen: bool) -> Self {
        Self { paused: frozen && matches!(self.phase, Phase::Running | Phase::Orphaned), ..self }
    }

    /// What happens. Pure and total.
    #[must_use]
    pub fn step(self, event: Event) -> (Self, Vec<Action>) {
        let mut next = self;
        let actions = next.advance(event);
        (next, actions)
    }

    fn advance(&mut self, event: Event) -> Vec<Action> {
        use Action as A;
        use Phase as P;
        match (event, self.phase) {
            (Event::Found, P::Stopping) => self.begin(Job::Clean),
            (Event::Found, P::Orphaned) if self.kill_orphan => vec![A::SignalKill],
            (Event::Found, P::Stopped) if self.remove => self.begin(Job::Bury),
            (Event::InitKnown { run }, P::Creating) => {
                self.phase = if run { P::Running } else { P::Created };
                let started = run.then_some(A::Publish(EventKind::Started));
                [A::Publish(EventKind::Created)].into_iter().chain(started).collect()
            }
            (Event::SeenStarted, P::Created) => self.to(P::Running, [A::Publish(EventKind::Started)]),
            (Event::Exit, P::Creating | P::Created | P::Running | P::Orphaned) => {
                // It ended before the runtime said that it had started it.
                let started = self.phase == P::Created && self.job == Some(Job::Start);
                (self.stuck, self.paused, self.ending) = (false, false, false);
                let mut actions: Vec<_> = started.then_some(A::Publish(EventKind::Started)).into_iter().collect();
                actions.extend(self.to(P::Stopping, [A::Publish(EventKind::Exited), A::AnswerExit]));
                // A start, or a freeze, that is under way ends first: the runtime is never called twice at once.
                actions.extend(self.begin(Job::Clean));
                actions
            }
            (Event::ShimGone, P::Creating) => vec![A::RecordNeverStarted],
            (Event::ShimGone, P::Created | P::Running) => {
                let mut actions = self.to(P::Orphaned, [A::Publish(EventKind::Orphaned)]);
                actions.extend(self.kill_orphan.then_some(A::SignalKill));
                actions
            }
            (Event::InitGone, P::Creating | P::Created | P::Running) => vec![A::Look],
            (Event::InitGone, P::Orphaned) => vec![A::RecordFromKernel],
            // Should the shim come to itself, it finds the record there and leaves it as it is (I1).
            (Event::InitLingers, P::Created | P::Running) => vec![A::RecordFromKernel],
            // The shim has undone a launch that failed; nobody was told of it.
            (Event::Vanished, P::Creating) => self.to(P::Gone, [A::Forget, A::AnswerExit, A::End]),
            (Event::Vanished, P::Created | P::Running) => self.end(),
            (Event::StartDone { ok }, phase) if self.job == Some(Job::Start) => {
                self.job = None;
                match phase {
                    P::Created if ok => self.to(P::Running, [A::Publish(EventKind::Started), A::AnswerStart]),
                    P::Stopping => [A::AnswerStart].into_iter().chain(self.begin(Job::Clean)).collect(),
                    _ => vec![A::AnswerStart],
                }
            }
            (Event::FreezeDone { frozen }, phase) if self.is_freezing() => {
                let job = self.job.take();
                if !matches!(phase, P::Running | P::Orphaned) {
                    let clean = if phase == P::Stopping { self.begin(Job::Clean) } else { Vec::new() };
                    return [A::AnswerFreeze].into_iter().chain(clean).collect();
                }
                let mut actions = self.seen(frozen);
                actions.push(A::AnswerFreeze);
                // It was to be stopped meanwhile. Once: who freezes it again is to be named, not fought.
                if frozen && self.ending && job != Some(Job::ThawToEnd) {
                    actions.extend(self.begin(Job::ThawToEnd));
                }
                actions
            }
            (Event::SeenFrozen { frozen }, P::Running | P::Orphaned) if !self.is_freezing() && !self.stuck => {
                self.seen(frozen)
            }
            (Event::Stuck, P::Created | P::Running | P::Orphaned) if !self.stuck => {
                self.stuck = true;
                vec![A::CleanAlive]
            }
            (Event::InTheWay, P::Created | P::Running | P::Orphaned) if self.stuck => {
                vec![A::Publish(EventKind::Delayed)]
            }
            (Event::Forgotten, P::Created | P::Running | P::Orphaned) => {
                self.stuck = false;
                Vec::new()
            }
            // What somebody gave up is as clean as it gets.
            (Event::Cleaned | Event::Forgotten, P::Stopping | P::Gc) if self.job == Some(Job::Clean) => {
                self.job = None;
                let mut actions = self.to(P::Stopped, [A::Publish(EventKind::Stopped)]);
                if self.remove {
                    actions.extend(self.begin(Job::Bury));
                }
                actions
            }
            (Event::InTheWay, P::Stopping | P::Gc) if self.job == Some(Job::Clean) => {
                self.to(P::Gc, [A::Publish(EventKind::Delayed), A::AnswerRemoval])
            }
            (Event::Buried { ok }, P::Stopped) if self.job == Some(Job::Bury) => {
                self.job = None;
                if !ok {
                    self.silent = false;
                    return vec![A::AnswerRemoval];
                }
                self.end()
            }

            (
                Event::Start
                | Event::Signal
                | Event::Stop
                | Event::Pause
                | Event::Resume
                | Event::MakeRoom
                | Event::Remove { .. },
                phase,
            ) => self.wished(event, phase),

            // Told again, told late, or told of what is over: nothing changes (I2).
            (
                Event::Found
                | Event::InitKnown { .. }
                | Event::SeenStarted
                | Event::Exit
                | Event::ShimGone
                | Event::InitGone
                | Event::InitLingers
                | Event::Vanished
                | Event::StartDone { .. }
                | Event::FreezeDone { .. }
                | Event::SeenFrozen { .. }
                | Event::Cleaned
                | Event::InTheWay
                | Event::Stuck
                | Event::Forgotten
                | Event::Buried { .. },
                _,
            ) => Vec::new(),
        }
    }

    fn to<const N: usize>(&mut self, phase: Phase, actions: [Action; N]) -> Vec<Action> {
        self.phase = phase;
        actions.into()
    }

    fn begin(&mut self, job: Job) -> Vec<Action> {
        if self.job.is_some() {
            return Vec::new();
        }
        self.job = Some(job);
        vec![match job {
            Job::Start => Action::RuntimeStart,
            Job::Freeze => Action::Freeze,
            Job::Thaw => Action::Thaw,
            Job::ThawToEnd => Action::ThawToEnd,
            Job::Clean => Action::Clean,
            Job::Bury => Action::Bury,
        }]
    }

    fn is_freezing(&self) -> bool {
        matches!(self.job, Some(Job::Freeze | Job::Thaw | Job::ThawToEnd))
    }

    fn seen(&mut self, frozen: bool) -> Vec<Action> {
        if std::mem::replace(&mut self.paused, frozen) == frozen {
            return Vec::new();
        }
        vec![Action::Publish(if frozen { EventKind::Paused } else { EventKind::Resumed })]
    }

    fn end(&mut self) -> Vec<Action> {
        (self.stuck, self.paused, self.ending) = (false, false, false);
        let tell = if self.silent { Action::Hollow } else { Action::Publish(EventKind::Removed) };
        self.to(Phase::Gone, [tell, Action::AnswerRemoval, Action::AnswerExit, Action::End])
    }
}

impl Machine {
    /// As clients see it.
    #[must_use]
    pub fn shown(&self) -> Shown {
        match self.phase {
            _ if self.stuck => Shown::Gc,
            _ if self.paused => Shown::Paused,
            Phase::Creating => Shown::Creating,
            Phase::Created => Shown::Created,
            Phase::Running => Shown::Running,
            Phase::Orphaned => Shown::Orphaned,
            Phase::Stopping => Shown::Stopping,
            Phase::Gc => Shown::Gc,
            Phase::Stopped | Phase::Gone => Shown::Stopped,
        }
    }
}

#[cfg(test)]
mod pause_tests;
#[cfg(test)]
mod stuck_tests;
#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
