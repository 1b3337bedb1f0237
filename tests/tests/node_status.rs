//! READY, FULL and refused: each figure against the machine's own.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId,
    launch::Mode,
    wire::{ApiError, ErrorCode, NodeState, Request, State},
};
use sexton_tests::{Bundle, LONG, Node, Options, disk::SmallDisk, needs, run, wait_for};
use std::{path::Path, sync::Barrier, thread};

const HUGE: &str = "1000 PiB";

/// The machine's own word, in KiB.
fn meminfo(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

fn launch(node: &Node, id: &ContainerId, bundle: &Path, mode: Mode) -> Result<(), ApiError> {
    node.launch(node.launch_request(id, bundle, mode)).map(drop)
}

#[track_caller]
fn refused(done: Result<(), ApiError>, words: &[&str]) {
    let error = done.unwrap_err();
    assert_eq!(error.code, ErrorCode::Full, "{error:?}");
    for word in words {
        assert!(error.message.contains(word), "{word:?} is not in {error:?}");
    }
}

/// The disk has half a second to tell how full it is. As long as it does not, nobody is refused for that.
#[track_caller]
fn is_known_to_be_full(node: &Node, words: &[&str]) {
    wait_for("it is known to be full", LONG, || {
        let (state, why) = node.state();
        state == NodeState::Full && why.iter().any(|why| words.iter().all(|word| why.contains(word)))
    });
}

/// Whatever machine this is, it is ready, and says how much it has.
#[test]
fn by_default_it_is_ready() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let stats = node.node_status();
    // Unless the machine has really nothing left, which is then what it says.
    assert!(stats.state == NodeState::Ready || !stats.why.is_empty(), "{stats:?}");
    assert_eq!((stats.running.used, stats.running.total), (0, None));
    let text = node.sexton(&["node"]).ok().stdout;
    assert!(text.contains(stats.state.name()), "{text}");
    assert_eq!(node.sexton(&["node", "--json"]).ok().json()["state"], stats.state.name().to_lowercase());
    node.finish();
}

#[test]
fn above_the_low_watermark_it_only_says_that_it_is_full() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::marked(&format!("memory_high = '{HUGE}'"));
    let (state, why) = node.state();
    assert_eq!(state, NodeState::Full);
    let left = node.node_status().memory.left.unwrap();
    assert!(why[0].starts_with("memory: ") && why[0].contains("node.memory_high"), "{why:?}");
    assert!(left <= meminfo("MemTotal:") * 1024 && left > 0);
    let bundle = Bundle::new(&node, "a").sleeping().write();
    node.run(&node.id("a"), &bundle);
    for (marks, word) in [
        (format!("memory_high = 0\ndisk_high = '{HUGE}'"), "disk: "),
        ("disk_high = 0\ndescriptors_high = 1000000000000".to_owned(), "descriptors: "),
        ("containers_full = 1".to_owned(), "containers: 1, full from 1 on (node.containers_full)"),
    ] {
        node.mark(&marks);
        let (state, why) = node.state();
        assert_eq!(state, NodeState::Full, "{marks}");
        assert!(why.iter().any(|why| why.starts_with(word)), "{marks}: {why:?}");
        let text = node.sexton(&["node"]).ok().stdout;
        assert!(text.contains("FULL") && text.contains(word), "{text}");
        let id = node.id(&format!("b{}", word.len()));
        launch(&node, &id, &bundle, Mode::Run).unwrap();
        node.remove(&id, true).unwrap();
    }
    node.remove(&node.id("a"), true).unwrap();
    wait_for("room", LONG, || node.state().1.iter().all(|why| !why.starts_with("containers")));
    node.finish();
}

#[test]
fn below_the_low_watermark_starts_are_refused_with_the_figure() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::new();
    let bundle = Bundle::new(&node, "a").sleeping().write();
    let [created, running, new] = ["created", "running", "new"].map(|name| node.id(name));
    node.create(&created, &bundle);
    node.run(&running, &bundle);
    for (marks, words) in [
        (format!("memory_low = '{HUGE}'"), &["memory: ", " left, below the low watermark of ", "node.memory_low"][..]),
        (format!("disk_low = '{HUGE}'"), &["disk: ", " left, below the low watermark of ", "node.disk_low"]),
    ] {
        node.mark(&marks);
        for mode in [Mode::Run, Mode::Create] {
            is_known_to_be_full(&node, words);
            refused(launch(&node, &new, &bundle, mode), words);
        }
        is_known_to_be_full(&node, words);
        refused(node.ask(&Request::Start { id: created.clone() }).map(drop), words);
        is_known_to_be_full(&node, words);
        let started = node.sexton(&["start", created.as_str()]);
        assert_eq!(started.code(), 10, "{started:?}");
        assert!(words.iter().all(|word| started.stderr.contains(word)), "{started:?}");
        is_known_to_be_full(&node, words);
        let ran = run(&mut node.cli(&["run", "-d"], &new, &bundle, &[]));
        assert!(ran.code() == 125 && ran.stderr.contains("this node is full"), "{ran:?}");
        // What cannot be started anyway hears that, not this.
        let again = node.ask(&Request::Start { id: running.clone() }).unwrap_err();
        assert_eq!(again.code, ErrorCode::AlreadyStarted);
        let nobody = node.ask(&Request::Start { id: new.clone() }).unwrap_err();
        assert_eq!(nobody.code, ErrorCode::NoSuchContainer);
        assert!(!node.layout().container(&new).path().exists());
    }
    // One that is watched already needs no more descriptors; a new one does.
    node.mark("descriptors_low = 1000000000000");
    refused(launch(&node, &new, &bundle, Mode::Run), &["descriptors: ", "node.descriptors_low"]);
    node.mark("");
    node.ask(&Request::Start { id: created.clone() }).unwrap();
    for id in [&created, &running] {
        node.remove(id, true).unwrap();
    }
    node.finish();
}

