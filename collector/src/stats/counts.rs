//! The files of containers, counted in the background when somebody asks for statistics, and only then.

use super::files;
use crate::{blocking::Blocking, board::Board};
use sexton_common::{ContainerId, WallTime, wire::DiskUse};
use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How old a count may be.
const FRESH: Duration = Duration::from_secs(30);
/// Nor is more than this part of the time spent on counting one container's files.
const PART: u32 = 10;
/// What a walk takes from its deadline to its end, if the file system answers.
const SLACK: Duration = Duration::from_secs(1);

/// A run: container and generation.
type Run = (ContainerId, u64);

/// See the module. As many counts are kept as there are containers that have registered something.
#[derive(Clone, Debug)]
pub struct Counts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What one count may take.
    within: Duration,
    known: Mutex<HashMap<Run, Count>>,
    /// Counts at once.
    lanes: Arc<Semaphore>,
    /// Threads at once, with those that hang in a file system.
    threads: Arc<Semaphore>,
    cancel: CancellationToken,
}

#[derive(Debug, Default)]
struct Count {
    latest: Option<DiskUse>,
    /// A thread is at it, or waits for its turn.
    busy: bool,
    due: Option<Instant>,
}

impl Counts {
    /// Each within this time, with so many threads at most.
    #[must_use]
    pub fn new(within: Duration, threads: usize, cancel: CancellationToken) -> Self {
        let (lanes, threads) = (Arc::new(Semaphore::new(threads.div_ceil(4))), Arc::new(Semaphore::new(threads)));
        Self(Arc::new(Inner { within, known: Mutex::default(), lanes, threads, cancel }))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Run, Count>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the runs that are no more.
    pub fn prune(&self, board: &Board) {
        let lives = |run: &Run| board.get(&run.0).is_some_and(|info| info.generation == run.1);
        self.known().retain(|run, count| count.busy || lives(run));
    }

    /// The latest count, if there is one; has them counted anew if that is old.
    pub fn of(&self, run: &Run, paths: &[PathBuf], blocking: &Blocking, tasks: &TaskTracker) -> Option<DiskUse> {
        let mut known = self.known();
        let count = known.entry(run.clone()).or_default();
        if !count.busy && count.due.is_none_or(|due| due <= Instant::now()) {
            count.busy = true;
            let (paths, cancel, end) = (paths.to_vec(), self.0.cancel.clone(), self.0.within);
            let walk = move |bytes: &AtomicU64| {
                let end = Instant::now() + end;
                files::count(&paths, &|| cancel.is_cancelled() || Instant::now() >= end, bytes)
            };
            let (counts, blocking, run) = (self.clone(), blocking.clone(), run.clone());
            tasks.spawn(async move {
                let cancel = counts.0.cancel.clone();
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = counts.count(run, walk, &blocking) => {}
                }
            });
        }
        count.latest
    }

    /// Counts, and notes what came of it at the deadline at the latest, whether the file system answers or not. One that
    /// does not costs a thread, and nobody else's turn.
    async fn count(&self, run: Run, walk: impl FnOnce(&AtomicU64) -> bool + Send + 'static, blocking: &Blocking) {
        let lane = self.0.lanes.clone().acquire_owned().await;
        let thread = self.0.threads.clone().acquire_owned().await;
        let bytes = Arc::new(AtomicU64::new(0));
        let (counted, begun) = (bytes.clone(), Instant::now());
        let work = move || {
            let _thread = thread;
            walk(&counted)
        };
        let mut work = std::pin::pin!(blocking.run(format!("count the files of {}", run.0), work));
        let done = timeout(self.0.within + SLACK, &mut work).await;
        self.note(&run, bytes.load(Ordering::Relaxed), done == Ok(true));
        drop(lane);
        if done.is_err() {
            let complete = work.await;
            self.note(&run, bytes.load(Ordering::Relaxed), complete);
        }
        if let Some(count) = self.known().get_mut(&run) {
            count.busy = false;
            count.due = Some(Instant::now() + FRESH.max(begun.elapsed() * PART));
        }
    }

    fn note(&self, run: &Run, bytes: u64, complete: bool) {
        if let Some(count) = self.known().get_mut(run) {
            count.latest = Some(DiskUse { bytes, complete, at: WallTime::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn run(id: &str) -> Run {
        (id.parse().unwrap(), 1)
    }

    impl Counts {
        fn begin(&self, run: &Run, walk: impl FnOnce(&AtomicU64) -> bool + Send + 'static) {
            self.known().entry(run.clone()).or_default().busy = true;
            let (counts, run) = (self.clone(), run.clone());
            tokio::spawn(async move { counts.count(run, walk, &Blocking::default()).await });
        }

        async fn until(&self, run: &Run, done: impl Fn(&Count) -> bool) -> DiskUse {
            let wait = async {
                while !self.known().get(run).is_some_and(&done) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(30), wait).await.unwrap();
            self.known().get(run).and_then(|count| count.latest).unwrap()
        }
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_costs_its_own_container_only() {
        let counts = Counts::new(Duration::from_millis(1), 4, CancellationToken::new());
        let mut held = Vec::new();
        for id in ["a", "b", "c"] {
            let (release, hang) = mpsc::channel::<()>();
            held.push(release);
            counts.begin(&run(id), move |bytes| {
                bytes.fetch_add(7, Ordering::Relaxed);
                hang.recv().is_err()
            });
        }
        // There is one lane; whoever hangs leaves it.
        counts.begin(&run("d"), |bytes| {
            bytes.fetch_add(9, Ordering::Relaxed);
            true
        });
        let seen = counts.until(&run("d"), |count| !count.busy).await;
        assert_eq!((seen.bytes, seen.complete), (9, true));
        let hung = counts.until(&run("a"), |count| count.latest.is_some()).await;
        assert_eq!((hung.bytes, hung.complete), (7, false));
        assert!(counts.known()[&run("a")].busy, "it is not asked a second time");
        drop(held);
        let late = counts.until(&run("a"), |count| !count.busy).await;
        assert!(late.complete, "the file system has answered");
    }

    #[tokio::test]
    async fn a_count_is_kept_for_a_while_and_goes_with_its_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, [1; 5000]).unwrap();
        let (counts, tasks, blocking) =
            (Counts::new(Duration::from_secs(9), 1, CancellationToken::new()), TaskTracker::new(), Blocking::default());
        let ask = || counts.of(&run("c"), std::slice::from_ref(&path), &blocking, &tasks);
        assert_eq!(ask(), None);
        let first = counts.until(&run("c"), |count| !count.busy).await;
        assert!(first.bytes >= 5000 && first.complete);
        assert_eq!((ask(), tasks.len()), (Some(first), 0), "nobody counts again at once");
        counts.prune(&Board::default());
        assert_eq!(counts.known().len(), 0);
    }
}
