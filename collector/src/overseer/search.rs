//! Finding what lies on disk: many containers' facts, read in parallel, none of which waits for one whose disk hangs.

use super::{Overseer, ready::Looked};
use crate::{budget::Budget, container::Facts, recover};
use sexton_common::{
    ContainerId,
    durable::ReadError,
    wire::{ContainerInfo, EventKind},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// What reading one container may take before the others do not wait for it any more.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Readers at once, as long as none hangs.
const AT_ONCE: usize = 4;
/// How many readers one container may keep: should the first hang for ever, a later one may find its disk well again.
const KEPT: u8 = 2;

/// Threads that read facts.
#[derive(Debug)]
pub(super) struct Readers {
    /// What hangs keeps its own; for whatever else blocks, and for the GC, there are others.
    permits: Arc<Semaphore>,
    /// How many are at which container.
    at: Mutex<HashMap<ContainerId, u8>>,
}

impl Readers {
    pub(super) fn of(budget: &Budget) -> Self {
        Self { permits: Arc::new(Semaphore::new((budget.threads / 4).max(1))), at: Mutex::default() }
    }

    fn at(&self) -> MutexGuard<'_, HashMap<ContainerId, u8>> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For one thread, if there is one.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().ok()
    }

    fn begin(&self, id: &ContainerId) -> bool {
        let mut at = self.at();
        let readers = at.entry(id.clone()).or_default();
        let free = *readers < KEPT;
        *readers += u8::from(free);
        free
    }

    fn end(&self, id: &ContainerId) {
        let mut at = self.at();
        if let Some(readers) = at.get_mut(id) {
            *readers -= 1;
            if *readers == 0 {
                at.remove(id);
            }
        }
    }
}

impl Overseer {
    /// Finds every container on disk: its name first, then what it is. One that is announced meanwhile is taken once.
    ///
    /// # Errors
    /// If the containers' directory cannot be listed; a container that cannot be read stays pending.
    pub async fn rediscover(self: &Arc<Self>) -> io::Result<()> {
        let (cx, first) = (self.cx.clone(), !self.is_ready());
        let list = move || recover::list(&cx.layout);
        let listing = self.cx.tools.blocking.run("list the containers", list).await?;
        self.cx.board.pend(listing.ids.iter().cloned());
        self.reached(Looked::AtNames);
        let cx = self.cx.clone();
        let finish = move || recover::finish(&cx.layout, &listing.unfinished, first);
        let finish = self.cx.tools.blocking.run("finish what was begun in the containers' directory", finish);
        let ((), finished) = tokio::join!(self.look_at(listing.ids), timeout(READ_WITHIN, finish));
        if finished.is_err() {
            tracing::warn!("what was being created or removed cannot be finished yet: its disk is slow");
        }
        self.reached(Looked::AtAll);
        self.release_strangers();
        Ok(())
    }

    pub(super) fn reached(&self, far: Looked) {
        self.looked.send_if_modified(|looked| {
            let before = std::mem::replace(looked, far.max(*looked));
            before != *looked
        });
    }

    /// Looks at these. Returns once each is known, or has had its time: what could not be read is pending then.
    pub async fn look_at(self: &Arc<Self>, ids: Vec<ContainerId>) {
        let search = Search { overseer: self.clone(), state: Mutex::default(), changed: Notify::new() };
        search.lock().queue = ids.into();
        Arc::new(search).run().await;
        if self.is_ready() {
            self.release_strangers();
        }
    }

    /// Nobody will take what was stored for nobody, once everything is known.
    fn release_strangers(&self) {
        if self.cx.board.pending().is_empty() {
            self.cx.store.release_strangers();
        }
    }

    /// Blocks on the disk.
    fn read(self: &Arc<Self>, id: &ContainerId) {
        match Facts::read(&self.cx.layout, self.cx.layout.container(id)) {
            Ok(Some(facts)) => {
                self.take(facts, None);
                // Another run's, or gone by now: whoever has it says so.
                if self.mailbox(id).is_none() {
                    self.is_nothing(id);
                }
            }
            Ok(None) => self.is_nothing(id),
            // A file that has the name.
            Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => self.is_nothing(id),
            Err(e) => {
                tracing::error!(%id, error = %e, "a container cannot be read now: tried again");
                self.cx.board.pend([id.clone()]);
            }
        }
    }

