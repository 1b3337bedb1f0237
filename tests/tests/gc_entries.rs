//! Entries: durable before they are tried again, the same after a kill, and not in each other's way when one is damaged
//! or the disk is full.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{ContainerId, ExitStatus, launch::Mode, wire::State};
use sexton_tests::{
    bundle::{Bundle, Gate},
    disk::SmallDisk,
    leftovers, needs,
    node::{Node, Options},
    registered::{Registered, Sleeper},
    wait::{LONG, wait_for, wait_some, wait_until},
};
use std::{fs, os::unix::fs::FileExt};

const FAST: &str = "[exit]\nbackoff_first = \"200ms\"\nbackoff_max = \"400ms\"\n";

/// A container that has exited with 7, and cannot be cleaned as long as the process lives.
fn stuck(node: &Node, name: &str, first: impl FnOnce()) -> (ContainerId, Registered, Sleeper, Gate) {
    let id = node.id(name);
    let registered = Registered::new(node.dir().join("registered").join(name));
    let holder = registered.holder();
    let (bundle, gate) = Bundle::new(node, name).gated();
    let mut request = node.launch_request(&id, &bundle.write(), Mode::Run);
    request.cleanup = registered.cleanup();
    let _ = node.launch(request).unwrap();
    first();
    gate.exit(7);
    // It is kept: what is in a FIFO that nobody has open is lost.
    (id, registered, holder, gate)
}

#[test]
fn it_is_durable_before_it_is_tried_again_and_a_kill_at_any_time_changes_nothing() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::with(Options { daemon: true, config: FAST.into() });
    let (id, registered, holder, _gate) = stuck(&node, "c", || {});
    let first = node.wait_gc(&id);
    // Right when it is seen first, whether it is on disk yet or not.
    let tried_once = first.attempts == 1;
    let durable = node.layout().gc_entry(&id).exists();
    node.kill_daemon();
    assert!(durable || tried_once, "tried again, and not durable: {first:?}");
    node.start_daemon();
    let mut before = node.wait_gc(&id);
    wait_for("another attempt", LONG, || {
        let now = node.wait_gc(&id);
        assert!(now.attempts < 2 || node.layout().gc_entry(&id).exists(), "tried again, and not durable: {now:?}");
        std::mem::replace(&mut before, now).attempts < before.attempts
    });
    for _ in 0..3 {
        node.kill_daemon();
        let written = node.gc_entry(&id);
        node.start_daemon();
        let after = node.wait_gc(&id);
        assert_eq!((after.since, after.generation), (before.since, before.generation), "{before:?}, {after:?}");
        assert!(after.attempts >= written.attempts, "{written:?}, {after:?}");
        // One that is being written has a `~` in its name.
        let files = leftovers::entries(&node.layout().gc());
        let whole = files.iter().filter(|path| !path.to_string_lossy().contains('~')).count();
        assert_eq!((node.gc_list().len(), whole), (1, 1), "one entry: {files:?}");
        assert_eq!(node.wait_state(&id, State::Gc).status, Some(ExitStatus::Code(7)));
        before = after;
    }
    drop(holder);
    node.wait_state(&id, State::Stopped);
    registered.is_clean(Some("7")).unwrap();
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(7)));
    node.wait_no_gc();
    node.finish();
}

