//! `stop --all` and `rm --all`: at once, with progress for whoever sits there, and exit codes that scripts can tell apart.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{ContainerId, cleanup::Cleanup, wire::State};
use sexton_tests::{Bundle, Node, Options, gc_things, pty::on_a_terminal, run, skipped};

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn names(ids: &[ContainerId]) -> Vec<&str> {
    let mut names: Vec<_> = ids.iter().map(ContainerId::as_str).collect();
    names.sort_unstable();
    names
}

/// Eight that need their whole time-out take nothing like eight times as long as one.
#[test]
fn all_are_stopped_at_once() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let deaf = Bundle::new(&node, "deaf").sh("trap '' TERM; while :; do sleep 0.2; done").write();
    let one = node.id("one");
    node.run(&one, &deaf);
    let alone = node.sexton(&["stop", "--all", "-t", "3s"]).ok();
    assert_eq!(alone.stdout.trim(), one.as_str());
    let ids: Vec<_> = (0..8).map(|n| node.id(&format!("c{n}"))).collect();
    ids.iter().for_each(|id| drop(node.run(id, &deaf)));
    let together = node.sexton(&["stop", "--all", "-t", "3s"]).ok();
    assert_eq!(sorted(&together.stdout), names(&ids));
    assert_eq!(together.stderr, "", "nobody sits there");
    eprintln!("one: {:?}, eight: {:?}", alone.took, together.took);
    assert!(together.took < alone.took * 4, "one took {:?}, eight {:?}", alone.took, together.took);
    assert_eq!(node.sexton(&["stop", "--all"]).ok().stdout, "", "there is nothing to stop");
    let removed = node.sexton(&["rm", "--all", "--json"]).ok();
    assert_eq!(removed.stdout.lines().count(), 9);
    for line in removed.stdout.lines() {
        let outcome: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(outcome["done"] == true && outcome["error"].is_null(), "{outcome}");
    }
    node.finish();
}

#[test]
fn progress_is_for_terminals() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let bundle = Bundle::new(&node, "a").host_pids().sleeping().write();
    let ids: Vec<_> = (0..3).map(|n| node.id(&format!("c{n}"))).collect();
    ids.iter().for_each(|id| drop(node.run(id, &bundle)));
    let seen = on_a_terminal(node.sexton_command(&["stop", "--all"]));
    assert_eq!((seen.code, sorted(&seen.stdout)), (Some(0), names(&ids)), "{seen:?}");
    assert!(seen.screen.contains("stopping") && seen.screen.contains("0/3"), "{seen:?}");
    let seen = on_a_terminal(node.sexton_command(&["rm", "--all"]));
    assert_eq!((seen.code, sorted(&seen.stdout)), (Some(0), names(&ids)), "{seen:?}");
    assert!(seen.screen.contains("removing") && seen.screen.contains("0/3"), "{seen:?}");
    node.finish();
}

/// Those that run are refused one by one, the others go.
#[test]
fn removing_all_without_force_leaves_what_runs() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let [first, second, ended] = ["first", "second", "ended"].map(|name| node.id(name));
    let bundle = Bundle::new(&node, "a").host_pids().sleeping().write();
    [&first, &second].into_iter().for_each(|id| drop(node.run(id, &bundle)));
    node.run(&ended, &Bundle::new(&node, "b").args(&["/bin/true"]).write());
    node.wait_state(&ended, State::Stopped);
    let removed = node.sexton(&["rm", "--all", "--json"]);
    assert_eq!(removed.code(), 8, "{removed:?}");
    for id in [&first, &second] {
        assert!(removed.stderr.lines().any(|line| line.contains(id.as_str()) && line.contains("rm -f")), "{removed:?}");
        let line = removed.stdout.lines().find(|line| line.contains(id.as_str())).unwrap();
        let outcome: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&outcome["done"], &outcome["error"]["code"]), (&false.into(), &"running".into()));
        assert_eq!(outcome["error"]["exit_code"], 8);
    }
    assert_eq!(node.list(true).len(), 2);
    let forced = node.sexton(&["rm", "--all", "-f"]).ok();
    assert_eq!(sorted(&forced.stdout), names(&[first, second]));
    node.finish();
}

#[test]
fn exit_codes_tell_what_was_wrong() {
    if skipped() {
        return;
    }
    let node = Node::with(Options { config: gc_things::patient(), ..Options::default() });
    let gate = node.dir().join("gate");
    let [runs, ended, stuck, nobody, none] = ["runs", "ended", "stuck", "nobody", "none"].map(|name| node.id(name));
    let bundle = Bundle::new(&node, "a").host_pids().sleeping().write();
    let brief = Bundle::new(&node, "b").args(&["/bin/true"]).write();
    node.run(&runs, &bundle);
    node.run(&ended, &brief);
    let exec = vec![format!("test -e {}", gate.display())];
    node.run_owning(&stuck, &brief, Cleanup { exec, ..Cleanup::default() });
    node.wait_gc(&stuck);
    node.wait_state(&ended, State::Stopped);
    for (line, code) in [
        (&["start", nobody.as_str()][..], 3),
        (&["inspect", nobody.as_str()], 3),
        (&["kill", nobody.as_str()], 3),
        (&["gc", "why", nobody.as_str()], 3),
        (&["rm", nobody.as_str(), none.as_str()], 3),
        (&["start", runs.as_str()], 5),
        (&["rm", runs.as_str()], 8),
        (&["start", stuck.as_str()], 9),
        (&["rm", stuck.as_str()], 9),
        // They do not agree.
        (&["rm", nobody.as_str(), runs.as_str()], 1),
        (&["kill", runs.as_str(), "NOSUCH"], 2),
        // Nobody knows its status.
        (&["wait", nobody.as_str()], 125),
    ] {
        let ended = node.sexton(line);
        assert_eq!(ended.code(), code, "{line:?}: {ended:?}");
    }
    let killed = node.sexton(&["kill", ended.as_str()]).code();
    assert!([6, 7].contains(&killed), "it has stopped: {killed}");
    let taken = run(&mut node.cli(&["run", "-d"], &runs, &bundle, &[]));
    assert_eq!(taken.code(), 125, "{taken:?}");
    let help = node.sexton(&["--help"]).ok().stdout;
    for words in ["3 no such container", "10 the node is full", "11 in maintenance"] {
        let flat = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{words}: {help}");
    }
    std::fs::write(&gate, "").unwrap();
    node.retry_is_enough(&stuck);
    let _ = node.sexton(&["rm", "--all", "-f"]).ok();
    node.finish();
}
