//! One container that comes back: the only owner of its instance.

use super::{
    Around, MAILBOX,
    order::{Order, Outcome, STOP},
    policy::{self, Came, Stay, Tally, Verdict},
    reconcile::{Step, reconcile},
    shown,
};
use crate::backend::{Backend, Doing, Seen};
use sexton_common::{
    ExitStatus, Stamp, UnknownReason, WallTime,
    instance::{Ended, Instance, Next},
    restart::RestartPolicy,
    wire::{ApiError, ErrorCode, EventKind, Launched},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};

/// The first pause after what is nobody's failure: a full node, a disk that takes no writes; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest one.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// How long the disk may take before nobody waits for it any more.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

type GoSender = oneshot::Sender<Result<super::Go, ApiError>>;

/// See the module.
pub struct Task {
    around: Arc<Around>,
    backend: Arc<dyn Backend>,
    instance: Instance,
    /// What is on disk is not what is here.
    dirty: bool,
    /// Told once it is on disk.
    tell: Option<EventKind>,
    /// A write that took too long: the next one has to wait for it, or the older would be the last.
    writing: Option<Doing<'static, ()>>,
    seen: watch::Receiver<Seen>,
    inbox: mpsc::Receiver<Order>,
    creating: Option<Doing<'static, Launched>>,
    /// Who waits for the run that is to be created.
    outcomes: Vec<Outcome>,
    /// What came of the last creation, until they have heard it.
    outcome: Option<Result<Launched, ApiError>>,
    /// What it was before they came.
    before: Option<Box<Instance>>,
    /// Who waits for the end of a creation that is under way.
    held: Vec<GoSender>,
    /// Who waits until nothing is left of it.
    done: Vec<oneshot::Sender<Result<(), ApiError>>>,
    /// Not tried before, in nanoseconds since boot, and how long the last pause was.
    not_before: u64,
    pause: Duration,
    /// How long the last one before a creation was.
    retry: Duration,
}

impl Task {
    /// Of an instance that is written anew before anything follows from it.
    pub fn new(around: Arc<Around>, instance: Instance, inbox: mpsc::Receiver<Order>) -> Self {
        let backend = around.backends.of(&instance.launch.workload);
        let seen = backend.watch(&instance.id);
        Self {
            around,
            backend,
            instance,
            dirty: true,
            tell: None,
            writing: None,
            seen,
            inbox,
            creating: None,
            outcomes: Vec::new(),
            outcome: None,
            before: None,
            held: Vec::new(),
            done: Vec::new(),
            not_before: 0,
            pause: Duration::ZERO,
            retry: Duration::ZERO,
        }
    }

