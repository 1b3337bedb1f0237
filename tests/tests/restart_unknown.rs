//! Ends that nobody knows: shim and collector both killed, again and again.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ExitStatus, UnknownReason,
    wire::{Launched, State},
};
use sexton_tests::{
    LONG, Node, proc,
    restarts::{Comer, QUICK},
    skipped, wait_for,
};
use std::path::PathBuf;

/// It ends while nobody is there who could know how.
fn lose(node: &mut Node, comer: &Comer) {
    let info = node.wait_shown(&comer.id, "runs", |info| {
        info.state == State::Running && info.restart.as_ref().is_some_and(|restart| restart.next_start.is_none())
    });
    node.kill_daemon();
    let none = PathBuf::new;
    let launched = Launched {
        id: info.id,
        generation: info.generation,
        pid: info.pid.unwrap(),
        shim_pid: info.shim_pid.unwrap(),
        exit_fifo: none(),
        exit_file: none(),
    };
    proc::kill_shim(&launched);
    proc::kill(launched.pid);
    wait_for("its end", LONG, || proc::is_gone(launched.pid) && proc::is_dead(launched.shim_pid));
    node.start_daemon();
}

#[test]
fn on_failure_takes_so_many_in_a_row_for_failures() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(&format!("{QUICK}unknown_in_a_row = 2\n"));
    let comer = Comer::new(&node, "c", "test -e /gate/fail && exit 1; : > /gate/stays; exec /bin/sleep 100000");
    comer.launch(&node, "on-failure");
    comer.wait_runs(1);
    for runs in 2..=3 {
        lose(&mut node, &comer);
        comer.wait_runs(runs);
        assert_eq!(node.instance(&comer.id).unwrap().unknowns, u32::try_from(runs).unwrap() - 1);
    }
    // One that is known begins anew.
    node.wait_stays(&comer.id);
    comer.put("fail", "");
    node.kill(&comer.id, 1);
    wait_for("known ends", LONG, || node.instance(&comer.id).unwrap().unknowns == 0);
    std::fs::remove_file(comer.share().join("stays")).unwrap();
    std::fs::remove_file(comer.share().join("fail")).unwrap();
    wait_for("one that stays", LONG, || comer.share().join("stays").exists());
    for _ in 0..2 {
        let runs = comer.runs();
        lose(&mut node, &comer);
        comer.wait_runs(runs + 1);
    }
    let runs = comer.runs();
    lose(&mut node, &comer);
    let info = node.wait_rest(&comer.id);
    let reason = UnknownReason::ShimAndCollectorKilled;
    assert_eq!(info.status, Some(ExitStatus::Unknown { reason }), "{info:?}");
    assert_eq!(node.instance(&comer.id).unwrap().unknowns, 3);
    node.kill_daemon();
    node.start_daemon();
    node.wait_rest(&comer.id);
    assert_eq!(comer.runs(), runs, "no endless loop");
    // A user's start begins anew.
    node.start(&comer.id).unwrap();
    comer.wait_runs(runs + 1);
    assert_eq!(node.instance(&comer.id).unwrap().unknowns, 0);
    node.finish_all();
}

#[test]
fn as_a_success_if_that_is_configured_and_always_in_any_case() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(&format!("{QUICK}unknown = \"success\"\n"));
    let [fails, always] = ["f", "a"].map(|name| Comer::new(&node, name, "exec /bin/sleep 100000"));
    fails.launch(&node, "on-failure");
    always.launch(&node, "always");
    for comer in [&fails, &always] {
        comer.wait_runs(1);
        lose(&mut node, comer);
    }
    always.wait_runs(2);
    assert!(matches!(node.wait_rest(&fails.id).status, Some(ExitStatus::Unknown { .. })));
    assert_eq!(fails.runs(), 1);
    node.finish_all();
}
