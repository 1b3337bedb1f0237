//! Asleep until something dies. When it is init: its exit record, then the end.

use crate::{
    leftovers,
    place::Place,
    sys::{self, Dead, Which, heap},
};
use nix::sys::signalfd::SignalFd;
use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};
use sexton_common::{
    ExitRecord, Init, Source, Stamp,
    cgroup::{self, CgroupDir},
    durable,
    launch::Started,
};
use std::{
    io,
    time::{Duration, Instant},
};

/// The first pause before the record is written again; it doubles up to [`MAX_PAUSE`].
pub const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest one.
pub const MAX_PAUSE: Duration = Duration::from_secs(5);
/// The first pause between two looks at what was killed; its death ends it.
const FIRST_LOOK: Duration = Duration::from_millis(10);

/// A container that runs, or will.
#[derive(Debug)]
pub struct Watch {
    pid: u32,
    /// Packed, since two dozen strings of which nobody needs any before the end take more room than a page has.
    init: Box<[u8]>,
    /// When we started it; `None` if others do.
    started: Option<Stamp>,
    /// Where the record goes.
    place: Place,
    /// SIGCHLD.
    signals: SignalFd,
    /// Our pid, where it is ours to end what a plain program has left: no runtime does.
    ends_leftovers: Option<u32>,
}

impl Watch {
    /// Waits for `init`, which is ours; we have started it at `started`, or others do. With `ends_leftovers`, our pid,
    /// it ends what a plain program has left.
    pub fn new(
        init: &Init,
        started: Option<Stamp>,
        place: Place,
        signals: SignalFd,
        ends_leftovers: Option<u32>,
    ) -> Self {
        // It was just written like this.
        let packed = durable::encode(init).unwrap_or_default().into_boxed_slice();
        Self { pid: init.process.pid, init: packed, started, place, signals, ends_leftovers }
    }

    /// Lives as long as the container, and until its exit record is on disk.
    ///
    /// What is on the stack and on the heap meanwhile is paid for by every container: the functions that need much of
    /// either are called from here, and have returned when it sleeps.
    pub fn until_the_end(mut self) -> ! {
        // Into the hole that the launch has left at the heap's beginning.
        self.init = self.init.clone();
        heap::trim();
        sys::shed_pages();
        let dead = self.wait_for_init();
        self.finish(dead);
        sys::leave(0)
    }

    #[inline(never)]
    fn wait_for_init(&self) -> Dead {
        loop {
            // First of all, whatever else has died.
            match sys::look(Which::Pid(self.pid)) {
                Ok(Some(dead)) => return dead,
                Ok(None) => {}
                // It is nobody's child any more: its status is lost to us, but not to the collector's pidfd.
                // Inventing one is worse than leaving, which it sees as a hang-up without a record.
                Err(_) => sys::leave(1),
            }
            if !self.reap_another() {
                self.sleep(None);
            }
        }
    }

    #[inline(never)]
    fn finish(&mut self, dead: Dead) {
        let packed = durable::decode::<Init>(&self.init).ok();
        let Some(init) = packed.or_else(|| durable::read(&self.place.files.init()).ok().flatten()) else {
            // Leaving without a record is what the collector knows how to handle.
            sys::leave(1);
        };
        self.place.enter();
        let record = self.record(&init, dead);
        self.deliver(&record);
        while self.reap_another() {}
        if let Some(pid) = self.ends_leftovers {
            self.end_leftovers(pid, &init.cgroups);
        }
    }

    /// Kills until nobody is left. Whoever does not die is waited for: it is ours, and there is no other to reap it.
    fn end_leftovers(&self, pid: u32, cgroups: &[CgroupDir]) {
        let mut pause = FIRST_LOOK;
        while leftovers::kill_once(pid, cgroups) {
            self.sleep(Some(pause));
            pause = pause.saturating_mul(2).min(MAX_PAUSE);
        }
        leftovers::remove_cgroups(cgroups, Instant::now() + MAX_PAUSE);
    }

    /// Reaps one dead child that is not init; whether there was one.
    fn reap_another(&self) -> bool {
        match sys::look(Which::Any) {
            Ok(Some(dead)) if dead.pid != self.pid => sys::reap(Which::Pid(dead.pid)).is_ok(),
            Ok(Some(_)) => true,
            _ => false,
        }
    }

    /// Until SIGCHLD or the timeout.
    fn sleep(&self, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let slept = poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], timeout.as_ref());
        // Taken before the next look, so that a death after it rings again.
        let taken = self.signals.read_signal();
        if timeout.is_none() && (slept.is_err() || taken.is_err()) {
            // Never in a circle, whatever the reason.
            let _ = sys::sleep_until_any_is_dead();
        }
    }

    /// The whole pause, however many die meanwhile.
    fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        loop {
            while self.reap_another() {}
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.sleep(Some(left));
        }
    }

    fn record(&self, init: &Init, dead: Dead) -> ExitRecord {
        let exited = Stamp::now();
        let figures = cgroup::figures(&init.cgroups);
        let by_others = || {
            let started = durable::read::<Started>(&self.place.files.start()).ok().flatten();
            let ours = started.filter(|started| started.generation == init.generation);
            ours.map_or(init.ready, |started| started.at)
        };
        ExitRecord {
            id: init.id.clone(),
            generation: init.generation,
            process: Some(init.process),
            status: dead.status,
            source: Source::Waited,
            oom_killed: figures.oom_killed,
            started: Some(self.started.unwrap_or_else(by_others)),
            exited: Some(exited),
            usage: Some(dead.usage),
            memory_peak: figures.memory_peak,
            cpu_ns: figures.cpu_ns,
        }
    }

    /// The file first, since it is the truth (I2); then the FIFO, at which others wait; then the zombie, for whom nobody does.
    fn deliver(&self, record: &ExitRecord) {
        let mut written = self.write(record);
        let theirs = match written {
            Written::Theirs => durable::read::<ExitRecord>(&self.place.files.exit()).ok().flatten(),
            _ => None,
        };
        if let Ok(bytes) = durable::encode(theirs.as_ref().unwrap_or(record)) {
            let _ = rustix::io::write(&self.place.fifo, &bytes);
        }
        let _ = sys::reap(Which::Pid(self.pid));
        let mut pause = FIRST_PAUSE;
        while matches!(written, Written::Not) {
            self.rest(pause);
            pause = pause.saturating_mul(2).min(MAX_PAUSE);
            written = self.write(record);
        }
    }

    fn write(&self, record: &ExitRecord) -> Written {
        match durable::write_new(&self.place.files.exit(), record) {
            Ok(true) => Written::Ours,
            Ok(false) => Written::Theirs,
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.place.is_gone() => Written::Nowhere,
            Err(_) => Written::Not,
        }
    }
}

/// What became of the record's file.
enum Written {
    /// It is there.
    Ours,
    /// Somebody else wrote one, which stands (I1).
    Theirs,
    /// The collector has removed the container: nobody wants to know any more.
    Nowhere,
    /// It could not be written.
    Not,
}
