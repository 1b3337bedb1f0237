//! Work that may block, off the event loop, and known by name while it runs.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// When a thread that was not to be had is asked for again.
const THREAD_WITHIN: Duration = Duration::from_secs(1);

/// Runs closures on the blocking pool. At shutdown it says what is stuck, and since when.
#[derive(Clone, Debug, Default)]
pub struct Blocking(Arc<Running>);

#[derive(Debug, Default)]
struct Running {
    next: AtomicU64,
    /// What a thread is at right now.
    active: AtomicUsize,
    work: Mutex<BTreeMap<u64, (String, Instant)>>,
}

impl Blocking {
    /// Runs `work` where it may block. If the caller stops waiting, the work goes on.
    ///
    /// # Panics
    /// If `work` does: its panic is passed on.
    pub async fn run<T: Send + 'static>(
        &self,
        name: impl fmt::Display,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let guard = self.begin(name);
        let begun = Arc::new(AtomicBool::new(false));
        let begins = begun.clone();
        let active = self.clone();
        let mut done = tokio::task::spawn_blocking(move || {
            let _guard = guard;
            let _active = Active::new(active);
            begins.store(true, Ordering::Relaxed);
            work()
        });
        let done = loop {
            match timeout(THREAD_WITHIN, &mut done).await {
                Ok(done) => break done,
                Err(_) if begun.load(Ordering::Relaxed) => break done.await,
                // Not one thread was to be had, and the pool tries again only when it gets something new.
                Err(_) if self.0.active.load(Ordering::Relaxed) == 0 => drop(tokio::task::spawn_blocking(|| ())),
                Err(_) => {}
            }
        };
        match done {
            Ok(done) => done,
            Err(e) => match e.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The pool is shutting down: nobody will ask any more.
                Err(_cancelled) => std::future::pending().await,
            },
        }
    }

    /// One thread that stays for as long as the result lives: where the system has no room for another, the pool
    /// would panic if it had none at all; with one, work waits.
    #[must_use]
    pub fn keep_a_thread() -> std::sync::mpsc::SyncSender<()> {
        let (keep, gone) = std::sync::mpsc::sync_channel::<()>(0);
        drop(tokio::task::spawn_blocking(move || gone.recv()));
        keep
    }

    /// Counts as running until dropped.
    pub fn begin(&self, name: impl fmt::Display) -> Guard {
        let key = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(key, (name.to_string(), Instant::now()));
        Guard { running: self.clone(), key }
    }

    /// What runs, and for how long.
    #[must_use]
    pub fn stuck(&self) -> Vec<(String, Duration)> {
        self.lock().values().map(|(name, since)| (name.clone(), since.elapsed())).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, (String, Instant)>> {
        self.0.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something that a thread is at.
struct Active(Blocking);

impl Active {
    fn new(blocking: Blocking) -> Self {
        blocking.0.active.fetch_add(1, Ordering::Relaxed);
        Self(blocking)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Something that runs.
#[derive(Debug)]
pub struct Guard {
    running: Blocking,
    key: u64,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_runs_is_named_until_it_ends() {
        let blocking = Blocking::default();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let work = tokio::spawn({
            let blocking = blocking.clone();
            async move { blocking.run("fsync of c1", move || wait.recv()).await }
        });
        while blocking.stuck().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(blocking.stuck()[0].0, "fsync of c1");
        drop(release);
        assert!(work.await.unwrap().is_err());
        assert!(blocking.stuck().is_empty());
    }
}
