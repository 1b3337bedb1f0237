//! One collector for each state directory and each data directory.

use super::{Fatal, failed};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use sexton_common::{Layout, unborn::has_open};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    time::Duration,
};

/// How long the lock of a dead sextond may still be held by a child of its that has not execed yet.
const INHERITED_FOR: Duration = Duration::from_secs(2);

/// How long one that lives may still be about to die.
const DYING_FOR: Duration = Duration::from_millis(300);

/// Held until the process ends, however it ends.
pub(super) async fn lock(layout: &Layout) -> Result<File, Fatal> {
    let path = layout.lock();
    let name = || format!("lock {}", path.display());
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(failed(name()))?;
    let since = std::time::Instant::now();
    while let Err(e) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if e != Errno::WOULDBLOCK {
            return Err(failed(name())(e.into()));
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let pid = text.trim().parse::<u32>().ok();
        // One that lives has it open; another process that has its pid by now, as we may ourselves, has nothing to do
        // with it.
        let holder = pid.filter(|&pid| pid != std::process::id() && has_open(pid, &path));
        // One that has just been killed may need a moment to be dead.
        let patience = if holder.is_some() { DYING_FOR } else { INHERITED_FOR };
        if since.elapsed() > patience {
            let pid = holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            return Err(Fatal::Second { pid, state: layout.state().display().to_string() });
        }
        // A child of a killed sextond's has its lock until it has execed.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // For people, and for whoever finds the lock taken; the lock itself is what counts.
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(e) = written {
        tracing::warn!(file = %path.display(), error = %e, "the pid cannot be noted");
    }
    Ok(file)
}

/// The data directory itself, which may be read-only. Held until the process ends.
pub(super) async fn lock_data(layout: &Layout) -> Result<Option<File>, Fatal> {
    let (path, since) = (layout.data(), std::time::Instant::now());
    let dir = File::open(path).map_err(failed(format!("open {}", path.display())))?;
    loop {
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(dir)),
            // As with the state directory.
            Err(Errno::WOULDBLOCK) if since.elapsed() < INHERITED_FOR => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(Errno::WOULDBLOCK) => return Err(Fatal::SharedData(path.display().to_string())),
            Err(e) => {
                tracing::warn!(directory = %path.display(), error = %io::Error::from(e), "cannot be locked: no other sextond may have its data there");
                return Ok(None);
            }
        }
    }
}
