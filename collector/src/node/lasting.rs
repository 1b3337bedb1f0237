//! Maintenance on disk.

use sexton_common::{
    Layout, WallTime,
    durable::{self, ReadError},
    maintenance::Maintenance,
};
use std::{fs, io};

/// Since when it lasts, if it does. A file that cannot be read was put there by somebody: it counts, and stays.
/// Blocks on the disk.
#[must_use]
pub fn load(layout: &Layout) -> Option<WallTime> {
    let path = layout.maintenance();
    forget_halves(layout);
    match durable::read::<Maintenance>(&path) {
        Ok(maintenance) => maintenance.map(|maintenance| maintenance.since),
        Err(error) => {
            tracing::error!(%error, "the node is taken to be in maintenance: `sexton node maintenance off` ends that");
            let modified = match error {
                ReadError::Damaged { .. } => fs::metadata(&path).and_then(|found| found.modified()).ok(),
                ReadError::Io { .. } => None,
            };
            let since = modified.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            let ns = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
            Some(ns.map_or_else(WallTime::now, WallTime))
        }
    }
}

/// What a collector that was killed had not given its name yet.
fn forget_halves(layout: &Layout) {
    let path = layout.maintenance();
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    for entry in fs::read_dir(layout.data()).into_iter().flatten().flatten() {
        let half = entry
            .file_name()
            .to_str()
            .is_some_and(|found| found.strip_prefix(name).is_some_and(|rest| rest.starts_with('~')));
        if half && let Err(e) = fs::remove_file(entry.path()) {
            tracing::warn!(file = %entry.path().display(), error = %e, "a half-written file stays");
        }
    }
}

/// Begins it or ends it, durably. Since when it lasts then. Blocks on the disk.
///
/// # Errors
/// As the disk's: it may be one or the other then, and setting it again mends it.
pub fn set(layout: &Layout, before: Option<WallTime>, on: bool) -> io::Result<Option<WallTime>> {
    let path = layout.maintenance();
    if on {
        let since = before.unwrap_or_else(WallTime::now);
        durable::write(&path, &Maintenance { since })?;
        return Ok(Some(since));
    }
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => durable::sync_parent(&path)?,
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_until_it_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("s"), dir.path().into());
        assert_eq!(load(&layout), None);
        assert_eq!(set(&layout, None, false).unwrap(), None);
        let since = set(&layout, None, true).unwrap();
        assert_eq!(load(&layout), since);
        assert_eq!(set(&layout, since, true).unwrap(), since, "it began when it began");
        fs::write(dir.path().join("maintenance~7-0"), "half").unwrap();
        assert_eq!(load(&layout), since);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "what was half written is gone");
        set(&layout, since, false).unwrap();
        assert_eq!(load(&layout), None);
    }

    #[test]
    fn a_damaged_file_is_still_maintenance() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("s"), dir.path().into());
        fs::write(layout.maintenance(), "SXTNrubbish").unwrap();
        let since = load(&layout).unwrap();
        assert!(since <= WallTime::now() && since.0 > 0);
        assert_eq!(load(&layout), Some(since), "and so it is the next time");
        set(&layout, Some(since), false).unwrap();
        assert_eq!(load(&layout), None);
    }
}
