//! A runtime that hangs, lies, dies or is gone holds up its own container until it does what it is for, and never runs
//! twice at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use sexton_common::{ExitStatus, gc::Step, runtime::Runtime, wire::State};
use sexton_tests::{
    Bundle, LONG, Node, Options, binaries,
    gc::LoopDisk,
    gc_things::{Hanging, config, patient},
    leftovers, proc, skipped, wait_for,
};
use std::fs;

fn node(config: String) -> Node {
    Node::with(Options { config, ..Options::default() })
}

#[test]
fn one_that_hangs_is_killed_with_its_group_counted_and_tried_again() {
    if skipped() {
        return;
    }
    let node = node(config("2s", "300ms", "60s", "10s"));
    let hanging = Hanging::new(&node, ":");
    let id = node.id("stuck");
    node.run_with(&id, &Bundle::new(&node, "stuck").sh("exit 5").write(), hanging.runtime.clone());
    let entry = node.wait_gc(&id);
    assert_eq!(entry.step, Step::Runtime, "{entry:?}");
    assert!(entry.in_the_way.contains("delete") && entry.in_the_way.contains("killed"), "{entry:?}");
    let bundle = Bundle::new(&node, "other").sh("exit 7").write();
    for n in 0..5 {
        let other = node.id(&format!("other{n}"));
        node.run(&other, &bundle);
        assert_eq!(node.wait_state(&other, State::Stopped).status, Some(ExitStatus::Code(7)));
    }
    wait_for("a third attempt", LONG, || node.wait_gc(&id).attempts >= 3);
    let listed = node.sexton(&["gc", "ls", "--json"]).ok().json();
    assert!(listed[0]["attempts"].as_u64() >= Some(3), "{listed}");
    assert_eq!(listed[0]["step"], "runtime");
    // One without, one with force.
    assert!(hanging.begun() >= 4, "{}", hanging.begun());
    assert!(hanging.children().len() <= 1, "those that were killed took their children along");
    wait_for("a pause", LONG, || node.wait_gc(&id).next_try.is_some());
    wait_for("nobody left of the last attempt", LONG, || hanging.children().is_empty());
    hanging.heal();
    node.retry_is_enough(&id);
    assert_eq!(node.inspect(&id).status, Some(ExitStatus::Code(5)));
    let _ = hanging.begun();
    node.finish();
}

/// What its collector's SIGKILL leaves alone in the world is ended by the next one, before that begins one of its own.
#[test]
fn one_that_hangs_when_the_collector_is_killed() {
    if skipped() {
        return;
    }
    let mut node = node(config("3s", "200ms", "400ms", "10s"));
    let hanging = Hanging::new(&node, ":");
    let id = node.id("stuck");
    node.run_with(&id, &Bundle::new(&node, "stuck").sh("exit 5").write(), hanging.runtime.clone());
    for _ in 0..3 {
        let before = hanging.begun();
        wait_for("another that hangs", LONG, || hanging.begun() > before && !hanging.children().is_empty());
        let left = hanging.children();
        node.kill_daemon();
        node.start_daemon();
        let before = hanging.begun();
        wait_for("one of the new collector's", LONG, || hanging.begun() > before);
        let still = hanging.children();
        assert!(!left.iter().any(|pid| still.contains(pid)), "left of the old: {left:?}, there: {still:?}");
    }
    hanging.heal();
    assert_eq!(node.wait_state(&id, State::Stopped).status, Some(ExitStatus::Code(5)));
    let _ = hanging.begun();
    node.finish();
}

/// SIGKILL does not end it: no other one is begun, `why` names it, and its end is enough.
#[test]
fn one_that_is_stuck_in_the_kernel() {
    if skipped() {
        return;
    }
    let mut node = node(config("10s", "300ms", "400ms", "10s"));
    let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
    let write = format!("echo x > {}/file", disk.point().display());
    let hanging = Hanging::new(&node, &write);
    disk.freeze();
    let id = node.id("stuck");
    node.run_with(&id, &Bundle::new(&node, "stuck").sh("exit 5").write(), hanging.runtime.clone());
    wait_for("a third attempt", LONG, || node.wait_gc(&id).attempts >= 3);
    let is_named = |node: &Node| {
        let why = node.gc_why(&id).unwrap();
        let obstacle = &why.obstacles[0];
        assert_eq!(obstacle.step, Step::Runtime, "{why:?}");
        let holder = obstacle.holders.first().unwrap_or_else(|| panic!("nobody is named: {why:?}"));
        assert_eq!(holder.state, "D", "{why:?}");
        assert!(proc::command_line(holder.pid).contains("hanging-runc"), "{why:?}");
    };
    is_named(&node);
    assert_eq!(hanging.begun(), 1, "it is there still");
    node.kill_daemon();
    node.start_daemon();
    let attempts = node.wait_gc(&id).attempts;
    wait_for("two attempts more", LONG, || node.wait_gc(&id).attempts >= attempts + 2);
    is_named(&node);
    assert_eq!(hanging.begun(), 1, "over a restart too");
    hanging.heal();
    disk.thaw();
    assert_eq!(node.wait_state(&id, State::Stopped).status, Some(ExitStatus::Code(5)));
    drop(disk);
    node.finish();
}

