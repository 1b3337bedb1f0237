//! Shim and collector are both killed, and somebody holds the pidfds: the exit is exact all the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::Signal;
use sexton_common::{
    ContainerId, ExitStatus, Init, Source, UnknownReason, durable,
    launch::Mode,
    wire::{Launched, State},
};
use sexton_tests::{
    Bundle, Gate, Keeper, LONG, Manager, Node, Options, node_api::killed_by, proc, run, skipped,
    skipped_without_info_exit, wait_for,
};

fn gated(node: &Node, name: &str) -> (ContainerId, Launched, Gate) {
    gated_again(node, name, name)
}

/// The same container again needs another bundle's gate.
fn gated_again(node: &Node, name: &str, bundle: &str) -> (ContainerId, Launched, Gate) {
    let id = node.id(name);
    let (bundle, gate) = Bundle::new(node, bundle).gated();
    let launched = node.run(&id, &bundle.write());
    (id, launched, gate)
}

/// One name for each run, and a short one: all of them are passed on in one variable.
fn name_of(node: &Node, launched: &Launched) -> String {
    let init: Init = durable::read(&node.layout().container(&launched.id).init()).unwrap().unwrap();
    let mut number = init.process.pidfs_inode.unwrap();
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(char::from_digit((number % 36) as u32, 36).unwrap());
        number /= 36;
    }
    format!("i{}", digits.into_iter().rev().collect::<String>())
}

/// Killed both, and ended, and reaped by a stranger, while nobody of ours lived.
#[test]
fn a_service_manager_holds_what_both_would_have_known() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::bare();
    let mut manager = Manager::start(&node);
    let cases: Vec<_> = [0, 7, 255].map(|code| (code, gated(&node, &code.to_string()))).into();
    let created = node.create(&node.id("created"), &Bundle::new(&node, "created").sleeping().write());
    let mut expected: Vec<_> = cases.iter().map(|(_, (_, launched, _))| name_of(&node, launched)).collect();
    expected.push(name_of(&node, &created));
    expected.sort();
    // Before anybody is told that it runs, where the collector has the time for it.
    wait_for("each of them to be stored", LONG, || manager.names() == expected);
    manager.kill_collector();
    for (code, (_, launched, gate)) in &cases {
        proc::kill_shim(launched);
        gate.exit(*code);
    }
    proc::kill_shim(&created);
    proc::kill(created.pid);
    for pid in cases.iter().map(|(_, (_, launched, _))| launched.pid).chain([created.pid]) {
        wait_for("a stranger to reap it", LONG, || proc::is_gone(pid));
    }
    manager.start_collector(&node);
    for (code, (id, ..)) in &cases {
        let info = node.wait(id);
        let exact = (Some(ExitStatus::Code(*code)), Some(Source::Pidfd));
        assert_eq!((info.status, info.source), exact, "{}", node.words());
        node.wait_state(id, State::Stopped);
        let record = node.record(id).unwrap();
        assert_eq!((record.status, record.source), (ExitStatus::Code(*code), Source::Pidfd));
    }
    assert_eq!(node.wait(&created.id).status, Some(killed_by(9)));
    node.wait_state(&created.id, State::Stopped);
    wait_for("the store to be empty", LONG, || manager.names().is_empty());
    node.remove_all();
    manager.stop_collector();
    node.finish();
}

