//! `sexton stats` and `sexton node`.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::wire::State;
use sexton_tests::{Bundle, Node, binaries, command::run, skipped};
use std::process::Command;

#[test]
fn tables_and_lines() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (a, b) = (node.id("a"), node.id("b"));
    for id in [&a, &b] {
        node.run(id, &Bundle::new(&node, id.as_str()).sleeping().write());
    }
    let table = node.sexton(&["stats"]).ok().stdout;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("ID ") && lines[0].ends_with("DISK"), "{table}");
    // Both samples were taken: there is a share.
    let row = lines[1].split_whitespace().collect::<Vec<_>>();
    assert!(row[0] == a.as_str() && row[1] == "running" && row[2].ends_with('%') && row[3].ends_with('%'), "{table}");
    let json = node.sexton(&["stats", "--json", b.as_str()]).ok();
    assert_eq!(json.stdout.lines().count(), 1);
    assert_eq!((&json.json()["id"], &json.json()["state"]), (&b.as_str().into(), &"running".into()));
    assert!(json.json()["cpu_of_core"].is_u64(), "{json:?}");
    let ended = node.sexton(&["stats", "no-such-one"]);
    assert!(ended.code() != 0 && ended.stderr.contains("no-such-one"), "{ended:?}");
    let ended = node.sexton(&["stats", "--watch", "50ms"]);
    assert!(ended.code() != 0 && ended.stderr.contains("from 100 ms"), "{ended:?}");
    node.kill(&b, 9);
    node.wait_state(&b, State::Stopped);
    let row = node.sexton(&["stats", b.as_str()]).ok().stdout.lines().nth(1).unwrap().to_owned();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>()[1..], ["stopped", "-", "-", "-", "-", "-", "-", "-", "-"]);

    let watch = |options: &str, lines: usize| {
        // Whoever has read enough goes, and so does it.
        let script = format!("\"$0\" --state-dir \"$1\" stats {options} | head -n {lines}");
        run(Command::new("sh").args(["-c", &script]).arg(binaries::sexton()).arg(node.layout().state())).ok().stdout
    };
    let tables = watch("--watch 100ms", 5);
    let lines: Vec<_> = tables.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines[2].is_empty() && lines[3].starts_with("ID "), "{tables}");
    assert!(lines[1].starts_with(a.as_str()) && lines[4].starts_with(a.as_str()), "{tables}");
    for line in watch("--watch 100ms --json", 4).lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["id"], a.as_str());
    }
    node.kill(&a, 9);
    node.finish();
}

#[test]
fn the_node() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let text = node.sexton(&["node"]).ok().stdout;
    let keys: Vec<_> = text.lines().map(|line| line.split("  ").next().unwrap()).collect();
    let expected = [
        "state",
        "hostname",
        "addresses",
        "CPUs",
        "load",
        "memory",
        "disk",
        "descriptors",
        "running",
        "containers",
        "in GC",
        "up for",
    ];
    assert_eq!(keys, expected, "{text}");
    assert!(text.lines().next().unwrap().ends_with("READY"), "{text}");
    assert_eq!(node.sexton(&["node", "status"]).ok().stdout.lines().next(), text.lines().next());
    let json = node.sexton(&["node", "--json"]).ok().json();
    assert_eq!((&json["state"], &json["containers"]), (&"ready".into(), &serde_json::json!([])));
    assert_eq!(json["disk_path"], node.layout().data().to_str().unwrap());
    node.finish();
}
