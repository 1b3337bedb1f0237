//! A container whose files cannot be read is pending, and costs nobody else anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use rustix::fs::{CWD, FileType, Mode as Bits, mknodat};
use sexton_common::{
    ExitStatus, Source,
    launch::Mode,
    wire::{ErrorCode, EventKind, Request, State},
};
use sexton_tests::{Bundle, LONG, Node, hung::Hung, leftovers, skip, skipped, wait_for};
use std::fs;

#[test]
fn one_on_a_disk_that_hangs() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let ids = ["hung", "other", "ended"].map(|name| node.id(name));
    let [hung, other, ended] = &ids;
    let (bundle, gate) = Bundle::new(&node, "hung").gated();
    let launched = node.run(hung, &bundle.write());
    let (bundle, other_gate) = Bundle::new(&node, "other").gated();
    node.run(other, &bundle.write());
    node.run(ended, &Bundle::new(&node, "ended").sh("exit 21").write());
    node.wait_state(ended, State::Stopped);
    node.kill_daemon();
    let Some(disk) = Hung::over(node.layout().container(hung).path()) else {
        gate.exit(0);
        other_gate.exit(0);
        node.start_daemon();
        for id in [hung, other] {
            let _ = node.wait(id);
        }
        node.finish();
        return skip("the kernel has no FUSE");
    };
    node.start_looking();
    // Long before the one that hangs is given up.
    wait_for("the others", LONG, || node.list(true).iter().filter(|info| info.state != State::Pending).count() == 2);
    assert_eq!(node.inspect(other).state, State::Running);
    assert_eq!(node.inspect(ended).status, Some(ExitStatus::Code(21)));
    let pending = node.inspect(hung);
    assert_eq!((pending.state, pending.generation, pending.status), (State::Pending, 0, None));
    // What is asked of the others goes on.
    other_gate.exit(22);
    assert_eq!(node.wait(other).status, Some(ExitStatus::Code(22)));
    node.wait_state(other, State::Stopped);
    let fresh = node.id("fresh");
    node.run(&fresh, &Bundle::new(&node, "fresh").sh("exit 23").write());
    assert_eq!(node.wait(&fresh).status, Some(ExitStatus::Code(23)));
    for request in [
        Request::Kill { id: hung.clone(), signal: 9 },
        Request::Wait { id: hung.clone(), generation: Some(launched.generation) },
        Request::Remove { id: hung.clone(), force: true },
    ] {
        let refused = node.ask(&request).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Busy, "{refused}");
        assert!(refused.message.contains("still being looked at"), "{refused}");
    }
    let taken = node.launch(node.launch_request(hung, &Bundle::new(&node, "again").sh("exit 0").write(), Mode::Run));
    assert_eq!(taken.unwrap_err().code, ErrorCode::Busy);
    let events = node.subscribe();
    assert_eq!(
        events.heard().snapshot.iter().find(|info| info.id == *hung).map(|info| info.state),
        Some(State::Pending)
    );
    assert!(node.words().contains(hung.as_str()), "it is named: {}", node.words());
    // What may be its own is not looked for among what nobody owns.
    let mut client = node.client();
    client.send(&Request::GcScan { adopt: true }, &[]).unwrap();
    assert!(format!("{:?}", client.receive().unwrap()).contains("Busy"));
    // The disk comes back.
    drop(disk);
    wait_for("the one that was pending", LONG, || node.inspect(hung).state == State::Running);
    assert_eq!(node.inspect(hung).generation, launched.generation);
    events.wait(hung, EventKind::Started);
    gate.exit(24);
    let info = node.wait(hung);
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(24)), Some(Source::Waited)));
    events.wait(hung, EventKind::Stopped);
    let kinds = events.kinds(hung);
    assert_eq!(kinds, [EventKind::Created, EventKind::Started, EventKind::Exited, EventKind::Stopped]);
    drop(events);
    node.finish();
}

/// Whoever opens it waits for a writer, unless he takes care.
#[test]
fn a_fifo_instead_of_a_file() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let (bundle, gate) = Bundle::new(&node, "runs").gated();
    let runs = node.id("runs");
    node.run(&runs, &bundle.write());
    let other = node.id("other");
    node.run(&other, &Bundle::new(&node, "other").sh("exit 5").write());
    node.wait_state(&other, State::Stopped);
    node.kill_daemon();
    let fifo = |path| mknodat(CWD, path, FileType::Fifo, Bits::from(0o600), 0).unwrap();
    let alone = node.layout().container(&node.id("alone"));
    fs::create_dir(alone.path()).unwrap();
    fifo(alone.launch());
    let exit = node.layout().container(&other).exit();
    fs::remove_file(&exit).unwrap();
    fifo(exit);
    node.start_daemon();
    assert_eq!(node.inspect(&runs).state, State::Running);
    assert!(matches!(node.wait(&other).status, Some(ExitStatus::Unknown { .. })), "its record is not readable");
    assert_eq!(node.list(true).len(), 2);
    assert!(!alone.path().exists());
    assert_eq!(leftovers::entries(&node.layout().quarantine()).len(), 2, "both are kept");
    gate.exit(7);
    assert_eq!(node.wait(&runs).status, Some(ExitStatus::Code(7)));
    node.finish();
}
