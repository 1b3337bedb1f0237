//! Containers that wait for their end.

use super::options::{Kind, Storm};
use crate::{Bundle, Node, chance::Chance, helper::helper, shim::launched, wait::LONG, wait::wait_for};
use rustix::process::Signal;
use sexton_common::{ContainerId, ExitStatus, ProcessIdentity};
use std::{
    collections::HashMap,
    fs,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// One that runs.
#[derive(Debug)]
pub struct Ship {
    /// Its name and which run it is.
    pub key: (ContainerId, u64),
    /// Its init.
    pub init: OwnedFd,
    /// Its shim.
    pub shim: OwnedFd,
    /// The shim's pid.
    pub shim_pid: u32,
    /// How it is to be ended.
    pub signal: Signal,
    /// What must be said of that.
    pub end: ExitStatus,
    /// Whether its shim is killed, too.
    pub loses_shim: bool,
}

/// How a container ends.
#[derive(Clone, Copy)]
struct End {
    signal: Signal,
    status: ExitStatus,
}

impl End {
    fn draw(kind: Kind, chance: &mut Chance) -> Self {
        let killed = |number| ExitStatus::Signal { number, core_dumped: false };
        let code = chance.next().to_le_bytes()[0];
        match (chance.below(3), kind) {
            (0, _) => Self { signal: Signal::KILL, status: killed(9) },
            // The first process of a pid namespace hears only what it has a handler for.
            (1, Kind::Light) => Self { signal: Signal::HUP, status: killed(1) },
            _ => Self { signal: Signal::TERM, status: ExitStatus::Code(code) },
        }
    }

    fn code(self) -> u8 {
        if let ExitStatus::Code(code) = self.status { code } else { 0 }
    }
}

/// Starts containers `numbers`, several at a time, each by a shim that an engine could have started.
///
/// # Panics
/// If one does not start.
#[must_use]
pub fn launch(node: &Node, storm: &Storm, numbers: std::ops::Range<u64>) -> Vec<Ship> {
    let next = AtomicU64::new(numbers.start);
    let (ships, bundles) = (Mutex::new(Vec::new()), Mutex::new(HashMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..storm.jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    let ship = one(node, storm, number, &bundles);
                    ships.lock().unwrap().push(ship);
                }
            });
        }
    });
    ships.into_inner().unwrap()
}

type Bundles = Mutex<HashMap<String, PathBuf>>;

fn one(node: &Node, storm: &Storm, number: u64, bundles: &Bundles) -> Ship {
    let mut chance = Chance::new(storm.seed.rotate_left(32) ^ number);
    let end = End::draw(storm.kind, &mut chance);
    let loses_shim = chance.below(100) < storm.kill_shims;
    let id = node.id(&number.to_string());
    let mut command = node.shim_command("run", id.as_str(), &bundle(node, storm.kind, end, bundles));
    if storm.kind == Kind::Light {
        command.arg("--runtime").arg(helper("runtime"));
    }
    let launched = launched(&crate::run(&mut command).ok());
    if end.signal == Signal::TERM {
        wait_for("a handler of SIGTERM", LONG, || catches_term(launched.pid));
    }
    let open = |pid| ProcessIdentity::open_pid(pid).unwrap().1;
    Ship {
        key: (id, launched.generation),
        init: open(launched.pid),
        shim: open(launched.shim_pid),
        shim_pid: launched.shim_pid,
        signal: end.signal,
        end: end.status,
        loses_shim,
    }
}

/// Containers that end alike share a bundle.
fn bundle(node: &Node, kind: Kind, end: End, bundles: &Bundles) -> PathBuf {
    let name = format!("{}-{}-{}", kind.name(), end.signal.as_raw(), end.code());
    let mut bundles = bundles.lock().unwrap();
    let make = || match (kind, end.signal) {
        (Kind::Light, _) => {
            let dir = node.dir().join("bundles").join(&name);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("config.json"), "{}").unwrap();
            dir
        }
        (Kind::Real, _) if node.dir().join("bundles").join(&name).exists() => node.dir().join("bundles").join(&name),
        (Kind::Real, Signal::TERM) => {
            let script = format!("trap 'exit {}' TERM; sleep 100000 & wait", end.code());
            Bundle::new(node, &name).sh(&script).write()
        }
        (Kind::Real, _) => Bundle::new(node, &name).sleeping().write(),
    };
    bundles.entry(name.clone()).or_insert_with(make).clone()
}

fn catches_term(pid: u32) -> bool {
    let caught = crate::proc::status(pid, "SigCgt").and_then(|mask| u64::from_str_radix(&mask, 16).ok());
    caught.is_some_and(|mask| mask & (1 << (Signal::TERM.as_raw() - 1)) != 0)
}
