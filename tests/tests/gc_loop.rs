//! The rhythm of the loop: the back-off doubles, signs that lead nowhere do not make it run hot, and what hangs in the
//! kernel costs one thread, however often it is tried.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sexton_common::{
    ContainerId,
    gc::Step,
    wire::{ErrorCode, GcInfo, Reply, Request},
};
use sexton_tests::{
    gc::LoopDisk,
    needs,
    node::{Node, Options},
    registered::Registered,
    wait::{LONG, wait_for, wait_some},
};
use std::{fs, time::Duration};

fn node(first: &str, max: &str) -> Node {
    let config = format!("[exit]\ndeadline = \"2s\"\nbackoff_first = \"{first}\"\nbackoff_max = \"{max}\"\n");
    Node::with(Options { daemon: true, config })
}

fn add(node: &Node, id: &ContainerId, change: impl FnOnce(&mut sexton_common::cleanup::Cleanup)) {
    let mut request = node.gc_add_request(id);
    change(&mut request.cleanup);
    node.gc_add(request).unwrap();
}

/// After that attempt, and before the next one.
fn after(node: &Node, id: &ContainerId, attempts: u32) -> GcInfo {
    wait_some(&format!("attempt {attempts}"), LONG, || {
        node.gc_list().into_iter().find(|e| e.id == *id && e.attempts >= attempts && e.next_try.is_some())
    })
}

/// Nothing if it is clean by then.
fn retry(node: &Node, id: &ContainerId) -> Vec<GcInfo> {
    match node.ask(&Request::GcRetry { id: Some(id.clone()) }) {
        Ok(Reply::GcEntries { entries, .. }) => entries,
        Err(e) if e.code == ErrorCode::NoSuchContainer => Vec::new(),
        other => panic!("gc retry: {other:?}"),
    }
}

#[test]
fn the_back_off_doubles_up_to_its_most() {
    if needs::skipped() {
        return;
    }
    let node = node("250ms", "1s");
    let (id, gate) = (node.id("c"), node.dir().join("gate"));
    add(&node, &id, |cleanup| cleanup.exec = vec![format!("test -e {}", gate.display())]);
    let mut due = vec![];
    while due.last().is_none_or(|(attempts, _)| *attempts < 5) {
        let entry = after(&node, &id, due.last().map_or(1, |(attempts, _)| attempts + 1));
        assert_eq!(entry.step, Step::Commands, "{entry:?}");
        due.push((entry.attempts, entry.next_try.unwrap().0));
    }
    // Each comes when it was due at the earliest, and says when the next one is due. Who looks late misses some.
    for pair in due.windows(2) {
        let delay: u64 = (pair[0].0..pair[1].0).map(|attempt| 250 << attempt.min(2)).sum();
        assert!(pair[1].1 - pair[0].1 >= delay * 1_000_000, "{delay} ms: {due:?}");
    }
    fs::write(&gate, "").unwrap();
    assert_eq!(retry(&node, &id), [], "asked for, it is tried at once");
    node.wait_no_gc();
    node.finish();
}

#[test]
fn signs_that_lead_nowhere_do_not_make_it_run_hot() {
    if needs::skipped() {
        return;
    }
    let node = node("30s", "30s");
    let id = node.id("c");
    let registered = Registered::new(node.dir().join("registered"));
    let holder = registered.holder();
    add(&node, &id, |cleanup| *cleanup = registered.cleanup());
    let before = after(&node, &id, 1).attempts;
    let point = node.dir().join("point");
    fs::create_dir(&point).unwrap();
    // The mount table changes all the time.
    let changes = 1000;
    for _ in 0..changes {
        mount(Some("tmpfs"), &point, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        umount2(&point, MntFlags::MNT_DETACH).unwrap();
    }
    let tried = after(&node, &id, before).attempts - before;
    assert!(tried <= 20, "{tried} attempts for {changes} changes");
    drop(holder);
    node.wait_no_gc();
    registered.is_clean(Some("")).unwrap();
    node.finish();
}

/// Threads of the collector's that wait in the kernel and cannot be disturbed.
fn hung_threads(pid: u32) -> usize {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    threads.filter(|thread| fs::read_to_string(thread.path().join("stat")).is_ok_and(|s| s.contains(") D "))).count()
}

/// Others wait there for a moment, as who writes the entry; what hangs stays.
#[track_caller]
fn costs_one_thread(pid: u32) {
    wait_for("one thread that hangs, and no more", LONG, || hung_threads(pid) == 1);
}

#[test]
fn what_hangs_in_the_kernel_costs_one_thread_however_often_it_is_tried() {
    if needs::skipped() {
        return;
    }
    let mut node = node("100ms", "200ms");
    let (id, other) = (node.id("c"), node.id("other"));
    let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
    let files = disk.point().join("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("f"), "").unwrap();
    disk.freeze();
    add(&node, &id, |cleanup| cleanup.paths = vec![files.clone()]);
    let entry = after(&node, &id, 1);
    assert!(entry.step == Step::Files && entry.in_the_way.contains("hangs in the kernel"), "{entry:?}");
    let pid = node.daemon().pid();
    for _ in 0..3 {
        assert_eq!(retry(&node, &id).len(), 1);
        costs_one_thread(pid);
    }
    after(&node, &id, entry.attempts + 4);
    costs_one_thread(pid);
    // Nobody else waits for it.
    add(&node, &other, |cleanup| cleanup.exec = vec!["true".into()]);
    wait_for("another one to be clean", Duration::from_secs(10), || node.gc_list().iter().all(|e| e.id != other));
    disk.thaw();
    node.wait_no_gc();
    assert!(!files.exists());
    drop(disk);
    node.finish();
}

#[test]
fn asking_during_an_attempt_leads_to_one_more_and_never_to_two_at_once() {
    if needs::skipped() {
        return;
    }
    let node = node("30s", "30s");
    let id = node.id("c");
    let (log, gate) = (node.dir().join("log"), node.dir().join("gate"));
    let script = format!(
        "mkdir {0}.lock || echo twice >> {0}; echo run >> {0}; sleep 0.5; rmdir {0}.lock; test -e {1}",
        log.display(),
        gate.display()
    );
    add(&node, &id, |cleanup| cleanup.exec = vec![script]);
    let runs = || fs::read_to_string(&log).unwrap_or_default();
    wait_for("the first attempt", LONG, || !runs().is_empty());
    after(&node, &id, 1);
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| retry(&node, &id))).collect();
        asked.into_iter().for_each(|asked| assert_eq!(asked.join().unwrap().len(), 1));
    });
    let runs_then = runs();
    assert!(!runs_then.contains("twice") && (2..=6).contains(&runs_then.lines().count()), "{runs_then}");
    fs::write(&gate, "").unwrap();
    wait_for("it to be clean when it is asked for", LONG, || node.gc_list().is_empty() || retry(&node, &id).is_empty());
    assert!(!runs().contains("twice"));
    node.wait_no_gc();
    node.finish();
}
