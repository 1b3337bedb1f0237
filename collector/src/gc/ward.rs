//! One entry: what is to be cleaned, how far it came, and who waits for it.

use super::Obstacle;
use crate::exit::Verdict;
use sexton_common::{
    ProcessIdentity, Stamp, WallTime,
    cgroup::CgroupDir,
    gc::{Device, Entry, Estate, Step},
    identity::BootId,
    layout::ContainerDir,
    wire::GcInfo,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// What a container whose exit is known leaves besides its estate.
#[derive(Clone, Debug)]
pub struct Dead {
    /// Its exit record, and whether it is on disk.
    pub verdict: Verdict,
    /// Its files.
    pub dir: ContainerDir,
    /// The shim of a plain program, whose children are what that has left: it is clean when that has ended.
    pub ends_leftovers: Option<ProcessIdentity>,
}

/// How far cleaning has come, for who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is being tried for the first time.
    Begun,
    /// Something was in the way at the last attempt.
    InTheWay {
        /// How often it was tried.
        attempts: u32,
        /// What it was.
        what: String,
    },
    /// Everything was observed gone.
    Clean,
    /// Somebody gave up.
    Forgotten,
}

/// See the module.
#[derive(Debug)]
pub struct Ward {
    inner: Mutex<Inner>,
    /// How far it is.
    pub progress: watch::Sender<Progress>,
    /// Try now.
    pub wake: Notify,
    /// Who changes its file has this: what is written last is the newest.
    pub disk: Arc<tokio::sync::Mutex<()>>,
    /// A thread of an earlier attempt is still at it.
    busy: AtomicBool,
}

/// What is known of it.
#[derive(Debug)]
pub struct Inner {
    /// As it is now.
    pub entry: Entry,
    /// As it lies on disk, once it does.
    pub written: Option<Box<Entry>>,
    /// Of a container whose exit is known.
    pub dead: Option<Dead>,
    /// Of a container that was killed and does not die.
    pub alive: bool,
    /// What its bundle says has not been read yet: the cgroups below which its own may be.
    pub unresolved: Option<Vec<CgroupDir>>,
    /// Changes when what is to be cleaned does.
    pub revision: u64,
    /// What was in the way the last time, and since when.
    pub obstacle: Option<(Obstacle, WallTime)>,
    /// When it is tried again; `None` while it is being tried.
    pub next_try: Option<WallTime>,
    /// The end of what the last command said.
    pub output: Option<String>,
    /// Nobody wants it cleaned any more.
    pub forgotten: bool,
    /// See [`super::plan::Case::settled`].
    pub settled: bool,
}

/// What an obstacle is beside the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// There was none, or there is less in the way.
    Less,
    /// Another one.
    Other,
    /// The same again.
    None,
}

impl Ward {
    /// Of an entry.
    #[must_use]
    pub fn new(entry: Entry, durable: bool) -> Arc<Self> {
        let inner = Inner {
            // It came beyond them.
            settled: entry.step > Step::Cgroups,
            written: durable.then(|| Box::new(entry.clone())),
            entry,
            dead: None,
            alive: false,
            unresolved: None,
            revision: 0,
            obstacle: None,
            next_try: None,
            output: None,
            forgotten: false,
        };
        Arc::new(Self {
            inner: Mutex::new(inner),
            progress: watch::channel(Progress::Begun).0,
            wake: Notify::new(),
            disk: Arc::default(),
            busy: AtomicBool::new(false),
        })
    }

    /// What is known of it. Never held across anything that waits.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it is to be written, if what lies on disk says less. The number of attempts alone is written whenever it has
    /// doubled: who is tried for ever wears no disk out.
    #[must_use]
    pub fn unwritten(&self) -> Option<Entry> {
        let inner = self.lock();
        let entry = inner.entry.clone();
        let says_the_same = inner.written.as_deref().is_some_and(|written| {
            let doubled = entry.attempts.checked_ilog2() != written.attempts.checked_ilog2();
            !doubled && Entry { attempts: entry.attempts, ..written.clone() } == entry
        });
        (!says_the_same).then_some(entry)
    }

    /// Whether it has been tried in vain, and everybody may know: it is durable, or cannot be made so.
    pub fn waits(&self) -> bool {
        let inner = self.lock();
        let durable = inner.written.is_some() && !inner.entry.in_the_way.is_empty();
        durable || matches!(*self.progress.borrow(), Progress::InTheWay { .. })
    }

