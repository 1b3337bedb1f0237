//! The shim is killed; the container lives on, and its exit is exact all the same (kernels with `PIDFD_INFO_EXIT`).
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::{Signal, pidfd_send_signal};
use sexton_common::{
    ContainerId, ExitStatus, Launch, ProcessIdentity, Source, UnknownReason, durable,
    runtime::Runtime,
    wire::{EventKind, Reply, Request, State},
};
use sexton_tests::{
    Bundle, LONG, Node,
    node_api::{assert_told_by_kernel, killed_by},
    proc, skipped_without_info_exit, wait_for,
};
use std::{path::Path, process::Stdio};

#[test]
fn codes() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    for code in [0, 1, 7, 127, 255] {
        let id = node.id(&code.to_string());
        let (bundle, gate) = Bundle::new(&node, &code.to_string()).gated();
        let launched = node.run(&id, &bundle.write());
        proc::kill_shim(&launched);
        let (_, orphaned) = events.wait(&id, EventKind::Orphaned);
        assert_eq!((orphaned.container.state, orphaned.container.status), (State::Orphaned, None));
        assert!(!proc::is_dead(launched.pid), "the container lives on");
        gate.exit(code);
        let info = node.wait(&id);
        assert_told_by_kernel(&info, ExitStatus::Code(code));
        let record = node.record(&id).unwrap();
        assert_eq!((record.status, Some(record.source)), (ExitStatus::Code(code), info.source), "it is on disk too");
        assert!(record.exited.is_some() && record.started.map(|stamp| stamp.wall) == info.started_at);
        node.wait_state(&id, State::Stopped);
        events.wait(&id, EventKind::Stopped);
        use EventKind::{Created, Exited, Orphaned, Started, Stopped};
        assert_eq!(events.kinds(&id), [Created, Started, Orphaned, Exited, Stopped]);
    }
    drop(events);
    node.finish();
}

#[test]
fn signals() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::new();
    for signal in [9, 15, 11] {
        let id = node.id(&signal.to_string());
        let bundle = Bundle::new(&node, &signal.to_string()).host_pids().no_core_dumps().sleeping().write();
        let launched = node.run(&id, &bundle);
        proc::kill_shim(&launched);
        node.wait_state(&id, State::Orphaned);
        node.kill(&id, i32::from(signal));
        let info = node.wait(&id);
        assert_told_by_kernel(&info, killed_by(signal));
    }
    node.finish();
}

#[test]
fn stop_and_remove_reach_an_orphan() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::new();
    let id = node.id("stop");
    // Its init has no handler for SIGTERM: it must be killed.
    let launched = node.run(&id, &Bundle::new(&node, "stop").sleeping().write());
    proc::kill_shim(&launched);
    node.wait_state(&id, State::Orphaned);
    let stopped = node.ask(&Request::Stop { id: id.clone(), signal: 15, timeout_ms: 300 }).unwrap();
    let Reply::Container(info) = stopped else { panic!("{stopped:?}") };
    assert_told_by_kernel(&info, killed_by(9));
    let id = node.id("remove");
    let launched = node.run(&id, &Bundle::new(&node, "remove").sleeping().write());
    proc::kill_shim(&launched);
    node.wait_state(&id, State::Orphaned);
    node.remove(&id, true).unwrap();
    assert!(proc::is_dead(launched.pid));
    node.finish();
}

/// Shim and init are killed in the same moment.
#[test]
fn both_at_once() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::new();
    for round in 0..5 {
        let id = node.id(&round.to_string());
        let bundle = Bundle::new(&node, &round.to_string()).sleeping().write();
        let launched = node.run(&id, &bundle);
        if round % 2 == 0 {
            proc::kill(launched.shim_pid);
            proc::kill(launched.pid);
        } else {
            proc::kill(launched.pid);
            // The shim may have left by itself.
            if let Ok((_, fd)) = ProcessIdentity::open_pid(launched.shim_pid) {
                let _ = pidfd_send_signal(fd, Signal::KILL);
            }
        }
        let info = node.wait(&id);
        assert_eq!(info.status, Some(killed_by(9)), "{:?}: {}", info.source, node.words());
        assert!(matches!(info.source, Some(Source::Pidfd | Source::Zombie | Source::Waited)), "{info:?}");
        node.wait_state(&id, State::Stopped);
    }
    node.finish();
}

/// Both are killed; the collector comes back while the container still runs: exact.
#[test]
fn with_the_collector() {
    if skipped_without_info_exit() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    let started = node.inspect(&id).started_at;
    node.kill_daemon();
    proc::kill_shim(&launched);
    node.start_daemon();
    let info = node.wait_state(&id, State::Orphaned);
    assert_eq!((info.pid, info.generation, info.started_at), (Some(launched.pid), launched.generation, started));
    gate.exit(7);
    let info = node.wait(&id);
    assert_told_by_kernel(&info, ExitStatus::Code(7));
    assert_eq!(info.started_at, started);
    node.finish();
}

