//! A container whose shim was killed between create and start: nobody is left who would start it, and whoever asked was told
//! that it failed.

use super::{
    facts::{EXEC_FIFO, waits_for_start},
    task::Task,
};
use crate::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sexton_common::{
    Init, Launch,
    identity::{Executable, Stat},
    launch::Mode,
    layout::ContainerDir,
};
use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

/// What a stopped process needs to stand still.
const STOPS_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

impl Task {
    /// Whether it may be one that nobody will start.
    pub(super) fn may_wait_for_ever(&self) -> bool {
        self.held.mode == Mode::Run && self.both().1.is_some_and(|init| init.executable.is_some())
    }

    /// Kills what is proven to wait for a start that never comes; it never ran, and its record will say so.
    pub(super) async fn end_unless_begun(&mut self) {
        let ((launch, Some(init)), true) = (self.both(), self.may_wait_for_ever()) else { return };
        let dir = self.dir();
        let name = format!("see whether {} was started", launch.id);
        let never = move || {
            let never = never_began(&launch, &init, &dir);
            if !never {
                take_fifo_away(&launch, &init, &dir);
            }
            never
        };
        if self.cx.tools.blocking.run(name, never).await {
            tracing::warn!(id = %self.held.id, "its shim was killed before it was started: killed, since nobody will start it");
            (self.never_began, self.started) = (true, None);
            self.kill();
        }
    }
}

/// Whether the user's program was never executed. Then it is stopped, so that it stays so. Blocks.
fn never_began(launch: &Launch, init: &Init, dir: &ContainerDir) -> bool {
    let pid = init.process.pid;
    let waits = || waits_for_start(launch, dir) == Some(true) && Executable::of(pid) == init.executable;
    let Ok(Some(pidfd)) = init.process.open() else { return false };
    if !waits() || sys::pidfd_send_signal(pidfd.as_fd(), nix::libc::SIGSTOP).is_err() {
        return false;
    }
    let since = Instant::now();
    let stands = || matches!(Stat::of(pid), Ok(Some(stat)) if matches!(stat.state, b'T' | b't'));
    while !stands() && since.elapsed() < STOPS_WITHIN {
        // Its death would wake us; nothing tells a stranger that it stands.
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&LOOK_EVERY));
    }
    let proven = stands() && waits() && init.process.open().is_ok_and(|fd| fd.is_some());
    if !proven {
        let _ = sys::pidfd_send_signal(pidfd.as_fd(), nix::libc::SIGCONT);
    }
    proven
}

/// As its start would have done, if who started it was killed in the middle of that: else the runtime takes a container that
/// runs for one that waits. Blocks.
fn take_fifo_away(launch: &Launch, init: &Init, dir: &ContainerDir) {
    let Some(state) = launch.workload.runtime().and_then(|runtime| runtime.state_dir(&launch.id)) else { return };
    let begun = || {
        let now = Executable::of(init.process.pid);
        now.is_some() && now != init.executable && init.process.open().is_ok_and(|fd| fd.is_some())
    };
    if waits_for_start(launch, dir) == Some(true) && begun() {
        let _ = std::fs::remove_file(state.join(EXEC_FIFO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_common::{
        ProcessIdentity, Stamp,
        launch::{OnShimDeath, Origin, Stdio},
        restart::RestartPolicy,
        runtime::Runtime,
        workload::Workload,
    };
    use std::{
        fs,
        io::Write,
        process::{Command, Stdio as Pipe},
    };

    #[test]
    fn only_what_waits_is_stopped_and_only_it_is_proven() {
        let root = tempfile::tempdir().unwrap();
        let dir = ContainerDir::at(root.path().join("files"));
        let mut child =
            Command::new("sh").args(["-c", "read go; exec sleep 1000"]).stdin(Pipe::piped()).spawn().unwrap();
        let process = ProcessIdentity::of(child.id()).unwrap();
        let runtime = Runtime { root: Some(root.path().into()), ..Runtime::default() };
        let executable = loop {
            // Until it is the shell.
            let found = Executable::of(child.id());
            if found != Executable::of(std::process::id()) {
                break found;
            }
        };
        let launch = Launch {
            id: "a".parse().unwrap(),
            generation: 7,
            workload: Workload::Oci { bundle: "/b".into(), runtime: runtime.clone() },
            stdio: Stdio::Null,
            mode: Mode::Run,
            auto_remove: false,
            on_shim_death: OnShimDeath::Adopt,
            shim: process,
            origin: Origin::Sexton,
            cgroups: vec![],
            created: Stamp::now(),
            cleanup: sexton_common::cleanup::Cleanup::default(),
            restart: RestartPolicy::No,
            timeout_ms: Launch::TIMEOUT_MS,
        };
        let init = Init {
            id: launch.id.clone(),
            generation: 7,
            process,
            cgroups: vec![],
            ready: Stamp::now(),
            executable,
            shim: process,
            workload: Workload::Oci { bundle: "/b".into(), runtime },
        };
        let state = || char::from(Stat::of(process.pid).unwrap().unwrap().state);
        assert!(!never_began(&launch, &init, &dir), "the runtime does not say that it waits");
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/exec.fifo"), "").unwrap();
        assert!(
            !never_began(&launch, &Init { executable: None, ..init.clone() }, &dir),
            "there is nothing to compare with"
        );
        assert_ne!(state(), 'T');
        assert!(never_began(&launch, &init, &dir));
        assert_eq!(state(), 'T');
        let pidfd = process.open().unwrap().unwrap();
        sys::pidfd_send_signal(pidfd.as_fd(), nix::libc::SIGCONT).unwrap();
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        while Executable::of(process.pid) == executable {
            std::thread::yield_now();
        }
        // The runtime was killed before it removed its FIFO.
        assert!(!never_began(&launch, &init, &dir));
        assert_ne!(state(), 'T');
        take_fifo_away(&launch, &Init { executable: Executable::of(process.pid), ..init.clone() }, &dir);
        assert_eq!(waits_for_start(&launch, &dir), Some(true), "it waits");
        take_fifo_away(&launch, &init, &dir);
        assert_eq!(waits_for_start(&launch, &dir), Some(false));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
