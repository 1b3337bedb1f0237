//! A sample of the crash sweep, at points chosen by a seed; `make crash` is the whole of it.
//!
//! `SEXTON_CRASH_SEED` chooses other points.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_tests::{
    crash::{
        fault::Fault,
        killer::{Blow, Killer, Order},
    },
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
        let order = Order::new(command, dir.path().join("words"), 0, at);
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

/// Nothing but the calls that change something below the directory fail, and only as many as were ordered.
#[test]
fn a_disk_fails_where_it_should() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (disk, elsewhere) = (dir.path().join("disk"), dir.path().join("elsewhere"));
    let script = format!("cd {0}; echo 1 > a; echo 2 > {0}/b; echo 3 > {1}", disk.display(), elsewhere.display());
    let write = |at, times| {
        let _ = std::fs::remove_dir_all(&disk);
        std::fs::create_dir(&disk).unwrap();
        std::fs::write(&elsewhere, "").unwrap();
        let mut command = Command::new(sexton_tests::binaries::find("busybox").unwrap());
        command.args(["sh", "-c", &script]);
        let blow = Blow::BadDisk(Fault { errno: nix::errno::Errno::EIO, times }, disk.clone());
        let words = dir.path().join("words");
        let report =
            Killer::start(Order { blow, ..Order::new(command, words, 0, at) }).join(Duration::from_secs(20)).unwrap();
        let read = |name: &str| std::fs::read_to_string(disk.join(name)).ok();
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "3\n");
        (report.stops, report.failed, read("a"), read("b"))
    };
    let (one, two, empty) = (|| Some("1\n".to_owned()), || Some("2\n".to_owned()), || Some(String::new()));
    assert_eq!(write(None, Some(1)), (4, 0, one(), two()), "open and write, twice");
    assert_eq!(write(Some(1), Some(1)), (3, 1, None, two()));
    assert_eq!(write(Some(2), Some(1)), (4, 1, empty(), two()));
    assert_eq!(write(Some(2), Some(2)), (3, 2, empty(), None));
    assert_eq!(write(Some(3), None), (3, 1, one(), None));
    assert_eq!(write(Some(2), None), (3, 2, empty(), None));
}

fn sample(program: &str, count: u32) {
    sweep(program, count, &[]);
}

fn sweep(program: &str, count: u32, more: &[&str]) {
    if skipped() {
        return;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_sexton-crash"));
    command.args(["--program", program, "--sample", &count.to_string()]).args(more);
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

#[test]
fn the_collector_with_a_container_that_comes_back() {
    sample("restart", 20);
}

#[test]
fn the_shim_of_a_plain_program() {
    sample("plain", 20);
    sample("plain-alone", 10);
}

#[test]
fn the_shim_with_a_disk_that_fails_once() {
    sweep("shim", 12, &["--fault", "eio"]);
    sweep("alone", 6, &["--fault", "enospc"]);
}

#[test]
fn the_shim_with_a_disk_that_fails_for_a_while() {
    sweep("alone", 6, &["--fault", "enospc", "--times", "ever"]);
    sweep("shim", 4, &["--fault", "erofs", "--times", "5"]);
}

#[test]
fn the_collector_with_a_bad_disk() {
    sweep("sextond", 4, &["--fault", "enospc", "--times", "ever"]);
    sweep("sextond", 4, &["--fault", "eio"]);
}
