//! What is explored: how much may go wrong, on which machine, with which mistake.

/// One act of the shim's delivery of an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The record into a temporary file.
    Write,
    /// fsync of that.
    SyncFile,
    /// Its final name, unless there is one.
    Rename,
    /// fsync of the directory.
    SyncDir,
    Reap,
    /// The record into the FIFO.
    Ring,
}

/// As `shim/src/watch.rs` and `common/src/durable.rs` have it; `tests/tests/delivery.rs` holds the real shim against it.
pub const DELIVERY: &[Act] = &[Act::Write, Act::SyncFile, Act::Rename, Act::SyncDir, Act::Ring, Act::Reap];
const UNSYNCED_FILE: &[Act] = &[Act::Write, Act::Rename, Act::SyncDir, Act::Ring, Act::Reap];
const UNSYNCED_DIR: &[Act] = &[Act::Write, Act::SyncFile, Act::Rename, Act::Ring, Act::Reap];
const RING_FIRST: &[Act] = &[Act::Ring, Act::Write, Act::SyncFile, Act::Rename, Act::SyncDir, Act::Reap];
const REAP_FIRST: &[Act] = &[Act::Reap, Act::Write, Act::SyncFile, Act::Rename, Act::SyncDir, Act::Ring];

/// A mistake that the exploration must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    NoFsyncOfFile,
    NoFsyncOfDirectory,
    RingsBeforeItWrites,
    ReapsBeforeItWrites,
    PlainRename,
    GenerationIgnored,
    BytesBelievedOfTheLiving,
    KernelNotAsked,
    ScansBeforeItListens,
    AnyLaunchWillDo,
    ToldBeforeSynced,
    CreatesBeforeDurable,
}

#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// How many runs of the id.
    pub runs: usize,
    pub left: Left,
    /// The kernel has `PIDFD_INFO_EXIT`.
    pub info_exit: bool,
    /// A descriptor store outlives the collector.
    pub store: bool,
    /// The collector is the reaper: an orphan is a zombie until it looks.
    pub adopts: bool,
    /// Launches may fail.
    pub fails: bool,
    /// The engine removes by force.
    pub removes: bool,
    /// The engine starts it, not the shim.
    pub create: bool,
    /// The collector is there at the beginning.
    pub ready: bool,
    /// No further than this.
    pub depth: usize,
    pub mutant: Option<Mutant>,
}

impl Config {
    /// A run with this many kills of shim and collector.
    pub const fn kills(shim_kills: u8, node_kills: u8) -> Self {
        Self {
            runs: 1,
            left: Left { shim_kills, node_kills, fulls: 0, bells: 0 },
            info_exit: true,
            store: false,
            adopts: false,
            fails: false,
            removes: false,
            create: false,
            ready: true,
            depth: usize::MAX,
            mutant: None,
        }
    }

    pub fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    pub fn delivery(&self) -> &'static [Act] {
        match self.mutant {
            Some(Mutant::NoFsyncOfFile) => UNSYNCED_FILE,
            Some(Mutant::NoFsyncOfDirectory) => UNSYNCED_DIR,
            Some(Mutant::RingsBeforeItWrites) => RING_FIRST,
            Some(Mutant::ReapsBeforeItWrites) => REAP_FIRST,
            _ => DELIVERY,
        }
    }
}

/// What may still go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Left {
    pub shim_kills: u8,
    pub node_kills: u8,
    pub fulls: u8,
    pub bells: u8,
}
