//! Plain programs: how they end is told exactly, however early that is and whoever hears of it late.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::Signal;
use sexton_common::{
    ContainerId, ExitStatus, Source,
    launch::Mode,
    wire::{EventKind, Reply, Request, State},
};
use sexton_tests::{LONG, Node, node_api::killed_by, proc, skip, skipped, wait_for};
use std::fs;

#[track_caller]
fn ended(node: &Node, id: &ContainerId, status: ExitStatus) {
    let info = node.wait(id);
    assert_eq!((info.status, info.source), (Some(status), Some(Source::Waited)), "{}", node.words());
    let record = node.record(id).unwrap();
    assert_eq!((record.status, record.usage.is_some()), (status, true));
    assert!(record.exited.is_some() && record.started.is_some());
    node.wait_state(id, State::Stopped);
}

#[test]
fn codes_and_signals() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for code in [0, 1, 2, 7, 42, 125, 126, 127, 128, 137, 254, 255] {
        let id = node.id(&format!("code-{code}"));
        node.run_sh(&id, &format!("exit {code}"));
        ended(&node, &id, ExitStatus::Code(code));
    }
    for signal in [1, 2, 6, 9, 11, 15, 34, 64] {
        let id = node.id(&format!("signal-{signal}"));
        node.run_sh(&id, &format!("ulimit -c 0; kill -{signal} $$"));
        ended(&node, &id, killed_by(signal));
    }
    for signal in [15, 9] {
        let id = node.id(&format!("outside-{signal}"));
        node.run_sh(&id, "exec sleep 100000");
        node.kill(&id, i32::from(signal));
        ended(&node, &id, killed_by(signal));
    }
    node.finish();
}

#[test]
fn a_core_dump_is_told() {
    if skipped() {
        return;
    }
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.trim().is_empty() || pattern.starts_with(['/', '|']) {
        return skip(&format!("core_pattern {pattern:?} writes no core into a working directory"));
    }
    let node = Node::new();
    let id = node.id("core");
    let words = ["sh", "-c", "ulimit -c unlimited && kill -SEGV $$"];
    node.launch_program(&id, Mode::Run, &words, |program| program.cwd = Some(node.dir().into())).unwrap();
    ended(&node, &id, ExitStatus::Signal { number: 11, core_dumped: true });
    node.finish();
}

/// They are over before anybody can have looked at them.
#[test]
fn an_end_before_start_returns() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    for round in 0..20 {
        let id = node.id(&format!("run-{round}"));
        node.launch_program(&id, Mode::Run, &["sh", "-c", "exit 9"], |_| ()).unwrap();
        ended(&node, &id, ExitStatus::Code(9));
        let id = node.id(&format!("start-{round}"));
        node.launch_program(&id, Mode::Create, &["sh", "-c", "exit 8"], |_| ()).unwrap();
        assert_eq!(node.inspect(&id).state, State::Created);
        assert_eq!(node.ask(&Request::Start { id: id.clone() }), Ok(Reply::Done {}));
        ended(&node, &id, ExitStatus::Code(8));
        events.wait(&id, EventKind::Stopped);
        use EventKind::{Created, Exited, Started, Stopped};
        assert_eq!(events.kinds(&id), [Created, Started, Exited, Stopped]);
    }
    drop(events);
    node.finish();
}

/// Its pid becomes known to the collector only when it has long been dead: its status is exact.
#[test]
fn registered_late() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let [stopped, away] = ["stopped", "away"].map(|name| node.id(name));
    node.daemon().signal(Signal::STOP);
    let launched = node.shim_sh("run", &stopped, "exit 7");
    wait_for("its end", LONG, || proc::is_gone(launched.pid) && node.record(&stopped).is_some());
    node.daemon().signal(Signal::CONT);
    wait_for("the collector to know of it", LONG, || node.list(true).iter().any(|info| info.id == stopped));
    ended(&node, &stopped, ExitStatus::Code(7));
    node.kill_daemon();
    let launched = node.shim_sh("run", &away, "kill -9 $$");
    wait_for("its end", LONG, || proc::is_gone(launched.pid) && proc::is_dead(launched.shim_pid));
    node.start_daemon();
    ended(&node, &away, killed_by(9));
    node.finish();
}

/// One that nobody starts can be killed and removed, and start is for those that wait.
#[test]
fn what_waits_to_be_started() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let [killed, removed, started] = ["killed", "removed", "started"].map(|name| node.id(name));
    for id in [&killed, &removed, &started] {
        let launched = node.launch_program(id, Mode::Create, &["sleep", "100000"], |_| ()).unwrap();
        assert!(!proc::is_dead(launched.pid) && node.layout().container(id).gate().exists());
        assert!(!proc::command_line(launched.pid).starts_with("sleep"));
    }
    node.kill(&killed, 15);
    ended(&node, &killed, killed_by(15));
    node.remove(&removed, true).unwrap();
    assert_eq!(node.ask(&Request::Start { id: started.clone() }), Ok(Reply::Done {}));
    let info = node.inspect(&started);
    // In the middle of its execve it has none.
    let mut line = String::new();
    wait_for("its command line", LONG, || {
        line = proc::command_line(info.pid.unwrap());
        !line.is_empty()
    });
    assert_eq!((info.state, line.as_str()), (State::Running, "sleep 100000"));
    assert_eq!(info.command, ["sleep", "100000"]);
    assert!(!node.layout().container(&started).gate().exists());
    let again = node.ask(&Request::Start { id: started.clone() }).unwrap_err();
    assert_eq!(again.code, sexton_common::wire::ErrorCode::AlreadyStarted);
    node.kill(&started, 9);
    ended(&node, &started, killed_by(9));
    node.finish();
}

/// A shim, a file and a FIFO, and nobody else.
#[test]
fn without_a_collector() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let door = node.door("door");
    let launched = node.shim_sh("create", &id, &door.script());
    // As with runc's exec.fifo, whoever opens it starts it.
    let gate = fs::File::open(node.layout().container(&id).gate()).unwrap();
    let said = std::io::read_to_string(gate).unwrap();
    assert_eq!(said, "", "nothing is said where all is well");
    wait_for("the program", LONG, || proc::command_line(launched.pid).starts_with("sh -c"));
    door.exit(3);
    wait_for("the record", LONG, || node.record(&id).is_some_and(|record| record.status == ExitStatus::Code(3)));
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    node.assert_clean_but_records();
    fs::remove_dir_all(node.layout().container(&id).path()).unwrap();
    node.finish();
}