/// What is stored follows the containers: stored once, let go of when the status is on disk.
#[test]
fn the_store_holds_what_runs_and_nothing_else() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::bare();
    let mut manager = Manager::start(&node);
    let (id, launched, gate) = gated(&node, "a");
    let (other, second, other_gate) = gated(&node, "b");
    for _ in 0..2 {
        manager.kill_collector();
        manager.start_collector(&node);
        node.wait_state(&id, State::Running);
        let mut both = [name_of(&node, &launched), name_of(&node, &second)];
        both.sort();
        wait_for("each of them to be stored, once", LONG, || manager.names() == both);
    }
    gate.exit(3);
    node.wait_state(&id, State::Stopped);
    wait_for("the store to let go of it", LONG, || manager.names() == [name_of(&node, &second)]);
    node.remove(&id, false).unwrap();
    // Ended while the collector is away, with its shim: told and let go of at the next start.
    manager.kill_collector();
    other_gate.exit(4);
    wait_for("the record", LONG, || node.record(&other).is_some());
    manager.start_collector(&node);
    let info = node.wait(&other);
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(4)), Some(Source::Waited)));
    wait_for("the store to let go of it", LONG, || manager.names().is_empty());
    // Removed behind sextond's back: of no use to anybody.
    let (gone, third, third_gate) = gated(&node, "c");
    wait_for("it to be stored", LONG, || manager.names() == [name_of(&node, &third)]);
    manager.kill_collector();
    third_gate.exit(0);
    wait_for("the record", LONG, || node.record(&gone).is_some() && proc::is_gone(third.shim_pid));
    assert_eq!(run(&mut node.runc("delete", &[gone.as_str()])).code(), 0);
    std::fs::remove_dir_all(node.layout().container(&gone).path()).unwrap();
    manager.start_collector(&node);
    wait_for("the store to let go of it", LONG, || manager.names().is_empty());
    node.remove_all();
    manager.stop_collector();
    node.finish();
}

/// An orphan is stored as long as it lives, however many collectors come and go.
#[test]
fn an_orphan_stays_stored() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::bare();
    let mut manager = Manager::start(&node);
    let (id, launched, gate) = gated(&node, "a");
    let name = name_of(&node, &launched);
    proc::kill_shim(&launched);
    node.wait_state(&id, State::Orphaned);
    for _ in 0..3 {
        manager.kill_collector();
        manager.start_collector(&node);
        node.wait_state(&id, State::Orphaned);
        assert_eq!(manager.names(), std::slice::from_ref(&name));
    }
    manager.kill_collector();
    gate.exit(33);
    wait_for("a stranger to reap it", LONG, || proc::is_gone(launched.pid));
    manager.start_collector(&node);
    let info = node.wait(&id);
    let exact = (Some(ExitStatus::Code(33)), Some(Source::Pidfd));
    assert_eq!((info.status, info.source), exact, "{}", node.words());
    node.wait_state(&id, State::Stopped);
    wait_for("the store to be empty", LONG, || manager.names().is_empty());
    node.remove_all();
    manager.stop_collector();
    node.finish();
}

/// Two runs of one id are told apart.
#[test]
fn a_keeper_takes_the_service_managers_place() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let mut keeper = Keeper::start(&node);
    for round in [1, 2] {
        let (id, launched, gate) = gated_again(&node, "a", &format!("a{round}"));
        let (orphan, orphaned, orphan_gate) = gated_again(&node, "b", &format!("b{round}"));
        proc::kill_shim(&orphaned);
        node.wait_state(&orphan, State::Orphaned);
        keeper.kill_collector(&node, || {
            proc::kill_shim(&launched);
            gate.exit(round);
            orphan_gate.exit(round + 10);
            wait_for("their end", LONG, || proc::is_dead(launched.pid) && proc::is_dead(orphaned.pid));
        });
        for (id, code) in [(&id, round), (&orphan, round + 10)] {
            let info = node.wait(id);
            assert_eq!(info.status, Some(ExitStatus::Code(code)), "{}", node.words());
            assert!(matches!(info.source, Some(Source::Zombie | Source::Pidfd)), "{info:?}");
            node.wait_state(id, State::Stopped);
        }
        wait_for("the dead to be reaped", LONG, || proc::is_gone(launched.pid) && proc::is_gone(orphaned.pid));
        node.remove_all();
    }
    keeper.finish(node);
}

