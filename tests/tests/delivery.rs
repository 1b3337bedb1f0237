//! The real shim delivers an exit in the order that the collector's model has.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use sexton_tests::{
    Bundle, Node,
    crash::killer::{Killer, Order},
    run, skipped,
};
use std::time::Duration;

/// What the model says, act by act, as system calls.
fn expected() -> Vec<&'static str> {
    let model = include_str!("../../collector/src/container/model/config.rs");
    let line = model.lines().find(|line| line.starts_with("pub const DELIVERY")).unwrap();
    let acts = line.split("Act::").skip(1).map(|act| act.trim_end_matches(|c: char| !c.is_alphabetic()));
    acts.flat_map(|act| match act {
        "Write" => &["open", "write"][..],
        "SyncFile" => &["fsync"],
        "Rename" => &["renameat2"],
        "SyncDir" => &["open", "fsync"],
        "Reap" => &["waitid"],
        "Ring" => &["write"],
        other => panic!("the model has an act {other:?}"),
    })
    .copied()
    .collect()
}

#[test]
fn as_the_model_has_it() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("c");
    let bundle = Bundle::new(&node, "c").sh("exit 7").write();
    let command = node.shim_command("run", id.as_str(), &bundle);
    let order = Order::new(command, node.dir().join("words"), 2, None);
    let report = Killer::start(order).join(Duration::from_secs(60)).unwrap();
    assert!(report.ended.unwrap().success(), "{report:?}");
    let name = |call: &String| if call == "openat" { "open".to_owned() } else { call.clone() };
    // Beside the acts: descriptors that are closed, a length that is asked for.
    let beside = ["close", "fcntl", "fstat", "getpid"];
    let calls: Vec<_> = report.last.iter().map(name).filter(|call| !beside.contains(&call.as_str())).collect();
    let rename = calls.iter().position(|call| call == "renameat2").unwrap();
    let expected = expected();
    let before = expected.iter().position(|call| *call == "renameat2").unwrap();
    assert_eq!(calls[rename - before..][..expected.len()], expected, "{:?}", report.last);
    assert_eq!(node.record(&id).unwrap().status, sexton_common::ExitStatus::Code(7));
    let _ = run(&mut node.runc("delete", &[id.as_str()])).ok();
    std::fs::remove_dir_all(node.layout().container(&id).path()).unwrap();
    node.finish();
}
