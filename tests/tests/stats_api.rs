//! Who asks for statistics, and who stops asking.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    runtime::Runtime,
    wire::{ErrorCode, LaunchRequest, Reply, Request, State},
};
use sexton_tests::{Bundle, LONG, Node, binaries, proc, skipped, wait::observe, wait_for};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

const SHORTEST: Duration = Duration::from_millis(100);

#[test]
fn those_that_run_and_those_that_are_named() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (up, down, made) = (node.id("up"), node.id("down"), node.id("made"));
    assert_eq!(node.stats(&[]), Ok(vec![]));
    node.run(&up, &Bundle::new(&node, "up").sleeping().write());
    node.run(&down, &Bundle::new(&node, "down").args(&["/bin/false"]).write());
    node.create(&made, &Bundle::new(&node, "made").sleeping().write());
    node.wait_state(&down, State::Stopped);
    let all = node.stats(&[]).unwrap();
    assert_eq!(all.iter().map(|stats| (&stats.id, stats.state)).collect::<Vec<_>>(), [(&up, State::Running)]);
    assert!(all[0].memory.is_some() || all[0].cpu_ns.is_some(), "{all:?}");
    assert_eq!((all[0].generation, all[0].disk), (node.inspect(&up).generation, None));
    let named = node.stats(&[down.clone(), up.clone(), down.clone(), made.clone()]).unwrap();
    let states: Vec<_> = named.iter().map(|stats| stats.state).collect();
    assert_eq!(states, [State::Stopped, State::Running, State::Created]);
    let ended = &named[0];
    assert_eq!((ended.memory, ended.cpu_ns, ended.pids, ended.io, ended.disk), (None, None, None, None, None));
    assert!(named[2].cpu_ns.is_some(), "what was created has an init: {named:?}");
    let error = node.stats(&[up.clone(), node.id("nobody")]).unwrap_err();
    assert_eq!((error.code, error.exit_code), (ErrorCode::NoSuchContainer, 3));
    assert!(error.message.contains("nobody"), "{error}");
    node.kill(&up, 9);
    node.remove(&made, true).unwrap();
    node.finish();
}

#[test]
fn periods_go_on_until_the_last_one_that_was_named_is_gone() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (a, b) = (node.id("a"), node.id("b"));
    for id in [&a, &b] {
        node.run(id, &Bundle::new(&node, id.as_str()).sleeping().write());
    }
    for period in [99, 0, 86_400_001] {
        let error = node.samples(&[], Some(Duration::from_millis(period))).take().unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid, "{error}");
    }
    let mut samples = node.samples(&[a.clone(), b.clone()], Some(SHORTEST));
    let mut last = samples.take().unwrap();
    assert!(last.iter().all(|stats| stats.cpu_of_core.is_none()), "{last:?}");
    for _ in 0..5 {
        let next = samples.take().unwrap();
        assert!(next[0].at > last[0].at && next.iter().all(|stats| stats.cpu_of_core.is_some()), "{next:?}");
        last = next;
    }
    for (id, left) in [(&a, 1), (&b, 0)] {
        node.kill(id, 9);
        node.wait_state(id, State::Stopped);
        node.remove(id, false).unwrap();
        wait_for("a sample without it, or none", LONG, || match samples.take() {
            Ok(rows) => left > 0 && rows.len() == left,
            Err(error) => left == 0 && error.code == ErrorCode::NoSuchContainer,
        });
    }
    assert!(matches!(samples.client().call(&Request::Version {}), Ok(Reply::Version { .. })), "it is asked as before");
    drop(samples);
    node.finish();
}

/// What sextond's threads have waited for, all together.
fn wakeups(pid: u32) -> u64 {
    proc::status(pid, "voluntary_ctxt_switches").unwrap().parse().unwrap()
}

/// The loop of sextond does not wake up by itself.
fn settles(pid: u32) {
    let mut before = wakeups(pid);
    wait_for("sextond to sleep", LONG, || {
        observe(Duration::from_secs(1));
        let now = wakeups(pid);
        std::mem::replace(&mut before, now) == now
    });
}

