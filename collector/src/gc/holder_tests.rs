use super::*;
use crate::gc::fixture::{Cgroups, Running, comm, freeze, skip, thaw, wait_for, write};
use std::process::{Command, Stdio};

fn holder(process: ProcessIdentity) -> Holder {
    Holder { process, how: "in cgroup /x".into(), frozen_by: None, mount_ns: None }
}

#[test]
fn a_sleeping_process_is_described() {
    let running = Running::sleep(&[]);
    let asleep = || describe(&holder(running.process())).wchan.is_some_and(|wchan| wchan.contains("nanosleep"));
    wait_for("it sleeps", asleep);
    let seen = describe(&holder(running.process()));
    assert_eq!((seen.pid, seen.comm.as_str(), seen.state.as_str()), (running.pid(), "sleep", "S"));
    assert_eq!((seen.how.as_str(), seen.frozen_by), ("in cgroup /x", None));
    assert!(seen.wchan.is_some_and(|wchan| wchan.contains("nanosleep")));
    assert!(seen.stack.iter().any(|frame| frame.contains("nanosleep")) && !seen.stack[0].starts_with('['));
}

#[test]
fn one_that_is_gone_or_another_s_is_not_described_as_alive() {
    let mut running = Running::sleep(&[]);
    let process = running.process();
    let other = ProcessIdentity { start_time: process.start_time - 1, ..process };
    let seen = describe(&holder(other));
    assert_eq!((seen.state.as_str(), seen.comm.as_str(), seen.stack.len()), ("X", "", 0));
    running.child.kill().unwrap();
    wait_for("its end", || matches!(process.look(), Ok(Presence::Zombie(..))));
    assert_eq!(describe(&holder(process)).state, "Z");
    running.child.wait().unwrap();
    assert_eq!(describe(&holder(process)).state, "X");
}

#[test]
fn a_hostile_name_is_one_line() {
    let program = "import ctypes, time\n\
        ctypes.CDLL(None).prctl(15, b'a\\n\\x1b[31mb')\nprint('ready', flush=True)\ntime.sleep(1000)";
    let mut command = Command::new("python3");
    command.args(["-c", program]);
    let running = Running::spawn(command);
    let seen = describe(&holder(running.process()));
    assert_eq!(seen.comm, "a??[31mb");
}

#[test]
fn the_topmost_cgroup_that_was_frozen_by_itself_is_told() {
    let Some(top) = Cgroups::new(&["freezer"]) else { return };
    let (middle, own) = (top.below("middle"), top.below("middle/own"));
    let running = Running::sleep(std::slice::from_ref(&own.dir));
    assert_eq!(frozen_by(running.pid()), None);
    for (freezes, expected) in [(&own.dir, &own.dir), (&middle.dir, &middle.dir)] {
        freeze(freezes);
        assert_eq!(frozen_by(running.pid()).as_ref(), Some(expected));
    }
    let seen = describe(&holder(running.process()));
    assert_eq!((seen.state.as_str(), seen.frozen_by.as_ref()), ("D", Some(&middle.dir)));
    thaw(&middle.dir);
    assert_eq!(frozen_by(running.pid()).as_ref(), Some(&own.dir));
    thaw(&own.dir);
    assert_eq!(frozen_by(running.pid()), None);
}

#[test]
fn a_frozen_cgroup_of_v2_is_told_too() {
    let Some(top) = Cgroups::new(&[""]) else { return };
    let own = top.below("own");
    let running = Running::sleep(std::slice::from_ref(&own.dir));
    write(top.dir(0).join("cgroup.freeze"), "1");
    wait_for("the freezing", || frozen_by(running.pid()).as_deref() == Some(top.dir(0)));
    assert!(freezer::way_out(top.dir(0)).ends_with("/cgroup.freeze)"));
    write(top.dir(0).join("cgroup.freeze"), "0");
    wait_for("the thaw", || frozen_by(running.pid()).is_none());
}

