//! runc's exec FIFO: what `runc start` does with it, without executing anything for that.
//!
//! What runc has created waits in its open for writing. Once the FIFO is open for reading it says one byte and becomes the user's
//! program, which closes the writing end. runc calls a container `created` as long as the FIFO has its name.

use crate::{
    child,
    sys::{self, Which},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, unlinkat},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
    time::Timespec,
};
use sexton_common::{ContainerId, ExitStatus, runtime::Runtime};
use std::{
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::{Duration, Instant},
};

const FIFO: &str = "exec.fifo";
const STATE: &str = "state.json";
/// A longer state is not looked at. With the system call filters that engines use it has about 100 KiB.
const LONGEST_STATE: u64 = 4 << 20;
/// What the child may take longer than it waits.
const GRACE: Duration = Duration::from_secs(1);
const FLAGS: OFlags = OFlags::NONBLOCK.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The FIFO at which one container waits.
#[derive(Debug)]
pub struct ExecFifo {
    /// The runtime's directory of the container.
    dir: OwnedFd,
}

/// What came of opening it.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened {
    /// The container is started. If it has ended since then, or in between, that is its exit.
    Begun,
    /// Its process died before.
    Dead,
    /// It does not go on.
    Late,
}

impl Opened {
    fn of(begun: bool) -> Self {
        if begun { Self::Begun } else { Self::Dead }
    }
}

impl ExecFifo {
    /// That of a container whose process is `pid`. `None` where the runtime's `start` may do more than open it, or where that
    /// cannot be seen: other runtimes have other ways, and a script of that name its own.
    fn of(runtime: &Runtime, id: &ContainerId, pid: u32) -> Option<Self> {
        let dir = runtime.state_dir(id).filter(|_| is_runc(runtime))?;
        let dir = openat(CWD, &dir, OFlags::PATH | OFlags::DIRECTORY | FLAGS, Mode::empty()).ok()?;
        let file = File::from(openat(&dir, STATE, OFlags::RDONLY | FLAGS, Mode::empty()).ok()?);
        let length = file.metadata().ok()?.len().min(LONGEST_STATE);
        // With room for the end that is read last.
        let mut state = String::with_capacity(usize::try_from(length).ok()? + 32);
        file.take(LONGEST_STATE).read_to_string(&mut state).ok()?;
        opening_is_all(&state, pid).then_some(Self { dir })
    }

    /// Starts the container, whose process `pidfd` is. `None` if there is nothing to open, or nobody to wait for any more: nothing
    /// was done then.
    ///
    /// Once it is open there is no way back: if nobody reads any more when it says its byte, init dies of that, and nobody might be
    /// left to know. So it is opened by a child, which goes on should we be killed.
    pub fn start(
        runtime: &Runtime,
        id: &ContainerId,
        pid: u32,
        pidfd: &OwnedFd,
        timeout: Duration,
    ) -> Option<io::Result<Opened>> {
        if !is_runc(runtime) {
            return None;
        }
        let child = match sys::fork() {
            Ok(Some(child)) => child,
            Ok(None) => {
                // Nobody who waits for the shim to close something waits for it too.
                sys::close_all_but(&mut [pidfd.as_raw_fd()]);
                let _ = prctl::set_name("sexton-start");
                // Here, and not before: what it takes to look leaves nothing in the shim's memory.
                sys::leave(told(Self::of(runtime, id, pid).and_then(|fifo| fifo.open(pidfd, timeout)).as_ref()))
            }
            Err(e) => return Some(Err(e)),
        };
        heard(child, timeout.saturating_add(GRACE)).unwrap_or_else(|e| Some(Err(e)))
    }