#[test]
fn nobody_listens_and_nothing_is_sampled() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("c");
    node.run(&id, &Bundle::new(&node, "b").sleeping().write());
    let pid = node.daemon().pid();
    settles(pid);
    // In frames and in lines; one hangs up between two samples, one right after having asked.
    let mut frames = node.samples(&[], Some(SHORTEST));
    let hasty = node.samples(&[], Some(SHORTEST));
    drop(hasty);
    let mut stream = UnixStream::connect(node.layout().socket()).unwrap();
    stream.write_all(b"{\"stats\":{\"ids\":[],\"period_ms\":100}}\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    let before = wakeups(pid);
    for _ in 0..10 {
        assert_eq!(frames.take().unwrap()[0].id, id);
        assert!(lines.next().unwrap().unwrap().starts_with("{\"stats\":{\"containers\":[{"));
    }
    assert!(wakeups(pid) >= before + 10, "this test would not see it sample");
    drop((frames, lines));
    settles(pid);
    node.kill(&id, 9);
    node.finish();
}

#[test]
fn no_runtime_is_executed() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (id, log) = (node.id("c"), node.dir().join("calls"));
    let text = format!("echo \"$*\" >> {}\nexec {} \"$@\"", log.display(), binaries::runc().display());
    let runtime = Runtime { program: node.script("logging", &text), ..node.runtime() };
    let bundle = Bundle::new(&node, "b").sleeping().write();
    let request = node.launch_request(&id, &bundle, sexton_common::launch::Mode::Run);
    node.launch(LaunchRequest { runtime, ..request }).unwrap();
    let before = fs::read_to_string(&log).unwrap();
    assert!(before.contains("create") && before.contains("start"), "{before}");
    let mut samples = node.samples(&[], Some(SHORTEST));
    (0..5).for_each(|_| assert_eq!(samples.take().unwrap().len(), 1));
    let _ = (node.stats(std::slice::from_ref(&id)).unwrap(), node.node_stats());
    drop(samples);
    assert_eq!(fs::read_to_string(&log).unwrap(), before);
    node.kill(&id, 9);
    node.finish();
}

/// One that does not read gets no sample for each period that has passed.
#[test]
fn a_slow_one_is_left_out_and_not_queued_for() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let mut played: Vec<_> = (0..60)
        .map(|n| {
            sexton_tests::played::Played::new(
                &node,
                node.id(&format!("a-long-name-so-that-samples-are-long-{n}")),
                sexton_common::launch::Mode::Run,
            )
        })
        .collect();
    played.iter().for_each(|one| assert_eq!(one.announce_well(&node), Some(Reply::Done {})));
    let mut stream = UnixStream::connect(node.layout().socket()).unwrap();
    stream.write_all(b"{\"stats\":{\"ids\":[],\"period_ms\":100}}\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = || loop {
        let Reply::Stats { containers, last } = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() else {
            panic!("not a sample")
        };
        if last {
            return containers[0].at.0;
        }
    };
    let begun = next();
    observe(Duration::from_secs(8));
    // What the socket holds is old; after that there is a gap, and then it is now.
    let (mut at, mut taken, mut gap) = (begun, 0, 0);
    while gap < 2_000_000_000 {
        let now = next();
        gap = now - at;
        (at, taken) = (now, taken + 1);
        assert!(taken < 200, "eight seconds of samples were kept");
    }
    eprintln!("{taken} samples until the gap of {gap} ns");
    for one in &mut played {
        one.end(0);
        assert!(one.write());
        one.reap();
        one.end_shim();
    }
    drop(lines);
    node.finish();
}

#[test]
fn the_node() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (up, down) = (node.id("up"), node.id("down"));
    node.run(&up, &Bundle::new(&node, "up").sleeping().write());
    node.run(&down, &Bundle::new(&node, "down").args(&["/bin/true"]).write());
    node.wait_state(&down, State::Stopped);
    let stats = node.node_stats();
    let mut states = stats.containers.clone();
    states.sort_by_key(|(state, _)| state.name());
    assert_eq!(states, [(State::Running, 1), (State::Stopped, 1)]);
    assert_eq!((stats.running.used, stats.gc_entries), (1, 0));
    let kib = |key: &str| {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        proc::field_of(&text, key).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(stats.memory.total, Some(kib("MemTotal") * 1024));
    assert!(stats.memory.left > Some(0) && stats.disk.left > Some(0), "{stats:?}");
    let volume = rustix::fs::statvfs(node.layout().data()).unwrap();
    assert_eq!(stats.disk.total, Some(volume.f_blocks * volume.f_frsize));
    assert_eq!(stats.disk_path, node.layout().data());
    assert_eq!(stats.hostname, fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim());
    assert!(stats.descriptors.used > 0 && stats.descriptors.left < stats.descriptors.total, "{stats:?}");
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    assert!((stats.uptime_ms as f64 / 1000.0 - uptime).abs() < 60.0, "{} {uptime}", stats.uptime_ms);
    node.kill(&up, 9);
    node.finish();
}
