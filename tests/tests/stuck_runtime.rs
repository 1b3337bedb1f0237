//! A runtime that hangs on delete holds up its own container, and no other one (I7).
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ExitStatus, Source,
    launch::Mode,
    wire::{EventKind, State},
};
use sexton_tests::{Bundle, Gate, LONG, Node, Options, Subscriber, node_api::killed_by, skipped, wait_for, wait_until};
use std::{fs, time::Duration};

const OTHERS: usize = 50;

/// How long from the exit's event to the event that all is clean, for fifty that exit together: the slowest.
fn exits(node: &Node, events: &Subscriber, name: &str) -> Duration {
    let gates: Vec<(_, Gate)> = (0..OTHERS)
        .map(|n| {
            let name = format!("{name}{n}");
            let (bundle, gate) = Bundle::new(node, &name).gated();
            let id = node.id(&name);
            node.run(&id, &bundle.write());
            (id, gate)
        })
        .collect();
    for (_, gate) in &gates {
        gate.exit(7);
    }
    let times: Vec<Duration> = gates
        .iter()
        .map(|(id, _)| {
            let (_, exited) = events.wait(id, EventKind::Exited);
            let (arrived, _) = events.wait(id, EventKind::Stopped);
            let (began, _) = events.wait(id, EventKind::Exited);
            assert_eq!(exited.container.status, Some(ExitStatus::Code(7)));
            arrived.saturating_duration_since(began)
        })
        .collect();
    for (id, _) in &gates {
        node.remove(id, false).unwrap();
    }
    times.into_iter().max().unwrap()
}

#[test]
fn the_others_do_not_notice() {
    if skipped() {
        return;
    }
    // Each attempt hangs for half of it: whoever had to wait for all three would be later than is allowed below.
    let config = "[exit]\ndeadline = \"8s\"\nbackoff_first = \"500ms\"\nbackoff_max = \"2s\"\n".into();
    let node = Node::with(Options { config, ..Options::default() });
    let events = node.subscribe();
    let without = exits(&node, &events, "before");

    let hang = node.dir().join("hang");
    fs::write(&hang, "").unwrap();
    let wait = format!("while [ -e {} ]; do sleep 0.2; done", hang.display());
    let stuck: Vec<_> = (0..3).map(|n| node.id(&format!("stuck{n}"))).collect();
    let bundle = Bundle::new(&node, "stuck").sleeping().write();
    let runtime = node.runtime_but("hangs", "delete", &wait);
    for id in &stuck {
        let mut request = node.launch_request(id, &bundle, Mode::Run);
        request.runtime = runtime.clone();
        node.launch(request).unwrap();
        node.kill(id, 9);
    }
    for id in &stuck {
        let info = node.wait(id);
        assert_eq!((info.status, info.source), (Some(killed_by(9)), Some(Source::Waited)), "known at once");
        let (_, delayed) = events.wait(id, EventKind::Delayed);
        assert_eq!(delayed.container.state, State::Gc);
        assert!(delayed.container.in_the_way.is_some());
        let says = || node.inspect(id).in_the_way.is_some_and(|way| way.contains("delete"));
        wait_for("a word about the delete that hangs", LONG, says);
        assert!(node.remove(id, false).unwrap_err().message.contains(id.as_str()), "not while it is in GC");
    }
    let with = exits(&node, &events, "after");
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!(
        "slowest from exit to clean of {OTHERS} at once: {without:?} without, {with:?} with 3 that hang: {ratio:.2}"
    );
    // What else the machine does in the one and not in the other is not theirs.
    let slack = Duration::from_secs(5);
    assert!(with <= without * 3 + slack, "{without:?} without it, {with:?} with it");

    for id in &stuck {
        let attempts = node.inspect(id).attempts;
        wait_for("another attempt", LONG, || node.inspect(id).attempts > attempts);
        assert_eq!(node.inspect(id).state, State::Gc);
        let told = events.kinds(id).into_iter().filter(|kind| *kind == EventKind::Exited).count();
        assert_eq!(told, 1, "the exit is told once, however often it is cleaned");
    }
    // The attempts that ran into their deadline were killed, with their children.
    let hanging = |node: &Node| {
        let about = |pid: u32| sexton_tests::proc::command_line(pid);
        let all = sexton_tests::leftovers::processes(node).into_iter().map(about);
        all.filter(|command| command.contains("hangs")).collect::<Vec<_>>()
    };
    // A script that has forked and not executed yet is seen twice.
    let one_each = wait_until(LONG, || hanging(&node).len() <= stuck.len());
    assert!(one_each, "one attempt each at most: {:?}", hanging(&node));
    fs::remove_file(&hang).unwrap();
    for id in &stuck {
        let info = node.wait_state(id, State::Stopped);
        assert_eq!((info.status, info.in_the_way), (Some(killed_by(9)), None));
    }
    drop(events);
    node.finish();
}

/// A stuck clean-up survives a restart of the collector, and does not hold up its going.
#[test]
fn over_a_restart() {
    if skipped() {
        return;
    }
    let config = "[exit]\ndeadline = \"2s\"\nbackoff_first = \"500ms\"\nbackoff_max = \"1s\"\n".into();
    let mut node = Node::with(Options { config, ..Options::default() });
    let hang = node.dir().join("hang");
    fs::write(&hang, "").unwrap();
    let wait = format!("while [ -e {} ]; do sleep 0.2; done", hang.display());
    let id = node.id("stuck");
    let mut request = node.launch_request(&id, &Bundle::new(&node, "stuck").sh("exit 5").write(), Mode::Run);
    request.runtime = node.runtime_but("hangs", "delete", &wait);
    node.launch(request).unwrap();
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(5)));
    node.terminate_daemon_in_time();
    node.start_daemon();
    let info = node.wait(&id);
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(5)), Some(Source::Waited)));
    node.wait_state(&id, State::Gc);
    fs::remove_file(&hang).unwrap();
    node.wait_state(&id, State::Stopped);
    node.finish();
}

/// A runtime that fails on delete although something is there is not believed, and neither is one that lies.
#[test]
fn clean_is_observed() {
    if skipped() {
        return;
    }
    let config = "[exit]\ndeadline = \"5s\"\nbackoff_first = \"500ms\"\nbackoff_max = \"1s\"\n".into();
    let node = Node::with(Options { config, ..Options::default() });
    let flag = node.dir().join("flag");
    fs::write(&flag, "").unwrap();
    for (name, then) in [("fails", "echo cannot >&2; exit 1"), ("lies", "exit 0")] {
        let id = node.id(name);
        let instead = format!("if [ -e {} ]; then {then}; fi", flag.display());
        let mut request = node.launch_request(&id, &Bundle::new(&node, name).sh("exit 5").write(), Mode::Run);
        request.runtime = node.runtime_but(name, "delete", &instead);
        node.launch(request).unwrap();
        assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(5)));
        let info = node.wait_state(&id, State::Gc);
        assert!(info.in_the_way.is_some(), "{info:?}");
    }
    fs::remove_file(&flag).unwrap();
    for name in ["fails", "lies"] {
        let info = node.wait_state(&node.id(name), State::Stopped);
        assert_eq!(info.status, Some(ExitStatus::Code(5)));
    }
    node.finish();
}
