//! The map from container to instance, and what clients may order.

use super::{
    Order, Rules,
    book::{Book, Found},
    task::Task,
};
use crate::{
    backend::{Backend, Doing},
    board::Board,
    container::{busy, shutting_down},
    mailbox::{Mailbox, Post},
};
use sexton_common::{
    ContainerId, Stamp, WallTime,
    identity::BootId,
    instance::{Instance, Next},
    launch::{Launch, Origin},
    wire::{ApiError, ErrorCode, State},
    workload::Workload,
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc::error::TrySendError, oneshot, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Chooses backends.
pub trait Backends: fmt::Debug + Send + Sync + 'static {
    /// For what is run.
    fn of(&self, workload: &Workload) -> Arc<dyn Backend>;

    /// For a container that is there.
    fn of_container(&self, id: &ContainerId) -> Arc<dyn Backend>;

    /// How it was launched last.
    fn launch<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, Launch>;
}

/// What every instance shares.
#[derive(Debug)]
pub struct Around {
    /// What everybody may know.
    pub board: Arc<Board>,
    /// Where they are kept.
    pub book: Arc<dyn Book>,
    /// Who runs them.
    pub backends: Arc<dyn Backends>,
    /// What their policies count with.
    pub rules: Rules,
    /// This boot.
    pub boot: BootId,
    /// Their tasks.
    pub tasks: TaskTracker,
    /// Cancelled when the collector stops.
    pub cancel: CancellationToken,
    /// Changes when what was refused may be accepted: try again.
    pub changed: watch::Receiver<Option<WallTime>>,
    /// Changes when something is not in GC any more.
    pub cleaned: watch::Receiver<u64>,
    /// Tells the time: of the machine, or of a test.
    pub clock: fn() -> Stamp,
}

impl Around {
    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Stamp {
        (self.clock)()
    }