    /// An instance that an earlier collector has left, once it is known whether its run is there.
    pub fn take_up(&mut self) {
        let there = self.is_there();
        let instance = &mut self.instance;
        let boot = self.around.boot;
        let came = if instance.boot == boot {
            Came::CollectorRestarted
        } else {
            // Generations are counted from the machine's start, and no run is left of an earlier one.
            let run = instance.launch.generation;
            let was_running = instance.next == Next::Run && instance.last.is_none_or(|last| last.generation != run);
            // Its record may be there, where the state directory outlives a reboot.
            let after = if there { self.seen.borrow().generation } else { 0 };
            (instance.boot, instance.launch.generation, self.dirty) = (boot, after, true);
            instance.next = match instance.next {
                Next::Start { .. } => Next::Start { after, due: self.around.now() },
                Next::Run | Next::Nothing { .. } => Next::Nothing { after },
            };
            if was_running {
                let status = ExitStatus::Unknown { reason: UnknownReason::ShimAndCollectorKilled };
                instance.last = Some(Ended { generation: run, status, exited: None, ran_ns: None });
            }
            if instance.launch.restart == RestartPolicy::No {
                // Nothing of it is left that one might want to see.
                instance.failure = None;
            }
            Came::MachineRebooted { was_running }
        };
        // A run that ended while no collector was there is decided upon first.
        let undecided = reconcile(&self.instance, &self.seen.borrow(), 0);
        if let Step::Decide(ended) = undecided {
            self.decide(ended);
        }
        let instance = &mut self.instance;
        // Somebody stopped it while its next run was being created.
        let mut stopping = false;
        if let (Next::Start { after, .. }, true) = (instance.next, instance.stopped_by_user) {
            (instance.next, self.dirty) = (Next::Nothing { after }, true);
            stopping = instance.launch.restart != RestartPolicy::Always;
        }
        if let (Next::Nothing { after }, false) = (instance.next, instance.removing) {
            let last = instance.last.map(|last| last.status);
            let policy = instance.launch.restart;
            let lost = came == Came::MachineRebooted { was_running: true };
            if policy::at_start(
                policy,
                tally(instance),
                instance.stopped_by_user,
                came,
                last.as_ref(),
                &self.around.rules,
            ) {
                instance.stopped_by_user = false;
                instance.next = Next::Start { after, due: self.around.now() };
                if lost && matches!(policy, RestartPolicy::OnFailure { .. }) {
                    instance.count = instance.count.saturating_add(1);
                }
                (self.dirty, self.tell) = (true, Some(EventKind::Restarting));
            }
            if lost {
                // Nobody knows how that run ended.
                instance.unknowns = instance.unknowns.saturating_add(1);
            }
        }
        if !there {
            self.around.board.hollow(shown::info(&self.instance));
        } else if self.instance.removing
            || (stopping && self.alive())
            || matches!(self.instance.next, Next::Start { after, .. } if self.runs(after))
        {
            self.finish_what_was_begun();
        }
    }

    /// Whether that run has not ended.
    fn runs(&self, generation: u64) -> bool {
        let seen = *self.seen.borrow();
        seen.generation == generation && seen.ended.is_none() && !seen.gone
    }

    fn is_there(&self) -> bool {
        let seen = *self.seen.borrow();
        seen.generation != 0 && !seen.gone
    }

    /// The collector was killed while somebody stopped or removed it.
    fn finish_what_was_begun(&self) {
        let (backend, id, removing) = (self.backend.clone(), self.instance.id.clone(), self.instance.removing);
        self.around.tasks.spawn(async move {
            let ended = match removing {
                true => backend.delete(&id, true).await,
                false => backend.stop(&id, STOP.0, STOP.1).await,
            };
            if let Err(e) = ended {
                tracing::warn!(%id, error = %e, "what an earlier sextond had begun is not done");
            }
        });
    }

    /// Until nothing is left to do for it, or the collector stops. `first`: what it was made for.
    pub async fn run(mut self, first: Option<Order>) {
        let cancel = self.around.cancel.clone();
        let mut changed = self.around.changed.clone();
        if let Some(order) = first {
            self.obey(order).await;
        }
        self.show(None);
        loop {
            let wait = tokio::select! {
                () = cancel.cancelled() => return,
                step = self.settle() => step,
            };
            let until = match wait {
                Step::Finish => {
                    if self.forget().await && self.goes_on().await {
                        continue;
                    }
                    return;
                }
                Step::Until(at) => Some(self.around.instant(at)),
                _ => None,
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                created = async { self.creating.as_mut()?.await.into() }, if self.creating.is_some() => {
                    self.creating = None;
                    if let Some(created) = created {
                        self.created(created);
                    }
                }
                Some(order) = self.inbox.recv() => self.obey(order).await,
                Ok(()) = self.seen.changed() => {}
                Ok(()) = changed.changed() => self.not_before = 0,
                () = tokio::time::sleep_until(until.unwrap_or_else(tokio::time::Instant::now)), if until.is_some() => {}
            }
        }
    }

