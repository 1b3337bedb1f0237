//! The map from container to task, and nothing else.

use crate::{
    container::{Answer, Facts, Mailbox, Message, Phase, Task, Wish, WishKind, no_such},
    context::Context,
};
use sexton_common::{
    ContainerId, durable,
    layout::{ContainerDir, Layout},
    wire::{ApiError, ErrorCode, EventKind, State},
};
use std::{
    collections::HashMap,
    fs, io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{mpsc::error::TrySendError, oneshot, watch};
use tokio_util::task::TaskTracker;

/// See the module.
#[derive(Debug)]
pub struct Overseer {
    /// What every task shares.
    pub cx: Arc<Context>,
    /// Every task of the collector.
    pub tasks: TaskTracker,
    map: Mutex<HashMap<ContainerId, Handle>>,
    ready: watch::Sender<bool>,
}

#[derive(Debug)]
struct Handle {
    generation: u64,
    mailbox: Mailbox,
}

impl Overseer {
    /// With no container yet.
    #[must_use]
    pub fn new(cx: Context) -> Arc<Self> {
        let ready = watch::channel(false).0;
        Arc::new(Self { cx: Arc::new(cx), tasks: TaskTracker::new(), map: Mutex::default(), ready })
    }

    fn map(&self) -> MutexGuard<'_, HashMap<ContainerId, Handle>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what lay on disk at start has been found.
    pub async fn ready(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Finds every container on disk. One that is announced meanwhile is taken once.
    ///
    /// # Errors
    /// If the containers' directory cannot be listed; a container that cannot be read only costs itself.
    pub async fn rediscover(self: &Arc<Self>) -> io::Result<usize> {
        let layout = self.cx.layout.clone();
        let found = self.cx.cleaner.blocking.run("scan the state directory", move || scan(&layout)).await?;
        let count = found.len();
        for facts in found {
            self.take(facts, None);
        }
        self.ready.send_replace(true);
        Ok(count)
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
        let facts = self.read(&id).await?.filter(|facts| facts.launch.generation == generation);
        let Some(facts) = facts else { return Err(no_such(id.as_str())) };
        let init = facts.init.clone();
        let pidfd = match self.take(facts, pidfd) {
            Taken::New => return Ok(()),
            Taken::Known(pidfd) => pidfd,
        };
        // Known already, from the scan: it learns of its init.
        let (Some(init), Some(mailbox)) = (init, self.mailbox(&id)) else { return Ok(()) };
        let (watched, done) = oneshot::channel();
        let message = Message::Announced { init: Box::new(init), pidfd, watched };
        if mailbox.send(message).await.is_ok() {
            let _ = done.await;
        }
        Ok(())
    }

    /// Reads a container's facts.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn read(&self, id: &ContainerId) -> Result<Option<Facts>, ApiError> {
        let (layout, dir) = (self.cx.layout.clone(), self.cx.layout.container(id));
        let read = move || Facts::read(&layout, dir);
        let read = self.cx.cleaner.blocking.run(format!("read the facts of {id}"), read).await;
        read.map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))
    }

    /// Starts a task for a container, unless it has one.
    pub fn take(self: &Arc<Self>, facts: Facts, pidfd: Option<OwnedFd>) -> Taken {
        let (id, generation) = (facts.launch.id.clone(), facts.launch.generation);
        let mut map = self.map();
        if map.get(&id).is_some_and(|handle| handle.generation >= generation) {
            return Taken::Known(pidfd);
        }
        let phase = facts.phase;
        let (task, mailbox) = Task::new(self.cx.clone(), facts, pidfd);
        map.insert(id.clone(), Handle { generation, mailbox });
        drop(map);
        match phase {
            // Nobody has been told of it before.
            Phase::Created | Phase::Running | Phase::Orphaned => {
                self.cx.board.publish(EventKind::Created, task.info());
                if phase != Phase::Created {
                    self.cx.board.publish(EventKind::Started, task.info());
                }
            }
            _ => self.cx.board.update(task.info()),
        }
        let overseer = self.clone();
        self.tasks.spawn(async move {
            task.run().await;
            overseer.forget(&id, generation);
        });
        Taken::New
    }

    fn forget(&self, id: &ContainerId, generation: u64) {
        let mut map = self.map();
        if map.get(id).is_some_and(|handle| handle.generation == generation) {
            map.remove(id);
        }
    }

    fn mailbox(&self, id: &ContainerId) -> Option<Mailbox> {
        self.map().get(id).map(|handle| handle.mailbox.clone())
    }

    /// Asks a container's task for something, and waits for its answer.
    ///
    /// # Errors
    /// What the task says; "busy" at once if its mailbox is full.
    pub async fn wish(&self, id: &ContainerId, kind: WishKind) -> Answer {
        self.ready().await;
        let mailbox = self.mailbox(id).ok_or_else(|| no_such(id.as_str()))?;
        let (reply, answer) = oneshot::channel();
        match mailbox.try_send(Message::Wish(Box::new(Wish { kind, reply }))) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let text = format!("container {id} is busy: too many requests wait for it; try again");
                return Err(ApiError::new(ErrorCode::Busy, text));
            }
            Err(TrySendError::Closed(_)) => return Err(no_such(id.as_str())),
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) if self.cx.cancel.is_cancelled() => {
                Err(ApiError::new(ErrorCode::ShuttingDown, "sextond is shutting down: ask again when it is back"))
            }
            // It was removed before it came to our wish.
            Err(_) => Err(no_such(id.as_str())),
        }
    }

    /// Looks whether created containers have been started by somebody else meanwhile: the runtime rings no
    /// bell for that, so we look when somebody asks.
    pub async fn look_for_starts(&self) {
        let (_, all) = self.cx.board.snapshot();
        for info in all.into_iter().filter(|info| info.state == State::Created) {
            let dir = self.cx.layout.container(&info.id);
            let waits = move || {
                let launch = durable::read(&dir.launch()).ok().flatten()?;
                crate::container::waits_for_start(&launch)
            };
            let waits = self.cx.cleaner.blocking.run(format!("look at {}", info.id), waits).await;
            if waits == Some(false)
                && let Some(mailbox) = self.mailbox(&info.id)
                && mailbox.send(Message::SeenStarted).await.is_ok()
            {
                tokio::task::yield_now().await;
            }
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

/// Reads all facts, and finishes what was being removed or created by somebody who is dead. Blocks.
fn scan(layout: &Layout) -> io::Result<Vec<Facts>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(layout.containers())? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with(Layout::BURIED) || name.strip_prefix(Layout::UNBORN).is_some_and(is_dead) {
            let dir = ContainerDir::at(path);
            if let Err(e) = crate::gc::bury(&dir, &dir) {
                tracing::error!(directory = %dir.path().display(), error = %e, "a dead container's files cannot be removed");
            }
            continue;
        }
        if name.parse::<ContainerId>().is_err() {
            continue;
        }
        match Facts::read(layout, ContainerDir::at(path)) {
            Ok(Some(facts)) => found.push(facts),
            Ok(None) => {}
            Err(e) => {
                tracing::error!(id = %name, error = %e, "a container cannot be recovered now: restart sextond when this is mended")
            }
        }
    }
    Ok(found)
}

/// A container's directory that was never finished belongs to the shim whose pid is in its name.
fn is_dead(pid: &str) -> bool {
    let Ok(pid) = pid.parse::<u32>() else { return false };
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    comm.trim() != "sexton-shim"
}
