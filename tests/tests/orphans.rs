//! A container without a pid namespace of its own leaves its orphans to the shim.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{ContainerId, ExitStatus, Source, identity::Stat, wire::Launched};
use sexton_tests::{Bundle, LONG, Node, helper::helper, proc, skipped, wait_for};
use std::{
    fs,
    time::{Duration, Instant},
};

const ORPHANS: usize = 2000;

/// Their ends, too, take their time on a loaded machine; one shim that looks for them all again at each takes longer.
const AT_ONCE: Duration = Duration::from_secs(30);

fn launch(node: &Node, id: &ContainerId, then: &str) -> Launched {
    let gate = node.dir().join(format!("gate-{then}"));
    fs::create_dir(&gate).unwrap();
    let count = ORPHANS.to_string();
    let bundle = Bundle::new(node, then).host_pids().program(&helper("orphans"), &[&count, then]).bind(&gate, "/gate");
    let launched = node.run(id, &bundle.write());
    wait_for("the orphans", LONG, || gate.join("ready").exists());
    let children = proc::children(launched.shim_pid);
    assert_eq!(children.len(), ORPHANS + 1, "all of them, and init, are the shim's now");
    launched
}

#[test]
fn orphans_are_reaped_at_once() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("stay");
    let launched = launch(&node, &id, "stay");
    let orphans: Vec<u32> = proc::children(launched.shim_pid).into_iter().filter(|pid| *pid != launched.pid).collect();
    let begin = Instant::now();
    node.kill(&id, 10);
    wait_for("the reaping", LONG, || orphans.iter().all(|pid| Stat::of(*pid).unwrap().is_none()));
    let took = begin.elapsed();
    println!("{ORPHANS} orphans were reaped after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    assert!(node.record(&id).is_none(), "init runs on");
    node.kill(&id, 12);
    let info = node.wait(&id);
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(7)), Some(Source::Waited)));
    node.finish();
}

/// Init ends in the middle of them: its status is neither lost nor late.
#[test]
fn an_exit_among_orphans_is_not_delayed() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("leave");
    let launched = launch(&node, &id, "leave");
    let begin = Instant::now();
    node.kill(&id, 10);
    let info = node.wait(&id);
    let took = begin.elapsed();
    println!("the exit among {ORPHANS} was delivered after {took:?}");
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(7)), Some(Source::Waited)));
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    node.finish();
}
