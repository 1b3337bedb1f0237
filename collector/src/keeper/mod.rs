//! `sextond --keeper`: what systemd is for sextond, where there is no systemd.
//!
//! A process of one thread that starts sextond, restarts it, and holds the pidfds that it stores, so that an exit which
//! neither shim nor collector lived to see is known all the same. It speaks sd_notify(3): `READY`, `FDSTORE`,
//! `FDSTOREREMOVE`, `FDNAME`; and hands the descriptors to the next daemon as `LISTEN_FDS`. It is a subreaper that reaps
//! nobody whose status somebody may still want: a zombie tells it too (`/proc/PID/stat`), on every kernel.

mod above;
mod child;
mod held;
mod inbox;

pub use above::{miss, of_this_process};

use crate::{
    config::{Args, Config},
    exit::Backoff,
    notify,
    zombies::{self, Fate, Zombies},
};
use child::{Child, End};
use held::Held;
use inbox::{Inbox, Message};
use nix::sys::{
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::Timespec,
};
use sexton_common::{Stamp, private::private_dir};
use std::{
    fs,
    io::{self, Write},
    ops::ControlFlow,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Our pid in sextond's environment.
const VARIABLE: &str = "SEXTON_KEEPER";
/// Until sextond comes back; doubled each time that it did not even get ready.
const RESTART: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
/// Many die at once: one look for all of them; and another one.
const PAUSE: Duration = Duration::from_millis(50);
const AGAIN: Duration = Duration::from_secs(1);
/// Descriptors that we need ourselves, to start and see sextond and to read `/proc`.
const SPARE: usize = 24;
/// How long sextond may take to stop. It stops within 1 s.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long a dead orphan is left to a sextond that is ready and has not asked us to hold its pidfd.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps sextond until a signal ends it; then stops sextond and takes over its exit code. Containers run on.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    let kept = Config::load(args).map_err(|e| e.to_string()).and_then(|config| Keeper::new(&config));
    match kept.and_then(Keeper::keep) {
        Ok(code) => ExitCode::from(code),
        Err(text) => {
            say(&text);
            ExitCode::FAILURE
        }
    }
}

/// The log of a process that has next to nothing to say.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "sextond[keeper]: {text}");
}

/// Those of keepers that were killed: nobody hears them.
fn remove_stale_sockets(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        let refused = || {
            UnixDatagram::unbound()
                .and_then(|socket| socket.connect(&path))
                .is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
        };
        if name.starts_with("keeper.") && name.ends_with(".sock") && refused() {
            let _ = fs::remove_file(&path);
        }
    }
}

struct Keeper {
    /// Looked up once, by its path, so that an upgrade in its place is effective.
    program: PathBuf,
    inbox: Inbox,
    signals: SignalFd,
    held: Held,
    zombies: Zombies,
    nofile: Rlimit,
    child: Option<Child>,
    /// sextond has said that it knows every container, and has not died since.
    ready: bool,
    /// It never was.
    never_ready: bool,
    failures: u32,
    start_at: Option<Instant>,
    kill_at: Option<Instant>,
    /// When dead children are looked at; none, if nobody has died.
    reap_at: Option<Instant>,
    /// Once more after that: the kernel's list of children may miss some while others go (proc(5)).
    again_at: Option<Instant>,
    look_took: Duration,
}

