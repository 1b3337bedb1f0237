//! The container that every contestant runs: it notes its first and its last instant (`helpers/guest.c`).

use nix::time::{ClockId, clock_gettime};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sexton_common::ContainerId;
use sexton_tests::{Bundle, LONG, Node, helper, wait_until};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// One container, not yet run: its bundle, and the directory through which it talks to us.
#[derive(Debug)]
pub struct Guest {
    /// Its name, which only its node has.
    pub id: ContainerId,
    /// Its bundle.
    pub bundle: PathBuf,
    /// What it ends with when it is let go.
    pub code: u8,
    times: File,
    gate: File,
}

impl Guest {
    /// In a bundle of its own below the node's directory.
    pub fn new(node: &Node, name: &str, code: u8) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("helpers/guest.c");
        let program = helper::compiled(&source, &["-static"]);
        let dir = node.dir().join("guests").join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("times"), [0; 16]).unwrap();
        mknodat(CWD, dir.join("gate"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
        let gate = File::options().read(true).write(true).open(dir.join("gate")).unwrap();
        let times = File::open(dir.join("times")).unwrap();
        let bundle = Bundle::new(node, name).bind(&dir, "/gate");
        let bundle = bundle.program(&program, &["/gate", &code.to_string()]).write();
        Self { id: node.id(name), bundle, code, times, gate }
    }

    /// The instant of its first instruction, as [`now`]; `None` before it.
    pub fn began(&self) -> Option<u64> {
        self.time(0)
    }

    /// The instant of its last instruction; `None` before it, and if it was killed.
    pub fn ended(&self) -> Option<u64> {
        self.time(8)
    }

    fn time(&self, offset: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.times.read_exact_at(&mut bytes, offset).unwrap();
        Some(u64::from_ne_bytes(bytes)).filter(|&time| time != 0)
    }

    /// Waits for its first instruction.
    pub fn wait_began(&self) -> u64 {
        assert!(wait_until(LONG, || self.began().is_some()), "{} does not begin", self.id);
        self.began().unwrap()
    }

    /// Lets it end.
    pub fn end(&self) {
        (&self.gate).write_all(b"x").unwrap();
    }
}

/// CLOCK_MONOTONIC in nanoseconds, as the guests note it; one clock for all processes.
pub fn now() -> u64 {
    let at = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    u64::try_from(at.tv_sec()).unwrap() * 1_000_000_000 + u64::try_from(at.tv_nsec()).unwrap()
}

/// From one instant to a later one, in milliseconds; negative if it is not later.
pub fn ms(from: u64, to: u64) -> f64 {
    (to as f64 - from as f64) / 1e6
}
