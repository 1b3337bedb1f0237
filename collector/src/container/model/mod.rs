//! A model.

mod check;
mod config;
mod explore;
mod kernel;
mod node;
mod shim;
mod task;
mod work;
mod world;

use config::{Config, Mutant};
use explore::explore;
use world::{Broken, Left};

#[track_caller]
fn holds(name: &str, cx: Config) -> explore::Explored {
    let found = explore(&cx);
    println!("{name}: {found}");
    assert!(found.broken.is_none(), "{name}: {found}");
    found
}

const fn left(shim_kills: u8, node_kills: u8, fulls: u8, bells: u8) -> Left {
    Left { shim_kills, node_kills, fulls, bells }
}

#[test]
fn size() {
    println!("{}", size_of::<world::World>());
}

#[test]
fn one_kill_each() {
    holds("1+1", Config::kills(1, 1));
    holds("1+0, not ready", Config { ready: false, ..Config::kills(1, 0) });
}

#[test]
fn old_kernel() {
    holds("1+1 old", Config { info_exit: false, ..Config::kills(1, 1) });
}

#[test]
fn adopted() {
    holds("adopted", Config { info_exit: false, adopts: true, ..Config::kills(1, 0) });
}

#[test]
fn stored() {
    holds("stored", Config { store: true, ..Config::kills(1, 1) });
}

#[test]
fn create() {
    holds("create", Config { create: true, removes: true, ..Config::kills(1, 1) });
}

#[test]
fn full() {
    holds("full", Config { left: left(1, 1, 1, 0), ..Config::kills(0, 0) });
}

#[test]
fn fails() {
    holds("fails", Config { fails: true, removes: true, ..Config::kills(1, 1) });
}

#[test]
fn two_runs() {
    holds("two", Config { runs: 2, fails: true, removes: true, ..Config::kills(1, 0) });
}

#[test]
fn bells() {
    let cx = Config::kills(1, 0);
    let (without, with) = (holds("no bells", cx), holds("bells", Config { left: left(1, 0, 0, 2), ..cx }));
    assert_eq!(without.outcomes, with.outcomes);
}

mod mutants {
    use super::*;

    #[track_caller]
    fn caught(mutant: Mutant, cx: Config) -> Broken {
        holds(&format!("without {mutant:?}"), cx);
        let found = explore(&Config { mutant: Some(mutant), ..cx });
        println!("{mutant:?}: {found}");
        found.broken.unwrap().0
    }

    #[test]
    fn all() {
        let k = Config::kills(0, 0);
        println!("{:?}", caught(Mutant::NoFsyncOfFile, k));
        println!("{:?}", caught(Mutant::NoFsyncOfDirectory, k));
        println!("{:?}", caught(Mutant::RingsBeforeItWrites, k));
        println!(
            "{:?}",
            caught(Mutant::ReapsBeforeItWrites, Config { info_exit: false, adopts: true, ..Config::kills(1, 0) })
        );
        println!("{:?}", caught(Mutant::PlainRename, k));
        println!("{:?}", caught(Mutant::BytesBelievedOfTheLiving, Config { left: left(0, 0, 0, 1), ..k }));
        println!("{:?}", caught(Mutant::KernelNotAsked, Config::kills(1, 0)));
        println!("{:?}", caught(Mutant::ScansBeforeItListens, Config { ready: false, ..k }));
        println!("{:?}", caught(Mutant::ToldBeforeSynced, Config::kills(1, 0)));
        println!("{:?}", caught(Mutant::CreatesBeforeDurable, k));
        println!("{:?}", caught(Mutant::AnyLaunchWillDo, Config { runs: 2, fails: true, ..k }));
        println!("{:?}", caught(Mutant::GenerationIgnored, Config { runs: 2, fails: true, ..k }));
    }
}
