//! The thread that traces. It follows forks down to the process that is meant, and its threads; every other child is
//! let go at once.

use super::{
    fault::Disk,
    killer::{Blow, Order, Report, Told},
    sys::Call,
};
use nix::{
    errno::Errno,
    libc,
    sys::{
        ptrace::{self, Options},
        signal::Signal,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs::File,
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, atomic::Ordering},
};

/// How many stops before the last one are remembered.
pub(super) const REMEMBERED: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The shell that waits for us to be attached, and becomes the program.
    Gate,
    /// An ancestor, at this depth, of the one that is meant.
    Way(u32),
    /// The one that is meant, or a thread of it.
    Target,
    /// Nobody of ours.
    Stranger,
}

pub(super) struct Tracer {
    pub(super) order: Order,
    pub(super) told: Arc<Told>,
    roles: HashMap<Pid, Role>,
    /// Children that stopped before their parent's fork was heard of.
    early: HashSet<Pid>,
    pub(super) inside: HashMap<Pid, Call>,
    pub(super) target: Option<Pid>,
    target_over: bool,
    pub(super) lately: VecDeque<String>,
    pub(super) disk: Option<Disk>,
    pub(super) report: Report,
}

impl Tracer {
    pub(super) fn new(order: Order, told: Arc<Told>) -> Self {
        let disk = match &order.blow {
            Blow::Kill => None,
            Blow::BadDisk(fault, below) => Some(Disk::new(*fault, below.clone())),
        };
        Self {
            order,
            told,
            disk,
            roles: HashMap::new(),
            early: HashSet::new(),
            inside: HashMap::new(),
            target: None,
            target_over: false,
            lately: VecDeque::new(),
            report: Report { stops: 0, kill: None, last: Vec::new(), failed: 0, ended: None },
        }
    }

    pub(super) fn run(mut self) -> Report {
        let first = self.launch();
        // Only what this thread started or traces: the harness waits for its own children itself.
        let mine = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        while self.report.ended.is_none() || (self.target.is_some() && !self.target_over) {
            match waitpid(None, Some(mine)) {
                Ok(status) => self.on(first, status),
                Err(Errno::EINTR) => {}
                Err(e) => panic!("wait for {:?}: {e}", self.order.command),
            }
        }
        self.report.last = self.lately.iter().cloned().collect();
        // Born in the moment of the kill.
        while let Ok(WaitStatus::PtraceEvent(pid, ..) | WaitStatus::Stopped(pid, _)) =
            waitpid(None, Some(mine | WaitPidFlag::WNOHANG))
        {
            let _ = ptrace::detach(pid, None);
        }
        self.report
    }

