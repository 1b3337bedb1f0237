//! A state directory that cannot be written to, at the beginning and at the end of a container.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{ExitStatus, Source};
use sexton_tests::{Bundle, LONG, Node, disk::SmallDisk, proc, run, skipped, wait_for};
use std::fs;

#[test]
fn a_disk_that_cannot_be_written() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let state = node.layout().state();
    let attempt = |words: &str| {
        let ended = run(&mut node.shim_command("run", id.as_str(), &bundle));
        assert_eq!(ended.code(), 125, "{ended:?}");
        assert!(ended.stderr.contains(words) && ended.stderr.contains(state.to_str().unwrap()), "{ended:?}");
        assert!(run(&mut node.runc("state", &[id.as_str()])).code() != 0, "nothing was created");
    };
    let disk = SmallDisk::new(state);
    disk.fill();
    attempt("No space left");
    assert_eq!(sexton_tests::leftovers::entries(&node.layout().containers()), [] as [std::path::PathBuf; 0]);
    disk.free();
    disk.read_only(true);
    attempt("Read-only");
    disk.read_only(false);
    drop(disk);
    fs::remove_dir(state).unwrap();
    fs::write(state, "a file where the directory should be").unwrap();
    attempt("");
    node.finish();
}

/// The exit status is not lost to a full disk: the shim keeps it, rings, and stays until it is written (I8).
#[test]
fn a_disk_that_is_full_at_the_end() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let bundle = bundle.write();
    let disk = SmallDisk::new(node.layout().state());
    let launched = node.shim("run", &id, &bundle);
    let mut fifo = fs::File::open(&launched.exit_fifo).unwrap();
    disk.fill();
    gate.exit(11);
    // The doorbell rings although nothing could be written.
    let mut rung = [0; 512];
    let length = std::io::Read::read(&mut fifo, &mut rung).unwrap();
    let record: sexton_common::ExitRecord = sexton_common::durable::decode(&rung[..length]).unwrap();
    assert_eq!((record.status, record.source), (ExitStatus::Code(11), Source::Waited));
    assert!(node.record(&id).is_none(), "there is no room for it");
    assert!(!proc::is_dead(launched.shim_pid), "the shim is the only one who knows");
    disk.free();
    wait_for("the record", LONG, || node.record(&id).is_some());
    assert_eq!(node.record(&id).unwrap(), record);
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    node.bury(&id);
    drop(fifo);
    drop(disk);
    node.finish();
}
