//! How full the disk is. Never waits for one that hangs.

use crate::{blocking::Blocking, stats::disk};
use sexton_common::wire::Room;
use std::{fmt, io, path::Path, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// How long a figure of the disk stands.
const FRESH: Duration = Duration::from_secs(1);
/// How long whoever wants a new one waits for it.
const WITHIN: Duration = Duration::from_millis(500);

type Measure = Arc<dyn Fn() -> io::Result<Room> + Send + Sync>;

/// The disk's figure: one thread at most asks for it, and everybody hears what it heard last.
pub struct Gauge {
    measure: Measure,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    at: Option<Instant>,
    room: Option<Room>,
    asking: Option<JoinHandle<io::Result<Room>>>,
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauge")
    }
}

impl Gauge {
    /// Of the file system on which `path` lies.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let path = path.to_owned();
        Self::new(Arc::new(move || disk(&path)))
    }

    fn new(measure: Measure) -> Self {
        Self { measure, known: Mutex::default() }
    }

    /// The figure of the last second; `None` if the disk does not tell.
    pub async fn read(&self, blocking: &Blocking) -> Option<Room> {
        // Whoever holds it does so for a bounded time.
        let mut known = self.known.lock().await;
        if known.at.is_some_and(|at| at.elapsed() < FRESH) {
            return known.room;
        }
        let asking = known.asking.get_or_insert_with(|| {
            let (blocking, measure) = (blocking.clone(), self.measure.clone());
            tokio::spawn(async move { blocking.run("ask how full the disk is", move || measure()).await })
        });
        let told = timeout(WITHIN, asking).await;
        known.room = match told {
            Ok(told) => {
                known.asking = None;
                told.ok().and_then(|room| {
                    room.inspect_err(|e| tracing::warn!(error = %e, "it cannot be told how full the disk is")).ok()
                })
            }
            // It is asked on; meanwhile nobody else waits for it.
            Err(_) => None,
        };
        known.at = Some(Instant::now());
        known.room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    };

    #[test]
    fn a_disk_tells() {
        let room = disk(Path::new("/")).unwrap();
        assert_eq!(room.total, Some(room.used + room.left.unwrap()));
        assert!(room.used > 0);
    }

    #[tokio::test]
    async fn a_disk_that_hangs_holds_nobody_up_and_takes_one_thread() {
        let asked = Arc::new(AtomicU32::new(0));
        let (release, hangs) = mpsc::channel::<()>();
        let hangs = std::sync::Mutex::new(hangs);
        let count = asked.clone();
        let gauge = Gauge::new(Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = hangs.lock().unwrap().recv();
            Ok(Room { total: Some(2), left: Some(1), used: 1 })
        }));
        let gauge = Arc::new(gauge);
        let blocking = Blocking::default();
        let all = (0..100).map(|_| {
            let (gauge, blocking) = (gauge.clone(), blocking.clone());
            tokio::spawn(async move { gauge.read(&blocking).await })
        });
        let begun = Instant::now();
        for one in all.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), None);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "a hundred waited for each other: {:?}", begun.elapsed());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        drop(release);
        let back = async {
            while gauge.read(&blocking).await.is_none() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), back).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1, "its answer was heard in the end");
    }
}