    /// Does what follows from what is seen, until something has to happen first.
    async fn settle(&mut self) -> Step {
        loop {
            // What is over needs no last word on disk.
            let over = self.creating.is_none() && reconcile(&self.instance, &self.seen.borrow(), 0) == Step::Finish;
            let written = over || !self.dirty || self.write().await;
            self.reply();
            if !written {
                return Step::Until(self.not_before);
            }
            if self.creating.is_some() {
                return Step::Wait;
            }
            let (seen, now) = (*self.seen.borrow_and_update(), self.around.now().boot_ns);
            match reconcile(&self.instance, &seen, now) {
                Step::Decide(ended) => self.decide(ended),
                Step::Undone => self.created(Err(ApiError::new(ErrorCode::RuntimeFailed, "its launch was undone"))),
                Step::Adopt { generation } => self.take_over(generation).await,
                Step::Create if self.not_before > now => return Step::Until(self.not_before),
                Step::Create => {
                    self.instance.last = seen.ended.or(self.instance.last);
                    let (backend, launch) = (self.backend.clone(), self.instance.launch.clone());
                    self.creating = Some(Box::pin(async move { backend.create(&launch).await }));
                }
                // A user who waits hears why it will not be.
                Step::Wait if seen.in_gc && !self.outcomes.is_empty() => self.refuse_in_gc(),
                step => return step,
            }
        }
    }

    /// A run that is there and that nobody here has heard of: of a collector that was killed, or of whoever has called a
    /// shim by this name.
    async fn take_over(&mut self, generation: u64) {
        let instance = &mut self.instance;
        if let Next::Nothing { .. } = instance.next {
            // Whoever has called that shim begins anew.
            (instance.count, instance.delay_ms, instance.unknowns, instance.stopped_by_user) = (0, 0, 0, false);
        }
        instance.launch.generation = generation;
        match self.around.backends.launch(&instance.id).await {
            Ok(launch) if launch.generation == generation => instance.launch = launch,
            Ok(_) => {}
            Err(e) => {
                tracing::warn!(id = %instance.id, error = %e, "its launch cannot be read: taken for the earlier one")
            }
        }
        (instance.next, instance.failure, self.dirty) = (Next::Run, None, true);
    }

    /// Whether it is on disk now.
    async fn write(&mut self) -> bool {
        let late = || ApiError::new(ErrorCode::TimedOut, format!("not written within {WRITE_WITHIN:?}"));
        if let Some(earlier) = &mut self.writing {
            if timeout(WRITE_WITHIN, earlier).await.is_err() {
                self.pause();
                return false;
            }
            self.writing = None;
        }
        let (book, instance) = (self.around.book.clone(), self.instance.clone());
        let mut writing: Doing<'static, ()> = Box::pin(async move { book.write(&instance).await });
        let written = match timeout(WRITE_WITHIN, &mut writing).await {
            Ok(written) => written,
            Err(_) => {
                self.writing = Some(writing);
                Err(late())
            }
        };
        match written {
            Ok(()) => {
                (self.dirty, self.pause) = (false, Duration::ZERO);
                let kind = self.tell.take();
                self.show(kind);
                true
            }
            Err(e) => {
                tracing::error!(id = %self.instance.id, error = %e, "its instance cannot be written: tried again");
                self.pause();
                false
            }
        }
    }