#[test]
fn a_disk_that_fills_up_and_is_emptied() {
    if needs::skipped() {
        return;
    }
    let config = "[node]\nmemory_high = 0\nmemory_low = 0\ndisk_high = '512 KiB'\ndisk_low = '256 KiB'\n".into();
    let mut node = Node::with(Options { daemon: false, config });
    let disk = SmallDisk::new(node.layout().data());
    node.start_daemon();
    wait_for("it is ready", LONG, || node.state() == (NodeState::Ready, Vec::new()));
    let bundle = Bundle::new(&node, "a").args(&["/bin/true"]).write();
    let id = node.id("a");
    disk.fill();
    let words = ["disk: 0 B left", "256.0 KiB", "node.disk_low"];
    is_known_to_be_full(&node, &words);
    refused(launch(&node, &id, &bundle, Mode::Run), &words);
    disk.free();
    wait_for("it is ready", LONG, || node.state().0 == NodeState::Ready);
    launch(&node, &id, &bundle, Mode::Run).unwrap();
    let _ = node.wait(&id);
    node.remove_all();
    node.terminate_daemon();
    drop(disk);
    node.finish();
}

/// A hundred at once, places for ten: ten get in, whatever the order; a failed launch takes none, and one that has ended
/// gives its own back.
#[test]
fn exactly_as_many_as_may_get_in() {
    if needs::skipped() {
        return;
    }
    const MAX: usize = 10;
    let node = Node::marked(&format!("containers_full = 8\ncontainers_max = {MAX}\nmemory_high = 0\ndisk_high = 0"));
    let bundle = Bundle::new(&node, "a").sleeping().write();
    let nowhere = node.dir().join("nowhere");
    // None of these keeps a place.
    for n in 0..2 * MAX {
        let failed = launch(&node, &node.id(&format!("f{n}")), &nowhere, Mode::Run).unwrap_err();
        assert_eq!(failed.code, ErrorCode::RuntimeFailed, "{failed:?}");
    }
    assert_eq!(node.node_status().running.used, 0);
    let barrier = Barrier::new(100);
    let done: Vec<_> = thread::scope(|scope| {
        let all: Vec<_> = (0..100)
            .map(|n| {
                let (node, bundle, barrier) = (&node, &bundle, &barrier);
                scope.spawn(move || {
                    let id = node.id(&format!("c{n}"));
                    barrier.wait();
                    (launch(node, &id, bundle, if n % 2 == 0 { Mode::Run } else { Mode::Create }), id)
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (inside, outside): (Vec<_>, Vec<_>) = done.into_iter().partition(|(done, _)| done.is_ok());
    assert_eq!(inside.len(), MAX);
    for (done, _) in outside {
        refused(done, &["containers: ", "of 10 that may", "node.containers_max"]);
    }
    let stats = node.node_status();
    assert_eq!((stats.running.used, stats.running.total, stats.running.left), (10, Some(10), Some(0)));
    assert_eq!(stats.why, ["containers: 10 of 10 (node.containers_max): starts are refused"]);
    // Those that are created have their places already.
    let created: Vec<_> =
        inside.iter().map(|(_, id)| id).filter(|id| node.inspect(id).state == State::Created).collect();
    created.iter().for_each(|id| drop(node.ask(&Request::Start { id: (*id).clone() }).unwrap()));
    let (_, first) = &inside[0];
    let late = node.id("late");
    refused(launch(&node, &late, &bundle, Mode::Run), &["node.containers_max"]);
    node.kill(first, 9);
    let _ = node.wait(first);
    launch(&node, &late, &bundle, Mode::Run).unwrap();
    refused(launch(&node, &node.id("later"), &bundle, Mode::Run), &["node.containers_max"]);
    let _ = node.sexton(&["rm", "--all", "-f"]).ok();
    assert_eq!(node.state(), (NodeState::Ready, Vec::new()));
    node.finish();
}

/// An engine that execs the shim itself is not asked, but its containers count.
#[test]
fn a_shim_of_an_engines_own_counts_and_is_not_refused() {
    if needs::skipped() {
        return;
    }
    let node = Node::marked("containers_max = 1");
    let bundle = Bundle::new(&node, "a").sleeping().write();
    let ids = ["a", "b"].map(|name| node.id(name));
    for id in &ids {
        node.shim("run", id, &bundle);
    }
    wait_for("both", LONG, || node.node_status().running.used == 2);
    assert_eq!(node.node_status().running.left, Some(0));
    refused(launch(&node, &node.id("c"), &bundle, Mode::Run), &["containers: 2 run or are about to, of 1 that may"]);
    for id in &ids {
        node.remove(id, true).unwrap();
    }
    node.finish();
}
