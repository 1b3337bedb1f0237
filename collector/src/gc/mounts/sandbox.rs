//! A mount namespace for one test: whatever is mounted in it goes with the test's thread, however that ends.

use crate::gc::obstacle::Obstacle;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Runs a test with a directory of its own.
pub fn alone(name: &str, test: impl FnOnce(&Path) + Send) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let run = || {
        if let Err(e) = unshare(CloneFlags::CLONE_NEWNS) {
            println!("SKIPPED {name}: no mount namespace of its own: {e}");
            return;
        }
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        test(&root);
    };
    let ran = std::thread::scope(|scope| scope.spawn(run).join());
    if let Err(panic) = ran {
        std::panic::resume_unwind(panic);
    }
}

/// Later than any test should take.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// A tmpfs there, with a file in it.
pub fn tmpfs(at: &Path) {
    fs::create_dir_all(at).unwrap();
    mount("test", at, "tmpfs", MountFlags::empty(), None).unwrap();
    fs::write(at.join("file"), "x").unwrap();
}

/// What is at `from`, seen at `to` as well.
pub fn bind(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    mount_bind(from, to).unwrap();
}

/// Rows of the table at and below it.
pub fn count(below: &Path) -> usize {
    super::table::read().unwrap().iter().filter(|mount| mount.point.starts_with(below)).count()
}

/// Ends with 0, or the test fails with what it said.
pub fn must(program: &str, arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> String {
    let done = Command::new(program).args(arguments.iter().map(AsRef::as_ref)).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// A shell that has done `setup`, and then stays until it is dropped, or this process ends.
pub struct Stays(Child);

impl Stays {
    pub fn after(setup: &str, at: &Path) -> Self {
        Self::of(&["sh", "-c"], setup, at)
    }

    /// `program` is given a script.
    pub fn of(program: &[&str], setup: &str, at: &Path) -> Self {
        let script = format!("{setup} && exec cat");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(script).env("AT", at).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut this = Self(command.spawn().unwrap());
        // It answers once it is cat(1).
        this.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let mut line = String::new();
        let read = BufReader::new(this.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(read > 0, "{setup}: did not get there");
        this
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Why it is in the way. Other tests look at loop devices too, and may be named besides it.
    pub fn how(&self, obstacle: &Obstacle) -> String {
        let holder = obstacle.holders.iter().find(|holder| holder.process.pid == self.pid());
        holder.unwrap_or_else(|| panic!("{obstacle:?}")).how.clone()
    }

    pub fn end(&mut self) {
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

impl Drop for Stays {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loop device's image with an ext4.
pub fn image(at: &Path) -> PathBuf {
    let image = at.join("image");
    fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
    must("mkfs.ext4", &[&"-q", &"-O", &"^has_journal", &image]);
    image
}
