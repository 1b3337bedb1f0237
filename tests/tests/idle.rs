//! A shim that has nothing to do does nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::wire::Launched;
use sexton_tests::{Bundle, Node, proc, skipped, wait::observe};
use std::time::Duration;

/// Long enough for any timer that would matter.
const IDLE: Duration = Duration::from_secs(10);

fn switches(pid: u32) -> u64 {
    proc::status(pid, "voluntary_ctxt_switches").unwrap().parse().unwrap()
}

#[test]
fn no_wake_up_in_ten_seconds() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let with: Vec<Launched> = (0..3)
        .map(|n| {
            let name = format!("run{n}");
            node.shim("run", &node.id(&name), &Bundle::new(&node, &name).sleeping().write())
        })
        .chain((0..2).map(|n| {
            let name = format!("create{n}");
            node.shim("create", &node.id(&name), &Bundle::new(&node, &name).sleeping().write())
        }))
        .collect();
    let alone_node = Node::bare();
    let alone_id = alone_node.id("alone");
    let alone = alone_node.shim("run", &alone_id, &Bundle::new(&alone_node, "alone").sleeping().write());
    let shims: Vec<u32> = with.iter().chain([&alone]).map(|launched| launched.shim_pid).collect();
    // What launching it stirred up has settled when nothing is said any more.
    let mut before: Vec<u64> = Vec::new();
    sexton_tests::wait_for("the shims to settle", sexton_tests::LONG, || {
        observe(Duration::from_millis(300));
        let now: Vec<u64> = shims.iter().map(|pid| switches(*pid)).collect();
        std::mem::replace(&mut before, now.clone()) == now
    });
    observe(IDLE);
    for (pid, before) in shims.iter().zip(before) {
        assert_eq!(proc::status(*pid, "Threads").as_deref(), Some("1"), "it is one thread");
        assert_eq!(switches(*pid) - before, 0, "wake-ups of shim {pid} in {IDLE:?}");
    }
    for launched in &with {
        node.kill(&launched.id, 9);
    }
    let (_, fd) = sexton_common::ProcessIdentity::open_pid(alone.pid).unwrap();
    rustix::process::pidfd_send_signal(fd, rustix::process::Signal::KILL).unwrap();
    sexton_tests::wait_for("the shim's end", sexton_tests::LONG, || proc::is_dead(alone.shim_pid));
    alone_node.bury(&alone_id);
    alone_node.finish();
    node.finish();
}
