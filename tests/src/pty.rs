//! A program whose standard error is a terminal.

use crate::wait::wait_until;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use std::{
    fs::File,
    io::Read,
    os::unix::ffi::OsStrExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

/// What it said.
#[derive(Debug)]
pub struct Seen {
    /// Its exit code.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// What the terminal got.
    pub screen: String,
}

/// Runs it to its end.
///
/// # Panics
/// If it does not end within a minute and a half.
#[track_caller]
#[must_use]
pub fn on_a_terminal(mut command: Command) -> Seen {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())));
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(slave.unwrap());
    let mut child = command.spawn().unwrap();
    // Ours is closed with it, so that the program's end is the terminal's.
    drop(command);
    let screen = std::thread::spawn(move || {
        let (mut master, mut seen, mut bytes) = (File::from(master), Vec::new(), [0; 4096]);
        // EIO when nobody has the other end any more.
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            seen.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    });
    let mut out = child.stdout.take().unwrap();
    let stdout = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    let mut status = None;
    let ended = wait_until(Duration::from_secs(90), || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    if !ended {
        let _ = child.kill();
        let _ = child.wait();
    }
    let seen = Seen {
        code: status.and_then(|status| status.code()),
        stdout: stdout.join().unwrap().unwrap(),
        screen: screen.join().unwrap(),
    };
    assert!(ended, "it does not end: {seen:?}");
    seen
}