    fn open(&self, pidfd: impl AsFd, timeout: Duration) -> Option<io::Result<Opened>> {
        let alive = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0);
        let there = openat(&self.dir, FIFO, OFlags::PATH | FLAGS, Mode::empty()).and_then(fstat).ok()?;
        if !alive || FileType::from_raw_mode(there.st_mode) != FileType::Fifo {
            return None;
        }
        let fifo = openat(&self.dir, FIFO, OFlags::RDONLY | FLAGS, Mode::empty()).ok()?;
        Some(self.wait(&fifo, pidfd, timeout))
    }

    /// Until it has become the program, as the end of what it says tells.
    fn wait(&self, fifo: &OwnedFd, pidfd: impl AsFd, timeout: Duration) -> io::Result<Opened> {
        // None: so far ahead that the clock cannot tell it.
        let deadline = Instant::now().checked_add(timeout);
        let mut begun = false;
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let time = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(fifo, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            match poll(&mut fds, time.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
            // Nobody has hung up before anybody was there.
            let [said, dead] = fds.map(|fd| !fd.revents().is_empty());
            // Whoever rang: it may have said it and died between the looks at the one and the other.
            match rustix::io::read(fifo, &mut [0; 16]) {
                // Not before: whoever finds the name knows that its process may still wait for somebody to open it.
                Ok(1..) => {
                    begun = true;
                    let _ = unlinkat(&self.dir, FIFO, AtFlags::empty());
                }
                Ok(0) if said => return Ok(Opened::of(begun)),
                Ok(0) | Err(Errno::AGAIN | Errno::INTR) => {
                    if dead {
                        return Ok(Opened::of(begun));
                    }
                    if left.is_some_and(|left| left.is_zero()) {
                        return Ok(Opened::Late);
                    }
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// What the child ends with.
fn told(came: Option<&io::Result<Opened>>) -> u8 {
    match came {
        Some(Ok(Opened::Begun)) => 0,
        Some(Ok(Opened::Dead)) => 1,
        Some(Ok(Opened::Late)) => 2,
        None => 3,
        Some(Err(_)) => 4,
    }
}

/// What it told; if it does not end it is killed. Not reaped, its number is its own.
fn heard(child: u32, timeout: Duration) -> io::Result<Option<io::Result<Opened>>> {
    let pid = i32::try_from(child).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    if !child::ends(&pidfd, timeout)? {
        kill_process(pid, Signal::KILL)?;
        child::ends(&pidfd, GRACE)?;
    }
    Ok(match sys::reap(Which::Pid(child))?.map(|dead| dead.status) {
        Some(ExitStatus::Code(0)) => Some(Ok(Opened::Begun)),
        Some(ExitStatus::Code(1)) => Some(Ok(Opened::Dead)),
        Some(ExitStatus::Code(3)) => None,
        Some(ExitStatus::Code(4)) => Some(Err(io::Error::other("it cannot be read"))),
        _ => Some(Ok(Opened::Late)),
    })
}

fn is_runc(runtime: &Runtime) -> bool {
    let mut magic = [0; 4];
    let mut elf = || File::open(&runtime.program).and_then(|mut file| file.read_exact(&mut magic)).is_ok();
    runtime.program.file_name().is_some_and(|name| name == "runc") && elf() && magic == *b"\x7fELF"
}

/// Whether runc's state of a container is that of this process, and has no hooks that `start` runs: newer ones run `poststart`
/// there. Not parsed: in a string a quote is escaped, so what is searched for is found where it is a key.
fn opening_is_all(state: &str, pid: u32) -> bool {
    let mut poststart = state.split("\"poststart\":").skip(1).peekable();
    let known = poststart.peek().is_some() || state.contains("\"Hooks\":null");
    state.contains(&format!("\"init_process_pid\":{pid},"))
        && known
        && poststart.all(|value| value.starts_with("null") || value.starts_with("[]"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkfifoat;
    use std::{
        fs,
        path::{Path, PathBuf},
        process::Command,
    };

    const STATE: &str = r#"{"id":"a","init_process_pid":77,"config":{"rootfs":"/","Hooks":{"createRuntime":null,"poststart":null,"poststop":null},"labels":["a=\"poststart\":[{\"path\""]}}"#;

    #[test]
    fn only_what_opening_starts_is_opened() {
        assert!(opening_is_all(STATE, 77));
        assert!(!opening_is_all(STATE, 7) && !opening_is_all(STATE, 8), "another process");
        assert!(opening_is_all(&STATE.replace(r#""poststart":null"#, r#""poststart":[]"#), 77));
        assert!(!opening_is_all(&STATE.replace(r#""poststart":null"#, r#""poststart":[{"path":"/x"}]"#), 77));
        assert!(opening_is_all(r#"{"init_process_pid":77,"config":{"Hooks":null}}"#, 77));
        for odd in ["", "{}", r#"{"init_process_pid":77,"config":{}}"#, r#"{"config":{"Hooks":null}}"#] {
            assert!(!opening_is_all(odd, 77), "{odd}");
        }
    }

    fn runtime(root: &Path, program: &Path) -> Runtime {
        Runtime { program: program.into(), root: Some(root.into()), args: vec![] }
    }

    #[test]
    fn only_runc_itself_is_known() {
        let root = tempfile::tempdir().unwrap();
        let (dir, id) = (root.path().join("a"), "a".parse().unwrap());
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("state.json"), STATE).unwrap();
        let of = |program: PathBuf| ExecFifo::of(&runtime(root.path(), &program), &id, 77).is_some();
        let runc = root.path().join("runc");
        fs::copy("/proc/self/exe", &runc).unwrap();
        assert!(of(runc.clone()));
        let other = root.path().join("other");
        fs::rename(&runc, &other).unwrap();
        assert!(!of(other), "another name");
        fs::write(&runc, "#!/bin/sh\nexec other\n").unwrap();
        assert!(!of(runc.clone()), "a script");
        fs::remove_file(&runc).unwrap();
        assert!(!of(runc.clone()), "nothing");
        fs::copy("/proc/self/exe", &runc).unwrap();
        fs::remove_file(dir.join("state.json")).unwrap();
        assert!(!of(runc), "another runtime's directory");
    }

    /// As init does: waits in its open, says its byte, becomes something else.
    fn waiting(root: &Path, script: &str) -> (ExecFifo, std::process::Child, OwnedFd) {
        let path = root.join(FIFO);
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        // By a descriptor, as init has it.
        let known = openat(CWD, &path, OFlags::PATH, Mode::empty()).unwrap();
        let path = format!("/proc/self/fd/{}", known.as_raw_fd());
        let child = Command::new("sh").args(["-c", script]).arg(&path).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let dir = openat(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        (ExecFifo { dir }, child, pidfd)
    }

    #[test]
    fn opening_starts_it_once() {
        for (script, came) in [
            ("exec 3>$0; printf 0 >&3; exec sleep 1000 3>&-", Opened::Begun),
            ("exec 3>$0; printf 0 >&3", Opened::Begun),
            ("exec 3>$0; exit 3", Opened::Dead),
            ("exit 3", Opened::Dead),
            ("exec sleep 1000", Opened::Late),
            ("exec 3>$0; exec sleep 1000", Opened::Late),
        ] {
            let root = tempfile::tempdir().unwrap();
            let time = Duration::from_secs(if came == Opened::Late { 1 } else { 60 });
            let (fifo, mut child, pidfd) = waiting(root.path(), script);
            let opened = fifo.open(&pidfd, time);
            child.kill().unwrap();
            child.wait().unwrap();
            match opened {
                None => assert_eq!(came, Opened::Dead, "{script}: it was quick"),
                Some(opened) => {
                    assert_eq!(opened.unwrap(), came, "{script}");
                    assert_eq!(root.path().join(FIFO).exists(), came != Opened::Begun, "{script}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_done_where_there_is_nothing_to_do() {
        let root = tempfile::tempdir().unwrap();
        let (fifo, mut child, pidfd) = waiting(root.path(), "exec sleep 1000");
        fs::remove_file(root.path().join(FIFO)).unwrap();
        let dir = fifo.dir.try_clone().unwrap();
        assert!(fifo.open(&pidfd, Duration::ZERO).is_none(), "somebody has started it");
        fs::write(root.path().join(FIFO), "").unwrap();
        let fifo = ExecFifo { dir };
        let dir = fifo.dir.try_clone().unwrap();
        assert!(fifo.open(&pidfd, Duration::ZERO).is_none(), "no FIFO");
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(root.path().join(FIFO)).unwrap();
        mkfifoat(CWD, root.path().join(FIFO), Mode::RUSR | Mode::WUSR).unwrap();
        assert!(ExecFifo { dir }.open(&pidfd, Duration::ZERO).is_none(), "its process is dead");
        assert!(root.path().join(FIFO).exists());
    }
}
