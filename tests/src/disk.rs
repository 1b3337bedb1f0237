//! Disks that can be full or read-only.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs,
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// A file system of 1 MiB. It is taken away again when it is dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounted at `path`, which is made.
    ///
    /// # Panics
    /// If it cannot be mounted.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("size=1m,mode=700")).unwrap();
        Self(path.into())
    }

    /// Takes all of its room.
    ///
    /// # Panics
    /// If that cannot begin.
    pub fn fill(&self) {
        let mut ballast = fs::File::create(self.0.join("ballast")).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
    }

    /// Gives it back.
    ///
    /// # Panics
    /// If it was not taken.
    pub fn free(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }

    /// Makes it read-only or writable again.
    ///
    /// # Panics
    /// If somebody has a file open for writing.
    pub fn read_only(&self, yes: bool) {
        let flags = if yes { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        mount(None::<&str>, &self.0, None::<&str>, flags | MsFlags::MS_REMOUNT, None::<&str>).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// A directory, mounted onto itself, that can be read-only while others have files in it open for writing.
#[derive(Debug)]
pub struct Window(PathBuf);

impl Window {
    /// Of `path`, which is made, with the directories above it.
    ///
    /// # Panics
    /// If it cannot be mounted.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
        mount(Some(path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        Self(path.into())
    }

    /// Makes it read-only or writable again.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn read_only(&self, yes: bool) {
        let flags = if yes { MsFlags::MS_RDONLY } else { MsFlags::empty() };
        let remount = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
        mount(None::<&str>, &self.0, None::<&str>, remount, None::<&str>).unwrap();
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
