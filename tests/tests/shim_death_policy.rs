//! `--on-shim-death`: what becomes of a container whose shim was killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId,
    launch::{Mode, OnShimDeath},
    wire::{EventKind, LaunchRequest, Launched, State},
};
use sexton_tests::{Bundle, Node, node_api::killed_by, proc, run, skipped};

fn launch(node: &Node, id: &ContainerId, mode: Mode, on_shim_death: OnShimDeath) -> Launched {
    let bundle = Bundle::new(node, id.as_str()).sleeping().write();
    node.launch(LaunchRequest { on_shim_death, ..node.launch_request(id, &bundle, mode) }).unwrap()
}

#[test]
fn kill_ends_it_at_once_and_adopt_does_not() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    let (killed, created, adopted) = (node.id("killed"), node.id("created"), node.id("adopted"));
    let shims = [
        launch(&node, &killed, Mode::Run, OnShimDeath::Kill),
        launch(&node, &created, Mode::Create, OnShimDeath::Kill),
        launch(&node, &adopted, Mode::Run, OnShimDeath::Adopt),
    ];
    shims.iter().for_each(proc::kill_shim);
    for id in [&killed, &created] {
        assert_eq!(node.wait(id).status, Some(killed_by(9)), "{}", node.words());
        events.wait(id, EventKind::Orphaned);
        node.wait_state(id, State::Stopped);
    }
    node.wait_state(&adopted, State::Orphaned);
    assert!(!proc::is_dead(shims[2].pid), "the container lives on");
    node.remove(&adopted, true).unwrap();
    drop(events);
    node.finish();
}

#[test]
fn kill_is_made_good_by_the_next_collector() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let (killed, adopted) = (node.id("killed"), node.id("adopted"));
    let shims =
        [launch(&node, &killed, Mode::Run, OnShimDeath::Kill), launch(&node, &adopted, Mode::Run, OnShimDeath::Adopt)];
    node.kill_daemon();
    shims.iter().for_each(proc::kill_shim);
    assert!(shims.iter().all(|shim| !proc::is_dead(shim.pid)), "nobody is there to kill them");
    node.start_daemon();
    assert_eq!(node.wait(&killed).status, Some(killed_by(9)), "{}", node.words());
    node.wait_state(&adopted, State::Orphaned);
    assert!(!proc::is_dead(shims[1].pid), "the container lives on");
    node.remove(&adopted, true).unwrap();
    node.finish();
}

#[test]
fn both_command_lines_have_it() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (by_cli, by_shim) = (node.id("cli"), node.id("shim"));
    let bundle = |id: &ContainerId| Bundle::new(&node, id.as_str()).sleeping().write();
    let dir = bundle(&by_cli).display().to_string();
    let root = node.runtime_root().display().to_string();
    let line = ["run", "-d", by_cli.as_str(), "--bundle", &dir, "--runtime-root", &root, "--on-shim-death", "kill"];
    let _ = node.sexton(&line).ok();
    let shim = run(node.shim_command("run", by_shim.as_str(), &bundle(&by_shim)).args(["--on-shim-death", "kill"]));
    let _ = shim.ok();
    for id in [&by_cli, &by_shim] {
        let launch: sexton_common::Launch =
            sexton_common::durable::read(&node.layout().container(id).launch()).unwrap().unwrap();
        assert_eq!(launch.on_shim_death, OnShimDeath::Kill, "{id}");
        node.remove(id, true).unwrap();
    }
    let bad = node.sexton(&["run", "x", "--bundle", &dir, "--on-shim-death", "cry"]);
    assert!(bad.code() != 0 && bad.stderr.contains("use adopt or kill"), "{}", bad.stderr);
    node.finish();
}
