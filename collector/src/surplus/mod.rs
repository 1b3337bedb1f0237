//! Containers for which there is no seat, watched by a way that needs no descriptor for each.
//!
//! One inotify instance for all tells of what a FIFO would tell: of the exit record, and of the death of the shim,
//! whose end of its FIFO is closed then. A look at all of them every few seconds finds what was missed (I2). Whoever
//! is meant is told to look, and has meanwhile its place in line for a seat.

mod member;

pub use member::{Member, Tidings};

use crate::{
    blocking::Blocking,
    budget::{self, Budget},
    seats::{Place, Rank, Seat, Seats},
    watch::{Change, Directories},
};
use rustix::fs::inotify::{ReadFlags, WatchFlags};
use sexton_common::{ProcessIdentity, identity::Presence, layout::ContainerDir};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How often all of them are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// Looking takes at most one part in so many of the time.
const SHARE: u32 = 50;
/// A killed process closes its files a moment before it is seen to be dead.
const DEAD_WITHIN: Duration = Duration::from_millis(50);
/// It is over once there was none for so long.
const OVER: Duration = Duration::from_secs(5);
/// The exit record, or what was created, is in place; the shim has closed its FIFO; the directory is gone.
const TELLING: WatchFlags =
    WatchFlags::MOVED_TO.union(WatchFlags::CLOSE_WRITE).union(WatchFlags::MOVE_SELF).union(WatchFlags::DELETE_SELF);

/// See the module.
#[derive(Debug)]
pub struct Surplus {
    /// Where its members wait.
    pub seats: Seats,
    budget: Budget,
    /// The limit when it was last looked at.
    limit: AtomicU64,
    directories: Option<Directories>,
    members: Mutex<Members>,
    begun: Notify,
}

#[derive(Debug, Default)]
struct Members {
    next: u64,
    all: BTreeMap<u64, Entry>,
    by_directory: HashMap<i32, u64>,
}

#[derive(Debug)]
struct Entry {
    look: Arc<Notify>,
    dir: ContainerDir,
    subject: Subject,
    directory: Option<i32>,
}

/// Whom to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its shim, unless that is known to be dead.
    pub shim: Option<ProcessIdentity>,
    /// Its init, unless its pidfd tells.
    pub init: Option<ProcessIdentity>,
    /// What was created is not known yet.
    pub unborn: bool,
}