#[test]
fn one_that_lies_is_found_out() {
    if skipped() {
        return;
    }
    let node = node(patient());
    let flag = node.dir().join("flag");
    fs::write(&flag, "").unwrap();
    let runtime = node.runtime_but("lies", "delete", &format!("if [ -e {} ]; then exit 0; fi", flag.display()));
    let id = node.id("c");
    node.run_with(&id, &Bundle::new(&node, "b").sh("exit 5").write(), runtime);
    let entry = node.wait_gc(&id);
    let left = node.runtime_root().join(id.as_str());
    assert_eq!(entry.step, Step::Runtime);
    assert!(entry.in_the_way.contains(&format!("still has {}", left.display())), "{entry:?}");
    fs::remove_file(&flag).unwrap();
    node.retry_is_enough(&id);
    assert!(!left.exists());
    node.finish();
}

/// One whose root is known to nobody but itself is believed when it says no, and only then.
#[test]
fn one_that_must_be_asked() {
    if skipped() {
        return;
    }
    let node = node(patient());
    let (runc, root, dir) = (binaries::runc(), node.runtime_root(), node.dir().to_owned());
    let other = |name: &str, state: &str| {
        let (runc, root, dir) = (runc.display(), root.display(), dir.display());
        let text = format!(
            "for word in \"$@\"; do if [ \"$word\" = state ]; then {state}; fi; done\n\
             echo \"$@\" >> {dir}/{name}.asked; exec {runc} --root {root} \"$@\""
        );
        Runtime { program: node.script(name, &text), root: None, args: Vec::new() }
    };
    let id = node.id("honest");
    node.run_with(&id, &Bundle::new(&node, "honest").sh("exit 5").write(), other("honest", ":"));
    node.wait_state(&id, State::Stopped);
    let asked = fs::read_to_string(dir.join("honest.asked")).unwrap();
    assert!(asked.lines().any(|line| line.starts_with("delete ")), "{asked}");
    assert!(asked.lines().last().unwrap().starts_with("state "), "it is asked whether it is done: {asked}");

    let flag = dir.join("flag");
    fs::write(&flag, "").unwrap();
    let cases = [
        ("dies", format!("[ ! -e {} ] || kill -9 $$", flag.display()), "signal: 9"),
        ("silent", format!("while [ -e {} ]; do sleep 0.1; done", flag.display()), "was not done after"),
    ];
    for (name, state, _) in &cases {
        let bundle = Bundle::new(&node, name).sh("exit 5").write();
        node.run_with(&node.id(name), &bundle, other(name, state));
    }
    for (name, _, words) in &cases {
        let entry = node.wait_gc(&node.id(name));
        assert_eq!(entry.step, Step::Runtime, "{entry:?}");
        assert!(entry.in_the_way.contains(words), "{entry:?}");
        let asked = fs::read_to_string(dir.join(format!("{name}.asked"))).unwrap();
        assert!(!asked.contains("delete"), "nothing was deleted that is not known: {asked}");
    }
    fs::remove_file(&flag).unwrap();
    for (name, ..) in &cases {
        node.retry_is_enough(&node.id(name));
    }
    assert!(leftovers::entries(&root).is_empty());
    node.finish();
}

#[test]
fn one_that_is_gone_is_missed() {
    if skipped() {
        return;
    }
    let node = node(patient());
    let runtime = node.runtime_but("goes", "nothing", ":");
    let (id, away) = (node.id("c"), node.dir().join("away"));
    let (bundle, gate) = Bundle::new(&node, "b").gated();
    node.run_with(&id, &bundle.write(), runtime.clone());
    fs::rename(&runtime.program, &away).unwrap();
    gate.exit(3);
    let entry = node.wait_gc(&id);
    let program = runtime.program.display().to_string();
    assert_eq!(entry.step, Step::Runtime);
    assert!(entry.in_the_way.contains(&program) && entry.in_the_way.contains("No such file"), "{entry:?}");
    fs::rename(&away, &runtime.program).unwrap();
    node.retry_is_enough(&id);
    assert_eq!(node.inspect(&id).status, Some(ExitStatus::Code(3)));
    node.finish();
}