/// The leader of a process may be dead, and another thread keep it.
#[test]
fn a_thread_that_keeps_its_process_is_the_one_that_is_shown() {
    let program = "import ctypes, threading, time\n\
        threading.Thread(target=lambda: time.sleep(1000)).start()\nprint('ready', flush=True)\n\
        ctypes.CDLL(None).syscall(60, 0)";
    let mut command = Command::new("python3");
    command.args(["-c", program]);
    let running = Running::spawn(command);
    wait_for("the leader's end", || Stat::of(running.pid()).unwrap().unwrap().state == b'Z');
    let seen = || Seen::of(&running.process()).unwrap();
    // It may not have gone to sleep yet.
    wait_for("the other thread's sleep", || seen().state == 'S');
    assert!(seen().tid != running.pid() && seen().wchan.is_some(), "{:?}", seen());
}

/// A file system that is frozen, mounted where nobody else sees it; thawed, then unmounted, whatever happens.
struct FrozenFs {
    dir: tempfile::TempDir,
    frozen: bool,
}

impl FrozenFs {
    fn run(program: &str, args: &[&str]) -> bool {
        let done = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    }

    fn new() -> Option<Self> {
        let fs = Self { dir: tempfile::tempdir().unwrap(), frozen: false };
        let image = fs.dir.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
        std::fs::create_dir(fs.mountpoint()).unwrap();
        let (image, point) = (image.display().to_string(), fs.mountpoint());
        (Self::run("mkfs.ext4", &["-q", &image]) && Self::run("mount", &["-o", "loop", &image, &point])).then_some(fs)
    }

    fn mountpoint(&self) -> String {
        self.dir.path().join("mnt").display().to_string()
    }

    fn set_frozen(&mut self, frozen: bool) {
        let option = if frozen { "-f" } else { "-u" };
        assert!(Self::run("fsfreeze", &[option, &self.mountpoint()]));
        self.frozen = frozen;
    }
}

impl Drop for FrozenFs {
    fn drop(&mut self) {
        if self.frozen {
            Self::run("fsfreeze", &["-u", &self.mountpoint()]);
        }
        let gone = || Self::run("umount", &[&self.mountpoint()]) || !Self::run("mountpoint", &[&self.mountpoint()]);
        let end = crate::gc::fixture::within(crate::gc::fixture::LONG);
        while !gone() && std::time::Instant::now() < end {
            std::thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }
}

#[test]
fn a_process_in_state_d_is_named_with_what_it_waits_for() {
    use crate::gc::{
        fixture::{BRIEF, LONG, nobody, within},
        processes,
    };
    let Some(cgroups) = Cgroups::new(&["cpu"]) else { return };
    let Some(mut fs) = FrozenFs::new() else { return skip("needs a loop device and ext4") };
    fs.set_frozen(true);
    let script = format!("echo ready; exec dd if=/dev/zero of={}/file bs=1 count=1", fs.mountpoint());
    let mut writer = cgroups.run(&script);
    let pid = writer.pid();
    let waits = || fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|wchan| wchan.contains("percpu_rwsem"));
    wait_for("state D", || comm(pid) == "dd" && Stat::of(pid).unwrap().unwrap().state == b'D' && waits());
    let obstacle = processes::end(&cgroups.0, &[], &nobody(), within(BRIEF)).unwrap_err();
    let seen = describe(&obstacle.holders[0]);
    fs.set_frozen(false);
    assert_eq!((seen.pid, seen.comm.as_str(), seen.state.as_str()), (pid, "dd", "D"));
    let wchan = seen.wchan.unwrap();
    assert!(wchan.contains("percpu_rwsem"), "{wchan}");
    assert!(seen.stack.iter().any(|frame| frame.contains("percpu_rwsem")), "{:?}", seen.stack);
    let expected = format!("process {pid} (dd) is in state D in {wchan} since it was killed; it cannot die");
    assert!(obstacle.what.starts_with(&expected), "{}", obstacle.what);
    processes::end(&cgroups.0, &[], &nobody(), within(LONG)).unwrap();
    assert!(!writer.lives());
}