    /// Takes the one thread that it may occupy; `None` while that hangs in an earlier attempt.
    pub fn occupy(self: &Arc<Self>) -> Option<Occupied> {
        let free = self.busy.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        free.then(|| Occupied { ward: self.clone(), awaited: false })
    }

    /// Something was in the way.
    pub fn delayed(&self, obstacle: Obstacle) -> News {
        let mut inner = self.lock();
        let same = inner.obstacle.as_ref().filter(|(before, _)| before.is_like(&obstacle));
        let since = same.map_or_else(WallTime::now, |(_, since)| *since);
        let news = match &inner.obstacle {
            Some((before, _)) if before.is_like(&obstacle) => News::None,
            Some((before, _)) if !obstacle.is_less_than(before) => News::Other,
            _ => News::Less,
        };
        (inner.entry.step, inner.entry.in_the_way) = (obstacle.step, shorten(&obstacle.what));
        inner.obstacle = Some((obstacle, since));
        news
    }

    /// Takes in file systems that must be gone in the end, as many as its entry has room for; whether any is new. Of the
    /// others it is only seen that they are mounted here no more.
    pub fn remember(&self, found: Vec<Device>) -> bool {
        let devices = &mut self.lock().entry.devices;
        // Their numbers and lengths take at most 20 bytes.
        let size = |device: &Device| device.fs.len() + device.source.len() + 20;
        let mut taken: usize = devices.iter().map(size).sum();
        let before = devices.len();
        for device in found {
            if taken + size(&device) <= DEVICES && !devices.contains(&device) {
                taken += size(&device);
                devices.push(device);
            }
        }
        devices.len() > before
    }

    /// As clients see it.
    #[must_use]
    pub fn info(&self) -> GcInfo {
        let inner = self.lock();
        let Entry { estate, origin, since, attempts, step, in_the_way, .. } = &inner.entry;
        GcInfo {
            id: estate.id.clone(),
            generation: estate.generation,
            origin: *origin,
            earlier_boot: !is_of_today(estate),
            since: since.wall,
            attempts: *attempts,
            next_try: inner.next_try,
            step: *step,
            in_the_way: in_the_way.clone(),
        }
    }

    /// Its age.
    #[must_use]
    pub fn age(&self) -> Duration {
        let since = self.lock().entry.since;
        let now = Stamp::now();
        // Across a reboot only the wall clock goes on.
        match now.boot_ns.checked_sub(since.boot_ns) {
            Some(ns) if is_of_today(&self.lock().entry.estate) => Duration::from_nanos(ns),
            _ => Duration::from_nanos(now.wall.0.saturating_sub(since.wall.0)),
        }
    }
}

/// Whether it is of this boot.
#[must_use]
pub fn is_of_today(estate: &Estate) -> bool {
    BootId::current().is_ok_and(|boot| boot == estate.boot)
}

/// How many bytes of its entry file systems may take.
const DEVICES: usize = 16 * 1024;

/// The longest text on what is in the way that is kept.
const REASON: usize = 1024;

pub(super) fn shorten(text: &str) -> String {
    text.chars().take(REASON).collect()
}

/// The one thread that a ward may occupy. Dropped where nobody waits any more for what it did, it has the ward tried
/// again at once: what hung may have been what was in the way.
#[derive(Debug)]
pub struct Occupied {
    ward: Arc<Ward>,
    awaited: bool,
}

impl Occupied {
    /// Gives it back; who waited for its work has it.
    pub fn free(mut self) {
        self.awaited = true;
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.ward.busy.store(false, Ordering::Release);
        if !self.awaited {
            self.ward.wake.notify_one();
        }
    }
}

/// An entry for an estate that begins now.
#[must_use]
pub fn entry(estate: Estate, origin: sexton_common::gc::GcOrigin) -> Entry {
    Entry {
        estate,
        origin,
        since: Stamp::now(),
        attempts: 0,
        step: Step::Record,
        in_the_way: String::new(),
        commands_done: 0,
        devices: Vec::new(),
        remove: false,
    }
}

#[cfg(test)]
#[path = "ward_tests.rs"]
mod tests;
