//! A directory in which whoever looks waits, as on a disk that has gone.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

/// A file system in user space that nobody serves, over a directory. Gone when it is dropped.
#[derive(Debug)]
pub struct Hung {
    dir: PathBuf,
    /// Who waits is let go when it is closed.
    _device: File,
}

impl Hung {
    /// Over this directory; `None` where the kernel has no FUSE.
    ///
    /// # Panics
    /// If it cannot be mounted.
    #[must_use]
    pub fn over(dir: &Path) -> Option<Self> {
        let device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        mount(Some("sexton-hung"), dir, Some("fuse"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Some(Self { dir: dir.into(), _device: device })
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let _ = umount2(&self.dir, MntFlags::MNT_DETACH);
    }
}
