//! One container that comes back: the only owner of its instance.

mod farewell;
mod orders;
mod taken;
mod verdicts;

use super::{
    Around,
    order::{Order, Outcome},
    policy::Tally,
    reconcile::{Step, reconcile},
    shown,
};
use crate::{
    backend::{Backend, Doing, Seen},
    mailbox::Post,
};
use sexton_common::{
    instance::Instance,
    wire::{ApiError, ErrorCode, EventKind, Launched},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until, timeout},
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
    inbox: Post<Order>,
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
    /// Something of its name is in GC.
    awaits_gc: bool,
    /// A user had stopped it before it was to be removed.
    was_stopped: bool,
}

impl Task {
    /// Of an instance that is written anew before anything follows from it.
    pub fn new(around: Arc<Around>, mut instance: Instance, inbox: Post<Order>) -> Self {
        // Its last shim's own; the next one has others.
        instance.launch.cgroups = Vec::new();
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
            awaits_gc: false,
            was_stopped: false,
        }
    }

    /// Whether that run has not ended.
    pub(super) fn runs(&self, generation: u64) -> bool {
        let seen = *self.seen.borrow();
        seen.generation == generation && seen.ended.is_none() && !seen.gone
    }

    pub(super) fn is_there(&self) -> bool {
        let seen = *self.seen.borrow();
        seen.generation != 0 && !seen.gone
    }

    /// Until nothing is left to do for it, or the collector stops. `first`: what it was made for.
    pub async fn run(&mut self, first: Option<Order>) {
        let cancel = self.around.cancel.clone();
        let (mut changed, mut cleaned) = (self.around.changed.clone(), self.around.cleaned.clone());
        if let Some(order) = first {
            Box::pin(self.obey(order)).await;
        }
        self.show(None);
        // What is done is in boxes: what waits is to be small, since nearly all of them do.
        loop {
            let wait = tokio::select! {
                () = cancel.cancelled() => return,
                step = Box::pin(self.settle()) => step,
            };
            let until = match wait {
                Step::Finish => {
                    if Box::pin(async { self.forget().await && self.goes_on().await }).await {
                        continue;
                    }
                    return;
                }
                Step::Until(at) => Some(self.around.instant(at)),
                _ => None,
            };
            let order = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                created = async { self.creating.as_mut()?.await.into() }, if self.creating.is_some() => {
                    self.creating = None;
                    if let Some(created) = created {
                        self.created(created);
                    }
                    None
                }
                order = self.inbox.recv() => Some(order),
                Ok(()) = self.seen.changed() => None,
                Ok(()) = changed.changed() => {
                    self.not_before = 0;
                    None
                }
                Some(()) = seldom(self.awaits_gc.then_some(&mut cleaned)) => {
                    self.not_before = 0;
                    None
                }
                Some(()) = due(until) => None,
            };
            if let Some(order) = order {
                Box::pin(self.obey(order)).await;
            }
        }
    }

    /// Does what follows from what is seen, until something has to happen first.
    pub(super) async fn settle(&mut self) -> Step {
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
                // Whoever created it has not started it, and nobody else does.
                Step::Decide(ended) if seen.unstarted => self.rest(ended),
                Step::Decide(ended) => self.decide(ended),
                Step::Undone => self.created(Err(ApiError::new(ErrorCode::RuntimeFailed, "its launch was undone"))),
                Step::Adopt { generation } => self.take_over(generation).await,
                Step::Create if self.not_before > now => return Step::Until(self.not_before),
                Step::Create => {
                    self.instance.last = seen.ended.or(self.instance.last);
                    // If nothing comes of it, that is how it is shown.
                    self.show(None);
                    let (backend, launch) = (self.backend.clone(), self.instance.launch.clone());
                    self.creating = Some(Box::pin(async move { backend.create(&launch).await }));
                }
                // A user who waits hears why it will not be.
                Step::Wait if seen.in_gc && !self.outcomes.is_empty() => self.refuse_in_gc(),
                step => return step,
            }
        }
    }

    /// Whether it is on disk now.
    pub(super) async fn write(&mut self) -> bool {
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

    pub(super) fn pause(&mut self) {
        if self.not_before > self.around.now().boot_ns {
            // Somebody asked in between.
            return;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, MAX_PAUSE);
        self.not_before = self.around.now().boot_ns + nanos(self.pause);
    }

    pub(super) fn show(&self, kind: Option<EventKind>) {
        self.around.board.restart_is(&self.instance.id, Some(shown::restart(&self.instance)));
        if let (Some(kind), Some(info)) = (kind, self.around.board.get(&self.instance.id)) {
            self.around.board.publish(kind, info);
        }
    }

    /// On disk if the disk takes it; else it is tried again, and nothing is started before.
    pub(super) async fn save(&mut self) {
        self.write().await;
    }

    pub(super) fn alive(&self) -> bool {
        let seen = *self.seen.borrow();
        self.is_there() && seen.ended.is_none()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // Nobody else watches it.
        self.seen = watch::channel(Seen::default()).1;
        self.around.board.tidy(&self.instance.id);
    }
}

async fn seldom(cleaned: Option<&mut watch::Receiver<u64>>) -> Option<()> {
    Box::pin(cleaned?.changed()).await.ok()
}

async fn due(until: Option<Instant>) -> Option<()> {
    Box::pin(sleep_until(until?)).await;
    Some(())
}

fn tally(instance: &Instance) -> Tally {
    Tally { count: instance.count, delay_ms: instance.delay_ms, unknowns: instance.unknowns }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