    fn pause(&mut self) {
        if self.not_before > self.around.now().boot_ns {
            // Somebody asked in between.
            return;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
        self.not_before = self.around.now().boot_ns + nanos(self.pause);
    }

    fn show(&self, kind: Option<EventKind>) {
        self.around.board.restart_is(&self.instance.id, Some(shown::restart(&self.instance)));
        if let (Some(kind), Some(info)) = (kind, self.around.board.get(&self.instance.id)) {
            self.around.board.publish(kind, info.as_ref().clone());
        }
    }

    fn decide(&mut self, ended: Ended) {
        let instance = &mut self.instance;
        instance.last = Some(ended);
        instance.launch.generation = ended.generation;
        let ran = ended.ran_ns.map(Duration::from_nanos);
        let (policy, by_user) = (instance.launch.restart, instance.stopped_by_user);
        let verdict = policy::after_exit(policy, tally(instance), by_user, &ended.status, ran, &self.around.rules);
        self.follow(verdict, ended.generation);
    }

    fn follow(&mut self, verdict: Verdict, after: u64) {
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

    fn created(&mut self, created: Result<Launched, ApiError>) {
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
                    // What is in GC is asked for in vain at no cost.
                    self.retry = if in_gc { FIRST_PAUSE } else { (self.retry * 2).clamp(FIRST_PAUSE, MAX_PAUSE) };
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
    fn reply(&mut self) {
        let Some(created) = self.outcome.take() else { return };
        self.show(None);
        for outcome in self.outcomes.drain(..) {
            // A client that has gone away wants no answer.
            let _ = outcome.send(created.clone());
        }
        let go = if created.is_ok() { super::Go::Run } else { super::Go::Done };
        for held in self.held.drain(..) {
            let _ = held.send(Ok(go.clone()));
        }
    }

    fn in_gc(&self) -> ApiError {
        let id = &self.instance.id;
        let why = self.around.board.get(id).and_then(|info| info.in_the_way.clone());
        let why = why.unwrap_or_else(|| "it is being cleaned up".into());
        let text = format!("container {id} is in GC: {why}; start it when it is clean, see `sexton gc why {id}`");
        ApiError::new(ErrorCode::InGc, text)
    }

    /// Nobody has asked for anything: what was to come by itself still comes.
    fn refuse_in_gc(&mut self) {
        let refused = self.in_gc();
        if let Some(before) = self.before.take() {
            self.instance = *before;
        }
        (self.dirty, self.outcome) = (true, Some(Err(refused)));
    }

    /// Whatever was to come does not.
    fn nothing(&mut self) {
        if let Next::Start { after, .. } = self.instance.next {
            self.instance.last = self.seen.borrow().ended.or(self.instance.last);
            self.instance.next = if self.runs(after) { Next::Run } else { Next::Nothing { after } };
            self.dirty = true;
        }
    }

    async fn obey(&mut self, order: Order) {
        use super::Go;
        match order {
            Order::Start { go, .. } | Order::Restart { go, .. } | Order::Stop { go } | Order::Remove { go, .. }
                if self.outcomes.len() + self.held.len() >= MAILBOX =>
            {
                let _ = go.send(Err(super::busy(&self.instance.id)));
            }
            Order::Start { go, outcome } | Order::Restart { go, outcome } if self.creating.is_some() => {
                let _ = go.send(Ok(Go::Done));
                self.outcomes.push(outcome);
            }
            Order::Start { go, .. } if self.instance.next == Next::Run && self.alive() => {
                // Its run says whether it waits to be started, or runs already.
                if std::mem::take(&mut self.instance.stopped_by_user) {
                    self.dirty = true;
                    self.save().await;
                }
                let _ = go.send(Ok(Go::Run));
            }
            Order::Start { go, outcome } | Order::Restart { go, outcome } => {
                let alive = self.alive();
                let seen = *self.seen.borrow();
                let instance = &mut self.instance;
                if instance.removing {
                    let text = format!("container {} is being removed", instance.id);
                    let _ = go.send(Err(ApiError::new(ErrorCode::Busy, text)));
                    return;
                }
                if self.before.is_none() {
                    self.before = Some(Box::new(instance.clone()));
                }
                let after = match instance.next {
                    Next::Start { after, .. } | Next::Nothing { after } => after.max(seen.generation),
                    Next::Run => seen.generation.max(instance.launch.generation),
                };
                (instance.count, instance.delay_ms, instance.unknowns) = (0, 0, 0);
                (instance.stopped_by_user, instance.failure) = (false, None);
                instance.next = Next::Start { after, due: self.around.now() };
                (self.dirty, self.not_before) = (true, 0);
                self.outcomes.push(outcome);
                self.save().await;
                let _ = go.send(Ok(if alive { Go::Run } else { Go::Done }));
            }
            Order::Stop { go } => {
                // An end that nobody has decided upon yet would have it back, perhaps.
                let came = self.comes() || (self.instance.next == Next::Run && !self.alive());
                self.instance.stopped_by_user = true;
                self.end().await;
                let over = self.is_there() && !self.seen.borrow().clean;
                match () {
                    () if self.creating.is_some() => self.held.push(go),
                    () if self.alive() || (over && !came) => drop(go.send(Ok(Go::Run))),
                    () if came => drop(go.send(Ok(Go::Done))),
                    () => {
                        let text = format!("container {} has stopped already", self.instance.id);
                        let _ = go.send(Err(ApiError::new(ErrorCode::AlreadyStopped, text)));
                    }
                }
            }
            Order::Remove { force: false, go } if self.alive() || self.creating.is_some() || self.comes() => {
                let id = &self.instance.id;
                let state = if self.alive() { "running" } else { "about to be started again" };
                let text = format!("container {id} is {state}: stop it first, or use `sexton rm -f {id}`");
                let _ = go.send(Err(ApiError::new(ErrorCode::Running, text)));
            }
            Order::Remove { go, .. } => {
                (self.instance.stopped_by_user, self.instance.removing) = (true, true);
                self.end().await;
                match self.creating {
                    Some(_) => self.held.push(go),
                    None => drop(go.send(Ok(if self.is_there() { Go::Run } else { Go::Done }))),
                }
            }
            Order::Saved { done } => {
                let _ = done.send(());
            }
            Order::Removed { done } => self.done.push(done),
        }
    }

    /// Nothing starts any more, but what is being created.
    async fn end(&mut self) {
        self.dirty = true;
        if self.creating.is_none() {
            self.before = None;
            self.nothing();
            let text = format!("container {} was stopped meanwhile", self.instance.id);
            for outcome in self.outcomes.drain(..) {
                let _ = outcome.send(Err(ApiError::new(ErrorCode::NotRunning, text.clone())));
            }
        }
        self.save().await;
    }

    /// Whether it will be started again.
    fn comes(&self) -> bool {
        matches!(self.instance.next, Next::Start { .. })
    }

    /// On disk if the disk takes it; else it is tried again, and nothing is started before.
    async fn save(&mut self) {
        self.write().await;
    }

    fn alive(&self) -> bool {
        let seen = *self.seen.borrow();
        self.is_there() && seen.ended.is_none()
    }

    /// Nothing is left of it on disk; whether the collector is still there.
    async fn forget(&mut self) -> bool {
        let id = self.instance.id.clone();
        while let Err(e) = self.around.book.remove(&id).await {
            tracing::error!(%id, error = %e, "its instance cannot be removed: tried again");
            for done in self.done.drain(..) {
                let _ = done.send(Err(e.clone()));
            }
            self.pause();
            tokio::select! {
                () = self.around.cancel.cancelled() => return false,
                Some(order) = self.inbox.recv() => self.obey(order).await,
                () = tokio::time::sleep(self.pause) => {}
            }
        }
        self.around.board.restart_is(&id, None);
        // Its last run's record was gone before.
        if let Some(info) = self.around.board.get(&id).filter(|_| !self.is_there()) {
            self.around.board.publish(EventKind::Removed, info.as_ref().clone());
        }
        for done in self.done.drain(..) {
            let _ = done.send(Ok(()));
        }
        true
    }

    /// Whether there is anything left to do for it: somebody may have come while it was forgotten, who found it there.
    async fn goes_on(&mut self) -> bool {
        let generation = self.seen.borrow().generation;
        match self.inbox.try_recv() {
            Ok(order) => self.obey(order).await,
            Err(_) if self.is_there() && generation != self.instance.launch.generation => {
                (self.instance.removing, self.instance.last) = (false, None);
                self.instance.next = Next::Nothing { after: self.instance.launch.generation };
                self.take_over(generation).await;
            }
            Err(_) => {
                self.inbox.close();
                return false;
            }
        }
        true
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Nobody else watches it.
        self.seen = watch::channel(Seen::default()).1;
        self.around.board.tidy(&self.instance.id);
    }
}

fn tally(instance: &Instance) -> Tally {
    Tally { count: instance.count, delay_ms: instance.delay_ms, unknowns: instance.unknowns }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn later(now: Stamp, delay: Duration) -> Stamp {
    let delay = nanos(delay);
    Stamp { wall: WallTime(now.wall.0.saturating_add(delay)), boot_ns: now.boot_ns.saturating_add(delay) }
}
