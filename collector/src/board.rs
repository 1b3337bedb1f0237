//! What everybody may know: each container as it is now, and what changed lately.
//!
//! Subscribers list, then watch. They read from one bounded ring by sequence number, so a slow one costs
//! nothing: when it comes back and the ring has moved on, it is told so and gets a fresh snapshot.

mod earlier;
mod ring;
mod shown;

pub use ring::Next;
pub use shown::Shown;

use crate::{backend::Seen, packed::Packed};
use ring::{Ring, Told};
use sexton_common::{
    ContainerId, WallTime,
    instance::Ended,
    time::boot_ns,
    wire::{ContainerInfo, EventKind, RestartInfo, State},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// The board. Never holds its lock across anything that waits.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    latest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    containers: BTreeMap<ContainerId, Shown>,
    packer: Arc<Packer>,
    /// Of those that come back.
    restarts: HashMap<ContainerId, RestartInfo>,
    watchers: HashMap<ContainerId, watch::Sender<Seen>>,
    ring: Ring,
    seq: u64,
    /// Changes when something is pending no more.
    decided: watch::Sender<()>,
}

type Packer = crate::packed::Packer<ContainerInfo>;

impl Inner {
    /// The end of an older run says nothing of the one that has its name now. What is shown of it, packed.
    fn show(&mut self, container: &ContainerInfo, removed: bool) -> Packed<ContainerInfo> {
        let packed = self.packer.pack(container);
        let shown = self.containers.get(&container.id);
        if shown.is_some_and(|shown| shown.generation > container.generation) {
            return packed;
        }
        self.tell(container, removed);
        let before = if removed {
            self.containers.remove(&container.id)
        } else {
            self.containers.insert(container.id.clone(), Shown::of(container, packed.clone()))
        };
        if before.is_some_and(|info| info.state == State::Pending) {
            self.decided.send_replace(());
        }
        packed
    }

    /// Tells whoever watches this container's runs.
    fn tell(&mut self, container: &ContainerInfo, gone: bool) {
        let Some(watcher) = self.watchers.get(&container.id) else { return };
        if watcher.is_closed() {
            self.watchers.remove(&container.id);
            return;
        }
        let same = |generation| generation == container.generation;
        let (before, shown) = (*watcher.borrow(), self.containers.get(&container.id));
        let waited = shown.is_some_and(|shown| same(shown.generation) && shown.state == State::Created);
        let unstarted = (before.unstarted && same(before.generation)) || (waited && container.status.is_some());
        watcher.send_replace(Seen { gone, unstarted, ..seen(container) });
    }

    /// With what is known of its coming back.
    fn complete(&self, mut container: ContainerInfo) -> ContainerInfo {
        let restart = self.restarts.get(&container.id);
        let comes = restart.is_some_and(|restart| restart.next_start.is_some());
        container.state = match container.state {
            State::Stopped if comes => State::Restarting,
            State::Restarting if !comes => State::Stopped,
            state => state,
        };
        let lives = container.status.is_none() && !matches!(container.state, State::Stopped | State::Pending);
        container.restart = restart.cloned().map(|mut restart| {
            // What is to come is there, or has to end first.
            restart.next_start = restart.next_start.filter(|_| !lives);
            Box::new(restart)
        });
        container
    }

    fn is_pending(&self, id: &ContainerId) -> bool {
        self.containers.get(id).is_some_and(|info| info.state == State::Pending)
    }

    fn get(&self, id: &ContainerId) -> Option<ContainerInfo> {
        self.packer.unpack(&self.containers.get(id)?.info)
    }

    fn put(&mut self, container: &ContainerInfo) {
        let packed = self.packer.pack(container);
        self.containers.insert(container.id.clone(), Shown::of(container, packed));
    }
}

fn seen(info: &ContainerInfo) -> Seen {
    let ended = info.status.map(|status| Ended {
        generation: info.generation,
        status,
        exited: info.exited_at,
        ran_ns: info.ran_ns,
    });
    Seen {
        generation: info.generation,
        ended,
        clean: matches!(info.state, State::Stopped | State::Restarting),
        in_gc: info.state == State::Gc,
        gone: false,
        unstarted: false,
    }
}

