//! Each policy against each end, with real containers.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ExitStatus,
    instance::Next,
    wire::{EventKind, State},
};
use sexton_tests::{
    LONG, Node,
    restarts::{Comer, QUICK, assert_told_once, generations, told},
    skipped, wait_for,
};

/// Runs that are enough to say that it comes back.
const AGAIN: usize = 3;

/// What a policy makes of an end: so many runs, and whether it gives up.
#[track_caller]
fn ends(policy: &str, script: &str, runs: usize, gave_up: bool) {
    let node = Node::configured(QUICK);
    let events = node.subscribe();
    let comer = Comer::new(&node, "c", script);
    comer.launch(&node, policy);
    let info = node.wait_rest(&comer.id);
    let told = told(&node, &events, &comer.id);
    assert_eq!(comer.runs(), runs, "{policy}: {script}: {told:#?}");
    assert_told_once(&told, runs);
    assert_eq!(generations(&told, EventKind::GaveUp).len(), usize::from(gave_up), "{policy}: {script}");
    assert_eq!(generations(&told, EventKind::Restarting).len(), runs - 1, "{policy}: {script}");
    let counted = info.restart.as_ref().map_or(0, |restart| restart.count);
    assert_eq!(counted as usize, runs - 1, "{info:?}");
    drop(events);
    node.finish_all();
}

/// It comes back however often it ends like this, until a user stops it.
#[track_caller]
fn comes_back(policy: &str, script: &str) {
    let node = Node::configured(QUICK);
    let events = node.subscribe();
    let comer = Comer::new(&node, "c", script);
    comer.launch(&node, policy);
    comer.wait_runs(AGAIN);
    node.stop(&comer.id).unwrap();
    let runs = comer.runs();
    let info = node.wait_rest(&comer.id);
    let restart = info.restart.unwrap();
    assert!(restart.stopped_by_user && restart.policy == policy.parse().unwrap(), "{restart:?}");
    assert_eq!(comer.runs(), runs, "{policy}: {script}: it came back after it was stopped");
    let told = told(&node, &events, &comer.id);
    assert_eq!(generations(&told, EventKind::GaveUp).len(), 0);
    // The last one may have been stopped before it had come so far as to count itself.
    let exits = generations(&told, EventKind::Exited).len();
    assert!((runs..=runs + 1).contains(&exits), "{runs}: {told:#?}");
    drop(events);
    node.finish_all();
}

const KILLS_ITSELF: &str = "kill -9 $$; /bin/sleep 100";

#[test]
fn no_never() {
    if skipped() {
        return;
    }
    ends("no", "exit 0", 1, false);
    ends("no", "exit 3", 1, false);
}

#[test]
fn on_reboot_not_for_an_end() {
    if skipped() {
        return;
    }
    ends("on-reboot", "exit 0", 1, false);
    ends("on-reboot", "exit 3", 1, false);
}

#[test]
fn on_failure_after_failures_only() {
    if skipped() {
        return;
    }
    ends("on-failure", "exit 0", 1, false);
    ends("on-failure:3", "exit 0", 1, false);
    // The second one succeeds.
    ends("on-failure", "test -e /gate/once && exit 0; : > /gate/once; exit 7", 2, false);
    ends("on-failure:5", "test -e /gate/once && exit 0; : > /gate/once; exit 255", 2, false);
    comes_back("on-failure", "exit 1");
}

#[test]
fn on_failure_n_is_n_restarts_and_then_it_gives_up() {
    if skipped() {
        return;
    }
    ends("on-failure:1", "exit 1", 2, true);
    ends("on-failure:4", "exit 9", 5, true);
}

#[test]
fn always_and_unless_stopped_whatever_the_end() {
    if skipped() {
        return;
    }
    for policy in ["always", "unless-stopped"] {
        comes_back(policy, "exit 0");
        comes_back(policy, "exit 1");
    }
}

#[test]
fn signals_are_failures() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    let events = node.subscribe();
    let comer = Comer::new(&node, "c", KILLS_ITSELF);
    comer.launch(&node, "on-failure:2");
    let info = node.wait_rest(&comer.id);
    assert_eq!(info.status, Some(ExitStatus::Signal { number: 9, core_dumped: false }));
    assert_eq!((comer.runs(), info.restart.unwrap().count), (3, 2));
    assert_told_once(&told(&node, &events, &comer.id), 3);
    drop(events);
    node.finish_all();
}

/// Neither a SIGTERM nor a SIGKILL of the collector refills N, wherever it comes.
#[test]
fn a_restart_of_the_collector_does_not_refill_it() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(QUICK);
    // Each run says when it may end.
    let comer = Comer::new(
        &node,
        "c",
        "n=$(/bin/cat /gate/runs | /bin/busybox wc -l); until test -e /gate/end$n; do /bin/usleep 5000; done; exit 1",
    );
    comer.launch(&node, "on-failure:4");
    for run in 1..=4_u32 {
        comer.wait_runs(run as usize);
        if run.is_multiple_of(2) {
            node.kill_daemon();
            // Its end comes while nobody listens.
            comer.put(&format!("end{run}"), "");
            wait_for("its record", LONG, || node.record(&comer.id).is_some());
        } else {
            node.terminate_daemon();
        }
        node.start_daemon();
        let shown = node.restart_of(&comer.id);
        assert!(shown.count == run - 1 || shown.count == run, "{shown:?}");
        comer.put(&format!("end{run}"), "");
    }
    comer.wait_runs(5);
    let events = node.subscribe();
    comer.put("end5", "");
    events.wait(&comer.id, EventKind::GaveUp);
    node.wait_rest(&comer.id);
    for _ in 0..2 {
        node.kill_daemon();
        node.start_daemon();
        let info = node.wait_rest(&comer.id);
        let restart = info.restart.unwrap();
        assert_eq!((info.state, restart.count, restart.next_start), (State::Stopped, 4, None));
        assert!(matches!(node.instance(&comer.id).unwrap().next, Next::Nothing { .. }));
    }
    assert_eq!(comer.runs(), 5);
    // A user's start begins anew.
    for run in 6..=9 {
        comer.put(&format!("end{run}"), "");
    }
    comer.put("end10", "");
    node.start(&comer.id).unwrap();
    comer.wait_runs(10);
    assert_eq!(node.wait_rest(&comer.id).restart.unwrap().count, 4);
    assert_eq!(comer.runs(), 10);
    drop(events);
    node.finish_all();
}