#[test]
fn what_does_not_decode_is_set_aside_and_the_others_go_on() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::with(Options { daemon: true, config: FAST.into() });
    let names = ["flipped", "torn", "newer", "empty", "whole"];
    let all: Vec<_> = names
        .iter()
        .map(|name| {
            let registered = Registered::new(node.dir().join("registered").join(name));
            let holder = registered.holder();
            let mut request = node.gc_add_request(&node.id(name));
            request.cleanup = registered.cleanup();
            node.gc_add(request).unwrap();
            (node.id(name), registered, holder)
        })
        .collect();
    node.terminate_daemon();
    let file = |name: &str| fs::File::options().write(true).open(node.layout().gc_entry(&node.id(name))).unwrap();
    file("flipped").write_all_at(&[0xff], 40).unwrap();
    file("torn").set_len(30).unwrap();
    // The version: behind the magic and the kind.
    file("newer").write_all_at(&99_u16.to_le_bytes(), 5).unwrap();
    file("empty").set_len(0).unwrap();
    node.start_daemon();
    let (whole, kept, holder) = all.last().unwrap();
    node.wait_gc(whole);
    assert_eq!(node.gc_list().len(), 1);
    let aside = leftovers::entries(&node.layout().data_quarantine());
    assert_eq!(aside.len(), 4, "{aside:?}");
    let words = node.words();
    let loud = words.lines().filter(|line| line.contains("ERROR") && line.contains("quarantine")).count();
    assert_eq!(loud, 4, "{words}");
    assert!(kept.said().is_empty() && holder.pid() > 1);
    // What was set aside is in nobody's way: it can be added again.
    for (id, registered, _) in &all[..4] {
        let mut request = node.gc_add_request(id);
        request.cleanup = registered.cleanup();
        node.gc_add(request).unwrap();
    }
    let registered: Vec<_> = all.into_iter().map(|(_, registered, _holder)| registered).collect();
    node.wait_no_gc();
    registered.iter().for_each(|registered| registered.is_clean(Some("")).unwrap());
    node.finish();
}

#[test]
fn on_a_full_disk_it_is_known_all_the_same() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::with(Options { daemon: false, config: FAST.into() });
    let disk = SmallDisk::new(node.layout().data());
    node.start_daemon();
    let other = node.id("other");
    let (bundle, gate) = Bundle::new(&node, "other").gated();
    node.run(&other, &bundle.write());
    let (id, registered, holder, _gate) = stuck(&node, "c", || disk.fill());
    // Not durably: that is what the disk is full for.
    let entry = wait_some("it in GC", LONG, || node.gc_list().into_iter().find(|entry| entry.id == id));
    assert!(!entry.in_the_way.is_empty(), "{entry:?}");
    wait_for("words on it", LONG, || node.words().contains("is known as long as sextond runs"));
    assert!(!node.layout().gc_entry(&id).exists());
    // What would have to be remembered and cannot be is not launched.
    let refused = {
        let mut request = node.launch_request(&node.id("n"), &Bundle::new(&node, "n").write(), Mode::Run);
        request.cleanup.exec = vec!["true".into()];
        node.launch(request).unwrap_err()
    };
    assert!(refused.message.contains("No space left"), "{refused:?}");
    let mut added = node.gc_add_request(&node.id("added"));
    added.cleanup = registered.cleanup();
    let refused = node.gc_add(added).unwrap_err();
    assert!(refused.message.contains("write the entry in"), "{refused:?}");
    // Others do not notice.
    gate.exit(3);
    assert_eq!(node.wait(&other).status, Some(ExitStatus::Code(3)));
    node.wait_state(&other, State::Stopped);
    drop(holder);
    wait_for("its files to go", LONG, || registered.is_clean(Some("7")).is_ok());
    disk.free();
    node.wait_state(&id, State::Stopped);
    node.remove_all();
    node.assert_clean_but("mount ");
    node.terminate_daemon();
    assert!(wait_until(LONG, || leftovers::entries(&node.layout().gc()).is_empty()));
    drop(disk);
    node.finish();
}

/// The collector was killed after it had noted that all is clean, and before it had removed what would outlive a reboot.
#[test]
fn a_launch_that_outlived_its_clean_container_goes() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("c");
    let mut request = node.launch_request(&id, &Bundle::new(&node, "b").sh("exit 7").write(), Mode::Run);
    request.cleanup.exec = vec!["true".into()];
    node.launch(request).unwrap();
    node.wait_state(&id, State::Stopped);
    let lasting = node.layout().lasting_container(&id);
    assert!(!lasting.path().exists());
    node.kill_daemon();
    fs::create_dir(lasting.path()).unwrap();
    fs::copy(node.layout().container(&id).launch(), lasting.launch()).unwrap();
    node.start_daemon();
    wait_for("it to go", LONG, || !lasting.path().exists());
    assert_eq!(node.inspect(&id).state, State::Stopped);
    node.finish();
}
