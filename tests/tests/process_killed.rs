//! Plain programs through the deaths of shim and collector: exact all the same, and nobody waits for ever.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::Signal;
use sexton_common::{
    ContainerId, ExitStatus, Init, Launch, Source, UnknownReason, durable,
    launch::{Mode, OnShimDeath},
    wire::{EventKind, LaunchRequest, Reply, Request, State},
};
use sexton_tests::{
    LONG, Node,
    node_api::{assert_told_by_kernel, killed_by},
    proc, skipped, skipped_without_info_exit, wait_for,
};
use std::{
    process::Stdio,
    time::{Duration, Instant},
};

#[test]
fn the_shim_while_it_runs() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    for code in [0, 7, 255] {
        let id = node.id(&code.to_string());
        let door = node.door(&code.to_string());
        let launched = node.run_sh(&id, &door.script());
        proc::kill_shim(&launched);
        events.wait(&id, EventKind::Orphaned);
        assert!(!proc::is_dead(launched.pid), "it lives on");
        door.exit(code);
        let info = node.wait(&id);
        assert_told_by_kernel(&info, ExitStatus::Code(code));
        events.wait(&id, EventKind::Stopped);
    }
    let id = node.id("kill");
    let request = LaunchRequest {
        on_shim_death: OnShimDeath::Kill,
        ..node.program_request(&id, Mode::Run, &["sleep", "100000"])
    };
    let launched = node.launch(request).unwrap();
    proc::kill_shim(&launched);
    let info = node.wait(&id);
    assert_told_by_kernel(&info, killed_by(9));
    drop(events);
    node.finish();
}

/// One that was created can be started without its shim.
#[test]
fn the_shim_before_it_is_started() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::new();
    let [started, refused, removed] = ["started", "refused", "removed"].map(|name| node.id(name));
    for (id, script) in [(&started, "exit 9"), (&removed, "exit 1")] {
        let launched = node.launch_program(id, Mode::Create, &["sh", "-c", script], |_| ()).unwrap();
        proc::kill_shim(&launched);
        node.wait_state(id, State::Orphaned);
        assert!(!proc::is_dead(launched.pid), "whoever created it may start it");
    }
    // As a runtime's container without its shim, it can only be killed or removed.
    let answer = node.ask(&Request::Start { id: started.clone() });
    assert!(answer.is_err(), "{answer:?}");
    // Or started as anybody can.
    drop(std::fs::File::open(node.layout().container(&started).gate()).unwrap());
    let info = node.wait(&started);
    assert_told_by_kernel(&info, ExitStatus::Code(9));
    node.remove(&removed, true).unwrap();
    let launched = node.launch_program(&refused, Mode::Create, &["no-such-program"], |_| ()).unwrap();
    proc::kill_shim(&launched);
    node.wait_state(&refused, State::Orphaned);
    drop(std::fs::File::open(node.layout().container(&refused).gate()).unwrap());
    let info = node.wait(&refused);
    assert_told_by_kernel(&info, ExitStatus::Code(127));
    node.finish();
}

/// The shim is killed between its last word on what it made and the start: its caller was told that it failed, and nobody
/// will ever start it.
#[test]
fn one_that_nobody_will_start_does_not_wait_for_ever() {
    if skipped_without_info_exit() {
        return;
    }
    let mut node = Node::new();
    let in_time = (0..20).any(|attempt| {
        let id = node.id(&format!("a{attempt}"));
        killed_before_the_start(&mut node, &id)
    });
    assert!(in_time, "it was never killed in time");
    node.finish();
}