    #[expect(clippy::zombie_processes, reason = "the loop waits for whatever is ours")]
    fn launch(&mut self) -> Pid {
        let wanted = &self.order.command;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read go; exec \"$@\" </dev/null", "sh"]).arg(wanted.get_program()).args(wanted.get_args());
        for (name, value) in wanted.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let words = File::options().append(true).create(true).open(&self.order.words).unwrap();
        command.stdin(Stdio::piped()).stdout(words.try_clone().unwrap()).stderr(words);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let first = Pid::from_raw(i32::try_from(child.id()).unwrap());
        self.roles.insert(first, Role::Gate);
        let follow = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
        let options = follow | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACESYSGOOD;
        ptrace::seize(first, options).unwrap_or_else(|e| panic!("trace {:?}: {e}", self.order.command));
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        first
    }

    fn on(&mut self, first: Pid, status: WaitStatus) {
        match status {
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) if self.has_passed_the_gate(pid) => {
                if self.order.no_vdso {
                    hide_vdso(pid);
                }
                self.enter(pid, 0);
            }
            WaitStatus::PtraceEvent(
                pid,
                _,
                event @ (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE),
            ) => {
                self.on_birth(pid, event == libc::PTRACE_EVENT_CLONE);
            }
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_STOP) if self.role(pid).is_none() => {
                if self.report.kill.is_some() && self.disk.is_none() {
                    let _ = ptrace::detach(pid, None);
                } else {
                    self.early.insert(pid);
                }
            }
            WaitStatus::PtraceSyscall(pid) => self.on_call(pid),
            WaitStatus::PtraceEvent(pid, ..) => self.go_on(pid, None),
            WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
            WaitStatus::Exited(pid, code) => self.on_end(first, pid, ExitStatus::from_raw(code << 8)),
            WaitStatus::Signaled(pid, signal, _) => self.on_end(first, pid, ExitStatus::from_raw(signal as i32)),
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
    }

    /// Not when the shell itself is executed, which may be after we were attached.
    fn has_passed_the_gate(&self, pid: Pid) -> bool {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = words.split(|byte| *byte == 0).next();
        self.role(pid) == Some(Role::Gate) && program == Some(self.order.command.get_program().as_encoded_bytes())
    }

    fn role(&self, pid: Pid) -> Option<Role> {
        self.roles.get(&pid).copied()
    }

    /// This process is at that depth below the program.
    fn enter(&mut self, pid: Pid, depth: u32) {
        let role = if depth == self.order.depth { Role::Target } else { Role::Way(depth) };
        self.roles.insert(pid, role);
        if role == Role::Target {
            self.aim(pid);
        }
        self.go_on(pid, None);
    }

    fn aim(&mut self, pid: Pid) {
        self.target = Some(pid);
        self.told.target.store(pid.as_raw(), Ordering::SeqCst);
    }

    fn on_birth(&mut self, parent: Pid, thread: bool) {
        let Ok(child) = ptrace::getevent(parent) else { return };
        let child = Pid::from_raw(i32::try_from(child).unwrap());
        let stopped = self.early.remove(&child);
        match self.role(parent) {
            Some(Role::Way(depth)) => {
                // Its first stop is yet to come, unless it was early; either way it goes on from there.
                let next = depth + 1;
                let role = if next == self.order.depth { Role::Target } else { Role::Way(next) };
                self.roles.insert(child, role);
                if role == Role::Target {
                    self.aim(child);
                }
                self.roles.remove(&parent);
                let _ = ptrace::detach(parent, None);
            }
            role => {
                let target = role == Some(Role::Target);
                self.roles.insert(child, if thread && target { Role::Target } else { Role::Stranger });
                self.go_on(parent, None);
            }
        }
        if stopped {
            self.go_on(child, None);
        }
    }

    pub(super) fn go_on(&mut self, pid: Pid, signal: Option<Signal>) {
        // An error means that it is dead, which is told soon.
        let _ = match self.role(pid) {
            Some(Role::Target) => ptrace::syscall(pid, signal),
            Some(Role::Gate | Role::Way(_)) => ptrace::cont(pid, signal),
            Some(Role::Stranger) | None => {
                self.roles.remove(&pid);
                ptrace::detach(pid, signal)
            }
        };
    }

    fn on_end(&mut self, first: Pid, pid: Pid, status: ExitStatus) {
        self.roles.remove(&pid);
        self.inside.remove(&pid);
        if pid == first {
            self.report.ended = Some(status);
        }
        if Some(pid) == self.target {
            self.target_over = true;
        }
    }
}

/// The process finds no shortcut to the time, and asks the kernel: what the auxiliary vector says of it is passed over
/// (getauxval(3)).
fn hide_vdso(pid: Pid) {
    let word = |at: u64| ptrace::read(pid, at as ptrace::AddressType).unwrap();
    let mut at = ptrace::syscall_info(pid).unwrap().stack_pointer;
    // The arguments' number, the arguments, and the environment, with a null behind each.
    at += 8 * (word(at).cast_unsigned() + 2);
    while word(at) != 0 {
        at += 8;
    }
    at += 8;
    while word(at) != libc::AT_NULL.cast_signed() {
        if word(at) == libc::AT_SYSINFO_EHDR.cast_signed() {
            ptrace::write(pid, at as ptrace::AddressType, libc::AT_IGNORE.cast_signed()).unwrap();
        }
        at += 16;
    }
}
