//! Containers whose processes wait for a file system that is frozen.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    Source,
    gc::Step,
    wire::{ErrorCode, EventKind, State},
};
use sexton_tests::{Bundle, LONG, Node, gc::LoopDisk, node_api::killed_by, proc, skipped, wait::wait_some, wait_for};

const WRITES: &str = "while :; do echo x >> /gate/file; done";

fn disk(node: &Node) -> LoopDisk {
    LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"))
}

fn waits_in_the_kernel(pid: u32) -> bool {
    proc::is_in(pid, 'D')
}

#[test]
fn the_writer_is_named_and_thawing_the_file_system_is_enough() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let events = node.subscribe();
    let disk = disk(&node);
    let ids = ["raw", "kill"].map(|name| node.id(name));
    let launched = ids
        .clone()
        .map(|id| node.run(&id, &Bundle::new(&node, id.as_str()).bind(disk.point(), "/gate").sh(WRITES).write()));
    wait_for("a first write", LONG, || disk.point().join("file").exists());
    disk.freeze();
    for process in &launched {
        wait_for("the writer in D", LONG, || waits_in_the_kernel(process.pid));
    }
    proc::kill(launched[0].pid);
    let _ = node.sexton(&["kill", ids[1].as_str(), "KILL"]).ok();
    for (id, process) in ids.iter().zip(&launched) {
        let entry = node.wait_gc(id);
        assert_eq!((entry.step, node.inspect(id).state), (Step::Processes, State::Gc), "{entry:?}");
        assert_eq!(node.remove(id, false).unwrap_err().code, ErrorCode::InGc);
        let why = node.gc_why(id).unwrap();
        let holder = &why.obstacles[0].holders[0];
        assert_eq!((holder.pid, &*holder.comm, &*holder.state, &holder.frozen_by), (process.pid, "sh", "D", &None));
        let wchan = holder.wchan.clone().unwrap();
        assert!(!holder.stack.is_empty() && holder.stack.iter().any(|frame| frame.contains(&wchan)), "{why:#?}");
        assert!(why.obstacles[0].what.contains(&format!("state D in {wchan}")), "{why:#?}");
        let said = node.sexton(&["gc", "why", id.as_str()]).ok().stdout;
        for words in [format!("pid {} (sh)", process.pid), format!("waits in    {wchan}"), "stack ".to_owned()] {
            assert!(said.contains(&words), "{words:?} is not in {said}");
        }
        assert!(node.record(id).is_none() && node.inspect(id).status.is_none(), "it has not ended");
    }
    node.clean_after(&events, &[&ids[0], &ids[1]], || disk.thaw());
    for id in &ids {
        let info = node.inspect(id);
        assert_eq!((info.status, info.source), (Some(killed_by(9)), Some(Source::Waited)));
    }
    drop((disk, events));
    node.finish();
}

/// Its exit is known and told at once; what it left behind is another matter.
#[test]
fn one_that_has_ended_leaves_a_writer_behind() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let events = node.subscribe();
    let disk = disk(&node);
    let id = node.id("c");
    // In the host's pid namespace nobody ends with init.
    let script = format!("({WRITES}) & read code < /gate/in; exit 7");
    let fifo = disk.point().join("in");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from(0o600), 0).unwrap();
    let bundle = Bundle::new(&node, "b").bind(disk.point(), "/gate").host_pids().sh(&script).write();
    let launched = node.run(&id, &bundle);
    wait_for("a first write", LONG, || disk.point().join("file").exists());
    let writer = wait_some("the writer", LONG, || proc::children(launched.pid).first().copied());
    let gate = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    disk.freeze();
    wait_for("the writer in D", LONG, || waits_in_the_kernel(writer));
    std::io::Write::write_all(&mut &gate, b"\n").unwrap();
    let (_, exited) = events.wait(&id, EventKind::Exited);
    assert_eq!(exited.container.status, Some(sexton_common::ExitStatus::Code(7)));
    let entry = node.wait_gc(&id);
    assert_eq!((entry.step, node.inspect(&id).state), (Step::Processes, State::Gc), "{entry:?}");
    assert_eq!(node.gc_why(&id).unwrap().obstacles[0].holders[0].pid, writer);
    let removed = node.remove(&id, true).unwrap_err();
    assert_eq!(removed.code, ErrorCode::InGc, "{removed:?}");
    drop(gate);
    node.clean_after(&events, &[&id], || disk.thaw());
    events.wait(&id, EventKind::Removed);
    drop((disk, events));
    node.finish();
}
