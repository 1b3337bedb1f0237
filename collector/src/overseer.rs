//! The map from container to task, and nothing else.

mod glance;
mod looks;
mod ready;
mod search;

use crate::{
    backend::Shims,
    container::{Answer, Facts, Message, Phase, Task, Wish, WishKind, busy, is_of, no_such, shutting_down},
    context::Context,
    instance::{Around, Disk, Found, Instances, Rules},
    mailbox::{Mailbox, Post},
    store::Name,
};
use sexton_common::{
    ContainerId, Stamp,
    durable::ReadError,
    identity::BootId,
    wire::{ANNOUNCE_TIMEOUT, ApiError, ContainerInfo, ErrorCode, EventKind, State},
};
use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc::error::TrySendError, oneshot, watch},
    time::timeout,
};
use tokio_util::task::TaskTracker;

/// See the module.
#[derive(Debug)]
pub struct Overseer {
    /// What every task shares.
    pub cx: Arc<Context>,
    /// Every task of the collector.
    pub tasks: TaskTracker,
    map: Mutex<HashMap<ContainerId, Handle>>,
    looked: watch::Sender<ready::Looked>,
    readers: search::Readers,
    awaited: glance::Awaited,
    /// Those that have a task, or will in a moment, and are not on the board yet.
    taking: watch::Sender<HashSet<ContainerId>>,
    killed: Mutex<looks::Pace>,
    /// Containers that come back.
    pub instances: Instances,
}

/// How long a shim that has undone its launch may take to leave.
const UNDONE_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Handle {
    generation: u64,
    mailbox: Mailbox<Message>,
}

impl Overseer {
    /// With no container yet, and with the instances that an earlier collector has left.
    #[must_use]
    pub fn new(cx: Context, tasks: TaskTracker, boot: BootId, rules: Rules, found: Found) -> Arc<Self> {
        let (looked, readers) = (watch::channel(ready::Looked::Nowhere).0, search::Readers::of(&cx.budget));
        let cx = Arc::new(cx);
        Arc::new_cyclic(|overseer| {
            let around = Around {
                board: cx.board.clone(),
                book: Arc::new(Disk::new(cx.layout.clone(), cx.tools.blocking.clone())),
                backends: Arc::new(Shims::new(overseer.clone())),
                rules,
                boot,
                tasks: tasks.clone(),
                cancel: cx.cancel.clone(),
                changed: cx.node.changed(),
                cleaned: cx.gc.gone.subscribe(),
                clock: Stamp::now,
            };
            let instances = Instances::new(around, found);
            Self {
                cx,
                tasks,
                map: Mutex::default(),
                looked,
                readers,
                awaited: Default::default(),
                taking: Default::default(),
                killed: Mutex::default(),
                instances,
            }
        })
    }

    fn map(&self) -> MutexGuard<'_, HashMap<ContainerId, Handle>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A shim says that its container is ready. Its facts are on disk; returns once it is watched.
    ///
    /// # Errors
    /// If there are no such facts.
    pub async fn announced(
        self: &Arc<Self>,
        id: ContainerId,
        generation: u64,
        pidfd: Option<OwnedFd>,
    ) -> Result<(), ApiError> {
        let (overseer, dir) = (self.clone(), self.cx.layout.container(&id));
        let take = move || {
            let facts = Facts::read(&overseer.cx.layout, dir)?.filter(|facts| facts.launch.generation == generation);
            Ok(facts.map(|facts| (facts.init.clone(), overseer.take(facts, pidfd))))
        };
        let taken = self.cx.tools.blocking.run(format!("read the facts of {id}"), take).await;
        let taken = taken.map_err(|e: ReadError| ApiError::new(ErrorCode::Internal, e.to_string()))?;
        let Some((init, taken)) = taken else { return Err(no_such(id.as_str())) };
        let name = init.as_ref().map(|init| Name::of(&init.process));
        // Known already, from the scan: it learns of its init.
        if let Taken::Known(pidfd) = taken
            && let (Some(init), Some(mailbox)) = (init, self.mailbox(&id))
        {
            let (watched, done) = oneshot::channel();
            let message = Message::Announced { init: Box::new(init), pidfd, watched };
            if mailbox.send(message).await {
                let _ = done.await;
            }
        }
        if let Some(name) = name {
            self.cx.store.settled(&name).await;
        }
        // Its program does not run before it is durable that it comes back; but for a disk that hangs it does.
        let _ = timeout(ANNOUNCE_TIMEOUT, self.instances.saved(&id)).await;
        Ok(())
    }