impl Default for Board {
    fn default() -> Self {
        // Microseconds since boot: higher than what any collector before us in this boot can have given out.
        let seq = boot_ns() / 1000;
        let inner = Inner {
            containers: BTreeMap::new(),
            packer: Arc::default(),
            restarts: HashMap::new(),
            watchers: HashMap::new(),
            ring: Ring::default(),
            seq,
            decided: watch::channel(()).0,
        };
        Self { inner: Mutex::new(inner), latest: watch::channel(seq).0 }
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is inside is whole after every statement, so a panic elsewhere spoils nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change: everybody who watches gets it.
    pub fn publish(&self, kind: EventKind, container: ContainerInfo) {
        let mut inner = self.lock();
        inner.seq += 1;
        let container = inner.complete(container);
        let (seq, packed) = (inner.seq, inner.show(&container, kind == EventKind::Removed));
        let run = (container.id, container.generation);
        inner.ring.push(Told { seq, at: WallTime::now(), kind, run, container: packed });
        self.latest.send_replace(inner.seq);
    }

    /// A change that nobody needs to be told of.
    pub fn update(&self, container: ContainerInfo) {
        let mut inner = self.lock();
        let container = inner.complete(container);
        inner.show(&container, false);
    }

    /// What is known of a container's coming back, or that it never does.
    pub fn restart_is(&self, id: &ContainerId, restart: Option<RestartInfo>) {
        let mut inner = self.lock();
        match restart {
            Some(restart) => drop(inner.restarts.insert(id.clone(), restart)),
            None => drop(inner.restarts.remove(id)),
        }
        if let Some(shown) = inner.get(id) {
            let shown = inner.complete(shown);
            inner.put(&shown);
        }
    }

    /// A container that has no run now and is shown all the same, since it may get another.
    pub fn hollow(&self, container: ContainerInfo) {
        let mut inner = self.lock();
        let container = inner.complete(container);
        inner.show(&container, false);
        inner.tell(&container, true);
    }

    /// How a container's runs do, from now on.
    pub fn watch(&self, id: &ContainerId) -> watch::Receiver<Seen> {
        let mut inner = self.lock();
        let now = inner.get(id).map(|info| seen(&info)).unwrap_or_default();
        inner.watchers.entry(id.clone()).or_insert_with(|| watch::channel(now).0).subscribe()
    }

    /// Nobody watches it any more, perhaps.
    pub fn tidy(&self, id: &ContainerId) {
        let mut inner = self.lock();
        if inner.watchers.get(id).is_some_and(watch::Sender::is_closed) {
            inner.watchers.remove(id);
        }
    }

    /// Found on disk, and still being looked at. What is known stays as it is.
    pub fn pend(&self, ids: impl IntoIterator<Item = ContainerId>) {
        let mut inner = self.lock();
        for id in ids {
            if !inner.containers.contains_key(&id) {
                inner.put(&ContainerInfo::pending(id));
            }
        }
    }

    /// Whether it is still being looked at.
    pub fn is_pending(&self, id: &ContainerId) -> bool {
        self.lock().is_pending(id)
    }

    /// All that are still being looked at.
    pub fn pending(&self) -> Vec<ContainerId> {
        self.all_or(None, |id, shown| (shown.state == State::Pending).then(|| id.clone()))
    }

    /// Waits until it is known what it is, or that it is nothing.
    pub async fn decided(&self, id: &ContainerId) {
        let mut decided = self.lock().decided.subscribe();
        while self.is_pending(id) {
            // The sender is ours: it cannot be gone.
            let _ = decided.changed().await;
        }
    }

    /// One container.
    pub fn get(&self, id: &ContainerId) -> Option<ContainerInfo> {
        self.lock().get(id)
    }

    /// What is said of them by a look that must not take long: nothing changes meanwhile.
    pub fn read<T>(&self, look: impl FnOnce(&BTreeMap<ContainerId, Shown>) -> T) -> T {
        look(&self.lock().containers)
    }

    /// The same of each, or of `only` one.
    pub fn all_or<T>(
        &self,
        only: Option<&ContainerId>,
        mut look: impl FnMut(&ContainerId, &Shown) -> Option<T>,
    ) -> Vec<T> {
        let inner = self.lock();
        match only {
            Some(id) => inner.containers.get(id).and_then(|shown| look(id, shown)).into_iter().collect(),
            None => inner.containers.iter().filter_map(|(id, shown)| look(id, shown)).collect(),
        }
    }

    /// All containers that are in such a state, in the order of their ids, and the last event that is in what they show.
    pub fn snapshot(&self, is_wanted: impl Fn(State) -> bool) -> (u64, impl Iterator<Item = ContainerInfo>) {
        let inner = self.lock();
        let wanted = inner.containers.values().filter(|shown| is_wanted(shown.state));
        let (wanted, packer): (Vec<_>, _) = (wanted.map(|shown| shown.info.clone()).collect(), inner.packer.clone());
        // One after the other: nobody needs all of them at once.
        (inner.seq, wanted.into_iter().filter_map(move |info| packer.unpack(&info)))
    }

    /// The inits of the containers whose end is not known yet, and the shims of all.
    pub fn processes(&self) -> (HashSet<u32>, HashSet<u32>) {
        let inner = self.lock();
        let awaited = inner.containers.values().filter(|info| !info.ended).filter_map(|info| info.pid);
        (awaited.collect(), inner.containers.values().filter_map(|info| info.shim_pid).collect())
    }

    /// How many containers, and the last sequence number.
    pub fn figures(&self) -> (usize, u64) {
        let inner = self.lock();
        (inner.containers.len(), inner.seq)
    }

    /// What comes after `seen`.
    pub fn after(&self, seen: u64) -> Next {
        let inner = self.lock();
        inner.ring.after(seen, inner.seq, &inner.packer)
    }

    /// Changes whenever there is a new event.
    pub fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }
}

