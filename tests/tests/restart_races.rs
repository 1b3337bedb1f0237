//! Stop and removal against restart, in many rounds at random moments; and what 200 restarts leave in the collector.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    instance::Next,
    wire::{ErrorCode, EventKind, State},
};
use sexton_tests::{
    LONG, Node, Subscriber,
    chance::Chance,
    leftovers, proc,
    restarts::{Comer, generations, told},
    skipped, wait, wait_for,
};
use std::{collections::BTreeSet, time::Duration};

/// As short as they get: whatever comes back comes back in the middle of everything.
const HASTY: &str = "[restart]\nfirst = \"1ms\"\nmax = \"4ms\"\n";
const ROUNDS: u64 = 200;
const REMOVALS: u64 = 60;

/// Nothing runs, and nothing will.
#[track_caller]
fn rests(node: &Node, comer: &Comer, events: &Subscriber, round: u64) {
    let instance = node.instance(&comer.id).unwrap();
    let started = generations(&told(node, events, &comer.id), EventKind::Started);
    let runs = comer.runs();
    let info = node.inspect(&comer.id);
    let restart = info.restart.clone().unwrap();
    assert!(instance.stopped_by_user, "round {round}: {instance:?}");
    assert!(!matches!(instance.next, Next::Start { .. }), "round {round}: {instance:?}");
    assert!(restart.stopped_by_user && restart.next_start.is_none(), "round {round}: {info:?}");
    assert!(info.status.is_some() && info.state != State::Restarting, "round {round}: {info:?}");
    node.wait_rest(&comer.id);
    // Longer than any delay that there may be, by far.
    wait::observe(Duration::from_millis(20));
    assert_eq!(generations(&told(node, events, &comer.id), EventKind::Started), started, "round {round}: it has begun");
    assert_eq!(comer.runs(), runs, "round {round}: it has begun");
    assert!(matches!(node.instance(&comer.id).unwrap().next, Next::Nothing { .. }), "round {round}");
}

#[test]
fn stop_wins_against_restart_two_hundred_times() {
    if skipped() {
        return;
    }
    let node = Node::configured(HASTY);
    let events = node.subscribe();
    let mut chance = Chance::new(5);
    let comer = Comer::new(&node, "c", "exit 1");
    comer.launch(&node, "always");
    for round in 0..ROUNDS {
        wait::observe(Duration::from_micros(chance.next() % 120_000));
        node.stop(&comer.id).unwrap_or_else(|e| panic!("round {round}: {e}: {}", node.words()));
        rests(&node, &comer, &events, round);
        node.start(&comer.id).unwrap_or_else(|e| panic!("round {round}: {e}: {}", node.words()));
    }
    // Whatever the subscriber may have missed while it lagged, what it heard it heard once.
    let heard = told(&node, &events, &comer.id);
    let exits = generations(&heard, EventKind::Exited);
    assert_eq!(exits.len(), exits.iter().collect::<BTreeSet<_>>().len(), "an exit was told twice");
    println!("{} runs in {ROUNDS} rounds", comer.runs());
    drop(events);
    node.finish_all();
}

#[test]
fn removal_wins_against_restart() {
    if skipped() {
        return;
    }
    let node = Node::configured(HASTY);
    let mut chance = Chance::new(7);
    for round in 0..REMOVALS {
        let events = node.subscribe();
        let comer = Comer::new(&node, &format!("c{round}"), "exit 1");
        comer.launch(&node, ["always", "unless-stopped", "on-failure"][usize::try_from(round % 3).unwrap()]);
        wait::observe(Duration::from_micros(chance.next() % 150_000));
        node.remove(&comer.id, true).unwrap_or_else(|e| panic!("round {round}: {e}: {}", node.words()));
        let runs = comer.runs();
        assert!(!node.layout().instance(&comer.id).exists(), "round {round}");
        assert_eq!(node.list(true), [], "round {round}");
        wait::observe(Duration::from_millis(20));
        assert_eq!((node.list(true), comer.runs()), (Vec::new(), runs), "round {round}: it is back");
        let heard = told(&node, &events, &comer.id);
        assert_eq!(generations(&heard, EventKind::Removed).len(), 1, "round {round}: {heard:#?}");
        assert_eq!(heard.last().map(|event| event.kind), Some(EventKind::Removed), "round {round}");
        let again = node.stop(&comer.id).unwrap_err();
        assert_eq!(again.code, ErrorCode::NoSuchContainer, "round {round}: {again}");
    }
    assert!(leftovers::entries(&node.layout().instances()).is_empty());
    node.finish_all();
}

/// The same name again, at once: the one before it is not in its way, and takes nothing of it along.
#[test]
fn a_name_comes_again_at_once() {
    if skipped() {
        return;
    }
    let node = Node::configured(HASTY);
    let comer = Comer::new(&node, "c", "exit 1");
    for round in 1..=20 {
        comer.launch(&node, "on-failure:1");
        comer.wait_runs(2 * round);
        let info = node.wait_rest(&comer.id);
        assert_eq!(info.restart.unwrap().count, 1, "round {round}");
        assert!(node.instance(&comer.id).is_some(), "round {round}");
        node.remove(&comer.id, round % 2 == 0).unwrap();
    }
    assert_eq!(comer.runs(), 40);
    node.finish_all();
}

/// One without a policy that is started again and again has an instance only as long as it runs.
#[test]
fn one_that_is_started_as_soon_as_it_has_ended() {
    if skipped() {
        return;
    }
    let node = Node::configured(HASTY);
    let comer = Comer::new(&node, "c", "exit 1");
    comer.launch(&node, "no");
    for round in 2..=30 {
        node.wait_rest(&comer.id);
        node.start(&comer.id).unwrap_or_else(|e| panic!("round {round}: {e}: {}", node.words()));
        comer.wait_runs(round);
    }
    node.wait_rest(&comer.id);
    assert_eq!(comer.runs(), 30);
    wait_for("its instance to go", LONG, || !node.layout().instance(&comer.id).exists());
    node.finish_all();
}

#[test]
fn two_hundred_restarts_leave_no_descriptor_and_no_memory() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(HASTY);
    let comer = Comer::new(&node, "c", "exit 1");
    comer.launch(&node, "on-failure:200");
    // What is used once is there for good by then.
    wait_for("40 runs", LONG * 4, || comer.runs() >= 40);
    let pid = node.daemon().pid();
    let before = proc::resident_kib(pid);
    let info = {
        wait_for("201 runs", LONG * 10, || comer.runs() == 201);
        node.wait_rest(&comer.id)
    };
    assert_eq!(info.restart.unwrap().count, 200);
    let after = proc::resident_kib(pid);
    println!("resident {before} KiB after 40 runs, {after} KiB after 201");
    assert!(after < before + 2048, "{before} KiB, {after} KiB");
    node.remove(&comer.id, false).unwrap();
    node.assert_descriptors();
    let threads = proc::status(pid, "Threads");
    assert!(threads.as_deref().is_some_and(|count| count.trim().parse::<u32>().unwrap() < 40), "{threads:?}");
    node.finish_all();
}
