//! Containers whose processes do not die: in GC until they do, with the reason, and clean at once then.

use sexton_common::{
    ExitStatus, Source,
    gc::Step,
    wire::{Request, State},
};
use sexton_tests::{
    bundle::Bundle,
    gc::{Freezer, LoopDisk},
    needs,
    node::Node,
    proc,
    wait::{LONG, wait_for},
};
use std::{fs, time::Instant};

#[test]
fn a_frozen_ancestor_is_named_and_thawing_it_is_enough() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let (id, above) = (node.id("c"), format!("{}par", node.prefix()));
    let Some(freezer) = Freezer::new(&above) else { return needs::skip("there is no v1 freezer") };
    let path = freezer.below(&id);
    let bundle = Bundle::new(&node, "b").sleeping().with(|config| config["linux"]["cgroupsPath"] = path.into()).write();
    let launched = node.run(&id, &bundle);
    freezer.freeze(true);
    proc::kill(launched.pid);
    let entry = node.wait_gc(&id);
    assert_eq!(entry.step, Step::Processes, "{entry:?}");
    assert_eq!(node.inspect(&id).state, State::Gc);
    let why = node.gc_why(&id).unwrap();
    let holder = &why.obstacles[0].holders[0];
    assert_eq!((holder.pid, holder.frozen_by.as_deref()), (launched.pid, Some(&*freezer.dir())), "{why:?}");
    assert!(why.obstacles[0].what.contains("frozen"), "{why:?}");
    assert!(node.layout().gc_entry(&id).exists(), "durable");
    eprintln!("{why:#?}");
    freezer.freeze(false);
    let since = Instant::now();
    let ended = node.wait(&id);
    assert_eq!(
        (ended.status, ended.source),
        (Some(ExitStatus::Signal { number: 9, core_dumped: false }), Some(Source::Waited))
    );
    node.wait_state(&id, State::Stopped);
    eprintln!("clean after {:?}", since.elapsed());
    assert!(!node.layout().gc_entry(&id).exists());
    drop(freezer);
    node.finish();
}

#[test]
fn a_frozen_file_system_is_named_and_thawing_it_is_enough() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("c");
    let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
    let bundle =
        Bundle::new(&node, "b").bind(disk.point(), "disk").sh("while :; do echo x >> /gate/disk/f; done").write();
    let launched = node.run(&id, &bundle);
    wait_for("a first write", LONG, || disk.point().join("f").exists());
    disk.freeze();
    wait_for("the writer in D", LONG, || {
        fs::read_to_string(format!("/proc/{}/stat", launched.pid)).unwrap().contains(") D ")
    });
    node.ask(&Request::Kill { id: id.clone(), signal: 9 }).unwrap();
    let entry = node.wait_gc(&id);
    assert_eq!(entry.step, Step::Processes, "{entry:?}");
    let why = node.gc_why(&id).unwrap();
    eprintln!("{why:#?}");
    disk.thaw();
    let since = Instant::now();
    let _ = node.wait(&id);
    node.wait_state(&id, State::Stopped);
    eprintln!("clean after {:?}", since.elapsed());
    drop(disk);
    node.finish();
}
