//! Maintenance and evacuation.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId,
    launch::Mode,
    wire::{ErrorCode, NodeState, Request, State},
};
use sexton_tests::{Bundle, LONG, Node, gc::Freezer, run, skip, skipped, wait_for};
use std::fs;

const OTHER_BOOT: &str = "[kernel]\nboot_id = \"01234567-89ab-cdef-0123-456789abcdef\"\n";

#[track_caller]
fn refuses(node: &Node, created: &ContainerId, bundle: &std::path::Path) {
    let stats = node.node_status();
    assert_eq!(stats.state, NodeState::Maintenance, "{}", node.words());
    assert!(stats.why[0].starts_with("in maintenance since 2"), "{stats:?}");
    let new = node.id("new");
    for mode in [Mode::Run, Mode::Create] {
        let error = node.launch(node.launch_request(&new, bundle, mode)).unwrap_err();
        assert_eq!((error.code, error.exit_code), (ErrorCode::Maintenance, 125));
        assert!(error.message.contains("sexton node maintenance off"), "{error:?}");
    }
    let error = node.ask(&Request::Start { id: created.clone() }).unwrap_err();
    assert_eq!((error.code, error.exit_code), (ErrorCode::Maintenance, 11));
    let started = node.sexton(&["start", created.as_str()]);
    assert!(started.code() == 11 && started.stderr.contains("maintenance"), "{started:?}");
    assert_eq!(run(&mut node.cli(&["run", "-d"], &new, bundle, &[])).code(), 125);
}

#[test]
fn it_outlives_collector_and_machine_and_keeps_nobody_from_stopping() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let bundle = Bundle::new(&node, "a").host_pids().no_core_dumps().sleeping().write();
    let [created, killed, stopped, removed] = ["created", "killed", "stopped", "removed"].map(|name| node.id(name));
    node.create(&created, &bundle);
    [&killed, &stopped, &removed].into_iter().for_each(|id| drop(node.run(id, &bundle)));
    let shown = node.sexton(&["node", "maintenance", "on"]).ok();
    assert!(shown.stdout.starts_with("state        MAINTENANCE: "), "{shown:?}");
    let why = node.state().1;
    refuses(&node, &created, &bundle);
    assert_eq!(node.sexton(&["node", "maintenance", "on", "--json"]).ok().json()["state"], "maintenance");
    assert_eq!(node.state().1, why, "it began when it began");
    node.kill_daemon();
    node.start_daemon();
    refuses(&node, &created, &bundle);
    assert_eq!(node.state().1, why);
    // A foreign command is none of ours.
    let direct = node.id("direct");
    node.shim("run", &direct, &bundle);
    wait_for("it is known", LONG, || node.list(true).iter().any(|info| info.id == direct));
    node.kill(&killed, 9);
    let _ = node.wait(&killed);
    let _ = node.sexton(&["stop", stopped.as_str()]).ok();
    let _ = node.sexton(&["rm", "-f", removed.as_str(), direct.as_str()]).ok();
    let _ = node.sexton(&["rm", "-f", killed.as_str(), stopped.as_str()]).ok();
    // What dies with the machine has died.
    let _ = node.sexton(&["rm", "-f", created.as_str()]).ok();
    node.terminate_daemon();
    fs::remove_dir_all(node.layout().state()).unwrap();
    fs::write(node.config(), OTHER_BOOT).unwrap();
    node.start_daemon();
    assert_eq!(node.state().1, why);
    node.kill_daemon();
    fs::write(node.config(), "").unwrap();
    node.start_daemon();
    assert_ne!(node.maintain(false).state, NodeState::Maintenance);
    assert!(!node.layout().maintenance().exists());
    node.kill_daemon();
    node.start_daemon();
    assert_ne!(node.state().0, NodeState::Maintenance);
    node.run(&created, &bundle);
    node.remove(&created, true).unwrap();
    node.finish();
}

#[test]
fn a_damaged_word_of_it_counts_until_it_is_ended() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    node.kill_daemon();
    fs::write(node.layout().maintenance(), "SXTN, or what is left of it").unwrap();
    node.start_daemon();
    assert_eq!(node.state().0, NodeState::Maintenance);
    assert!(node.words().contains("sexton node maintenance off"), "{}", node.words());
    let _ = node.sexton(&["node", "maintenance", "off"]).ok();
    assert_ne!(node.state().0, NodeState::Maintenance);
    node.finish();
}

/// One goes at once, one has to be killed, one is frozen: it is named, and a second try is enough once it is thawed.
#[test]
fn evacuation_stops_what_can_be_stopped_and_names_the_rest() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let Some(freezer) = Freezer::new(&format!("{}par", node.prefix())) else {
        return skip("there is no v1 freezer");
    };
    let [plain, deaf, frozen, created] = ["plain", "deaf", "frozen", "created"].map(|name| node.id(name));
    node.run(&plain, &Bundle::new(&node, "plain").host_pids().sleeping().write());
    node.run(&deaf, &Bundle::new(&node, "deaf").sh("trap '' TERM; while :; do sleep 0.05; done").write());
    let path = freezer.below(&frozen);
    let bundle = Bundle::new(&node, "frozen").sleeping();
    node.run(&frozen, &bundle.with(|config| config["linux"]["cgroupsPath"] = path.into()).write());
    node.create(&created, &Bundle::new(&node, "created").sleeping().write());
    freezer.freeze(true);
    let ended = node.sexton(&["node", "evacuate", "--time", "1s"]);
    assert!(![0, 2, 125].contains(&ended.code()), "{ended:?}");
    let mut done: Vec<_> = ended.stdout.lines().collect();
    done.sort_unstable();
    assert_eq!(done, [created.as_str(), deaf.as_str(), plain.as_str()], "{ended:?}");
    assert!(ended.stderr.contains(&format!("{frozen} could not be stopped")), "{ended:?}");
    assert!(ended.stderr.contains("sexton gc why"), "{ended:?}");
    assert_eq!(node.state().0, NodeState::Maintenance);
    assert_eq!(node.node_status().running.used, 1);
    freezer.freeze(false);
    wait_for("its end", LONG, || node.inspect(&frozen).status.is_some());
    let again = node.sexton(&["node", "evacuate", "--time", "1s"]).ok();
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("", ""), "there is nothing any more");
    assert!([&plain, &deaf, &frozen].iter().all(|id| node.wait_state(id, State::Stopped).status.is_some()));
    let _ = node.sexton(&["rm", "--all"]).ok();
    node.maintain(false);
    drop(freezer);
    node.finish();
}

/// What was let in before maintenance and comes up after it is stopped too.
#[test]
fn evacuation_waits_for_what_was_under_way() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let bundle = Bundle::new(&node, "a").host_pids().sleeping().write();
    let ids: Vec<_> = (0..12).map(|n| node.id(&format!("c{n}"))).collect();
    let ended = std::thread::scope(|scope| {
        let (node, bundle) = (&node, &bundle);
        for id in &ids {
            // Admitted or not, depending on who is first.
            scope.spawn(move || drop(node.launch(node.launch_request(id, bundle, Mode::Run))));
        }
        wait_for("one is under way", LONG, || node.node_status().running.used > 0);
        node.sexton(&["node", "evacuate", "--time", "5s"])
    });
    assert_eq!(ended.code(), 0, "{ended:?}");
    let stats = node.node_status();
    assert_eq!((stats.state, stats.running.used), (NodeState::Maintenance, 0), "{:?}", node.list(true));
    let _ = node.sexton(&["rm", "--all"]).ok();
    node.maintain(false);
    node.finish();
}
