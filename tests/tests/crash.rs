//! A sample of the crash sweep, at points chosen by a seed; `make crash` is the whole of it.
//!
//! `SEXTON_CRASH_SEED` repeats a sample that failed: the seed is in its words.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_tests::{run, skipped};
use std::process::Command;

fn sample(program: &str, count: u32) {
    if skipped() {
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_sexton-crash"));
    command.args(["--program", program, "--sample", &count.to_string()]);
    if let Ok(seed) = std::env::var("SEXTON_CRASH_SEED") {
        command.args(["--seed", &seed]);
    }
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
