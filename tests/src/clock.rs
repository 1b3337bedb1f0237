//! A wall clock of one's own, for the programs of a node that are not static: it can be set while they run.

use crate::{helper::library, node::Node};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{SystemTime, UNIX_EPOCH},
};

/// Twenty years, in seconds.
pub const TWENTY_YEARS: i64 = 20 * 365 * 86_400;

/// The clock of a node's collector and command line.
#[derive(Debug)]
pub struct Clock(File);

impl Clock {
    /// Right at first. Holds for what the node starts from now on.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn of(node: &mut Node) -> Self {
        let path = node.dir().join("clock");
        let clock = Self(File::create(&path).unwrap());
        clock.set(0);
        node.env.push(("SEXTON_TEST_CLOCK".into(), path.into()));
        node.env.push(("LD_PRELOAD".into(), library("clock").into()));
        clock
    }

    /// It is off by so many seconds.
    ///
    /// # Panics
    /// If it cannot be set.
    pub fn set(&self, off: i64) {
        self.0.write_all_at(&off.to_ne_bytes(), 0).unwrap();
    }
}

/// Seconds since 1970, by the machine's own clock.
///
/// # Panics
/// If that stands before 1970.
#[must_use]
pub fn machine_seconds() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}
