//! A shim that has nothing to do does nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::wire::Launched;
use sexton_tests::{Bundle, Node, proc, skipped, wait::observe};
use std::time::{Duration, Instant};

/// Long enough for any timer that would matter.
const IDLE: Duration = Duration::from_secs(10);

/// Without a change: longer than what a loaded machine makes any of them wait.
const SETTLED: Duration = Duration::from_secs(3);

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
    // What launching it stirred up has settled when nothing is said any more, by nobody who waits for a processor.
    let (mut before, mut since) = (Vec::new(), Instant::now());
    sexton_tests::wait_for("the shims to settle", sexton_tests::LONG, || {
        observe(Duration::from_millis(300));
        let now: Vec<u64> = shims.iter().map(|pid| switches(*pid)).collect();
        let sleeps = |pid: &u32| proc::is_in(*pid, 'S');
        if std::mem::replace(&mut before, now.clone()) != now || !shims.iter().all(sleeps) {
            since = Instant::now();
        }
        since.elapsed() >= SETTLED
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

/// One page each for data, heap and the C library's, and two or three of stack; the third is the kernel's choice of
/// where the stack begins.
const PAGES_KIB: u64 = 30;

#[test]
fn it_keeps_a_handful_of_pages() {
    if skipped() {
        return;
    }
    let binary = std::fs::read(sexton_tests::binaries::shim()).unwrap();
    if binary.windows(6).any(|window| window == b"GLIBC_") {
        return sexton_tests::skip("this shim is linked with glibc, whose data alone is larger");
    }
    let node = Node::new();
    let shims: Vec<Launched> = (0..10)
        .map(|n| {
            let name = format!("small{n}");
            node.shim("run", &node.id(&name), &Bundle::new(&node, &name).sleeping().write())
        })
        .collect();
    let private = |shim: &Launched| {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", shim.shim_pid)).unwrap();
        let field = proc::field_of(&text, "Private_Dirty").unwrap();
        field.trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let mean = || shims.iter().map(private).sum::<u64>() / 10;
    // It sleeps a moment after it has told us that it has launched.
    let small = sexton_tests::wait_until(Duration::from_secs(10), || mean() <= PAGES_KIB);
    assert!(small, "an idle shim keeps {} KiB for itself, {PAGES_KIB} are enough", mean());
    for launched in &shims {
        node.kill(&launched.id, 9);
    }
    node.finish();
}
