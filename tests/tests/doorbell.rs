//! The FIFO is only a doorbell: lost, doubled or rung by somebody else, the outcome is the same (I2).
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, Source, durable,
    wire::{EventKind, Launched, Reply, Request, State},
};
use sexton_tests::{Bundle, Gate, LONG, Node, Subscriber, node_api::killed_by, proc, skipped, wait_for};
use std::{
    fs::{self, File},
    io::Write,
};

fn gated(node: &Node, name: &str) -> (ContainerId, Launched, Gate) {
    let id = node.id(name);
    let (bundle, gate) = Bundle::new(node, name).gated();
    let launched = node.run(&id, &bundle.write());
    (id, launched, gate)
}

/// The same as if nothing had happened: exact, waited, each event once.
#[track_caller]
fn undisturbed(node: &Node, id: &ContainerId, events: &Subscriber, code: u8) {
    let info = node.wait(id);
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(code)), Some(Source::Waited)));
    events.wait(id, EventKind::Stopped);
    node.wait_state(id, State::Stopped);
    assert_eq!(events.kinds(id), [EventKind::Created, EventKind::Started, EventKind::Exited, EventKind::Stopped]);
}

fn open(launched: &Launched) -> File {
    File::options().read(true).write(true).open(&launched.exit_fifo).unwrap()
}

/// Rings, and waits until somebody has read it.
fn ring(fifo: &mut File, bytes: &[u8]) {
    fifo.write_all(bytes).unwrap();
    wait_for("the collector to read it", LONG, || rustix::io::ioctl_fionread(&*fifo).unwrap() == 0);
}

#[test]
fn lost() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    let (id, launched, gate) = gated(&node, "a");
    fs::remove_file(&launched.exit_fifo).unwrap();
    gate.exit(7);
    undisturbed(&node, &id, &events, 7);
    drop(events);
    node.finish();
}

#[test]
fn lost_before_the_collector_came() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let (id, launched, gate) = gated(&node, "a");
    let (other, other_launched, other_gate) = gated(&node, "b");
    node.kill_daemon();
    fs::remove_file(&launched.exit_fifo).unwrap();
    fs::remove_file(&other_launched.exit_fifo).unwrap();
    other_gate.exit(9);
    wait_for("the shim's end", LONG, || proc::is_dead(other_launched.shim_pid));
    node.start_daemon();
    assert_eq!(node.inspect(&id).state, State::Running);
    gate.exit(7);
    for (id, code) in [(&id, 7), (&other, 9)] {
        let info = node.wait(id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(code)), Some(Source::Waited)));
    }
    node.finish();
}

#[test]
fn doubled() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    let (id, launched, gate) = gated(&node, "a");
    // Held open, the FIFO never hangs up either.
    let mut fifo = open(&launched);
    gate.exit(7);
    wait_for("the record", LONG, || node.record(&id).is_some());
    let record = fs::read(&launched.exit_file).unwrap();
    for _ in 0..20 {
        fifo.write_all(&record).unwrap();
    }
    undisturbed(&node, &id, &events, 7);
    drop(fifo);
    drop(events);
    node.finish();
}

fn forged(launched: &Launched, generation: u64) -> Vec<u8> {
    let record = ExitRecord {
        id: launched.id.clone(),
        generation,
        process: None,
        status: ExitStatus::Code(99),
        source: Source::Waited,
        oom_killed: None,
        started: None,
        exited: None,
        usage: None,
        memory_peak: None,
        cpu_ns: None,
    };
    durable::encode(&record).unwrap()
}

/// An older run's, another container's, a forged one and noise: it runs on, and ends as it ends.
#[test]
fn rung_by_somebody_else() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    let (id, launched, gate) = gated(&node, "a");
    let other = Launched { id: node.id("other"), ..launched.clone() };
    let mut fifo = open(&launched);
    let older = forged(&launched, launched.generation - 1);
    let same = forged(&launched, launched.generation);
    let noise = [
        older.clone(),
        forged(&launched, launched.generation + 1),
        forged(&other, launched.generation),
        same.clone(),
        same[..9].to_vec(),
        vec![0xff; 512],
        vec![7, 0, 0, 0],
        [older.as_slice(), same.as_slice()].concat(),
    ];
    for bytes in noise {
        ring(&mut fifo, &bytes);
        assert_eq!(node.inspect(&id).state, State::Running, "{bytes:?}");
    }
    assert!(!node.layout().container(&id).exit().exists(), "a doorbell writes no record");
    assert_eq!(events.kinds(&id), [EventKind::Created, EventKind::Started]);
    gate.exit(7);
    undisturbed(&node, &id, &events, 7);
    drop(fifo);
    drop(events);
    node.finish();
}

/// A new run under an old id has nothing to do with the old one's bell.
#[test]
fn an_older_run_s_bell() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let first = node.run(&id, &Bundle::new(&node, "first").sh("exit 3").write());
    node.wait_state(&id, State::Stopped);
    let old = fs::read(&first.exit_file).unwrap();
    node.remove(&id, false).unwrap();
    let second = node.run(&id, &Bundle::new(&node, "second").sleeping().write());
    assert!(second.generation > first.generation);
    ring(&mut open(&second), &old);
    let info = node.inspect(&id);
    assert_eq!((info.state, info.status), (State::Running, None));
    node.kill(&id, 9);
    let info = node.wait(&id);
    assert_eq!((info.status, info.generation), (Some(killed_by(9)), second.generation));
    // Who still asks for the first run hears of the first, or that it is gone; never of the second.
    let request = Request::Wait { id: id.clone(), generation: Some(first.generation) };
    if let Ok(reply) = node.ask(&request) {
        let Reply::Container(info) = reply else { panic!("{reply:?}") };
        assert_eq!((info.status, info.generation), (Some(ExitStatus::Code(3)), first.generation));
    }
    node.finish();
}