#[cfg(test)]
pub mod tests {
    use super::{ring::RING, *};

    pub fn info(id: &str) -> ContainerInfo {
        ContainerInfo { generation: 1, state: State::Running, ..ContainerInfo::pending(id.parse().unwrap()) }
    }

    #[test]
    fn a_reader_gets_every_event_in_order_or_is_told_that_it_lagged() {
        let board = Board::default();
        let (start, none) = board.snapshot(|_| true);
        assert_eq!(none.count(), 0);
        assert!(matches!(board.after(start), Next::Wait));
        for _ in 0..RING {
            board.publish(EventKind::Created, info("c"));
        }
        for n in 0..RING as u64 {
            let Next::Event(event) = board.after(start + n) else { panic!("event {n} is missing") };
            assert_eq!(event.seq, start + n + 1);
        }
        board.publish(EventKind::Created, info("c"));
        assert!(matches!(board.after(start), Next::Lagged));
        assert!(matches!(board.after(start + 1), Next::Event(_)));
        assert!(matches!(board.after(0), Next::Lagged));
        assert!(matches!(board.after(u64::MAX - 1), Next::Lagged));
        assert_eq!(board.lock().ring.len(), RING);
    }

    #[test]
    fn a_late_word_of_an_older_run_does_not_touch_its_successor() {
        let board = Board::default();
        let run = |generation| ContainerInfo { generation, ..info("c") };
        board.publish(EventKind::Stopped, run(1));
        board.publish(EventKind::Created, run(2));
        board.publish(EventKind::Removed, run(1));
        board.update(run(1));
        assert_eq!(board.get(&"c".parse().unwrap()).unwrap().generation, 2);
    }

    #[test]
    fn what_is_removed_is_not_listed_but_its_exit_is_known_for_a_while() {
        let board = Board::default();
        board.publish(EventKind::Exited, info("c"));
        board.publish(EventKind::Removed, info("c"));
        assert_eq!(board.figures().0, 0);
        let id = "c".parse().unwrap();
        assert!(board.exited_lately(&id, 1).is_some());
        assert!(board.exited_lately(&id, 2).is_none());
    }

    #[test]
    fn a_launch_that_was_undone_leaves_what_comes_back_where_it_was() {
        let board = Board::default();
        let id: ContainerId = "c".parse().unwrap();
        let run = |generation| ContainerInfo { generation, pid: Some(7), ..info("c") };
        let last =
            sexton_common::wire::LastRun { generation: 1, status: sexton_common::ExitStatus::Code(3), exited_at: None };
        let restart = |last| RestartInfo {
            policy: "always".parse().unwrap(),
            count: 1,
            next_start: None,
            stopped_by_user: false,
            last,
            failure: None,
        };
        for told in [true, false] {
            board.restart_is(&id, Some(restart(Some(last))));
            board.publish(EventKind::Started, run(2));
            let (seen, before) = (board.watch(&id), board.figures().1);
            match told {
                true => board.undone(run(2)),
                false => board.forget(&id, 2),
            }
            assert!(seen.borrow().gone);
            let shown = board.get(&id).unwrap();
            assert_eq!((shown.generation, shown.state, shown.pid), (1, State::Stopped, None));
            assert_eq!(shown.status, Some(sexton_common::ExitStatus::Code(3)), "as the last one ended");
            assert!(matches!(board.after(before), Next::Wait), "nothing was removed");
            board.restart_is(&id, None);
            board.publish(EventKind::Removed, run(3));
        }
        // Whoever asks late how the one before ended: no event tells.
        board.restart_is(&id, Some(restart(Some(last))));
        board.publish(EventKind::Started, run(2));
        let before = board.exited_lately(&id, 1).unwrap();
        assert_eq!((before.generation, before.pid, before.status), (1, None, Some(last.status)));
        assert!(board.exited_lately(&id, 2).is_none());
        board.restart_is(&id, None);
        board.publish(EventKind::Removed, run(3));
        // The first run of all.
        board.restart_is(&id, Some(restart(None)));
        board.publish(EventKind::Started, run(2));
        board.undone(run(2));
        assert!(board.get(&id).is_none());
    }

    #[tokio::test]
    async fn what_is_pending_gives_way_to_whatever_is_known_of_it() {
        let board = Board::default();
        let [known, found, nothing] = ["known", "found", "nothing"].map(|id| id.parse::<ContainerId>().unwrap());
        board.update(info("known"));
        board.pend([known.clone(), found.clone(), nothing.clone()]);
        assert_eq!(board.pending(), [found.clone(), nothing.clone()]);
        assert_eq!(board.get(&known).unwrap().generation, 1);
        board.decided(&known).await;
        let both = async { tokio::join!(board.decided(&found), board.decided(&nothing)) };
        let mut both = std::pin::pin!(both);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), &mut both).await.is_err());
        board.publish(EventKind::Started, info("found"));
        board.publish(EventKind::Removed, ContainerInfo::pending(nothing.clone()));
        both.await;
        assert!(board.pending().is_empty() && board.get(&nothing).is_none());
    }
}
