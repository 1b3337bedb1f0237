//! A sample of the crash sweep, at points chosen by a seed; `make crash` is the whole of it.
//!
//! `SEXTON_CRASH_SEED` chooses other points.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_tests::{
    crash::killer::{Killer, Order},
    run, skipped,
};
use std::{process::Command, time::Duration};

/// What a system call does is done after it, not before it, and nothing after it is.
#[test]
fn the_killer_kills_where_it_says() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    let touch = |at| {
        let _ = std::fs::remove_file(&file);
        let mut command = Command::new(sexton_tests::binaries::find("busybox").unwrap());
        command.arg("touch").arg(&file);
        let order = Order {
            command,
            words: dir.path().join("words"),
            depth: 0,
            at,
            no_vdso: false,
            clock_off: Default::default(),
        };
        (Killer::start(order).join(Duration::from_secs(20)).unwrap(), file.exists())
    };
    let (whole, there) = touch(None);
    assert!(whole.kill.is_none() && whole.ended.unwrap().success() && there, "{whole:?}");
    let kills: Vec<_> = (1..=whole.stops).map(|at| touch(Some(at))).collect();
    let first = kills.iter().position(|(_, there)| *there).unwrap();
    assert!(kills[first..].iter().all(|(_, there)| *there), "{kills:?}");
    let [before, after] = [first - 1, first].map(|at| kills[at].0.kill.clone().unwrap());
    assert!(before.entry && !after.entry && before.call == after.call && before.call.starts_with("open"), "{kills:?}");
}

fn sample(program: &str, count: u32) {
    if skipped() {
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_sexton-crash"));
    command.args(["--program", program, "--sample", &count.to_string()]);
    // The same points every time: what has passed here is what is merged. `make crash` goes everywhere.
    let seed = std::env::var("SEXTON_CRASH_SEED").unwrap_or_else(|_| "20261121".into());
    command.args(["--seed", &seed]);
    let ended = run(&mut command);
    assert_eq!(ended.code(), 0, "{}{}", ended.stdout, ended.stderr);
    println!("{}", ended.stdout);
}

#[test]
fn the_shim() {
    sample("shim", 60);
}

#[test]
fn the_processes_before_the_shim() {
    sample("first", 10);
    sample("between", 5);
}

#[test]
fn the_collector() {
    sample("sextond", 25);
}

#[test]
fn the_collector_with_something_in_its_way() {
    sample("gc", 15);
}
