//! An init that is dead but for its pid namespace: it waits in the kernel for whoever is still in there, asleep and in no
//! cgroup any more. It has not ended, and must not be taken for gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, Source,
    gc::Step,
    wire::{EventKind, Launched, State},
};
use sexton_tests::{
    Bundle, LONG, Node, Subscriber,
    gc::{Freezer, LoopDisk},
    leftovers,
    node_api::killed_by,
    proc, skip, skipped,
    wait::wait_some,
    wait_for,
};
use std::{
    fs,
    process::{Command, Stdio},
};

/// In state S, on its way out, and in no cgroup of its own.
fn wait_zapping(id: &ContainerId, init: u32) {
    wait_for("init waits for its namespace", LONG, || {
        let procs = leftovers::cgroups(id.as_str()).into_iter();
        let procs: String = procs.map(|dir| fs::read_to_string(dir.join("cgroup.procs")).unwrap()).collect();
        let sleeps = proc::is_in(init, 'S');
        sleeps && !procs.lines().any(|pid| pid == init.to_string())
    });
}

/// In GC, with both named and nothing told.
#[track_caller]
fn is_stuck(node: &Node, events: &Subscriber, id: &ContainerId, init: u32, child: u32) {
    let entry = node.wait_gc(id);
    assert_eq!((entry.step, node.inspect(id).state), (Step::Processes, State::Gc), "{entry:?}");
    let why = node.gc_why(id).unwrap();
    let pids: Vec<u32> = why.obstacles[0].holders.iter().map(|holder| holder.pid).collect();
    assert_eq!(pids, [child, init], "whoever is waited for comes first: {why:#?}");
    assert!(why.obstacles[0].what.contains(&child.to_string()), "{why:#?}");
    let zaps = |frame: &String| frame.contains("zap_pid_ns_processes");
    assert!(why.obstacles[0].holders[1].stack.iter().any(zaps), "{why:#?}");
    assert!(node.record(id).is_none() && !events.kinds(id).contains(&EventKind::Exited), "it has not ended");
}

#[track_caller]
fn ends_well(node: &Node, events: &Subscriber, id: &ContainerId, release: impl FnOnce()) {
    node.clean_after(events, &[id], release);
    let info = node.inspect(id);
    assert_eq!((info.status, info.source), (Some(killed_by(9)), Some(Source::Waited)));
}

fn with_a_child(node: &Node) -> (ContainerId, Launched, u32) {
    let id = node.id("c");
    let launched = node.run(&id, &Bundle::new(node, "b").sh("sleep 100000 & wait").write());
    let child = wait_some("its child", LONG, || proc::children(launched.pid).first().copied());
    (id, launched, child)
}

#[test]
fn a_child_that_is_frozen_somewhere_else() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let name = format!("{}par", node.prefix());
    let Some(freezer) = Freezer::new(&name) else { return skip("there is no v1 freezer") };
    let events = node.subscribe();
    let (id, launched, child) = with_a_child(&node);
    freezer.take(child);
    freezer.freeze(true);
    node.kill(&id, 9);
    wait_zapping(&id, launched.pid);
    is_stuck(&node, &events, &id, launched.pid, child);
    let why = node.gc_why(&id).unwrap();
    let holder = &why.obstacles[0].holders[0];
    assert_eq!(holder.frozen_by.as_deref(), Some(&*freezer.dir()), "{why:#?}");
    assert!(holder.how.contains(&format!("in the pid namespace of process {}", launched.pid)), "{why:#?}");
    // Others look, and the shim's word is awaited: still nothing is told.
    assert!(!proc::is_dead(launched.shim_pid) && node.gc_list().len() == 1);
    ends_well(&node, &events, &id, || freezer.freeze(false));
    drop((freezer, events));
    node.finish();
}

/// It is nobody's child in there.
#[test]
fn one_that_came_from_outside() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let name = format!("{}par", node.prefix());
    let Some(freezer) = Freezer::new(&name) else { return skip("there is no v1 freezer") };
    let events = node.subscribe();
    let id = node.id("c");
    let launched = node.run(&id, &Bundle::new(&node, "b").sleeping().write());
    let mut enter = Command::new("nsenter");
    enter.args(["-t", &launched.pid.to_string(), "-p", "sleep", "100000"]).env("SEXTON_TEST_NODE", node.prefix());
    let mut enter = enter.stdin(Stdio::null()).spawn().unwrap();
    let inside = wait_some("it is in there", LONG, || proc::children(enter.id()).first().copied());
    freezer.take(inside);
    freezer.freeze(true);
    proc::kill(launched.pid);
    wait_zapping(&id, launched.pid);
    is_stuck(&node, &events, &id, launched.pid, inside);
    ends_well(&node, &events, &id, || freezer.freeze(false));
    enter.wait().unwrap();
    drop((freezer, events));
    node.finish();
}

#[test]
fn a_child_that_waits_for_a_frozen_file_system() {
    if skipped() {
        return;
    }
    let mut node = Node::patient();
    let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
    let id = node.id("c");
    let script = "(while :; do echo x >> /gate/file; done) & wait";
    let launched = node.run(&id, &Bundle::new(&node, "b").bind(disk.point(), "/gate").sh(script).write());
    wait_for("a first write", LONG, || disk.point().join("file").exists());
    let child = wait_some("its child", LONG, || proc::children(launched.pid).first().copied());
    disk.freeze();
    wait_for("the child in D", LONG, || proc::is_in(child, 'D'));
    node.kill(&id, 9);
    wait_zapping(&id, launched.pid);
    let events = node.subscribe();
    is_stuck(&node, &events, &id, launched.pid, child);
    drop(events);
    // A new collector finds it in the same way, and is not fooled either.
    node.kill_daemon();
    node.start_daemon();
    let events = node.subscribe();
    is_stuck(&node, &events, &id, launched.pid, child);
    ends_well(&node, &events, &id, || disk.thaw());
    drop((disk, events));
    node.finish();
}
