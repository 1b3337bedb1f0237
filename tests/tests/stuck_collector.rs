//! A collector that hangs, and one that dies again and again: nobody waits for it, and nothing is lost.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::Signal;
use sexton_common::{
    ContainerId, ExitStatus, Source,
    wire::{EventKind, State},
};
use sexton_tests::{Bundle, LONG, Node, proc, skipped, wait, wait_for};
use std::time::{Duration, Instant};

/// A shim gives it a second to answer its announcement, and goes on.
#[test]
fn shims_do_not_wait_for_one_that_hangs() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let [ends, runs, before] = ["ends", "runs", "before"].map(|name| node.id(name));
    let (bundle, before_gate) = Bundle::new(&node, "before").gated();
    node.run(&before, &bundle.write());
    let events = node.subscribe();
    node.daemon().signal(Signal::STOP);
    let begin = Instant::now();
    node.shim("run", &ends, &Bundle::new(&node, "ends").sh("exit 7").write());
    let took = begin.elapsed();
    println!("the launch took {took:?}");
    assert!(took < Duration::from_secs(30), "the launch took {took:?}");
    let (bundle, gate) = Bundle::new(&node, "runs").gated();
    let launched = node.shim("run", &runs, &bundle.write());
    before_gate.exit(5);
    for id in [&ends, &before] {
        wait_for("the record", LONG, || node.record(id).is_some());
    }
    node.daemon().signal(Signal::CONT);
    let known = |id: &ContainerId| node.list(true).iter().any(|info| info.id == *id);
    wait_for("those born meanwhile to be known", LONG, || known(&ends) && known(&runs));
    for (id, code) in [(&ends, 7), (&before, 5)] {
        let info = node.wait(id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(code)), Some(Source::Waited)));
        events.wait(id, EventKind::Stopped);
        let told = events.kinds(id).into_iter().filter(|kind| *kind == EventKind::Exited).count();
        assert_eq!(told, 1, "{id}: {:?}", events.kinds(id));
    }
    assert_eq!(node.wait_state(&runs, State::Running).pid, Some(launched.pid));
    gate.exit(9);
    assert_eq!(node.wait(&runs).status, Some(ExitStatus::Code(9)));
    drop(events);
    node.finish();
}

/// It is killed every few moments while containers come and go, most of which never see it.
#[test]
fn killed_again_and_again() {
    if skipped() {
        return;
    }
    const EACH: u8 = 20;
    let mut node = Node::new();
    let bundle = |node: &Node, name: &str, code: u8| {
        let time = u32::from(code) * 37_000 % 900_000;
        Bundle::new(node, name).sh(&format!("usleep {time}; exit {code}")).write()
    };
    let names: Vec<(String, u8)> =
        (0..2).flat_map(|thread| (0..EACH).map(move |n| (format!("t{thread}-{n}"), thread * EACH + n))).collect();
    let jobs: Vec<(ContainerId, std::path::PathBuf, u8)> =
        names.iter().map(|(name, code)| (node.id(name), bundle(&node, name, *code), *code)).collect();
    let commands: Vec<_> = jobs.iter().map(|(id, bundle, _)| node.shim_command("run", id.as_str(), bundle)).collect();
    let launcher = std::thread::spawn(move || {
        for mut command in commands {
            let _ = sexton_tests::run(&mut command).ok();
        }
    });
    let mut rounds = 0;
    while !launcher.is_finished() || rounds < 5 {
        wait::observe(Duration::from_millis(60 + rounds * 17 % 90));
        node.kill_daemon();
        wait::observe(Duration::from_millis(rounds * 13 % 70));
        node.start_daemon();
        rounds += 1;
    }
    launcher.join().unwrap();
    for (id, _, code) in &jobs {
        let info = node.wait(id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(*code)), Some(Source::Waited)), "{id}");
        node.wait_state(id, State::Stopped);
        wait_for("the shim's end", LONG, || proc::is_dead(info.shim_pid.unwrap()));
    }
    node.finish();
}

/// It has no descriptors left for a while: what it could not look at then, it looks at later.
#[test]
fn one_that_is_out_of_descriptors() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let pid = node.daemon().pid();
    let limit = |descriptors: usize| {
        let (process, limit) = (pid.to_string(), format!("--nofile={descriptors}:20000"));
        let _ = sexton_tests::run(std::process::Command::new("prlimit").args(["--pid", &process, &limit])).ok();
    };
    limit(proc::descriptors(pid).values().sum::<usize>() + 24);
    // As the first ones end, descriptors are free again, a few at a time.
    let running: Vec<_> = (0..30)
        .map(|n: u8| {
            let name = n.to_string();
            let id = node.id(&name);
            let bundle = Bundle::new(&node, &name).sh(&format!("usleep 2000000; exit {n}")).write();
            (id.clone(), node.shim("run", &id, &bundle), n)
        })
        .collect();
    for (_, launched, _) in &running {
        wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    }
    wait_for("the log to say so", LONG, || node.words().contains("more containers than descriptors"));
    wait_for("all of them to be known", LONG, || node.list(true).len() == running.len());
    for (id, launched, code) in &running {
        let info = node.wait(id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(*code)), Some(Source::Waited)), "{id}");
        assert_eq!(info.generation, launched.generation);
    }
    node.finish();
}
