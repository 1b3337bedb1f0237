//! Restarts that fail, and restarts that are refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ExitStatus,
    launch::Mode,
    wire::{ErrorCode, EventKind, LaunchRequest, State},
};
use sexton_tests::{
    Node, binaries,
    restarts::{Comer, QUICK, generations, told},
    skipped,
};
use std::fs;

/// Its process is there, and watched, before it is known that it cannot become the program.
#[test]
fn one_whose_program_is_gone_is_still_there() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    let events = node.subscribe();
    let (program, aside, id) = (node.dir().join("false"), node.dir().join("aside"), node.id("c"));
    // No script, which its shell might still have to open when it is taken away.
    node.copy(&binaries::find("busybox").unwrap(), &program);
    let launch = |policy: &str| {
        let request = node.program_request(&id, Mode::Run, &[program.to_str().unwrap()]);
        node.launch(LaunchRequest { restart: policy.parse().unwrap(), ..request })
    };
    launch("always").unwrap();
    node.wait_shown(&id, "ends", |info| info.status.is_some());
    fs::rename(&program, &aside).unwrap();
    let failed = |info: &sexton_common::wire::ContainerInfo| {
        info.state == State::Restarting && info.restart.as_ref().is_some_and(|restart| restart.failure.is_some())
    };
    let info = node.wait_shown(&id, "fails", failed);
    assert_eq!((info.status, info.pid), (Some(ExitStatus::Code(1)), None), "as it ended the last time");
    let taken = launch("no").unwrap_err();
    assert_eq!(taken.code, ErrorCode::AlreadyExists, "{taken}");
    let count = node.restart_of(&id).count;
    node.wait_shown(&id, "is tried again", |info| {
        failed(info) && info.restart.as_ref().is_some_and(|restart| restart.count > count)
    });
    node.stop(&id).unwrap();
    let info = node.wait_rest(&id);
    assert_eq!(info.status, Some(ExitStatus::Code(1)));
    assert!(generations(&told(&node, &events, &id), EventKind::Removed).is_empty());
    fs::rename(&aside, &program).unwrap();
    node.start(&id).unwrap();
    let later = node.wait_shown(&id, "runs again", |later| later.generation > info.generation);
    assert!(later.restart.unwrap().failure.is_none());
    node.stop(&id).unwrap();
    node.wait_rest(&id);
    node.remove(&id, false).unwrap();
    assert_eq!(generations(&told(&node, &events, &id), EventKind::Removed).len(), 1);
    assert!(node.list(true).is_empty());
    drop(events);
    node.finish_all();
}

#[test]
fn what_could_not_be_started_again_is_not_stopped() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    for (name, policy) in [("n", "no"), ("a", "always")] {
        let comer = Comer::new(&node, name, "exec /bin/sleep 100000");
        let launched = comer.launch(&node, policy);
        comer.wait_runs(1);
        node.maintain(true);
        let refused = node.restart(&comer.id).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Maintenance, "{refused}");
        let info = node.wait_state(&comer.id, State::Running);
        assert_eq!(info.generation, launched.generation);
        assert!(info.restart.is_none_or(|restart| restart.next_start.is_none()));
        node.maintain(false);
        node.restart(&comer.id).unwrap();
        comer.wait_runs(2);
    }
    node.finish_all();
}

/// Whoever created it is about to start it, or has thought better of it: its policy is for what has run.
#[test]
fn what_was_only_created_is_not_started_by_its_policy() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    let events = node.subscribe();
    let comer = Comer::new(&node, "c", "exit 3");
    let launched = node.launch(LaunchRequest { mode: Mode::Create, ..comer.request(&node, "always") }).unwrap();
    assert_eq!(node.inspect(&comer.id).state, State::Created);
    sexton_tests::proc::kill(launched.pid);
    events.wait(&comer.id, EventKind::Stopped);
    let info = node.wait_rest(&comer.id);
    let restart = info.restart.unwrap();
    assert_eq!((info.state, restart.count, restart.next_start), (State::Stopped, 0, None));
    // What a user starts comes back as ever.
    node.start(&comer.id).unwrap();
    comer.wait_runs(2);
    node.stop(&comer.id).unwrap();
    let kinds: Vec<_> = told(&node, &events, &comer.id).into_iter().map(|event| event.kind).collect();
    let first = [EventKind::Created, EventKind::Exited, EventKind::Stopped];
    assert_eq!(kinds[..3], first, "and is told of as what never ran");
    node.remove(&comer.id, true).unwrap();
    drop(events);
    node.finish_all();
}
