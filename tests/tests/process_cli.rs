//! `sexton run ID -- COMMAND`, as a person has it.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::wire::State;
use sexton_tests::{Node, skipped};

#[test]
fn in_the_foreground() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let script = "echo out $A; echo err >&2; pwd; exit 7";
    let ended = node.sexton_program("run", &id, &["--rm", "-e", "A=x", "-w", "/tmp"], &["sh", "-c", script]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (7, "out x\n/tmp\n"), "{ended:?}");
    assert!(ended.stderr.contains("err"), "{ended:?}");
    assert_eq!(node.list(true), []);
    let ended = node.sexton_program("run", &id, &["--rm"], &["sh", "-c", "kill -9 $$"]);
    assert_eq!(ended.code(), 137);
    node.finish();
}

#[test]
fn in_the_background() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let ended = node.sexton_program("run", &id, &["-d"], &["sh", "-c", "sleep 100000"]).ok();
    assert_eq!(ended.stdout, format!("{id}\n"));
    let shown = node.sexton(&["ps"]).ok().stdout;
    let row = shown.lines().find(|line| line.starts_with(id.as_str())).unwrap();
    assert!(row.contains("running") && row.ends_with("sh -c 'sleep 100000'"), "{shown}");
    let shown = node.sexton(&["inspect", id.as_str()]).ok().stdout;
    assert!(
        shown.lines().any(|line| line.starts_with("command ") && line.ends_with("sh -c 'sleep 100000'")),
        "{shown}"
    );
    let json = node.sexton(&["inspect", "--json", id.as_str()]).ok().json();
    assert_eq!(json["command"], serde_json::json!(["sh", "-c", "sleep 100000"]));
    let _ = node.sexton(&["stop", id.as_str()]).ok();
    assert_eq!(node.sexton(&["wait", id.as_str()]).code(), 143);
    node.wait_state(&id, State::Stopped);
    let _ = node.sexton(&["rm", id.as_str()]).ok();
    let _ = node.sexton_program("create", &id, &[], &["sh", "-c", "exit 5"]).ok();
    let _ = node.sexton(&["start", id.as_str()]).ok();
    assert_eq!(node.sexton(&["wait", id.as_str()]).code(), 5);
    node.finish();
}

#[test]
fn bad_usage() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    for (options, words, part) in [
        (&["--rm", "--restart", "always", "-d"][..], &["true"][..], "exclude each other"),
        (&["--restart", "always"], &["true"], "use -d"),
        (&["-d", "--restart", "always", "--stdio", "inherit"], &["true"], "use -d"),
        (&["--restart", "sometimes"], &["true"], "sometimes"),
        (&["-b", "/b"], &["true"], "cannot be used with"),
        (&["--runtime", "runc"], &["true"], "cannot be used with"),
        (&["-e", "A"], &["true"], "NAME=VALUE"),
        (&["-u", "no-such-user"], &["true"], "no-such-user"),
        (&["--cgroup", "/a/../b"], &["true"], "'..'"),
        (&[], &[""], "the command is empty"),
        (&[], &[], "--bundle"),
    ] {
        let ended = node.sexton_program("run", &id, options, words);
        assert!(ended.code() == 125 && ended.stderr.contains(part), "{part}: {ended:?}");
    }
    assert_eq!(node.list(true), []);
    node.assert_clean();
    node.finish();
}