impl Keeper {
    fn new(config: &Config) -> Result<Self, String> {
        let failed = |what: &str, e: io::Error| format!("{what}: {e}");
        let layout = &config.layout;
        private_dir(layout.state()).map_err(|e| e.to_string())?;
        remove_stale_sockets(layout.state());
        let path = layout.keeper_socket(std::process::id(), Stamp::now().boot_ns / 1000);
        let inbox = Inbox::bind(&path).map_err(|e| {
            let hint = if e.kind() == io::ErrorKind::InvalidInput { ": give a shorter --state-dir" } else { "" };
            format!("listen on {}: {e}{hint}", path.display())
        })?;
        prctl::set_child_subreaper(true).map_err(|e| failed("become subreaper", io::Error::from_raw_os_error(e)))?;
        let mut wanted = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            wanted.add(signal);
        }
        wanted.thread_set_mask().map_err(|e| failed("block signals", e.into()))?;
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(|e| failed("signalfd", e.into()))?;
        let nofile = getrlimit(Resource::Nofile);
        // One descriptor a container.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: nofile.maximum, maximum: nofile.maximum });
        let most = nofile.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        Ok(Self {
            program: std::env::current_exe().map_err(|e| failed("find our own program", e))?,
            inbox,
            signals,
            held: Held::new(most.saturating_sub(SPARE)),
            zombies: Zombies::default(),
            nofile,
            child: None,
            ready: false,
            never_ready: true,
            failures: 0,
            start_at: Some(Instant::now()),
            kill_at: None,
            reap_at: None,
            again_at: None,
            look_took: Duration::ZERO,
        })
    }

    fn keep(mut self) -> Result<u8, String> {
        loop {
            // First what a daemon said, then whether it has died: its last words count.
            while let Some(message) = self.inbox.receive() {
                self.hear(message);
            }
            if let Some(code) = self.look_at_the_child() {
                return Ok(code);
            }
            self.start_if_due()?;
            if self.kill_at.is_some_and(|at| at <= Instant::now()) {
                self.kill_at = None;
                if let Some(child) = &self.child {
                    say(&format!("sextond (pid {}) does not stop: killed", child.pid()));
                    child.signal(Signal::SIGKILL);
                }
            }
            self.reap();
            self.sleep();
            while let Ok(Some(signal)) = self.signals.read_signal() {
                if self.pass_on(signal.ssi_signo).is_break() {
                    return Ok(0);
                }
            }
        }
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Keep { name, fd } => self.held.keep(name, fd),
            Message::Release { name } => self.held.release(&name),
            Message::State { ready, words } => {
                if ready {
                    (self.ready, self.never_ready, self.failures) = (true, false, 0);
                    self.reap_at = Some(Instant::now());
                }
                // Whoever keeps us hears what it would hear of sextond itself; but never waits for it.
                let _ = notify::say(&words, None, Duration::ZERO);
            }
        }
    }

    /// The exit code, if this was the end.
    fn look_at_the_child(&mut self) -> Option<u8> {
        let end = self.child.as_ref()?.ended()?;
        let stopping = self.child.as_ref().is_some_and(Child::is_stopping);
        let pid = self.child.take().map(|child| child.pid()).unwrap_or_default();
        self.ready = false;
        match end {
            End::Code(code) if stopping => return Some(code),
            // It did not like its configuration, or is the second one here: it has said so.
            End::Code(code) if self.never_ready && code != 0 => return Some(code),
            _ if stopping => return Some(1),
            _ => {}
        }
        let pause = RESTART.delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        say(&format!(
            "sextond (pid {pid}) {end}; it comes back in {pause:?}, {} descriptors are held for it",
            self.held.len()
        ));
        self.start_at = Some(Instant::now() + pause);
        None
    }

    fn start_if_due(&mut self) -> Result<(), String> {
        if self.child.is_some() || self.start_at.is_none_or(|at| at > Instant::now()) {
            return Ok(());
        }
        self.start_at = None;
        if let Err(e) = self.inbox.make_sure() {
            say(&format!("listen on {}: {e}: nothing can be stored", self.inbox.path().display()));
        }
        let names = [("NOTIFY_SOCKET", self.inbox.path().into()), (VARIABLE, std::process::id().to_string().into())];
        match Child::start(&self.program, &names, &self.held, self.nofile) {
            Ok(child) => self.child = Some(child),
            Err(e) if self.never_ready => return Err(format!("start sextond: {e}")),
            Err(e) => {
                let pause = RESTART.delay(self.failures);
                self.failures = self.failures.saturating_add(1);
                say(&format!("start sextond: {e}; tried again in {pause:?}"));
                self.start_at = Some(Instant::now() + pause);
            }
        }
        Ok(())
    }

    fn pass_on(&mut self, number: u32) -> ControlFlow<()> {
        let signal = i32::try_from(number).ok().and_then(|number| Signal::try_from(number).ok());
        if signal == Some(Signal::SIGCHLD) {
            let now = Instant::now();
            // The more children there are to look at, the less often.
            let soon = now + PAUSE.max(self.look_took * 20);
            self.reap_at = self.reap_at.or(Some(soon)).map(|at| at.min(soon));
            self.again_at = Some(now + AGAIN);
        }
        let Some(signal) = signal.filter(|&signal| signal != Signal::SIGCHLD) else {
            return ControlFlow::Continue(());
        };
        let ends = matches!(signal, Signal::SIGTERM | Signal::SIGINT);
        match &mut self.child {
            Some(child) => {
                child.signal(signal);
                if ends {
                    child.set_stopping();
                    self.kill_at = Some(Instant::now() + STOP_WITHIN);
                }
            }
            // Between two daemons.
            None if ends => return ControlFlow::Break(()),
            None => {}
        }
        ControlFlow::Continue(())
    }

    fn reap(&mut self) {
        let now = Instant::now();
        let due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        if !(due(&mut self.reap_at) | due(&mut self.again_at)) {
            return;
        }
        let (held, ready) = (self.held.processes(), self.ready);
        let daemon = self.child.as_ref().map(Child::pid);
        self.reap_at = self.zombies.reap(PATIENCE, |pid, stat| match () {
            // What is held first: an init may call itself what it likes.
            () if Some(pid) == daemon || held.contains(&(pid, stat.start_time)) => Fate::Never,
            // What a sextond before had started itself, and shims that have done their work.
            () if zombies::is_of_our_session(stat) || zombies::is_done_shim(pid, stat) => Fate::Now,
            () if !ready => Fate::Never,
            () => Fate::Later,
        });
        self.look_took = now.elapsed();
    }

    fn sleep(&self) {
        let until = [self.start_at, self.kill_at, self.reap_at, self.again_at].into_iter().flatten().min();
        let timeout = until.map(|at| at.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut ready = [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&self.inbox, PollFlags::IN)];
        // EINTR: looked at again, as everything is.
        let _ = poll(&mut ready, timeout.as_ref());
    }
}