/// Whether the shim was killed while it waited for the answer of a collector that is stopped, which it does for a second.
fn killed_before_the_start(node: &mut Node, id: &ContainerId) -> bool {
    node.daemon().signal(Signal::STOP);
    let mut shim = node.shim_alone("run", id);
    let mut caller = shim.args(["--", "sleep", "100000"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let dir = node.layout().container(id);
    let mut not_yet = Instant::now();
    wait_for("what was made", LONG, || {
        let now = Instant::now();
        let made = dir.init().exists();
        not_yet = if made { not_yet } else { now };
        made
    });
    let init: Init = durable::read(&dir.init()).unwrap().unwrap();
    proc::kill(init.shim.pid);
    let in_time = not_yet.elapsed() < Duration::from_secs(1);
    let told = caller.wait().unwrap().code();
    let waits = !proc::is_dead(init.process.pid);
    node.daemon().signal(Signal::CONT);
    let known = || node.list(true).iter().any(|info| info.id == *id);
    wait_for("the collector to know of it", LONG, known);
    if !in_time {
        node.remove(id, true).unwrap();
        return false;
    }
    assert_ne!(told, Some(0), "its caller is not told that all is well");
    assert!(waits, "it waits");
    let info = node.wait(id);
    let reason = UnknownReason::NeverStarted;
    assert_eq!((info.status, info.source), (Some(ExitStatus::Unknown { reason }), Some(Source::None)));
    node.wait_state(id, State::Stopped);
    true
}

/// Its shim is killed before anybody knows of it: it ends by itself, and nothing is left, its cgroups included. Whoever
/// asks then is told of it, also if the collector has not come to hear of it yet.
#[test]
fn one_that_nobody_knows_ends_by_itself() {
    if skipped() {
        return;
    }
    for round in 0..40 {
        let mut node = Node::new();
        let id = node.id("a");
        let busy = round % 2 == 1;
        if busy {
            node.daemon().signal(Signal::STOP);
        }
        let mut shim = node.shim_alone("run", &id);
        let mut caller =
            shim.args(["--", "sleep", "100000"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let dir = node.layout().container(&id);
        wait_for("its launch", LONG, || dir.launch().exists());
        let launch: Launch = durable::read(&dir.launch()).unwrap().unwrap();
        // From one round to the next a little later; wherever that is, it is clean in the end.
        (0..round * 400).for_each(|_| std::hint::spin_loop());
        if launch.shim.open().unwrap().is_some() {
            proc::kill(launch.shim.pid);
        }
        let told = caller.wait().unwrap().code();
        let lies = || dir.path().exists();
        let lay = lies();
        if busy {
            node.daemon().signal(Signal::CONT);
        }
        let known = match round % 4 {
            0 | 1 => node.list(true).iter().any(|info| info.id == id),
            _ => node.ask(&Request::Inspect { id: id.clone() }).is_ok(),
        };
        assert!(known || !lay || !lies(), "round {round}: it lies there, and who asks is told that there is none");
        if told == Some(0) {
            // It was as quick as we were.
            node.remove(&id, true).unwrap();
        } else if known {
            // Adopted in the last moment, or never started.
            let _ = node.ask(&Request::Kill { id: id.clone(), signal: 9 });
            let info = node.wait(&id);
            assert!(info.status.is_some(), "{info:?}");
        }
        node.finish();
    }
}

/// The collector is killed, and what ends meanwhile, or is waiting, or runs, is as it was.
#[test]
fn the_collector() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let [ends, runs, waits] = ["ends", "runs", "waits"].map(|name| node.id(name));
    let [ends_door, runs_door] = ["ends", "runs"].map(|name| node.door(name));
    node.run_sh(&ends, &ends_door.script());
    let launched = node.run_sh(&runs, &runs_door.script());
    node.launch_program(&waits, Mode::Create, &["sh", "-c", "exit 3"], |_| ()).unwrap();
    let before = node.inspect(&runs);
    node.kill_daemon();
    ends_door.exit(21);
    wait_for("its record", LONG, || node.record(&ends).is_some());
    node.start_daemon();
    assert_eq!((node.inspect(&runs), before.pid), (before.clone(), Some(launched.pid)));
    assert_eq!(before.command.len(), 3);
    let state = |id| node.inspect(id).state;
    assert_eq!((state(&runs), state(&waits)), (State::Running, State::Created));
    let info = node.wait(&ends);
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(21)), Some(Source::Waited)));
    assert_eq!(node.ask(&Request::Start { id: waits.clone() }), Ok(Reply::Done {}));
    assert_eq!(node.wait(&waits).status, Some(ExitStatus::Code(3)));
    runs_door.exit(22);
    assert_eq!(node.wait(&runs).status, Some(ExitStatus::Code(22)));
    node.finish();
}

/// Both are killed while it runs: the next collector has it exact.
#[test]
fn both() {
    if skipped_without_info_exit() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    let door = node.door("door");
    let launched = node.run_sh(&id, &format!("(setsid sleep 100000 &); {}", door.script()));
    node.kill_daemon();
    proc::kill_shim(&launched);
    node.start_daemon();
    node.wait_state(&id, State::Orphaned);
    door.exit(13);
    let info = node.wait(&id);
    assert_told_by_kernel(&info, ExitStatus::Code(13));
    node.wait_state(&id, State::Stopped);
    node.finish();
}

/// Its `launch`, or its `init`, does not decode any more.
#[test]
fn damaged_files() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let ids = ["launch", "init"].map(|name| node.id(name));
    let doors = ["launch", "init"].map(|name| node.door(name));
    for (id, door) in ids.iter().zip(&doors) {
        node.run_sh(id, &door.script());
    }
    node.kill_daemon();
    std::fs::write(node.layout().container(&ids[0]).launch(), "x").unwrap();
    std::fs::write(node.layout().container(&ids[1]).init(), "x").unwrap();
    node.start_daemon();
    for (id, door) in ids.iter().zip(&doors) {
        let info = node.inspect(id);
        assert_eq!((info.state, info.command.len()), (State::Running, 3), "{id}");
        door.exit(33);
        assert_eq!(node.wait(id).status, Some(ExitStatus::Code(33)), "{id}");
        node.wait_state(id, State::Stopped);
    }
    node.finish();
}
