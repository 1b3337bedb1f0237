//! Subscribers: one that never reads disturbs nobody, and is told that it lags when it reads.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use sexton_common::wire::{Event, EventKind, Reply, Request};
use sexton_tests::{Bundle, LONG, Node, Subscriber, foreign::Foreign, proc, skipped, wait_for};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
};

/// A life with four events and no runtime: `true` says that it cleaned up, and indeed there is nothing.
fn short_life(node: &Node, name: &str) {
    let mut foreign = Foreign::new(node, name);
    foreign.request.runtime.program = sexton_tests::binaries::find("true").unwrap();
    foreign.request.runtime.root = Some(node.dir().join("no-such-root"));
    foreign.watch(node).unwrap();
    foreign.exit(0);
    wait_for("the removal", LONG, || node.remove(&foreign.id, false).is_ok());
}

fn many_lives(node: &Node, name: &str, count: usize) {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for n in (thread..count).step_by(4) {
                    short_life(node, &format!("{name}{n}"));
                }
            });
        }
    });
}

#[test]
fn one_that_never_reads() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let reader = node.subscribe();
    let mut silent = node.client();
    silent.send(&Request::Subscribe { since: None }, &[]).unwrap();
    short_life(&node, "warm");
    let before = proc::resident_kib(node.daemon().pid());
    let rounds = 600;
    many_lives(&node, "life", rounds);
    let removed = || reader.heard().events.iter().filter(|(_, e)| e.kind == EventKind::Removed).count();
    wait_for("the reader to hear of all", LONG, || removed() == rounds + 1);
    let heard = reader.heard();
    assert_eq!((heard.lagged, heard.ended), (0, None), "the other one's silence is nothing to it");
    assert_contiguous(heard.snapshot_seq, heard.events.iter().map(|(_, event)| event));
    let grown = proc::resident_kib(node.daemon().pid()).saturating_sub(before);
    assert!(grown < 32 << 10, "grown by {grown} KiB, before: {before} KiB");

    // Now it reads: what fitted, then that it lagged, then a snapshot, then what follows it.
    let resident = Foreign::new(&node, "resident");
    resident.watch(&node).unwrap();
    let mut expected = None;
    let mut lagged = false;
    loop {
        match silent.receive().unwrap() {
            Reply::Snapshot { seq, last: true, containers } if !lagged => {
                assert_eq!(containers, []);
                expected = Some(seq + 1);
            }
            Reply::Event(event) => {
                assert_eq!(Some(event.seq), expected, "nothing is skipped silently");
                expected = Some(event.seq + 1);
            }
            Reply::Lagged { seen } => {
                assert_eq!(expected, Some(seen + 1), "it says what was seen");
                lagged = true;
            }
            Reply::Snapshot { seq, containers, last: true } => {
                assert!(seq > expected.unwrap());
                assert!(containers.iter().any(|info| info.id == resident.id), "{containers:?}");
                expected = Some(seq + 1);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(lagged);
    let mut resident = resident;
    resident.exit(4);
    let Reply::Event(event) = silent.receive().unwrap() else { panic!("an event was expected") };
    assert_eq!((Some(event.seq), event.kind), (expected, EventKind::Exited));
    drop(silent);
    drop(reader);
    node.finish();
}

fn assert_contiguous<'a>(mut seq: u64, events: impl Iterator<Item = &'a Event>) {
    for event in events {
        assert_eq!(event.seq, seq + 1);
        seq = event.seq;
    }
}

/// Who was away asks for what came since; and gets a snapshot where that is not at hand any more.
#[test]
fn since() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let first = node.subscribe();
    let seen = first.heard().snapshot_seq;
    short_life(&node, "a");
    short_life(&node, "b");
    let removed = || first.heard().events.iter().filter(|(_, e)| e.kind == EventKind::Removed).count();
    wait_for("the events", LONG, || removed() == 2);
    let all: Vec<Event> = first.heard().events.into_iter().map(|(_, event)| event).collect();
    let since = |node: &Node, seq| Subscriber::start(node.client(), Some(seq));
    let second = since(&node, seen);
    wait_for("the same events", LONG, || second.heard().events.len() == all.len());
    let again: Vec<Event> = second.heard().events.into_iter().map(|(_, event)| event).collect();
    assert_eq!(again, all);
    assert_eq!(second.heard().snapshots, 0);
    let tail = since(&node, all[3].seq);
    wait_for("the tail", LONG, || tail.heard().events.len() == all.len() - 4);
    // A number of the future, and one of a collector that is no more: a snapshot, and it says so.
    let future = since(&node, all.last().unwrap().seq + 1000);
    wait_for("the snapshot", LONG, || future.heard().snapshots == 1);
    drop((first, second, tail, future));
    node.terminate_daemon();
    node.start_daemon();
    let after = since(&node, all[3].seq);
    wait_for("the snapshot", LONG, || after.heard().snapshots == 1);
    assert_eq!(after.heard().lagged, 1);
    assert!(after.heard().snapshot_seq > all.last().unwrap().seq, "a new collector begins higher");
    drop(after);
    node.finish();
}

/// A client that begins with `{` speaks JSON, an object a line.
#[test]
fn in_json() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (mut asks, mut answers) = json(&node.layout().socket());
    asks.write_all(b"{\"version\":{}}\n").unwrap();
    assert_eq!(answers()["version"]["protocol"], 1);
    asks.write_all(b"{\"node\":{}}\n{\"list\":{\"all\":true}}\n").unwrap();
    assert_eq!(answers()["node"]["containers"], 0, "two questions at once are answered in order");
    assert_eq!(answers()["containers"]["last"], true);
    asks.write_all(b"{\"subscribe\":{\"since\":null}}\n").unwrap();
    assert_eq!(answers()["snapshot"]["last"], true);
    let id = node.id("a");
    node.run(&id, &Bundle::new(&node, "a").sh("exit 7").write());
    let mut exited = answers();
    while exited["event"]["kind"] != "exited" {
        assert!(exited["event"]["seq"].is_u64(), "{exited}");
        exited = answers();
    }
    let container = &exited["event"]["container"];
    assert_eq!(container["id"], id.as_str());
    assert_eq!(container["status"]["code"], 7);
    assert_eq!(container["source"], "waited");
    drop((asks, answers));
    node.finish();
}

fn json(socket: &Path) -> (UnixStream, impl FnMut() -> serde_json::Value + use<>) {
    let asks = UnixStream::connect(socket).unwrap();
    asks.set_read_timeout(Some(LONG)).unwrap();
    let mut answers = BufReader::new(asks.try_clone().unwrap()).lines();
    (asks, move || serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap())
}
