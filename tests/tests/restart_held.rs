//! What holds restarts back: maintenance, a full node, a disk that takes no writes.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    instance::Next,
    wire::{ErrorCode, Request, State},
};
use sexton_tests::{
    LONG, Node,
    disk::{SmallDisk, Window},
    restarts::{Comer, QUICK},
    skipped, wait_for,
};

#[test]
fn maintenance_holds_them_back_and_they_go_on_when_it_ends() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(QUICK);
    let all =
        ["a", "b"].map(|name| Comer::new(&node, name, "until test -e /gate/end; do /bin/usleep 5000; done; exit 1"));
    for comer in &all {
        comer.launch(&node, "always");
        comer.wait_runs(1);
    }
    node.ask(&Request::Maintenance { on: true }).unwrap();
    for comer in &all {
        comer.put("end", "");
        let info = node.wait_shown(&comer.id, "is held back", |info| {
            info.restart.as_ref().is_some_and(|restart| restart.failure.is_some() && restart.next_start.is_some())
        });
        let restart = info.restart.unwrap();
        assert!(info.state == State::Restarting && restart.count == 1, "{restart:?}");
        assert!(restart.failure.as_ref().unwrap().contains("maintenance"), "{restart:?}");
        std::fs::remove_file(comer.share().join("end")).unwrap();
    }
    let refused = node.start(&all[0].id).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Maintenance, "{refused}");
    // It outlives the collector, and so does what it holds back.
    node.kill_daemon();
    node.start_daemon();
    for comer in &all {
        let restart = node.restart_of(&comer.id);
        assert!(restart.count == 1 && restart.next_start.is_some() && comer.runs() == 1, "{restart:?}");
    }
    node.stop(&all[1].id).unwrap();
    node.ask(&Request::Maintenance { on: false }).unwrap();
    all[0].wait_runs(2);
    let info = node.wait_shown(&all[0].id, "runs", |info| {
        info.state == State::Running && info.restart.as_ref().is_some_and(|restart| restart.failure.is_none())
    });
    assert_eq!(info.restart.unwrap().count, 1, "what is nobody's failure does not count");
    assert!(node.wait_rest(&all[1].id).restart.unwrap().stopped_by_user);
    assert_eq!(all[1].runs(), 1);
    node.finish_all();
}

/// Its place is kept while it waits; where another has it, after a reboot for instance, it is asked for again.
#[test]
fn a_full_node_is_asked_again() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(&format!("{QUICK}[node]\ncontainers_max = 1\n"));
    let comer = Comer::new(&node, "c", "test -e /gate/stay || exit 1; exec /bin/sleep 100000");
    comer.launch(&node, "always");
    comer.wait_runs(3);
    node.stop(&comer.id).unwrap();
    node.wait_rest(&comer.id);
    let runs = comer.runs();
    comer.put("stay", "");
    let other = Comer::new(&node, "other", "exec /bin/sleep 100000");
    other.launch(&node, "no");
    let full = node.start(&comer.id).unwrap_err();
    assert_eq!(full.code, ErrorCode::Full, "{full}");
    // It comes back with the next collector, and finds no place.
    node.terminate_daemon();
    node.start_daemon();
    let info = node.wait_shown(&comer.id, "is held back", |info| {
        info.restart.as_ref().is_some_and(|restart| restart.failure.is_some() && restart.next_start.is_some())
    });
    assert!(info.restart.unwrap().failure.unwrap().contains("full"));
    assert_eq!(comer.runs(), runs);
    node.stop(&other.id).unwrap();
    comer.wait_runs(runs + 1);
    node.finish_all();
}

/// Stopping is stopping, whatever the disk says; and nothing starts before it is durable that it does.
#[test]
fn a_full_data_directory() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(QUICK);
    node.terminate_daemon();
    let disk = SmallDisk::new(&node.layout().instances());
    node.start_daemon();
    let comer = Comer::new(&node, "c", "until test -e /gate/end; do /bin/usleep 5000; done; exit 1");
    comer.launch(&node, "always");
    comer.wait_runs(1);
    disk.fill();
    comer.put("end", "");
    wait_for("its record", LONG, || node.record(&comer.id).is_some());
    node.wait_shown(&comer.id, "is clean", |info| info.state == State::Stopped);
    wait_for("a word on that", LONG, || node.words().contains("cannot be written"));
    assert_eq!((comer.runs(), node.instance(&comer.id).unwrap().count), (1, 0), "the count is not durable");
    disk.free();
    comer.wait_runs(2);
    assert!(node.instance(&comer.id).unwrap().count >= 1);
    disk.fill();
    let told = node.stop(&comer.id).unwrap_err();
    assert!(told.code == ErrorCode::Internal && told.message.contains("comes back"), "{told}");
    node.wait_shown(&comer.id, "has ended", |info| info.status.is_some());
    let runs = comer.runs();
    disk.free();
    wait_for("a durable stop", LONG, || {
        node.instance(&comer.id).is_some_and(|is| is.stopped_by_user && matches!(is.next, Next::Nothing { .. }))
    });
    node.wait_rest(&comer.id);
    assert_eq!(comer.runs(), runs, "it was stopped");
    node.remove(&comer.id, false).unwrap();
    node.terminate_daemon();
    drop(disk);
    node.start_daemon();
    node.finish_all();
}

/// What is removed is gone, or somebody is told that it is not.
#[test]
fn a_read_only_data_directory() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(QUICK);
    node.terminate_daemon();
    let window = Window::new(&node.layout().instances());
    node.start_daemon();
    let [stops, goes] = ["stops", "goes"].map(|name| Comer::new(&node, name, "exec /bin/sleep 100000"));
    for comer in [&stops, &goes] {
        comer.launch(&node, "always");
        comer.wait_runs(1);
        node.wait_state(&comer.id, State::Running);
    }
    window.read_only(true);
    let told = node.stop(&stops.id).unwrap_err();
    assert!(told.code == ErrorCode::Internal && told.message.contains("comes back"), "{told}");
    let refused = node.remove(&goes.id, true).unwrap_err();
    assert!(refused.code == ErrorCode::Internal && refused.message.contains("read-only"), "{refused}");
    assert!(node.inspect(&stops.id).status.is_some());
    window.read_only(false);
    wait_for("its instance to go", LONG, || !node.layout().instance(&goes.id).exists());
    wait_for("a durable stop", LONG, || node.instance(&stops.id).is_some_and(|is| is.stopped_by_user));
    node.wait_rest(&stops.id);
    wait_for("it is not listed", LONG, || node.list(true).iter().all(|info| info.id != goes.id));
    assert_eq!((stops.runs(), goes.runs()), (1, 1));
    node.remove(&stops.id, false).unwrap();
    node.terminate_daemon();
    drop(window);
    node.start_daemon();
    node.finish_all();
}
