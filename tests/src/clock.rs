//! A wall clock of one's own, for the programs of a node that are not static: it can be set while they run. The shim's
//! is set by the tracer, see [`crate::crash::killer::Order`].

use crate::{helper::library, node::Node};
use sexton_common::{time::boot_ns, wire::ContainerInfo};
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

/// It ran no longer than we have looked at it, and its record says so by both clocks.
///
/// # Panics
/// If not.
#[track_caller]
pub fn ran_since(node: &Node, info: &ContainerInfo, began: u64) {
    let record = node.record(&info.id).unwrap();
    let (started, exited) = (record.started.unwrap().boot_ns, record.exited.unwrap().boot_ns);
    assert!(began <= started && started <= exited && exited <= boot_ns(), "{began} {record:?}");
    assert_eq!(info.ran_ns, Some(exited - started));
    assert_eq!(info.started_ns, Some(started));
}

/// What `ps` says of ages: as long as the test runs, in seconds or minutes.
///
/// # Panics
/// If not.
#[track_caller]
pub fn ages_are_short(node: &Node) {
    let shown = node.sexton(&["ps", "-a"]).ok().stdout;
    for line in shown.lines().skip(1) {
        // Before the runtime and the bundle, which may be called anything.
        let said = line.split("runc").next().unwrap();
        let ages: Vec<&str> = said
            .split([' ', ','])
            .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(['s', 'm', 'h', 'd']))
            .collect();
        assert!(!ages.is_empty() && ages.iter().all(|age| age.ends_with(['s', 'm'])), "{ages:?} in {shown}");
    }
}
