//! Every way to end, exactly as it was: by the shim's own `waitid`.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ExitStatus, Source,
    launch::Mode,
    wire::{ContainerInfo, EventKind, Request, State},
};
use sexton_tests::{Bundle, LONG, Node, helper::helper, node_api::killed_by, skip, skipped, wait_for};
use std::{fs, path::PathBuf};

/// Runs it, and it ended by itself with that status; it is clean then, and each event came once.
#[track_caller]
fn ends_with(node: &Node, name: &str, bundle: PathBuf, status: ExitStatus) -> ContainerInfo {
    let events = node.subscribe();
    let id = node.id(name);
    node.run(&id, &bundle);
    let info = node.wait(&id);
    assert_exact(node, &info, status);
    let info = node.wait_state(&id, State::Stopped);
    assert_exact(node, &info, status);
    let (_, exited) = events.wait(&id, EventKind::Exited);
    assert_eq!((exited.container.status, exited.container.source), (Some(status), Some(Source::Waited)));
    events.wait(&id, EventKind::Stopped);
    assert_eq!(events.kinds(&id), [EventKind::Created, EventKind::Started, EventKind::Exited, EventKind::Stopped]);
    let (_, started) = events.wait(&id, EventKind::Started);
    assert_eq!(started.container.started_at, info.started_at, "it was started once, at one time");
    info
}

#[track_caller]
fn assert_exact(node: &Node, info: &ContainerInfo, status: ExitStatus) {
    assert_eq!((info.status, info.source), (Some(status), Some(Source::Waited)), "{}: {}", info.id, node.words());
    let record = node.record(&info.id).unwrap();
    assert_eq!((record.status, record.source), (status, Source::Waited));
    assert_eq!((record.generation, Some(record.process.unwrap().pid)), (info.generation, info.pid));
    assert_eq!(record.exited.map(|stamp| stamp.wall), info.exited_at);
    assert_eq!(record.started.map(|stamp| stamp.wall), info.started_at);
    assert!(info.started_at < info.exited_at && info.created_at <= info.started_at.unwrap(), "{info:?}");
    assert_eq!(info.ran_ns, Some(record.exited.unwrap().boot_ns - record.started.unwrap().boot_ns));
}

#[test]
fn codes() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for code in [0, 1, 7, 126, 127, 255] {
        let name = format!("code-{code}");
        let bundle = Bundle::new(&node, &name).sh(&format!("exit {code}")).write();
        ends_with(&node, &name, bundle, ExitStatus::Code(code));
    }
    node.finish();
}

/// Codes are eight bits wide, in the kernel too.
#[test]
fn the_command_s_own_code_wherever_it_sits() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let bundle = Bundle::new(&node, "host").host_pids().sh("exit 42").write();
    ends_with(&node, "host", bundle, ExitStatus::Code(42));
    let bundle = Bundle::new(&node, "wide").sh("exit 263").write();
    ends_with(&node, "wide", bundle, ExitStatus::Code(7));
    // A shell that answers for a child which was killed: a code, not a signal.
    let bundle = Bundle::new(&node, "child").sh("sh -c 'kill -9 $$'; exit $?").write();
    ends_with(&node, "child", bundle, ExitStatus::Code(137));
    node.finish();
}

/// From inside, as only an init without a pid namespace of its own can.
#[test]
fn signals_from_inside() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for signal in [15, 9, 6, 1, 34, 64] {
        let name = format!("signal-{signal}");
        let bundle = Bundle::new(&node, &name).host_pids().no_core_dumps().sh(&format!("kill -{signal} $$")).write();
        ends_with(&node, &name, bundle, killed_by(signal));
    }
    let bundle = Bundle::new(&node, "segv").host_pids().no_core_dumps().sh("kill -SEGV $$").write();
    ends_with(&node, "segv", bundle, killed_by(11));
    node.finish();
}

#[test]
fn signals_from_outside() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let bundle = Bundle::new(&node, "sleeper").host_pids().no_core_dumps().sleeping().write();
    let own_namespace = Bundle::new(&node, "init").no_core_dumps().sleeping().write();
    // An init of a pid namespace obeys an ancestor's SIGKILL only, where it has no handler.
    for (name, bundle, signal) in
        [("term", &bundle, 15), ("kill", &bundle, 9), ("segv", &bundle, 11), ("init-kill", &own_namespace, 9)]
    {
        let id = node.id(name);
        node.run(&id, bundle);
        node.kill(&id, signal);
        let info = node.wait(&id);
        assert_exact(&node, &info, killed_by(signal.try_into().unwrap()));
        node.wait_state(&id, State::Stopped);
    }
    node.finish();
}

#[test]
fn a_core_dump_is_told() {
    if skipped() {
        return;
    }
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let pattern = pattern.trim();
    if pattern.is_empty() || pattern.starts_with('/') {
        return skip(&format!("core_pattern {pattern:?} writes no core into a container"));
    }
    let node = Node::new();
    let bundle = Bundle::new(&node, "core").host_pids().core_dumps().sh("kill -SEGV $$").write();
    ends_with(&node, "core", bundle, ExitStatus::Signal { number: 11, core_dumped: true });
    // The same without one: its working directory cannot be written to.
    let bundle = Bundle::new(&node, "none").host_pids().core_dumps().sh("cd /; kill -SEGV $$").write();
    if !pattern.starts_with('|') {
        ends_with(&node, "none", bundle, killed_by(11));
    }
    node.finish();
}

