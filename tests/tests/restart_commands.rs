//! `start` and `restart` by a user, of containers with a policy and without one.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::wire::{ErrorCode, EventKind, State};
use sexton_tests::{
    Node,
    node_api::killed_by,
    restarts::{Comer, QUICK, SLOW, assert_told_once, generations, told},
    skipped,
};
use std::fs;

const SLEEPS: &str = "exec /bin/sleep 100000";

#[test]
fn start_after_a_stop_clears_flag_and_count() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    let comer = Comer::new(&node, "c", "test -e /gate/stay || exit 1; exec /bin/sleep 100000");
    comer.launch(&node, "always");
    comer.wait_runs(3);
    comer.put("stay", "");
    node.wait_stays(&comer.id);
    assert!(node.restart_of(&comer.id).count >= 2);
    let already = node.start(&comer.id).unwrap_err();
    assert_eq!(already.code, ErrorCode::AlreadyStarted, "{already}");
    node.stop(&comer.id).unwrap();
    node.wait_rest(&comer.id);
    node.start(&comer.id).unwrap();
    let restart = node.restart_of(&comer.id);
    assert!(!restart.stopped_by_user && restart.count == 0 && restart.next_start.is_none(), "{restart:?}");
    let instance = node.instance(&comer.id).unwrap();
    assert_eq!((instance.count, instance.delay_ms, instance.stopped_by_user), (0, 0, false));
    assert_eq!(node.wait_state(&comer.id, State::Running).generation, instance.launch.generation);
    node.finish_all();
}

#[test]
fn start_does_not_wait_for_the_delay() {
    if skipped() {
        return;
    }
    let node = Node::configured(SLOW);
    let comer = Comer::new(&node, "c", "test -e /gate/stay || exit 1; exec /bin/sleep 100000");
    comer.launch(&node, "on-failure:1");
    node.wait_state(&comer.id, State::Restarting);
    comer.put("stay", "");
    node.start(&comer.id).unwrap();
    comer.wait_runs(2);
    assert_eq!(node.restart_of(&comer.id).count, 0);
    node.wait_stays(&comer.id);
    // So does restart, also where there is nothing to stop.
    fs::remove_file(comer.share().join("stay")).unwrap();
    node.kill(&comer.id, 1);
    node.wait_state(&comer.id, State::Restarting);
    comer.put("stay", "");
    let launched = node.restart(&comer.id).unwrap();
    comer.wait_runs(3);
    assert_eq!(node.wait_state(&comer.id, State::Running).generation, launched.generation);
    node.finish_all();
}

#[test]
fn restart_of_what_runs_and_of_what_has_stopped_whatever_the_policy() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    for (name, policy) in [("n", "no"), ("a", "always"), ("f", "on-failure:2"), ("r", "on-reboot")] {
        let events = node.subscribe();
        let comer = Comer::new(&node, name, SLEEPS);
        let first = comer.launch(&node, policy);
        comer.wait_runs(1);
        let second = node.restart(&comer.id).unwrap();
        assert!(second.generation > first.generation && second.pid != first.pid);
        comer.wait_runs(2);
        let info = node.wait_state(&comer.id, State::Running);
        let restart = info.restart.unwrap();
        assert_eq!((restart.count, restart.stopped_by_user), (0, false), "nobody has it back but a user");
        assert_eq!(restart.last.map(|last| (last.generation, last.status)), Some((first.generation, killed_by(15))));
        node.stop(&comer.id).unwrap();
        node.wait_rest(&comer.id);
        let third = node.restart(&comer.id).unwrap();
        assert!(third.generation > second.generation);
        comer.wait_runs(3);
        node.stop(&comer.id).unwrap();
        node.wait_rest(&comer.id);
        assert_told_once(&told(&node, &events, &comer.id), 3);
        node.remove(&comer.id, false).unwrap();
        assert!(!node.layout().instance(&comer.id).exists());
    }
    node.finish_all();
}

#[test]
fn one_without_a_policy_is_kept_listed_if_it_cannot_be_started_again() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(QUICK);
    let events = node.subscribe();
    let comer = Comer::new(&node, "c", "exit 7");
    comer.launch(&node, "no");
    node.wait_rest(&comer.id);
    node.start(&comer.id).unwrap();
    comer.wait_runs(2);
    node.wait_rest(&comer.id);
    let aside = comer.bundle.with_extension("aside");
    fs::rename(&comer.bundle, &aside).unwrap();
    let failed = node.start(&comer.id).unwrap_err();
    assert!(failed.message.contains("bundle"), "{failed}");
    let info = node.wait_rest(&comer.id);
    let restart = info.restart.clone().unwrap();
    assert_eq!(info.status, Some(sexton_common::ExitStatus::Code(7)), "as it ended the last time: {info:?}");
    assert_eq!(restart.failure.as_deref(), Some(failed.message.as_str()));
    assert!(generations(&told(&node, &events, &comer.id), EventKind::Removed).is_empty());
    drop(events);
    // Also over a restart of the collector.
    node.kill_daemon();
    node.start_daemon();
    assert_eq!(node.wait_rest(&comer.id).status, info.status);
    fs::rename(&aside, &comer.bundle).unwrap();
    node.start(&comer.id).unwrap();
    comer.wait_runs(3);
    let restart = node.wait_rest(&comer.id).restart;
    assert!(restart.is_none_or(|restart| restart.failure.is_none()));
    fs::rename(&comer.bundle, &aside).unwrap();
    node.start(&comer.id).unwrap_err();
    node.remove(&comer.id, false).unwrap();
    assert_eq!(node.list(true), []);
    assert!(!node.layout().instance(&comer.id).exists());
    node.finish_all();
}

#[test]
fn what_cannot_be_started_again_says_why() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    for refused in [node.start(&node.id("none")).unwrap_err(), node.restart(&node.id("none")).unwrap_err()] {
        assert_eq!(refused.code, ErrorCode::NoSuchContainer, "{refused}");
    }
    let comer = Comer::new(&node, "c", SLEEPS);
    let mut request = comer.request(&node, "no");
    request.auto_remove = true;
    node.launch(request).unwrap();
    comer.wait_runs(1);
    let refused = node.restart(&comer.id).unwrap_err();
    assert!(refused.code == ErrorCode::Invalid && refused.message.contains("removes itself"), "{refused}");
    node.wait_state(&comer.id, State::Running);
    assert_eq!(comer.runs(), 1, "it was let alone");
    node.finish_all();
}
