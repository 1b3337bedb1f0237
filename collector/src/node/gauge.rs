//! How much memory and disk there is. Never waits for a disk that hangs.

use crate::blocking::Blocking;
use sexton_common::wire::Room;
use std::{fmt, fs, io, path::Path, sync::Arc, time::Duration};
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

fn disk(path: &Path) -> io::Result<Room> {
    let told = rustix::fs::statvfs(path)?;
    let (total, left) = (told.f_blocks.saturating_mul(told.f_frsize), told.f_bfree.saturating_mul(told.f_frsize));
    Ok(Room { total: Some(total), left: Some(left), used: total.saturating_sub(left) })
}

/// The machine's memory; `None` if the kernel does not tell.
#[must_use]
pub fn memory() -> Option<Room> {
    memory_of(&fs::read_to_string("/proc/meminfo").ok()?)
}

fn memory_of(text: &str) -> Option<Room> {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
    };
    let (total, left) = (bytes("MemTotal")?, bytes("MemAvailable")?);
    Some(Room { total: Some(total), left: Some(left), used: total.saturating_sub(left) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    };

    #[test]
    fn memory_is_what_could_be_had() {
        let text = "MemTotal:        1000 kB\nMemFree:  5 kB\nMemAvailable:    300 kB\n";
        let room = Room { total: Some(1_024_000), left: Some(307_200), used: 716_800 };
        assert_eq!(memory_of(text), Some(room));
        assert_eq!(memory_of("MemTotal: 1 kB\n"), None);
        assert!(memory().unwrap().left.unwrap() > 0);
    }

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
