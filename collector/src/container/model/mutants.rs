//! Mistakes that the exploration must find, each as a violation of what it is a mistake against.

use super::{Broken, Config, Mutant, explore, holds, left};

/// Without it nothing is broken (two runs: `a_name_is_used_again`), with it this is.
#[track_caller]
fn caught(mutant: Mutant, cx: Config, expected: fn(Broken) -> bool) {
    if cx.runs == 1 {
        holds(&format!("without {mutant:?}"), cx);
    }
    let found = explore(&Config { mutant: Some(mutant), ..cx });
    let Some((broken, way, _)) = &found.broken else { panic!("{mutant:?} was not caught: {found}") };
    println!("model, {mutant:?}: {broken:?} after {} steps", way.len());
    assert!(expected(*broken), "{mutant:?}: {found}");
}

const NOTHING: Config = Config::kills(0, 0);
const SHIM: Config = Config::kills(1, 0);
const TWO: Config = Config { runs: 2, fails: true, depth: 32, ..NOTHING };

#[test]
fn no_fsync() {
    caught(Mutant::NoFsyncOfFile, NOTHING, |b| matches!(b, Broken::I2(_)));
    caught(Mutant::NoFsyncOfDirectory, NOTHING, |b| matches!(b, Broken::I2(_)));
    caught(Mutant::ToldBeforeSynced, SHIM, |b| matches!(b, Broken::I2(_)));
}

#[test]
fn the_wrong_order() {
    let reaper = Config { info_exit: false, adopts: true, ..SHIM };
    caught(Mutant::RingsBeforeItWrites, NOTHING, |b| matches!(b, Broken::I2(_)));
    caught(Mutant::ReapsBeforeItWrites, reaper, |b| matches!(b, Broken::I3(_)));
    caught(Mutant::CreatesBeforeDurable, NOTHING, |b| matches!(b, Broken::I4(_)));
    caught(Mutant::ScansBeforeItListens, Config { ready: false, ..NOTHING }, |b| matches!(b, Broken::Stuck(_)));
}

#[test]
fn a_record_that_is_not_the_one() {
    caught(Mutant::PlainRename, NOTHING, |b| matches!(b, Broken::I1(_)));
    caught(Mutant::KernelNotAsked, SHIM, |b| matches!(b, Broken::I3(_)));
    let forged = Config { left: left(0, 0, 0, 1), ..NOTHING };
    caught(Mutant::BytesBelievedOfTheLiving, forged, |b| matches!(b, Broken::I3(_)));
}

#[test]
fn another_run() {
    caught(Mutant::GenerationIgnored, TWO, |b| matches!(b, Broken::I1(_)));
    caught(Mutant::AnyLaunchWillDo, TWO, |b| matches!(b, Broken::I4(_) | Broken::I1(_)));
}
