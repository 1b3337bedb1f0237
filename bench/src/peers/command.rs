//! Commands that are timed: their end is waited for, not polled for.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    process::{Pid, PidfdFlags, pidfd_open},
};
use std::{
    fs::File,
    io::{Read, Seek},
    process::{Child, Command, Stdio},
};

/// Longer than anything that works.
const MOST: Timespec = Timespec { tv_sec: 90, tv_nsec: 0 };

/// Runs it to its end; what it printed. Files take its output, since whoever stays behind of it may keep them open.
///
/// # Panics
/// If it fails, with its words, or does not end.
pub fn call(command: &mut Command) -> String {
    let (mut out, mut err) = (memory(), memory());
    command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let success = ended(child);
    let (said, complained) = (text(&mut out), text(&mut err));
    assert!(success, "{command:?} failed: {said}{complained}");
    said
}

/// The same for what hands its streams on to a container: they are `/dev/null`, and its words are elsewhere.
///
/// # Panics
/// If it fails, with what `words` finds, or does not end.
pub fn call_quietly(command: &mut Command, words: impl Fn() -> String) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(ended(child), "{command:?} failed: {}", words());
}

/// Waits for its end; whether that was success.
///
/// # Panics
/// If it does not end.
pub fn ended(mut child: Child) -> bool {
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    if poll(&mut fds, Some(&MOST)).unwrap() == 0 {
        let _ = child.kill();
        let _ = child.wait();
        panic!("process {} does not end", child.id());
    }
    child.wait().unwrap().success()
}

fn memory() -> File {
    memfd_create("output", MemfdFlags::CLOEXEC).unwrap().into()
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_read_although_somebody_keeps_it_open() {
        let said = call(Command::new("sh").args(["-c", "echo one; sleep 1 & echo two"]));
        assert_eq!(said, "one\ntwo\n");
    }

    #[test]
    fn who_fails_is_quoted() {
        let failed = std::panic::catch_unwind(|| call(Command::new("sh").args(["-c", "echo why >&2; exit 3"])));
        assert!(failed.unwrap_err().downcast_ref::<String>().unwrap().contains("why"));
        let failed = std::panic::catch_unwind(|| call_quietly(&mut Command::new("false"), || "because".into()));
        assert!(failed.unwrap_err().downcast_ref::<String>().unwrap().contains("because"));
    }
}
