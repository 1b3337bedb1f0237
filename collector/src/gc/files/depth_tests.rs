use super::*;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{OFlags, mkdirat, openat};
use std::{process::Command, sync::Barrier, thread};

/// Whatever our own code does, it is gone in the end.
struct Deep(PathBuf);

impl Drop for Deep {
    fn drop(&mut self) {
        assert!(Command::new("rm").arg("-rf").arg(&self.0).status().unwrap().success());
    }
}

/// A directory in which directories of this name nest; every 100th has a file and another directory.
fn nest(top: PathBuf, name: &str, depth: usize) -> Deep {
    fs::create_dir(&top).unwrap();
    let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = openat(CWD, &top, directory, Mode::empty()).unwrap();
    for level in 0..depth {
        if level % 100 == 99 {
            openat(&dir, "file", OFlags::CREATE, Mode::RUSR).unwrap();
            mkdirat(&dir, "other", Mode::RWXU).unwrap();
            mkdirat(&dir, "other/inner", Mode::RWXU).unwrap();
        }
        mkdirat(&dir, name, Mode::RWXU).unwrap();
        dir = openat(&dir, name, directory, Mode::empty()).unwrap();
    }
    Deep(top)
}

#[test]
fn depth() {
    let (_dir, root) = root();
    // The last is deeper than it remembers at once.
    for (depth, name) in [(1_000, "d"), (1_000, &*"long".repeat(60)), (5_000, "d"), (10_000, "d")] {
        let deep = nest(root.join("tree"), name, depth);
        let (tell, told) = std::sync::mpsc::channel();
        let counted = Barrier::new(2);
        thread::scope(|scope| {
            let work = scope.spawn(|| {
                // A table of its own: what others open meanwhile does not count.
                unshare(CloneFlags::CLONE_FILES).unwrap();
                let fds = PathBuf::from(format!("/proc/self/task/{}/fd", nix::unistd::gettid()));
                tell.send(fds).unwrap();
                counted.wait();
                gone(&deep.0);
            });
            let fds = told.recv().unwrap();
            let count = || fs::read_dir(&fds).map_or(0, Iterator::count);
            let (first, mut most) = (count(), 0);
            counted.wait();
            while !work.is_finished() {
                most = count().max(most);
            }
            assert!(first > 0 && most < first + 8, "{first} descriptors, {most} while it was at work");
        });
    }
}

#[test]
fn the_way_back_is_forgotten_more_often_than_somebody_may_disturb() {
    let (_dir, root) = root();
    let deep = nest(root.join("tree"), "d", 2_000);
    assert_eq!(rounds(&deep.0, later(), 50), Ok(()));
    assert!(!deep.0.exists());
}

#[test]
fn depth_in_many_attempts() {
    let (_dir, root) = root();
    let deep = nest(root.join("tree"), "d", 10_000);
    // Longer each time: on a slow machine as well, one gets to the bottom.
    let mut most = Duration::from_millis(20);
    while let Err(obstacle) = remove(&deep.0, Instant::now() + most) {
        assert!(obstacle.what.contains("the next attempt goes on") && most < Duration::from_secs(60), "{obstacle:?}");
        most *= 2;
    }
    gone(&deep.0);
}
