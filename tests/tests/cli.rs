//! What a person types, and what a program reads of it.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{ContainerId, ExitStatus, UnknownReason, wire::State};
use sexton_tests::{Bundle, Ended, Gate, LONG, Node, binaries, proc, run, skipped, wait_for};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn gated(node: &Node, name: &str) -> (ContainerId, Gate) {
    let id = node.id(name);
    let (bundle, gate) = Bundle::new(node, name).gated();
    node.run(&id, &bundle.write());
    (id, gate)
}

#[track_caller]
fn fails(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code(), code, "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in {ended:?}");
    }
}

#[test]
fn create_start_ps_wait_inspect_rm() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 7").write();
    let created = node.sexton(&[
        "create",
        id.as_str(),
        "--bundle",
        bundle.to_str().unwrap(),
        "--runtime-root",
        node.runtime_root().to_str().unwrap(),
        "--json",
    ]);
    let created = created.ok().json();
    assert_eq!(created["id"], id.as_str());
    let ps = node.sexton(&["ps", "--json"]).ok().json();
    assert_eq!((&ps[0]["id"], &ps[0]["state"]), (&id.as_str().into(), &"created".into()));
    assert_eq!(node.sexton(&["start", id.as_str()]).ok().stdout.trim(), id.as_str());
    // Whether it has ended by now or not.
    let waited = node.sexton(&["wait", id.as_str()]);
    assert_eq!((waited.code(), waited.stdout.as_str()), (7, "7\n"), "{waited:?}");
    let begin = Instant::now();
    let again = node.sexton(&["wait", id.as_str(), "--json"]);
    assert!(again.code() == 7 && begin.elapsed() < Duration::from_secs(5), "it answers at once: {again:?}");
    assert_eq!(again.json()["status"]["code"], 7);
    node.wait_state(&id, State::Stopped);
    assert!(!node.sexton(&["ps"]).ok().stdout.contains(id.as_str()), "ended ones are not listed");
    let all = node.sexton(&["ps", "-a"]).ok().stdout;
    assert!(all.contains(id.as_str()) && all.contains("stopped"), "{all}");
    let inspected = node.sexton(&["inspect", id.as_str(), "--json"]).ok().json();
    for (key, value) in [("id", id.as_str()), ("state", "stopped"), ("source", "waited")] {
        assert_eq!(inspected[key], value);
    }
    for key in ["generation", "pid", "shim_pid", "status", "oom_killed", "created_at", "started_at", "exited_at"] {
        assert!(!inspected[key].is_null(), "{key}: {inspected}");
    }
    assert_eq!(inspected["pid"], created["pid"]);
    assert!(node.sexton(&["inspect", id.as_str()]).ok().stdout.contains("waited"));
    assert_eq!(node.sexton(&["rm", id.as_str()]).ok().stdout.trim(), id.as_str());
    assert_eq!(node.sexton(&["ps", "-a", "--json"]).ok().json(), serde_json::json!([]));
    node.finish();
}

#[test]
fn kill_stop_and_force() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let bundle = Bundle::new(&node, "a").host_pids().no_core_dumps().sleeping().write();
    let deaf = Bundle::new(&node, "deaf").sh("trap '' TERM; while :; do sleep 0.05; done").write();
    let [plain, named, numbered] = ["plain", "named", "numbered"].map(|name| node.id(name));
    for (id, arguments, code) in [(&plain, &[][..], 143), (&named, &["SIGUSR1"], 138), (&numbered, &["9"], 137)] {
        node.run(id, &bundle);
        let _ = node.sexton(&[&["kill", id.as_str()], arguments].concat()).ok();
        assert_eq!(node.sexton(&["wait", id.as_str()]).code(), code);
    }
    let stopped = node.id("stopped");
    node.run(&stopped, &bundle);
    let _ = node.sexton(&["stop", stopped.as_str()]).ok();
    assert_eq!(node.sexton(&["wait", stopped.as_str()]).code(), 143, "the signal was enough");
    let stubborn = node.id("stubborn");
    node.run(&stubborn, &deaf);
    let ended = node.sexton(&["stop", "-t", "500ms", stubborn.as_str()]).ok();
    assert!(ended.took >= Duration::from_millis(500), "it was given its time: {ended:?}");
    assert_eq!(node.sexton(&["wait", stubborn.as_str()]).code(), 137);
    let runs = node.id("runs");
    let launched = node.run(&runs, &bundle);
    fails(&node.sexton(&["rm", runs.as_str()]), 8, &[runs.as_str(), "-f"]);
    let _ = node.sexton(&["rm", "-f", runs.as_str()]).ok();
    assert!(proc::is_dead(launched.pid));
    fails(&node.sexton(&["kill", plain.as_str()]), 7, &[plain.as_str()]);
    fails(&node.sexton(&["kill", plain.as_str(), "NOSUCH"]), 2, &["NOSUCH"]);
    node.finish();
}