/// The same on a kernel that does not tell how a reaped process ended.
#[test]
fn a_keeper_keeps_zombies_for_old_kernels() {
    if skipped() {
        return;
    }
    let config = "[kernel]\npidfd_info_exit = false\n".to_owned();
    let node = Node::with(Options { daemon: false, config });
    let mut keeper = Keeper::start(&node);
    let all: Vec<_> = (1..=12).map(|code| (code, gated(&node, &code.to_string()))).collect();
    keeper.kill_collector(&node, || {
        for (code, (_, launched, gate)) in &all {
            proc::kill_shim(launched);
            gate.exit(*code);
        }
        wait_for("their end", LONG, || all.iter().all(|(_, (_, launched, _))| proc::is_dead(launched.pid)));
    });
    for (code, (id, launched, _)) in &all {
        let info = node.wait(id);
        assert_eq!(
            (info.status, info.source),
            (Some(ExitStatus::Code(*code)), Some(Source::Zombie)),
            "{}",
            node.words()
        );
        node.wait_state(id, State::Stopped);
        wait_for("the dead to be reaped", LONG, || proc::is_gone(launched.pid));
    }
    keeper.finish(node);
}

/// On such a kernel the collector is the subreaper of the shims that it started, and asks the kernel as a parent does.
#[test]
fn old_kernels() {
    if skipped() {
        return;
    }
    let config = "[kernel]\npidfd_info_exit = false\n".to_owned();
    let mut node = Node::with(Options { config, ..Options::default() });
    for (name, code) in [("a", 0), ("b", 77), ("c", 255)] {
        let (id, launched, gate) = gated(&node, name);
        proc::kill_shim(&launched);
        node.wait_state(&id, State::Orphaned);
        gate.exit(code);
        let info = node.wait(&id);
        assert_eq!(
            (info.status, info.source),
            (Some(ExitStatus::Code(code)), Some(Source::Waited)),
            "{}",
            node.words()
        );
        node.wait_state(&id, State::Stopped);
        wait_for("the dead to be reaped", LONG, || proc::is_gone(launched.pid) && proc::is_gone(launched.shim_pid));
    }
    // A signal, and one that was only created.
    for mode in [Mode::Run, Mode::Create] {
        let id = node.id(&format!("{mode:?}").to_lowercase());
        let bundle = Bundle::new(&node, id.as_str()).sleeping().write();
        let launched = node.launch(node.launch_request(&id, &bundle, mode)).unwrap();
        proc::kill_shim(&launched);
        node.wait_state(&id, State::Orphaned);
        node.kill(&id, 9);
        let info = node.wait(&id);
        assert_eq!((info.status, info.source), (Some(killed_by(9)), Some(Source::Waited)));
    }
    // What a runtime leaves behind becomes our child, too, and is nobody's who waits for it.
    let id = node.id("hook");
    let hook = serde_json::json!({"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", "sleep 0.1 </dev/null >/dev/null 2>&1 &"]}]});
    let bundle = Bundle::new(&node, "hook").sh("exit 0").with(|config| config["hooks"] = hook);
    let _ = node.run(&id, &bundle.write());
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(0)));
    node.wait_state(&id, State::Stopped);
    let daemon = node.daemon().pid();
    wait_for("all children to be reaped", LONG, || proc::children(daemon).is_empty());
    // Somebody else's shim: its container is nobody's child that we know of. It is reaped while we cannot look.
    let id = node.id("foreign");
    let (bundle, gate) = Bundle::new(&node, "foreign").gated();
    let launched = node.shim("run", &id, &bundle.write());
    node.wait_state(&id, State::Running);
    proc::kill_shim(&launched);
    node.wait_state(&id, State::Orphaned);
    node.daemon().signal(Signal::STOP);
    gate.exit(5);
    wait_for("a stranger to reap it", LONG, || proc::is_gone(launched.pid));
    node.daemon().signal(Signal::CONT);
    let info = node.wait(&id);
    let reason = UnknownReason::ShimKilled;
    assert_eq!((info.status, info.source), (Some(ExitStatus::Unknown { reason }), Some(Source::None)));
    node.wait_state(&id, State::Stopped);
    node.finish();
}