/// It has ended before the runtime's `start` returns, and before the shim has answered for it.
#[test]
fn an_end_before_start_returns() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let late = node.runtime_but("late", "start", "$runc \"$@\"; code=$?; sleep 1; exit $code");
    let bundle = Bundle::new(&node, "a").sh("exit 7").write();
    let id = node.id("a");
    let mut request = node.launch_request(&id, &bundle, Mode::Run);
    request.runtime = late.clone();
    node.launch(request).unwrap();
    assert_exact(&node, &node.wait(&id), ExitStatus::Code(7));

    // The same, started by the collector.
    let id = node.id("b");
    let mut request = node.launch_request(&id, &bundle, Mode::Create);
    request.runtime = late;
    node.launch(request).unwrap();
    let events = node.subscribe();
    node.ask(&Request::Start { id: id.clone() }).unwrap();
    assert_exact(&node, &node.wait(&id), ExitStatus::Code(7));
    events.wait(&id, EventKind::Stopped);
    assert_eq!(events.kinds(&id), [EventKind::Started, EventKind::Exited, EventKind::Stopped]);
    drop(events);
    node.finish();
}

#[test]
fn created_and_started_later() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    let bundle = Bundle::new(&node, "a").sh("exit 7").write();
    let id = node.id("a");
    let launched = node.create(&id, &bundle);
    let info = node.inspect(&id);
    assert_eq!((info.state, info.started_at, info.pid), (State::Created, None, Some(launched.pid)));
    node.ask(&Request::Start { id: id.clone() }).unwrap();
    assert_exact(&node, &node.wait(&id), ExitStatus::Code(7));
    events.wait(&id, EventKind::Stopped);
    assert_eq!(events.kinds(&id), [EventKind::Created, EventKind::Started, EventKind::Exited, EventKind::Stopped]);
    // Started once more it is a new run.
    node.ask(&Request::Start { id: id.clone() }).unwrap();
    let again = node.wait(&id);
    assert_exact(&node, &again, ExitStatus::Code(7));
    assert!(again.generation > launched.generation);

    // Never started, and killed.
    let id = node.id("b");
    node.create(&id, &bundle);
    node.kill(&id, 9);
    let info = node.wait(&id);
    assert_eq!((info.status, info.source), (Some(killed_by(9)), Some(Source::Waited)));
    drop(events);
    node.finish();
}

#[test]
fn threads_that_end_in_another_order() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let program = helper("threads");
    let bundle = |name: &str, args: &[&str]| Bundle::new(&node, name).program(&program, args).write();
    // The thread that calls exec becomes the process.
    ends_with(&node, "exec", bundle("exec", &["exec", "7"]), ExitStatus::Code(7));
    ends_with(&node, "group", bundle("group", &["group", "9"]), ExitStatus::Code(9));
    // Whose word counts when the threads end one by one depends on the kernel: ours is what any parent hears.
    let code = std::process::Command::new(&program).args(["last", "33"]).status().unwrap().code().unwrap();
    let status = ExitStatus::Code(code.try_into().unwrap());
    ends_with(&node, "last", bundle("last", &["last", "33"]), status);
    let id = node.id("linger");
    let launched = node.run(&id, &bundle("linger", &["linger"]));
    let stat = || sexton_common::identity::Stat::of(launched.pid).unwrap().unwrap();
    wait_for("the leader's end", LONG, || stat().state == b'Z');
    assert_eq!(node.inspect(&id).state, State::Running, "a dead leader is no dead process");
    assert!(node.record(&id).is_none());
    node.kill(&id, 9);
    assert_exact(&node, &node.wait(&id), killed_by(9));
    node.finish();
}

/// What an init without a pid namespace leaves running is killed, and its cgroups go.
#[test]
fn children_left_behind_are_cleaned() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let script = "sleep 100000 & sleep 100000 & (sleep 100000 &); exit 3";
    let bundle = Bundle::new(&node, "a").host_pids().sh(script).write();
    ends_with(&node, "a", bundle, ExitStatus::Code(3));
    node.assert_clean_but_records();
    node.finish();
}

#[test]
fn out_of_memory_is_told() {
    if skipped() {
        return;
    }
    let (v1, _) = sexton_common::cgroup::layout().unwrap();
    if !v1 {
        return skip("needs the memory controller in v1");
    }
    let node = Node::new();
    let limit = |config: &mut serde_json::Value| {
        config["linux"]["resources"] = serde_json::json!({ "memory": { "limit": 8 << 20, "swap": 8 << 20 } });
    };
    let eat = "x=x; while true; do x=$x$x; done";
    let bundle = Bundle::new(&node, "a").sh(eat).with(limit).write();
    let info = ends_with(&node, "a", bundle, killed_by(9));
    assert_eq!(info.oom_killed, Some(true));
    assert!(info.memory_peak.unwrap() >= 4 << 20, "{info:?}");
    let bundle = Bundle::new(&node, "b").sh("exit 0").with(limit).write();
    let info = ends_with(&node, "b", bundle, ExitStatus::Code(0));
    assert_eq!(info.oom_killed, Some(false));
    node.finish();
}
