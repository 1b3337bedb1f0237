//! Disks that are full or read-only for a while: nothing is lost, and nobody is restarted to make it good.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use rustix::process::{Pid, Signal, kill_process};
use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, Source, UnknownReason, durable,
    launch::Mode,
    wire::{Launched, Request, State},
};
use sexton_tests::{
    Bundle, LONG, Node,
    disk::{SmallDisk, Window},
    proc, run, skipped, wait_for,
};
use std::{fs::File, io::Read};

/// What came through the doorbell, although the file could not be written.
fn heard(node: &Node, id: &ContainerId, bell: &mut File) -> ExitRecord {
    let mut bytes = [0; 512];
    let length = bell.read(&mut bytes).unwrap();
    assert!(node.record(id).is_none(), "it cannot be written");
    durable::decode(&bytes[..length]).unwrap()
}

/// The shim, which nobody restarts, has written it and left; then all of it goes.
fn made_good(node: &Node, launched: &Launched, code: u8, heard: &ExitRecord) {
    wait_for("the record", LONG, || node.record(&launched.id).is_some());
    assert_eq!(node.record(&launched.id).as_ref(), Some(heard));
    assert_eq!((heard.status, heard.source), (ExitStatus::Code(code), Source::Waited));
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    node.bury(&launched.id);
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    wait_for("its death", LONG, || proc::is_dead(pid));
}

#[test]
fn full_from_creation_to_exit_without_a_collector() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let disk = SmallDisk::new(node.layout().state());
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.shim("create", &id, &bundle.write());
    let mut bell = File::open(&launched.exit_fifo).unwrap();
    disk.fill();
    let _ = run(&mut node.runc("start", &[id.as_str()])).ok();
    gate.exit(21);
    let record = heard(&node, &id, &mut bell);
    assert!(!proc::is_dead(launched.shim_pid), "the shim is the only one who knows");
    disk.free();
    made_good(&node, &launched, 21, &record);
    drop((bell, disk));
    node.finish();
}

#[test]
fn full_before_the_start() {
    if skipped() {
        return;
    }
    let mut node = Node::bare();
    let disk = SmallDisk::new(node.layout().state());
    node.start_daemon();
    let daemon = node.daemon().pid();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let bundle = bundle.write();
    disk.fill();
    let error = node.launch(node.launch_request(&id, &bundle, Mode::Create)).unwrap_err();
    assert!(error.message.contains("No space left"), "{error:?}");
    disk.free();
    node.create(&id, &bundle);
    disk.fill();
    let error = node.ask(&Request::Start { id: id.clone() }).unwrap_err();
    assert!(error.message.contains("No space left"), "{error:?}");
    assert_eq!(node.inspect(&id).state, State::Created, "it waits as before");
    disk.free();
    node.ask(&Request::Start { id: id.clone() }).unwrap();
    disk.fill();
    gate.exit(22);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(22)));
    assert!(node.record(&id).is_none(), "there is no room for it");
    disk.free();
    wait_for("the record", LONG, || node.record(&id).is_some());
    assert_eq!(node.record(&id).unwrap().status, ExitStatus::Code(22));
    node.wait_state(&id, State::Stopped);
    node.remove(&id, false).unwrap();
    node.assert_clean_but("mount ");
    assert_eq!(node.daemon().pid(), daemon);
    assert!(node.daemon().is_running());
    node.terminate_daemon();
    drop(disk);
    node.finish();
}

#[test]
fn read_only_at_the_end_without_a_collector() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let window = Window::new(&node.layout().containers());
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.shim("run", &id, &bundle.write());
    let mut bell = File::open(&launched.exit_fifo).unwrap();
    window.read_only(true);
    gate.exit(23);
    let record = heard(&node, &id, &mut bell);
    window.read_only(false);
    made_good(&node, &launched, 23, &record);
    drop((bell, window));
    node.finish();
}

#[test]
fn read_only_at_the_end() {
    if skipped() {
        return;
    }
    let mut node = Node::bare();
    let window = Window::new(&node.layout().containers());
    node.start_daemon();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    window.read_only(true);
    gate.exit(24);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(24)));
    let info = node.wait_state(&id, State::Gc);
    assert!(info.in_the_way.as_ref().is_some_and(|why| why.contains("Read-only")), "it says why: {info:?}");
    assert!(node.remove(&id, false).is_err(), "it cannot be removed either");
    assert!(!proc::is_dead(launched.shim_pid));
    window.read_only(false);
    node.wait_state(&id, State::Stopped);
    assert_eq!(node.record(&id).unwrap().status, ExitStatus::Code(24));
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    assert!(node.daemon().is_running());
    node.remove(&id, false).unwrap();
    node.assert_clean_but("mount ");
    node.terminate_daemon();
    drop(window);
    node.finish();
}

/// The collector has heard it, and is the only one left who knows.
#[test]
fn a_shim_that_is_killed_before_it_could_write() {
    if skipped() {
        return;
    }
    let mut node = Node::bare();
    let window = Window::new(&node.layout().containers());
    node.start_daemon();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    let events = node.subscribe();
    window.read_only(true);
    gate.exit(25);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(25)));
    kill(launched.shim_pid);
    assert!(node.record(&id).is_none(), "it cannot be written");
    window.read_only(false);
    node.wait_state(&id, State::Stopped);
    let record = node.record(&id).unwrap();
    assert_eq!((record.status, record.source), (ExitStatus::Code(25), Source::Waited));
    assert!(record.usage.is_some(), "it is the shim's own record");
    drop(events);
    node.remove(&id, false).unwrap();
    node.assert_clean_but("mount ");
    node.terminate_daemon();
    drop(window);
    node.finish();
}

/// Shim and collector were both killed while nothing could be written: nobody knows, and that is what is said.
#[test]
fn both_killed_before_anybody_could_write() {
    if skipped() {
        return;
    }
    let mut node = Node::bare();
    let window = Window::new(&node.layout().containers());
    node.start_daemon();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    window.read_only(true);
    gate.exit(26);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(26)));
    // It rings first. A zombie would tell the next collector what it was.
    wait_for("the shim to reap it", LONG, || proc::is_gone(launched.pid));
    node.kill_daemon();
    kill(launched.shim_pid);
    window.read_only(false);
    node.start_daemon();
    let info = node.wait_state(&id, State::Stopped);
    assert_eq!(info.status, Some(ExitStatus::Unknown { reason: UnknownReason::ShimAndCollectorKilled }));
    node.remove(&id, false).unwrap();
    node.assert_clean_but("mount ");
    node.terminate_daemon();
    drop(window);
    node.finish();
}
