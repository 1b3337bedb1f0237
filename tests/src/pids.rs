//! A pid namespace of one's own, in which a pid can be given to whom one likes.

use crate::{binaries, proc, skip, wait::LONG, wait::wait_for};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::Pid,
};
use sexton_common::{ProcessIdentity, identity::Stat};
use std::{
    env, fs,
    io::{Read, Seek},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

const LEVEL: &str = "SEXTON_TEST_PIDS";
/// Tells apart what several namespaces, each with the same few pids, put into one machine's cgroups.
const OWNER: &str = "SEXTON_TEST_OWNER";
/// How often somebody else may have taken the pid first.
const TRIES: u32 = 2000;

/// Who makes containers here, machine-wide.
#[must_use]
pub fn owner() -> String {
    env::var(OWNER).unwrap_or_else(|_| std::process::id().to_string())
}

/// Runs the body of the test of this name in a process below a pid 1 of its own, which reaps orphans at once.
///
/// # Panics
/// If the body does, or takes too long.
#[track_caller]
pub fn in_private_pids(test: &str, body: impl FnOnce()) {
    match env::var(LEVEL).as_deref() {
        Ok("inside") => return body(),
        Ok(_) => std::process::exit(first(test)),
        Err(_) => {}
    }
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut words = tempfile::tempfile().unwrap();
    let owner = format!("{}p{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let (out, err) = (words.try_clone().unwrap(), words.try_clone().unwrap());
    // What is unshared holds for this thread's children only.
    let spawn = move || {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID).ok()?;
        let mut command = again(test, "first");
        Some(command.env(OWNER, owner).stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap())
    };
    let Some(mut child) = std::thread::scope(|scope| scope.spawn(spawn).join().unwrap()) else {
        return skip("no pid namespace can be made here: CAP_SYS_ADMIN is needed");
    };
    let mut status = None;
    let ended = crate::wait_until(LONG * 3, || {
        status = status.or_else(|| child.try_wait().unwrap());
        status.is_some()
    });
    if !ended {
        let _ = child.kill();
        let _ = child.wait();
    }
    let mut said = String::new();
    words.rewind().unwrap();
    words.read_to_string(&mut said).unwrap();
    assert!(status.is_some_and(|status| status.success()), "{test} in its namespace: {status:?}\n{said}");
    assert!(said.contains("1 passed"), "{test} was not run:\n{said}");
}

fn again(test: &str, level: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([test, "--exact", "--include-ignored", "--nocapture"]).env(LEVEL, level);
    command
}

/// Pid 1.
fn first(test: &str) -> i32 {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>).unwrap();
    #[expect(clippy::zombie_processes, reason = "the loop waits for whatever there is")]
    let child = again(test, "inside").spawn().unwrap();
    let child = Pid::from_raw(child.id().cast_signed());
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => return code,
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => return 128 + signal as i32,
            _ => {}
        }
    }
}

/// A process that has nothing to do with Sexton, and has a pid that something of Sexton's once had.
#[derive(Debug)]
pub struct Stranger {
    child: Child,
    begun: ProcessIdentity,
    code: Option<i32>,
}

impl Stranger {
    /// It sleeps, and every signal that is not ignored ends or stops it.
    ///
    /// # Panics
    /// If the pid does not become its own.
    #[track_caller]
    #[must_use]
    pub fn alive(pid: u32, marker: &str) -> Self {
        let mut command = Command::new("sleep");
        command.arg("100000");
        Self::new(pid, marker, command)
    }

    /// What is run has the pid.
    ///
    /// # Panics
    /// If the pid does not become its own.
    #[track_caller]
    #[must_use]
    pub fn new(pid: u32, marker: &str, command: Command) -> Self {
        let child = spawn_as(pid, marker, command);
        let begun = ProcessIdentity::of(pid).unwrap();
        Self { child, begun, code: None }
    }

    /// It has exited with `code`, and nobody has reaped it.
    ///
    /// # Panics
    /// If the pid does not become its own.
    #[track_caller]
    #[must_use]
    pub fn zombie(pid: u32, marker: &str, code: i32) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exit {code}")]);
        let mut stranger = Self::new(pid, marker, command);
        stranger.code = Some(code);
        wait_for("the stranger's end", LONG, || Stat::of(pid).unwrap().unwrap().is_dead());
        stranger
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> ProcessIdentity {
        self.begun
    }

    /// It has had the pid all the time, nobody has signalled it, and nobody has reaped it.
    ///
    /// # Panics
    /// If somebody has.
    #[track_caller]
    pub fn unharmed(mut self) {
        let now = ProcessIdentity::of(self.begun.pid).unwrap();
        assert_eq!(now, self.begun, "another one has its pid");
        let state = Stat::of(now.pid).unwrap().unwrap().state;
        match self.code {
            None => {
                assert!(matches!(state, b'S' | b'R' | b'D'), "the stranger is {:?}", char::from(state));
                assert_eq!(self.child.try_wait().unwrap(), None, "the stranger was killed");
            }
            Some(code) => assert_eq!(self.child.try_wait().unwrap().and_then(|status| status.code()), Some(code)),
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next process is to have this pid; retried until it has.
#[track_caller]
fn spawn_as(pid: u32, marker: &str, mut command: Command) -> Child {
    command.env("SEXTON_TEST_NODE", marker).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    wait_for("the pid to be free", LONG, || proc::is_gone(pid));
    for _ in 0..TRIES {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let mut child = command.spawn().unwrap();
        if child.id() == pid {
            return child;
        }
        let _ = child.kill();
        child.wait().unwrap();
    }
    panic!("pid {pid} cannot be had: this test has tested nothing");
}

/// A sleeper whose name in `/proc` is `name`.
///
/// # Panics
/// If it cannot be made.
#[must_use]
pub fn called(dir: &Path, name: &str) -> Command {
    let program = dir.join(name);
    if !program.exists() {
        fs::copy(binaries::find("sleep").unwrap(), &program).unwrap();
    }
    let mut command = Command::new(program);
    command.arg("100000");
    command
}
