//! The collector goes, by SIGTERM and by SIGKILL, and comes back: containers run on, and no exit is lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus, Source, WallTime,
    launch::Mode,
    wire::{EventKind, Launched, State},
};
use sexton_tests::{Bundle, Gate, LONG, Node, proc, skipped, wait_for};
use std::collections::HashSet;

struct Running {
    id: ContainerId,
    gate: Gate,
    launched: Launched,
    started: WallTime,
}

fn run(node: &Node, count: u8) -> Vec<Running> {
    (0..count)
        .map(|n| {
            let name = format!("c{n}");
            let id = node.id(&name);
            let (bundle, gate) = Bundle::new(node, &name).gated();
            let launched = node.run(&id, &bundle.write());
            let started = node.inspect(&id).started_at.unwrap();
            Running { id, gate, launched, started }
        })
        .collect()
}

fn stop(node: &mut Node, hard: bool) {
    if hard { node.kill_daemon() } else { node.terminate_daemon() }
}

/// It goes and comes while they run: nobody notices.
fn while_running(hard: bool) {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let running = run(&node, 6);
    for _ in 0..3 {
        stop(&mut node, hard);
        node.start_daemon();
        for one in &running {
            let info = node.inspect(&one.id);
            assert_eq!(info.state, State::Running);
            assert_eq!(info.generation, one.launched.generation);
            assert_eq!((info.pid, info.shim_pid), (Some(one.launched.pid), Some(one.launched.shim_pid)));
            assert_eq!(info.started_at, Some(one.started));
        }
    }
    let events = node.subscribe();
    assert_eq!(events.heard().snapshot.len(), running.len());
    for (code, one) in (10..).zip(&running) {
        one.gate.exit(code);
        let info = node.wait(&one.id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(code)), Some(Source::Waited)));
        events.wait(&one.id, EventKind::Stopped);
        assert_eq!(events.kinds(&one.id), [EventKind::Exited, EventKind::Stopped]);
    }
    drop(events);
    node.finish();
}

#[test]
fn while_they_run_term() {
    while_running(false);
}

#[test]
fn while_they_run_kill() {
    while_running(true);
}

/// Fifty end while it is away: statuses and times are exact afterwards.
fn while_away(hard: bool) {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let running = run(&node, 50);
    let last_seq = {
        let events = node.subscribe();
        events.heard().snapshot_seq
    };
    stop(&mut node, hard);
    let away = WallTime::now();
    for (code, one) in (100..).zip(&running) {
        one.gate.exit(code);
    }
    for one in &running {
        wait_for("the shim's end", LONG, || proc::is_dead(one.launched.shim_pid));
    }
    let back = WallTime::now();
    node.start_daemon();
    let events = node.subscribe();
    let mut generations = HashSet::new();
    for (code, one) in (100..).zip(&running) {
        let info = node.wait(&one.id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(code)), Some(Source::Waited)));
        assert_eq!(info.generation, one.launched.generation);
        assert!(generations.insert(info.generation), "no two runs have the same generation");
        assert_eq!(info.started_at, Some(one.started), "when it was started, not when the collector was");
        let exited = info.exited_at.unwrap();
        assert!(away <= exited && exited <= back, "{away} <= {exited} <= {back}");
        node.wait_state(&one.id, State::Stopped);
    }
    assert!(events.heard().snapshot_seq >= last_seq, "numbers only ever rise");
    for one in &running {
        let told = events.kinds(&one.id).into_iter().filter(|kind| *kind == EventKind::Exited).count();
        let known = events.heard().snapshot.iter().any(|info| info.id == one.id && info.status.is_some());
        assert_eq!(told + usize::from(known), 1, "{} is told once: in the snapshot or after it", one.id);
    }
    drop(events);
    node.assert_clean_but_records();
    // Nothing is told or done twice when it comes back once more.
    stop(&mut node, hard);
    node.start_daemon();
    assert!(node.list(true).iter().all(|info| info.state == State::Stopped && info.status.is_some()));
    node.finish();
}

#[test]
fn fifty_end_while_it_is_away_term() {
    while_away(false);
}

#[test]
fn fifty_end_while_it_is_away_kill() {
    while_away(true);
}

/// Shims that were started while nobody listened are found by the scan.
#[test]
fn shims_born_while_it_is_away() {
    if skipped() {
        return;
    }
    let mut node = Node::bare();
    let [ends, runs, created] = ["ends", "runs", "created"].map(|name| node.id(name));
    node.shim("run", &ends, &Bundle::new(&node, "ends").sh("exit 7").write());
    let (bundle, gate) = Bundle::new(&node, "runs").gated();
    let launched = node.shim("run", &runs, &bundle.write());
    node.shim("create", &created, &Bundle::new(&node, "created").sh("exit 5").write());
    wait_for("the record", LONG, || node.record(&ends).is_some());
    node.start_daemon();
    assert_eq!(node.wait(&ends).status, Some(ExitStatus::Code(7)));
    let info = node.inspect(&runs);
    assert_eq!((info.state, info.pid), (State::Running, Some(launched.pid)));
    assert_eq!(node.inspect(&created).state, State::Created);
    gate.exit(9);
    assert_eq!(node.wait(&runs).status, Some(ExitStatus::Code(9)));
    node.ask(&sexton_common::wire::Request::Start { id: created.clone() }).unwrap();
    assert_eq!(node.wait(&created).status, Some(ExitStatus::Code(5)));
    node.finish();
}

/// A shim started by an engine announces itself to a collector that is up.
#[test]
fn shims_announce_themselves() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.shim("run", &id, &bundle.write());
    let info = node.inspect(&id);
    assert_eq!((info.state, info.generation), (State::Running, launched.generation));
    gate.exit(7);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(7)));
    events.wait(&id, EventKind::Stopped);
    assert_eq!(events.kinds(&id), [EventKind::Created, EventKind::Started, EventKind::Exited, EventKind::Stopped]);
    drop(events);
    node.finish();
}

/// What it was asked while it goes: the waiters hear the end of the connection, not a made-up answer.
#[test]
fn waiters_are_not_told_lies() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let request = node.launch_request(&id, &bundle.write(), Mode::Run);
    node.launch(request).unwrap();
    let mut client = node.client();
    client.send(&sexton_common::wire::Request::Wait { id: id.clone(), generation: None }, &[]).unwrap();
    node.terminate_daemon();
    match client.receive() {
        Err(_) | Ok(sexton_common::wire::Reply::Error(_)) => {}
        other => panic!("{other:?}"),
    }
    node.start_daemon();
    gate.exit(3);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(3)));
    node.finish();
}