    /// Starts a task for a container, unless it has one. Returns once it is watched. Blocks on the disk; needs the
    /// event loop's context, as its blocking threads have it.
    pub fn take(self: &Arc<Self>, facts: Facts, pidfd: Option<OwnedFd>) -> Taken {
        let (id, generation) = (facts.launch.id.clone(), facts.launch.generation);
        let (mailbox, post) = Post::new();
        {
            let mut map = self.map();
            if map.get(&id).is_some_and(|handle| handle.generation >= generation) {
                return Taken::Known(pidfd);
            }
            map.insert(id.clone(), Handle { generation, mailbox });
            // Before anybody else finds it in the map, and takes it for shown.
            self.taking.send_modify(|ids| {
                ids.insert(id.clone());
            });
        }
        let taken = self.introduce(facts, pidfd, post);
        self.taking.send_modify(|ids| {
            ids.remove(&id);
        });
        taken
    }

    fn introduce(self: &Arc<Self>, mut facts: Facts, pidfd: Option<OwnedFd>, post: Post<Message>) -> Taken {
        let (id, generation) = (facts.launch.id.clone(), facts.launch.generation);
        // What was stored is this container's from now on, whether it is of use or not.
        let name = facts.init.as_ref().map(|init| Name::of(&init.process));
        let kept = name.as_ref().and_then(|name| self.cx.store.take(name));
        // The one that was looked at first: what others pass on may be anything.
        let pidfd = facts.pidfd.take().or(kept).or(pidfd);
        facts.reconsider(pidfd.as_ref());
        // It may have been removed since it was read, or its name may be another run's by now.
        if !is_of(&facts.dir, generation) {
            name.iter().for_each(|name| self.cx.store.release(name));
            self.forget(&id, generation);
            return Taken::Known(pidfd);
        }
        facts.conclude();
        let phase = facts.phase;
        let launch = facts.launch.clone();
        let mut task = Task::new(self.cx.clone(), facts, pidfd, post);
        self.tell(phase, &task.info());
        let overseer = self.clone();
        self.tasks.spawn(async move {
            task.run().await;
            let (id, generation) = task.run_of();
            overseer.forget(id, generation);
        });
        self.instances.adopt(&launch);
        Taken::New
    }

    /// Tells the subscribers of a container that nobody has heard of before.
    fn tell(&self, phase: Phase, info: &ContainerInfo) {
        let (board, ready) = (&self.cx.board, self.is_ready());
        // Of one that was read too late there was nothing in any snapshot.
        let late = ready && board.is_pending(&info.id);
        // What had ended before we began was told by whoever was there, and a snapshot has it; but not one that
        // removes itself: who waits for it finds it among the events.
        let ended_unseen =
            (phase == Phase::Stopping && (ready || info.auto_remove)) || (phase == Phase::Stopped && late);
        if !matches!(phase, Phase::Created | Phase::Running | Phase::Orphaned) && !ended_unseen {
            return board.update(info.clone());
        }
        board.publish(EventKind::Created, ContainerInfo { state: State::Created, ..info.clone() });
        if phase != Phase::Created && info.started_at.is_some() {
            board.publish(EventKind::Started, info.clone());
        }
        if ended_unseen {
            board.publish(EventKind::Exited, info.clone());
        }
        if phase == Phase::Stopped {
            board.publish(EventKind::Stopped, info.clone());
        }
    }

    fn forget(&self, id: &ContainerId, generation: u64) {
        let mut map = self.map();
        if map.get(id).is_some_and(|handle| handle.generation == generation) {
            map.remove(id);
        }
    }

    fn mailbox(&self, id: &ContainerId) -> Option<Mailbox<Message>> {
        self.map().get(id).map(|handle| handle.mailbox.clone())
    }

    /// Asks a container's task for something, and waits for its answer.
    ///
    /// # Errors
    /// What the task says; "busy" at once if its mailbox is full.
    pub async fn wish(self: &Arc<Self>, id: &ContainerId, kind: WishKind) -> Answer {
        self.known(id).await?;
        let mailbox = self.mailbox(id).ok_or_else(|| no_such(id.as_str()))?;
        let (reply, answer) = oneshot::channel();
        match mailbox.try_send(Message::Wish(Box::new(Wish { kind, reply }))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(busy(id));
            }
            Err(TrySendError::Closed(_)) => return Err(no_such(id.as_str())),
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) if self.cx.cancel.is_cancelled() => Err(shutting_down()),
            // It was removed before it came to our wish.
            Err(_) => Err(no_such(id.as_str())),
        }
    }

    /// After a launch that failed and was undone: waits until it is off the board too.
    pub async fn undone(&self, id: &ContainerId) {
        let (launch, mailbox) = (self.cx.layout.container(id).launch(), self.mailbox(id));
        let gone = self.cx.tools.blocking.run(format!("look at {id}"), move || !launch.exists()).await;
        if let (true, Some(mailbox)) = (gone, mailbox) {
            let _ = timeout(UNDONE_WITHIN, mailbox.closed()).await;
        }
    }
}

/// Whether a container got a task now.
#[derive(Debug)]
pub enum Taken {
    /// It did.
    New,
    /// It had one; here is the pidfd back.
    Known(Option<OwnedFd>),
}