    /// A moment in nanoseconds since boot, as timers know it.
    #[must_use]
    pub fn instant(&self, boot_ns: u64) -> Instant {
        Instant::now() + Duration::from_nanos(boot_ns.saturating_sub(self.now().boot_ns))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Instances {
    around: Arc<Around>,
    map: Arc<Mutex<HashMap<ContainerId, Mailbox<Order>>>>,
    /// Of an earlier collector, until it is known whether their runs are there.
    found: Mutex<HashMap<ContainerId, Instance>>,
    /// Those whose instance could not be read.
    spoilt: Mutex<HashSet<ContainerId>>,
}

impl Instances {
    /// With what lies in the book.
    #[must_use]
    pub fn new(around: Around, found: Found) -> Self {
        let instances = found.instances.into_iter().map(|instance| (instance.id.clone(), instance)).collect();
        let spoilt = Mutex::new(found.spoilt.into_iter().collect());
        Self { around: Arc::new(around), map: Arc::default(), found: Mutex::new(instances), spoilt }
    }

    fn map(&self) -> MutexGuard<'_, HashMap<ContainerId, Mailbox<Order>>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> MutexGuard<'_, HashMap<ContainerId, Instance>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run of a container is there, and is on the board: somebody sees to it that it comes back, if it does.
    pub fn adopt(&self, launch: &Launch) {
        let comes_back = launch.restart.comes_back() && !launch.auto_remove && launch.origin == Origin::Sexton;
        if self.map().get(&launch.id).is_some_and(|orders| !orders.is_closed()) {
            return;
        }
        if let Some(instance) = self.take_found(&launch.id) {
            self.spawn(instance, true, None);
            return;
        }
        if !comes_back {
            return;
        }
        let mut instance = self.fresh(launch);
        if self.spoilt.lock().unwrap_or_else(PoisonError::into_inner).remove(&launch.id) {
            // Perhaps it was stopped, or used up.
            instance.stopped_by_user = true;
            instance.failure = Some("what was known of its restarts was damaged on disk: start it again".into());
        }
        self.spawn(instance, false, None);
    }

    /// Whether a container has an instance, though perhaps no run.
    #[must_use]
    pub fn has(&self, id: &ContainerId) -> bool {
        self.map().get(id).is_some_and(|orders| !orders.is_closed()) || self.found().contains_key(id)
    }

    /// Waits until what is known of an adopted container is durable, or its disk has been tried.
    pub async fn saved(&self, id: &ContainerId) {
        let _ = self.order(id, |done| Order::Saved { done }).await;
    }

    fn fresh(&self, launch: &Launch) -> Instance {
        Instance {
            id: launch.id.clone(),
            launch: launch.clone(),
            boot: self.around.boot,
            count: 0,
            delay_ms: 0,
            unknowns: 0,
            stopped_by_user: false,
            removing: false,
            next: Next::Run,
            last: None,
            failure: None,
        }
    }

    fn take_found(&self, id: &ContainerId) -> Option<Instance> {
        self.found().remove(id)
    }

    /// Those whose run is not there: takes up all that `is_settled` says this of.
    pub fn take_up(&self, is_settled: impl Fn(&ContainerId) -> bool) {
        let settled: Vec<_> = self.found().keys().filter(|id| is_settled(id)).cloned().collect();
        for id in settled {
            if let Some(instance) = self.take_found(&id) {
                self.spawn(instance, true, None);
            }
        }
    }

    /// Its order back, if there is one already.
    fn spawn(&self, instance: Instance, found: bool, first: Option<Order>) -> Option<Option<Order>> {
        let id = instance.id.clone();
        let (orders, inbox) = Post::new();
        {
            let mut map = self.map();
            if map.get(&id).is_some_and(|orders| !orders.is_closed()) {
                return Some(first);
            }
            map.insert(id.clone(), orders.clone());
        }
        let mut task = Task::new(self.around.clone(), instance, inbox);
        if found {
            task.take_up();
        }
        let map = self.map.clone();
        self.around.tasks.spawn(async move {
            task.run(first).await;
            let mut map = map.lock().unwrap_or_else(PoisonError::into_inner);
            if map.get(&id).is_some_and(|there| there.is(&orders)) {
                map.remove(&id);
            }
        });
        None
    }

    /// Gives an order, if the container has an instance.
    pub(super) async fn order<T>(
        &self,
        id: &ContainerId,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<Option<T>, ApiError> {
        let (reply, answer) = oneshot::channel();
        self.give(id, order(reply), answer).await
    }

    /// The same, and makes an instance for it of a container that has none and is in one of these states.
    pub(super) async fn order_anyhow<T>(
        &self,
        id: &ContainerId,
        states: &[State],
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<Option<T>, ApiError> {
        let (reply, answer) = oneshot::channel();
        let has = self.map().get(id).is_some_and(|orders| !orders.is_closed());
        if has || !self.backend(id).state(id).is_some_and(|state| states.contains(&state)) {
            return self.give(id, order(reply), answer).await;
        }
        let launch = self.around.backends.launch(id).await?;
        let refused = match (&launch.origin, launch.auto_remove) {
            (Origin::Foreign { .. }, _) => "its shim is a foreign one: whoever made it has to start it again",
            (_, true) => "it removes itself when it has ended: run it again",
            _ => {
                return match self.spawn(self.fresh(&launch), false, Some(order(reply))) {
                    None => self.answer(answer).await,
                    // Somebody else has just made one.
                    Some(Some(order)) => self.give(id, order, answer).await,
                    Some(None) => Ok(None),
                };
            }
        };
        Err(ApiError::new(ErrorCode::Invalid, format!("container {id} cannot be started again: {refused}")))
    }

    pub(super) async fn give<T>(
        &self,
        id: &ContainerId,
        order: Order,
        answer: oneshot::Receiver<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(orders) = self.map().get(id).cloned() else { return Ok(None) };
        match orders.try_send(order) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(busy(id));
            }
            Err(TrySendError::Closed(_)) => return Ok(None),
        }
        self.answer(answer).await
    }

    pub(super) async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<Option<T>, ApiError> {
        match answer.await {
            Ok(answer) => Ok(Some(answer)),
            Err(_) if self.around.cancel.is_cancelled() => Err(shutting_down()),
            // It ended before it came to our order.
            Err(_) => Ok(None),
        }
    }

    /// Who runs it.
    pub fn backend(&self, id: &ContainerId) -> Arc<dyn Backend> {
        self.around.backends.of_container(id)
    }
}