impl Surplus {
    /// Without members.
    #[must_use]
    pub fn new(budget: Budget) -> Arc<Self> {
        let seats = Seats::new(budget.seats, budget.overdraft);
        let directories = Directories::new();
        let directories = directories
            .inspect_err(|e| tracing::warn!(error = %e, "without inotify: what cannot be watched is only looked at"))
            .ok();
        Arc::new(Self {
            seats,
            budget,
            limit: AtomicU64::new(budget::limit()),
            directories,
            members: Mutex::default(),
            begun: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat, if there is one at once.
    #[must_use]
    pub fn take_seat(&self, rank: Rank) -> Option<Seat> {
        // Somebody may have changed the limit: what was promised for our own work must be left.
        let limit = budget::limit();
        if self.limit.swap(limit, Ordering::Relaxed) != limit {
            self.renew();
        }
        self.seats.take(rank)
    }

    fn renew(&self) {
        let budget = self.budget.renewed();
        self.seats.resize(budget.seats, budget.overdraft);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().all.len()
    }

    /// Watches a container this way until the member is dropped.
    #[must_use]
    pub fn join(self: &Arc<Self>, dir: ContainerDir) -> Member {
        // Without room for more (fs.inotify.max_user_watches) it is only looked at.
        let directory = self.directories.as_ref().and_then(|all| all.watch(dir.path(), TELLING).ok());
        let look = Arc::new(Notify::new());
        let mut members = self.lock();
        members.next += 1;
        let key = members.next;
        if let Some(directory) = directory {
            members.by_directory.insert(directory, key);
        }
        members.all.insert(key, Entry { look: look.clone(), dir, subject: Subject::default(), directory });
        drop(members);
        self.begun.notify_one();
        Member::new(self.clone(), key, look)
    }

    /// Who is in line already keeps its place.
    fn line_up(&self, place: &mut Option<Place>, rank: Option<Rank>) {
        if place.as_ref().map(Place::rank) != rank {
            *place = rank.map(|rank| self.seats.wait(rank));
        }
    }

    /// Serves its members, and says when it begins and when it is over.
    pub async fn serve(self: Arc<Self>, blocking: Blocking, cancel: CancellationToken) {
        let work = async {
            loop {
                while self.count() == 0 {
                    self.begun.notified().await;
                }
                let (total, _) = self.seats.figures();
                tracing::warn!(
                    seats = total,
                    "more containers than descriptors: the surplus is watched by a slower way. Its exits are not lost, but to a shim that is killed in the same moment as its container. Raise LimitNOFILE in sextond.service and restart sextond, or use `prlimit --nofile --pid`"
                );
                self.while_it_lasts(&blocking).await;
                tracing::info!("descriptors for all containers again");
            }
        };
        tokio::select! {
            () = work => {}
            () = cancel.cancelled() => {}
        }
    }

    async fn while_it_lasts(&self, blocking: &Blocking) {
        let mut scan_at = Instant::now() + EVERY;
        let mut seen = Instant::now();
        let (mut dying, mut dead_at) = (BTreeSet::new(), Instant::now());
        while seen.elapsed() < OVER {
            tokio::select! {
                changes = changes(self.directories.as_ref()) => {
                    let closed = self.told(changes.as_deref());
                    if !closed.is_empty() && dying.is_empty() {
                        dead_at = Instant::now() + DEAD_WITHIN;
                    }
                    dying.extend(closed);
                }
                () = sleep_until(dead_at), if !dying.is_empty() => {
                    let dying = std::mem::take(&mut dying);
                    self.scan(blocking, |key| dying.contains(key)).await;
                }
                () = sleep_until(scan_at) => {
                    let begun = Instant::now();
                    // Somebody may have changed the limit, or the kernel may have enough again.
                    self.renew();
                    self.scan(blocking, |_| true).await;
                    scan_at = Instant::now() + EVERY.max(begun.elapsed() * SHARE);
                }
            }
            if self.count() > 0 {
                seen = Instant::now();
            }
        }
    }

    /// `None` if the kernel has lost some. Returns those whose shim has closed its FIFO.
    fn told(&self, changes: Option<&[Change]>) -> Vec<u64> {
        let mut members = self.lock();
        let mut closed = Vec::new();
        let Some(changes) = changes else {
            members.all.values().for_each(|entry| entry.look.notify_one());
            return closed;
        };
        for change in changes {
            if change.what.contains(ReadFlags::IGNORED) {
                // Its number is given out again only after all others.
                members.by_directory.remove(&change.directory);
            } else if tells(change)
                && let Some(key) = members.by_directory.get(&change.directory)
                && let Some(entry) = members.all.get(key)
            {
                entry.look.notify_one();
                closed.extend(change.what.contains(ReadFlags::CLOSE_WRITE).then_some(*key));
            }
        }
        closed
    }

    async fn scan(&self, blocking: &Blocking, of: impl Fn(&u64) -> bool) {
        let entry = |(key, entry): (&u64, &Entry)| (*key, entry.dir.clone(), entry.subject);
        let all: Vec<_> = self.lock().all.iter().filter(|(key, _)| of(key)).map(entry).collect();
        let look = move || {
            let changed = all.into_iter().filter(|(_, dir, subject)| subject.has_changed(dir));
            changed.map(|(key, ..)| key).collect::<Vec<_>>()
        };
        let changed = blocking.run("look at containers for which there is no descriptor", look).await;
        let members = self.lock();
        changed.iter().filter_map(|key| members.all.get(key)).for_each(|entry| entry.look.notify_one());
    }
}

async fn changes(directories: Option<&Directories>) -> Option<Vec<Change>> {
    let Some(directories) = directories else { return std::future::pending().await };
    match directories.next().await {
        Ok(changes) => changes,
        Err(e) => {
            tracing::error!(error = %e, "inotify cannot be read");
            sleep(EVERY).await;
            None
        }
    }
}

/// Whether it is more than the shim's temporary files.
fn tells(change: &Change) -> bool {
    let closed = change.what.contains(ReadFlags::CLOSE_WRITE);
    !closed || change.name.as_deref() == Some(ContainerDir::EXIT_FIFO)
}

impl Subject {
    /// Blocks on the disk, and opens a descriptor for a moment.
    fn has_changed(&self, dir: &ContainerDir) -> bool {
        let dead = |process: Option<ProcessIdentity>| {
            process.is_some_and(|process| matches!(process.look(), Ok(Presence::Gone | Presence::Zombie(..))))
        };
        dir.exit().exists() || (self.unborn && dir.init().exists()) || dead(self.shim) || dead(self.init)
    }
}
