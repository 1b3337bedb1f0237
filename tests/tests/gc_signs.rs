//! What changes near what is in the way leads to another attempt at once, but not all the time.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sexton_common::{
    ContainerId, WallTime,
    cleanup::Cleanup,
    wire::{GcAddRequest, Request},
};
use sexton_tests::{LONG, Node, Options, skipped, wait_for, wait_until};
use std::{fs, path::Path, path::PathBuf, time::Duration};

/// Waits for a file that is no network namespace, which any change of the mount table might be about.
fn added(node: &Node) -> (ContainerId, PathBuf) {
    let (id, file) = (node.id("c"), node.dir().join("netns"));
    fs::write(&file, "no namespace").unwrap();
    let cleanup = Cleanup { netns: vec![file.clone()], ..Cleanup::default() };
    let request = GcAddRequest { id: id.clone(), runtime: node.runtime(), pids: Vec::new(), bundle: None, cleanup };
    node.ask(&Request::GcAdd(request)).unwrap();
    node.wait_gc(&id);
    (id, file)
}

fn attempts(node: &Node) -> u32 {
    node.gc_list().first().map_or(0, |entry| entry.attempts)
}

fn change(point: &Path) {
    mount(Some("none"), point, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    umount2(point, MntFlags::empty()).unwrap();
}

#[test]
fn a_change_of_the_mount_table_is_one() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let (_, file) = added(&node);
    let point = node.dir().join("point");
    fs::create_dir(&point).unwrap();
    // Nothing is due: each change leads to an attempt.
    for _ in 0..3 {
        let before = attempts(&node);
        change(&point);
        wait_for("another attempt", LONG, || attempts(&node) > before);
    }
    fs::write(&file, "").unwrap();
    change(&point);
    wait_for("it is clean", LONG, || node.gc_list().is_empty());
    assert!(!file.exists());
    node.finish();
}

/// However often it changes: the gaps between attempts grow.
#[test]
fn what_never_ceases_to_change_is_not_looked_at_all_the_time() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let (_, file) = added(&node);
    let point = node.dir().join("point");
    fs::create_dir(&point).unwrap();
    let mut changes = 0;
    wait_until(Duration::from_secs(5), || {
        change(&point);
        changes += 1;
        false
    });
    // The gaps are 5 ms, 10 ms, and so on: ten of them take five seconds.
    let tried = attempts(&node);
    assert!(tried <= 15, "{tried} attempts for {changes} changes");
    wait_for("a few attempts, for many changes", LONG, || {
        change(&point);
        changes += 1;
        attempts(&node) >= 5 && changes > 20
    });
    fs::write(&file, "").unwrap();
    change(&point);
    wait_for("it is clean", LONG, || node.gc_list().is_empty());
    node.finish();
}

/// And over many delays: a few of them are heeded in each, so that the one that matters is.
#[test]
fn what_never_ceases_to_change_is_looked_at_a_few_times_in_each_delay() {
    if skipped() {
        return;
    }
    let config = "[exit]\nbackoff_first = '2s'\nbackoff_max = '2s'\n".into();
    let node = Node::with(Options { config, ..Options::default() });
    let (_, file) = added(&node);
    let point = node.dir().join("point");
    fs::create_dir(&point).unwrap();
    let entry = || node.gc_list().remove(0);
    let mut known = entry();
    // Whether there was an attempt since the last change, and before it was due.
    let mut is_heeded = || {
        change(&point);
        let before = std::mem::replace(&mut known, entry());
        known.attempts > before.attempts && before.next_try.is_some_and(|due| WallTime::now() < due)
    };
    let mut during = |time| {
        let (before, mut heeded) = (attempts(&node), 0);
        wait_until(time, || {
            heeded += u32::from(is_heeded());
            false
        });
        (attempts(&node) - before, heeded)
    };
    during(Duration::from_secs(5));
    // Gaps of 320 ms, 640 ms, 1.28 s and the 2 s of the delay, again and again.
    let (tried, mut heeded) = during(Duration::from_secs(17));
    eprintln!("{tried} attempts, {heeded} of them before they were due");
    assert!(tried <= 24, "{tried} attempts in 17 s");
    wait_for("a few signs to be heeded", LONG, || {
        heeded += u32::from(heeded < 6 && is_heeded());
        heeded >= 6
    });
    fs::write(&file, "").unwrap();
    wait_for("it is clean", LONG, || node.gc_list().is_empty());
    node.finish();
}
