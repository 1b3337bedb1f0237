//! The protocol of shim, collector, engine and kernel as a model, explored exhaustively.
//!
//! The collector's decisions are not modelled: [`Machine::step`](super::machine::Machine), [`decide`](super::decide)
//! and [`rules`](super::rules) are the real ones. Around them stand what the kernel, the disk, the shim and the engine
//! do, and in which order a task looks (`task.rs`, `work.rs`), one step for each thing that others may see. Timers fire
//! whenever they are armed. Live and durable are told apart for a launch and an exit record, its bytes and its name.
//!
//! Broken are I1 to I4 where a state shows it (`check.rs`), and [`Broken::Stuck`] where nothing more happens by itself
//! and a run is not delivered, told and clean; also where steps that come by themselves could go round for ever.
//!
//! An explorer of our own, and not stateright: it is a hundred lines; what is asked here of an end ("from here nothing
//! more happens by itself") is no `eventually` of stateright's, which misses ends in circles and behind joins; and a
//! web server for traces is more than a test needs. The first violation comes with the shortest way to it.

mod check;
mod config;
mod disk;
mod explore;
mod kernel;
mod mutants;
mod node;
mod shim;
mod task;
mod work;
mod world;

use config::{Config, Left, Mutant};
use explore::{Explored, explore};
use world::Broken;

/// Prints how much it was.
#[track_caller]
fn holds(name: &str, cx: Config) -> Explored {
    let found = explore(&cx);
    println!("model, {name}: {found}");
    assert!(found.broken.is_none(), "{name}: {found}");
    found
}

const fn left(shim_kills: u8, node_kills: u8, fulls: u8, bells: u8) -> Left {
    Left { shim_kills, node_kills, fulls, bells }
}

#[test]
fn shim_and_collector_are_killed() {
    holds("each killed once", Config { depth: 42, ..Config::kills(1, 1) });
}

#[test]
fn the_collector_comes_late() {
    holds("the collector comes meanwhile", Config { ready: false, ..Config::kills(0, 0) });
}

#[test]
fn an_old_kernel() {
    let old = Config { info_exit: false, ..Config::kills(1, 0) };
    holds("no PIDFD_INFO_EXIT", old);
    holds("no PIDFD_INFO_EXIT, the collector is the reaper", Config { adopts: true, ..old });
}

#[test]
fn a_descriptor_store() {
    holds("with a descriptor store", Config { store: true, depth: 36, ..Config::kills(1, 1) });
}

#[test]
fn created_and_started_by_others() {
    holds("create, start and rm -f", Config { create: true, removes: true, ..Config::kills(0, 0) });
}

#[test]
fn a_full_disk() {
    holds("a full disk", Config { left: left(1, 0, 1, 0), ..Config::kills(0, 0) });
}

#[test]
fn a_name_is_used_again() {
    holds("two runs, launches fail", Config { runs: 2, fails: true, depth: 32, ..Config::kills(0, 0) });
}

/// I2: bells that are lost, doubled or forged lead to the same ends as bells that ring.
#[test]
fn bells_change_nothing() {
    let cx = Config::kills(1, 0);
    let (without, with) =
        (holds("bells", cx), holds("bells lost, doubled, forged", Config { left: left(1, 0, 0, 2), ..cx }));
    assert_eq!(without.outcomes, with.outcomes);
}

/// Minutes and gigabytes: `cargo test --release -p sexton-collector deeper -- --ignored --nocapture --test-threads 1`.
#[test]
#[ignore = "takes minutes; its last result is in docs/design.md"]
fn deeper() {
    let cx = Config::kills(1, 1);
    holds("the collector comes meanwhile, each killed once", Config { ready: false, ..cx });
    holds("each killed once", cx);
    holds("with a descriptor store, each killed once", Config { store: true, ..cx });
    holds("the collector killed twice", Config::kills(1, 2));
    holds("no PIDFD_INFO_EXIT, each killed once", Config { info_exit: false, ..cx });
    holds("launches fail, rm -f, each killed once", Config { fails: true, removes: true, ..cx });
    holds("create, start and rm -f, each killed once", Config { create: true, removes: true, ..cx });
    holds("a full disk, each killed once", Config { left: left(1, 1, 1, 0), ..cx });
    let two = Config { runs: 2, ..Config::kills(0, 0) };
    holds("two runs, launches fail", Config { fails: true, depth: 38, ..two });
    let killed = Config { left: left(1, 0, 0, 0), fails: true, removes: true, depth: 30, ..two };
    holds("two runs, launches fail, rm -f, a shim killed", killed);
    holds("two runs, rm -f, the collector killed", Config { left: left(0, 1, 0, 0), removes: true, depth: 32, ..two });
}