    fn is_nothing(&self, id: &ContainerId) {
        if self.is_ready() && self.is_pending(id) {
            self.cx.board.publish(EventKind::Removed, ContainerInfo::pending(id.clone()));
        }
        self.cx.board.forget(id, 0);
        // Before that, somebody who asked may be here.
        if self.is_at_rest() {
            self.instances.take_up(|other| other == id);
        }
    }
}

/// One look at some containers.
struct Search {
    overseer: Arc<Overseer>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<ContainerId>,
    /// Every reader by its number, what it is at, and since when.
    readers: BTreeMap<u64, Reader>,
    next: u64,
}

struct Reader {
    at: Option<(ContainerId, Instant)>,
    late: bool,
}

impl State {
    /// Those that do not hang, and when the next of them does; what is late by now.
    fn survey(&mut self, now: Instant) -> (usize, Option<Instant>, Vec<ContainerId>) {
        let (mut working, mut due, mut late) = (0, None, Vec::new());
        for reader in self.readers.values_mut().filter(|reader| !reader.late) {
            match &reader.at {
                Some((id, since)) if *since + READ_WITHIN <= now => {
                    reader.late = true;
                    late.push(id.clone());
                }
                at => {
                    working += 1;
                    due = at.iter().map(|(_, since)| *since + READ_WITHIN).chain(due).min();
                }
            }
        }
        (working, due, late)
    }
}

impl Search {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>) {
        let permits = &self.overseer.readers.permits;
        loop {
            let (queued, (working, due, late)) = {
                let mut state = self.lock();
                (state.queue.len(), state.survey(Instant::now()))
            };
            self.are_late(late);
            if queued == 0 && working == 0 {
                return;
            }
            if queued > working && working < AT_ONCE {
                // Another search's readers may have them all, or they hang.
                let within = if working == 0 { READ_WITHIN } else { Duration::ZERO };
                match timeout(within, permits.clone().acquire_owned()).await {
                    Ok(Ok(permit)) => {
                        self.clone().start(permit);
                        continue;
                    }
                    _ if working == 0 => return self.give_up(),
                    _ => {}
                }
            }
            let due = due.unwrap_or_else(|| Instant::now() + READ_WITHIN);
            let _ = timeout_at(due, self.changed.notified()).await;
        }
    }

    fn start(self: Arc<Self>, permit: OwnedSemaphorePermit) {
        let number = {
            let mut state = self.lock();
            state.next += 1;
            let number = state.next;
            state.readers.insert(number, Reader { at: None, late: false });
            number
        };
        let blocking = self.overseer.cx.tools.blocking.clone();
        let work = move || {
            let _permit = permit;
            self.read(number);
        };
        tokio::spawn(async move { blocking.run("read containers' facts", work).await });
    }

    /// One after the other, as long as there are some. Blocks on the disk.
    fn read(&self, number: u64) {
        while let Some(id) = self.next(number) {
            let _stuck = self.overseer.cx.tools.blocking.begin(format!("read the facts of {id}"));
            self.overseer.read(&id);
            self.overseer.readers.end(&id);
        }
        self.lock().readers.remove(&number);
        self.changed.notify_one();
    }

    fn next(&self, number: u64) -> Option<ContainerId> {
        let mut state = self.lock();
        while !self.overseer.cx.cancel.is_cancelled()
            && let Some(id) = state.queue.pop_front()
        {
            if self.overseer.readers.begin(&id) {
                let at = Some((id.clone(), Instant::now()));
                state.readers.insert(number, Reader { at, late: false });
                return Some(id);
            }
        }
        None
    }

    fn are_late(&self, late: Vec<ContainerId>) {
        for id in late {
            let dir = self.overseer.cx.layout.container(&id);
            tracing::error!(%id, directory = %dir.path().display(), "reading a container's files takes longer than {READ_WITHIN:?}: nobody waits for it any more; it is pending until they can be read");
            self.overseer.cx.board.pend([id]);
        }
    }

    /// As many readers hang as there may be.
    fn give_up(&self) {
        let left = std::mem::take(&mut self.lock().queue);
        tracing::error!(
            containers = left.len(),
            "too many containers' files cannot be read: the others are looked at again later"
        );
        self.overseer.cx.board.pend(left);
    }
}