#[test]
fn wait_for_several_and_not_for_ever() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (first, first_gate) = gated(&node, "first");
    let (second, second_gate) = gated(&node, "second");
    let ended = node.sexton(&["wait", "--timeout", "300ms", first.as_str()]);
    fails(&ended, 124, &[first.as_str()]);
    let mut command = node.sexton_command(&["wait", first.as_str(), second.as_str()]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    second_gate.exit(5);
    first_gate.exit(3);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, "3\n5\n", "in the order in which they were named");
    assert_eq!(output.status.code(), Some(5), "as the last one that was named");
    let none = node.id("none");
    // Not a code that a container is likely to have.
    fails(&node.sexton(&["wait", none.as_str()]), 125, &[none.as_str()]);
    node.finish();
}

/// Nobody knows how it ended: 125 and the reason, not a number that looks like a status.
#[test]
fn an_unknown_status_is_no_status() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    node.kill_daemon();
    let (_, shim) = sexton_common::ProcessIdentity::open_pid(launched.shim_pid).unwrap();
    rustix::process::pidfd_send_signal(shim, rustix::process::Signal::KILL).unwrap();
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    gate.exit(0);
    wait_for("a stranger to reap it", LONG, || proc::is_gone(launched.pid));
    node.start_daemon();
    let reason = UnknownReason::ShimAndCollectorKilled;
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Unknown { reason }));
    let ended = node.sexton(&["wait", id.as_str()]);
    assert_eq!(ended.code(), 125, "{ended:?}");
    assert!(ended.stderr.contains(id.as_str()) && ended.stderr.contains("both dead"), "{ended:?}");
    node.finish();
}

#[test]
fn events() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let seq = node.sexton(&["version", "--json"]).ok();
    assert!(seq.stdout.contains("version"));
    let mut command = node.sexton_command(&["events", "--json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = move || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["snapshot"]["last"], true);
    let (id, gate) = gated(&node, "a");
    gate.exit(7);
    let kinds: Vec<_> = (0..4)
        .map(|_| {
            let event = next();
            assert_eq!(event["event"]["container"]["id"], id.as_str());
            event["event"]["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds, ["created", "started", "exited", "stopped"]);
    child.kill().unwrap();
    child.wait().unwrap();
    // For people, from a number on, until nobody reads on.
    let command = node.sexton_command(&["events", "--since", "0"]);
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let words: Vec<_> = words.iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let ended = run(Command::new("sh").args(["-c", &format!("{} | head -n 1", words.join(" "))])).ok();
    assert!(ended.stdout.contains(id.as_str()) || ended.stdout.contains("--"), "{ended:?}");
    node.finish();
}

#[test]
fn nobody_listens() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    for arguments in [
        &["ps"][..],
        &["inspect", id.as_str()],
        &["kill", id.as_str()],
        &["stop", id.as_str()],
        &["rm", id.as_str()],
        &["start", id.as_str()],
        &["events"],
    ] {
        fails(&node.sexton(arguments), 1, &["sextond is not running", "systemctl start sextond"]);
    }
    fails(&node.sexton(&["run", id.as_str(), "--bundle", "/"]), 125, &["sextond is not running"]);
    fails(&node.sexton(&["wait", id.as_str()]), 125, &["sextond is not running", "systemctl start sextond"]);
    let version = node.sexton(&["version"]);
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "its own version it knows: {version:?}");
    node.finish();
}

#[test]
fn doctor() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let checks = node.sexton(&["doctor", "--json"]).json();
    let checks = checks.as_array().unwrap();
    let found = |name: &str| {
        checks.iter().find(|check| check["check"].as_str().unwrap().to_lowercase().contains(name)).unwrap_or_else(
            || {
                panic!("nothing about {name} in {checks:?}");
            },
        )
    };
    for name in ["pidfd", "pidfd_info_exit", "cgroup", "runc", "pid_max", "descriptors"] {
        assert!(found(name)["status"].is_string());
    }
    for check in checks.iter().filter(|check| check["status"] != "ok") {
        assert!(
            check.as_object().unwrap().values().filter(|value| value.is_string()).count() >= 3,
            "what to do: {check}"
        );
    }
    let text = node.sexton(&["doctor"]);
    assert!(text.stdout.lines().count() > checks.len(), "{text:?}");
    let probe = run(Command::new(binaries::sextond()).arg("--probe")).ok().json();
    for key in ["kernel", "pidfd", "pidfs_inode", "pidfd_info_exit", "cgroup", "nofile_soft", "nofile_hard", "pid_max"]
    {
        assert!(!probe[key].is_null(), "{key}: {probe}");
    }
    node.finish();
}
