//! A collector that comes back knows every container again, whatever kills it meanwhile.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus, Source,
    wire::{ContainerInfo, State},
};
use sexton_tests::{
    LONG, Node,
    crowd::{Crowd, code},
    daemon::listed,
    skipped, wait_for,
};
use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

/// What is to be known of each.
type Expected = BTreeMap<ContainerId, (u64, Option<u8>)>;

fn expected(crowd: &Crowd) -> Expected {
    let running = crowd.running.iter().map(|member| (member, None));
    let stopped = crowd.stopped.iter().enumerate().map(|(n, member)| (member, Some(code(n))));
    running.chain(stopped).map(|(member, code)| (member.id().clone(), (member.launch.generation, code))).collect()
}

#[track_caller]
fn assert_known(node: &Node, crowd: &Crowd, expected: &Expected) {
    let known: HashMap<ContainerId, ContainerInfo> =
        node.list(true).into_iter().map(|info| (info.id.clone(), info)).collect();
    assert_eq!(known.len(), expected.len(), "each once");
    let pids: HashMap<_, _> = crowd.running.iter().map(|member| (member.id(), member.init.process.pid)).collect();
    for (id, (generation, code)) in expected {
        let info = &known[id];
        assert_eq!(info.generation, *generation, "{id}");
        match code {
            None => {
                assert_eq!((info.state, info.status), (State::Running, None), "{id}");
                assert_eq!(info.pid, Some(pids[id]), "{id}");
            }
            Some(code) => {
                let end = (Some(ExitStatus::Code(*code)), Some(Source::Waited));
                assert_eq!((info.status, info.source), end, "{id}");
            }
        }
    }
}

#[track_caller]
fn finish(node: Node, mut crowd: Crowd, mut expected: Expected) {
    for (n, member) in crowd.running.iter_mut().enumerate() {
        let known = expected.get_mut(member.id()).unwrap();
        if known.1.is_none() {
            member.end(code(n + 100));
            known.1 = Some(code(n + 100));
        }
    }
    let stopped = || node.list(true).iter().all(|info| info.state == State::Stopped);
    wait_for("all of them to be clean", LONG * 2, stopped);
    assert_known(&node, &crowd, &expected);
    drop(crowd);
    node.finish();
}

#[test]
fn five_hundred() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    node.kill_daemon();
    let mut crowd = Crowd::new(&node, 200, 300);
    let mut known = expected(&crowd);
    let begun = Instant::now();
    node.start_daemon();
    eprintln!("500 are known after {:?}", begun.elapsed());
    assert_known(&node, &crowd, &known);
    node.kill_daemon();
    for (n, member) in crowd.running.iter_mut().enumerate().take(60) {
        member.end(code(n));
        known.insert(member.id().clone(), (member.launch.generation, Some(code(n))));
    }
    node.start_daemon();
    let events = node.subscribe();
    assert_eq!(events.heard().snapshot.len(), 500);
    assert_known(&node, &crowd, &known);
    drop(events);
    finish(node, crowd, known);
}

#[test]
fn killed_again_and_again_while_it_looks() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    node.kill_daemon();
    let mut crowd = Crowd::new(&node, 200, 300);
    let mut known = expected(&crowd);
    let mut in_the_midst = 0;
    for round in 0..10 {
        // Some end while it is away.
        for (n, member) in crowd.running.iter_mut().enumerate().skip(round * 5).take(5) {
            member.end(code(n));
            known.insert(member.id().clone(), (member.launch.generation, Some(code(n))));
        }
        node.start_looking();
        let wanted = round * 50;
        let mut pending = 0;
        wait_for("some of them to be known", LONG, || {
            let all = listed(node.layout()).unwrap();
            pending = all.iter().filter(|info| info.state == State::Pending).count();
            for info in all.iter().filter(|info| info.state != State::Pending) {
                let (generation, code) = known[&info.id];
                assert_eq!((info.generation, info.status), (generation, code.map(ExitStatus::Code)), "{}", info.id);
            }
            assert_eq!(all.len(), 500, "all have a name from the beginning");
            all.len() - pending >= wanted
        });
        in_the_midst += usize::from(pending > 0);
        node.kill_daemon();
    }
    assert!(in_the_midst > 0, "it was never killed while it looked");
    node.start_daemon();
    let events = node.subscribe();
    assert_known(&node, &crowd, &known);
    let ended: Vec<_> = known.iter().filter(|(_, (_, code))| code.is_some()).map(|(id, _)| id.clone()).collect();
    for id in &ended {
        node.wait_state(id, State::Stopped);
        let told = events.kinds(id);
        assert!(!told.contains(&sexton_common::wire::EventKind::Exited), "{id} is told twice: {told:?}");
    }
    drop(events);
    finish(node, crowd, known);
}