/// Both are dead when it ends, and it is reaped by a stranger: honestly unknown, never 0 or 137 (I3).
#[test]
fn nobody_was_there() {
    if skipped_without_info_exit() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    node.kill_daemon();
    proc::kill_shim(&launched);
    gate.exit(7);
    wait_for("a stranger to reap it", LONG, || proc::is_gone(launched.pid));
    node.start_daemon();
    let info = node.wait(&id);
    let reason = UnknownReason::ShimAndCollectorKilled;
    assert_eq!((info.status, info.source), (Some(ExitStatus::Unknown { reason }), Some(Source::None)));
    assert_eq!(info.exited_at, None, "nobody knows when");
    node.wait_state(&id, State::Stopped);
    node.finish();
}

/// The shim dies between create and start.
#[test]
fn before_it_was_started() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let launched = node.create(&id, &Bundle::new(&node, "a").sleeping().write());
    proc::kill_shim(&launched);
    node.wait_state(&id, State::Orphaned);
    node.kill(&id, 9);
    let info = node.wait(&id);
    assert_told_by_kernel(&info, killed_by(9));
    node.wait_state(&id, State::Stopped);
    node.finish();
}

/// Launches, and kills the shim once its runtime has made `seen`; what its caller is told.
fn killed_once(node: &Node, id: &ContainerId, bundle: &Path, runtime: &Runtime, seen: &Path) -> Option<i32> {
    let mut command = node.shim_command("run", id.as_str(), bundle);
    command.arg("--runtime").arg(&runtime.program).stdout(Stdio::null()).stderr(Stdio::null());
    let mut caller = command.spawn().unwrap();
    wait_for("the runtime", LONG, || seen.exists());
    let launch: Launch = durable::read(&node.layout().container(id).launch()).unwrap().unwrap();
    proc::kill(launch.shim.pid);
    caller.wait().unwrap().code()
}

/// The shim is killed while the runtime creates: nothing was ever started, and nothing is left, whether the runtime
/// had made nothing yet or all of it; and whether the collector saw it or came later.
fn while_it_is_being_created(instead: &str, collector_is_away: bool) {
    if skipped_without_info_exit() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sleeping().write();
    let [hang, seen] = ["hang", "seen"].map(|name| node.dir().join(name));
    std::fs::write(&hang, "").unwrap();
    let wait = format!("touch {}; while [ -e {} ]; do sleep 0.1; done; exit 1", seen.display(), hang.display());
    let runtime = node.runtime_but("hangs", "create", &format!("{instead} {wait}"));
    if collector_is_away {
        node.terminate_daemon();
    }
    let told = killed_once(&node, &id, &bundle, &runtime, &seen);
    assert_ne!(told, Some(0), "its caller is not told that all is well");
    if collector_is_away {
        std::fs::remove_file(&hang).unwrap();
        node.start_daemon();
    }
    let reason = UnknownReason::NeverStarted;
    if node.list(true).iter().any(|info| info.id == id) {
        assert_eq!(node.wait(&id).status, Some(ExitStatus::Unknown { reason }));
    }
    let _ = std::fs::remove_file(&hang);
    node.assert_clean_but_records();
    node.finish();
}

/// All that a runtime does, and then it does not return.
const CREATES: &str = "$runc \"$@\";";

#[test]
fn while_the_runtime_has_made_nothing() {
    while_it_is_being_created("", false);
}

#[test]
fn while_the_runtime_has_made_everything() {
    while_it_is_being_created(CREATES, false);
}

#[test]
fn while_nobody_listens_and_nothing_was_made() {
    while_it_is_being_created("", true);
}

#[test]
fn while_nobody_listens_and_everything_was_made() {
    while_it_is_being_created(CREATES, true);
}

/// Its runtime hangs before it starts anything, and is killed with the shim: nobody is left who would ever start it. Its
/// caller was told that it failed.
#[test]
fn one_that_nobody_will_start_does_not_wait_for_ever() {
    if skipped_without_info_exit() {
        return;
    }
    for collector_is_away in [false, true] {
        let mut node = Node::new();
        let id = node.id("a");
        let bundle = Bundle::new(&node, "a").sleeping().write();
        let seen = node.dir().join("seen");
        let runtime = node.runtime_but("hangs", "start", &format!("touch {}; exec sleep 1000", seen.display()));
        if collector_is_away {
            node.terminate_daemon();
        }
        assert_eq!(killed_once(&node, &id, &bundle, &runtime, &seen), Some(125));
        if collector_is_away {
            node.start_daemon();
        }
        let info = node.wait(&id);
        let reason = UnknownReason::NeverStarted;
        assert_eq!((info.status, info.source), (Some(ExitStatus::Unknown { reason }), Some(Source::None)));
        node.wait_state(&id, State::Stopped);
        node.finish();
    }
}
