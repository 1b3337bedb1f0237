//! Writing and moving so that a crash, or a disk that fails, leaves the old or the new and nothing between.

use super::{
    Fact,
    disk::{Disk, Real},
    encode,
};
use rustix::fs::RenameFlags;
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// Writes a fact in place of what was there: temporary name, fsync, rename, fsync of the directory. Blocks on the disk.
///
/// # Errors
/// What failed; the old content stands then, or the new one whose name may not be durable yet. Writing again mends it.
pub fn write<F: Fact>(path: &Path, fact: &F) -> io::Result<()> {
    replace(&Real, path, &encode(fact)?)
}

/// Writes a fact that nobody wrote yet (I1); `false` if somebody did, whose word stands and is durable. Blocks on the disk.
///
/// # Errors
/// What failed; nothing is there then, or somebody's fact whose name may not be durable yet. Writing again mends it.
pub fn write_new<F: Fact>(path: &Path, fact: &F) -> io::Result<bool> {
    add(&Real, path, &encode(fact)?)
}

/// Puts a directory that has been filled under another name into its place: whole or not at all, and only where
/// nothing is. Blocks on the disk.
///
/// # Errors
/// `AlreadyExists`, or what failed; it is under its first name then.
pub fn appear(from: &Path, to: &Path) -> io::Result<()> {
    place(&Real, from, to)
}

/// Renames, over what is there or (`NOREPLACE`) never. The caller syncs.
///
/// # Errors
/// `AlreadyExists` with `NOREPLACE`; otherwise as `renameat2(2)`.
pub fn rename(from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
    Real.rename(from, to, flags)
}

/// Makes the name of `path` durable. Blocks on the disk.
///
/// # Errors
/// As `fsync(2)`.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_name(&Real, path)
}

/// Moves something that does not decode out of the way, under a new name in `quarantine`; returns where it lies.
///
/// # Errors
/// As `rename(2)`; the file is where it was then.
pub fn quarantine(path: &Path, label: &str, quarantine: &Path) -> io::Result<PathBuf> {
    set_aside(&Real, path, label, quarantine)
}

pub(super) fn replace<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(disk, path, bytes, RenameFlags::empty())?;
    sync_name(disk, path)
}

pub(super) fn add<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let ours = match put(disk, path, bytes, RenameFlags::NOREPLACE) {
        Ok(()) => true,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => false,
        Err(e) => return Err(e),
    };
    // Whoever wrote it may have been killed, or have failed, before this.
    sync_name(disk, path)?;
    Ok(ours)
}

pub(super) fn place<D: Disk>(disk: &D, from: &Path, to: &Path) -> io::Result<()> {
    disk.sync_dir(from)?;
    disk.rename(from, to, RenameFlags::NOREPLACE)?;
    let synced = sync_name(disk, to);
    if synced.is_err() {
        // Who hears that it failed must not find it there, nor find it half emptied after a crash.
        let _ = disk.rename(to, from, RenameFlags::NOREPLACE).and_then(|()| sync_name(disk, to));
    }
    synced
}

pub(super) fn set_aside<D: Disk>(disk: &D, path: &Path, label: &str, quarantine: &Path) -> io::Result<PathBuf> {
    match disk.make_dir(quarantine) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => sync_name(disk, quarantine)?,
    }
    for n in 0..10_000 {
        let to = quarantine.join(format!("{label}.{n}"));
        match disk.rename(path, &to, RenameFlags::NOREPLACE) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
            Ok(()) => {
                // It lies here or, after a crash, where it was: either will do.
                let _ = sync_name(disk, &to).and_then(|()| sync_name(disk, path));
                return Ok(to);
            }
        }
    }
    Err(io::Error::other(format!("{} is full: look at it and empty it", quarantine.display())))
}

/// The bytes are durable before they get their name.
fn put<D: Disk>(disk: &D, path: &Path, bytes: &[u8], flags: RenameFlags) -> io::Result<()> {
    let (temporary, mut file) = fresh(disk, path)?;
    let done = disk
        .write(&mut file, bytes)
        .and_then(|()| disk.sync(&file))
        .and_then(|()| disk.rename(&temporary, path, flags));
    if done.is_err() {
        // Best effort: the name is ours alone, and it goes with the directory otherwise.
        let _ = disk.remove(&temporary);
    }
    done
}

/// A new file beside `path`. Each attempt has its own: what a failed fsync has left in the page cache is never
/// trusted again, and an attempt that hangs in its disk cannot get another one's half-written file.
fn fresh<D: Disk>(disk: &D, path: &Path) -> io::Result<(PathBuf, D::File)> {
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    loop {
        let mut name = OsString::from(path);
        name.push(format!("~{}-{}", std::process::id(), ATTEMPTS.fetch_add(1, Ordering::Relaxed)));
        let name = PathBuf::from(name);
        match disk.create(&name) {
            // Of somebody dead who had our pid.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
            Ok(file) => return Ok((name, file)),
        }
    }
}

fn sync_name<D: Disk>(disk: &D, path: &Path) -> io::Result<()> {
    disk.sync_dir(path.parent().unwrap_or(Path::new("/")))
}
