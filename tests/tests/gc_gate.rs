//! What is in GC is not started, launched or removed under one's feet.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus,
    cleanup::Cleanup,
    gc::Step,
    launch::Mode,
    wire::{ErrorCode, Reply, Request, State},
};
use sexton_tests::{
    Bundle, LONG, Node, Options,
    gc_things::{config, patient},
    run, skipped, wait_for,
};
use std::{fs, path::PathBuf};

fn node(config: String) -> Node {
    Node::with(Options { config, ..Options::default() })
}

/// Keeps containers in GC as long as it is there.
struct Flag(PathBuf);

impl Flag {
    fn new(node: &Node) -> Self {
        let path = node.dir().join("flag");
        fs::write(&path, "").unwrap();
        Self(path)
    }

    fn command(&self) -> String {
        format!("echo flagged; test ! -e {}", self.0.display())
    }

    fn cleanup(&self) -> Cleanup {
        Cleanup { exec: vec![self.command()], ..Cleanup::default() }
    }

    fn lower(&self) {
        fs::remove_file(&self.0).unwrap();
    }
}

fn in_gc(node: &Node, name: &str, flag: &Flag) -> (ContainerId, PathBuf) {
    let (id, bundle) = (node.id(name), Bundle::new(node, name).sh("exit 5").write());
    node.run_owning(&id, &bundle, flag.cleanup());
    assert_eq!(node.wait_gc(&id).step, Step::Commands);
    node.wait_state(&id, State::Gc);
    (id, bundle)
}

#[test]
fn nothing_is_begun_on_what_is_in_gc() {
    if skipped() {
        return;
    }
    let node = node(patient());
    let flag = Flag::new(&node);
    let (id, bundle) = in_gc(&node, "c", &flag);
    let says = format!("container {id} is in GC: clean-up command 1 of 1");
    assert_eq!(node.ask(&Request::Start { id: id.clone() }).unwrap_err().code, ErrorCode::InGc);
    for mode in [Mode::Run, Mode::Create] {
        let error = node.launch(node.launch_request(&id, &bundle, mode)).unwrap_err();
        assert_eq!((error.code, error.exit_code), (ErrorCode::InGc, 125), "{error:?}");
        assert!(error.message.starts_with(&says), "{error:?}");
    }
    for verb in [&["run", "-d"][..], &["create"]] {
        let ended = run(&mut node.cli(verb, &id, &bundle, &[]));
        assert_eq!(ended.code(), 125, "{ended:?}");
        assert!(ended.stderr.contains(&says) && ended.stderr.contains("sexton gc why"), "{ended:?}");
    }
    let started = node.sexton(&["start", id.as_str()]);
    assert_eq!(started.code(), 9, "{started:?}");
    assert!(started.stderr.contains(&says), "{started:?}");
    let mut alone = node.shim_command("run", id.as_str(), &bundle);
    let ended = run(alone.arg("--data-dir").arg(node.layout().data()));
    assert_eq!(ended.code(), 125, "{ended:?}");
    assert!(ended.stderr.contains(&format!("container {id} is in GC")), "{ended:?}");
    let listed = node.sexton(&["ps"]).ok().stdout;
    let line = listed.lines().find(|line| line.contains(id.as_str())).unwrap_or_else(|| panic!("{listed}"));
    assert!(line.contains("gc"), "{listed}");
    let removed = node.sexton(&["rm", id.as_str()]);
    assert_eq!(removed.code(), 9, "{removed:?}");
    assert!(removed.stderr.contains(&says), "{removed:?}");
    assert_eq!(node.inspect(&id).status, Some(ExitStatus::Code(5)), "what was refused has changed nothing");
    flag.lower();
    node.retry_is_enough(&id);
    node.finish();
}

#[test]
fn a_removal_by_force_is_kept_in_mind() {
    if skipped() {
        return;
    }
    let mut node = node(patient());
    let flag = Flag::new(&node);
    let (id, bundle) = in_gc(&node, "c", &flag);
    let ended = node.sexton(&["rm", "-f", id.as_str()]);
    assert_eq!(ended.code(), 9, "{ended:?}");
    assert!(ended.stderr.contains("will be removed once it is clean"), "{ended:?}");
    node.kill_daemon();
    node.start_daemon();
    assert_eq!(node.wait_gc(&id).step, Step::Commands);
    flag.lower();
    let _ = node.sexton(&["gc", "retry", id.as_str()]).ok();
    wait_for("its removal", LONG, || node.list(true).is_empty());
    node.assert_clean();
    // And its name is free.
    node.run(&id, &bundle);
    node.wait_state(&id, State::Stopped);
    node.finish();
}

#[test]
fn what_removes_itself_does_so_when_it_is_clean() {
    if skipped() {
        return;
    }
    let node = node(config("5s", "200ms", "400ms", "5s"));
    let flag = Flag::new(&node);
    let id = node.id("c");
    let bundle = Bundle::new(&node, "b").sh("exit 5").write();
    let command = flag.command();
    node.run_cli(&id, &bundle, &["--rm", "--cleanup-exec", &command]);
    let attempts = node.wait_gc(&id).attempts;
    wait_for("another attempt", LONG, || node.wait_gc(&id).attempts > attempts);
    assert_eq!(node.inspect(&id).status, Some(ExitStatus::Code(5)));
    flag.lower();
    wait_for("its removal", LONG, || node.list(true).is_empty());
    node.finish();
}

#[test]
fn who_knows_may_forget() {
    if skipped() {
        return;
    }
    let node = node(patient());
    let flag = Flag::new(&node);
    let file = node.dir().join("file");
    let id = node.id("c");
    let bundle = Bundle::new(&node, "c").sh("exit 5").write();
    let cleanup = Cleanup { paths: vec![file.clone()], ..flag.cleanup() };
    node.run_owning(&id, &bundle, cleanup);
    node.wait_gc(&id);
    fs::write(&file, "made since").unwrap();
    let ended = node.sexton(&["gc", "forget", id.as_str()]);
    assert_eq!(ended.code(), 2, "{ended:?}");
    assert!(
        ended.stderr.contains("--i-know") && ended.stderr.contains("clean-up commands that have not run"),
        "{ended:?}"
    );
    assert_eq!(node.inspect(&id).state, State::Gc);
    let _ = node.sexton(&["gc", "forget", id.as_str(), "--i-know"]).ok();
    assert_eq!(node.gc_list(), []);
    let words = node.words();
    let record = words.lines().find(|line| line.contains("forgotten by request")).unwrap_or_else(|| panic!("{words}"));
    assert!(record.contains(id.as_str()) && record.contains(file.to_str().unwrap()), "{record}");
    assert_eq!(node.wait_state(&id, State::Stopped).status, Some(ExitStatus::Code(5)));
    assert!(file.exists(), "what was left stays");
    assert_eq!(node.sexton(&["gc", "forget", id.as_str(), "--i-know"]).code(), 2, "there is nothing any more");
    let _ = node.sexton(&["rm", id.as_str()]).ok();
    node.assert_clean();
    node.run(&id, &bundle);
    node.wait_state(&id, State::Stopped);
    node.finish();
}

#[test]
fn all_are_tried_again_and_counted() {
    if skipped() {
        return;
    }
    let node = node(patient());
    let flag = Flag::new(&node);
    let figures = || match node.ask(&Request::Node {}).unwrap() {
        Reply::Node(node) => node.gc,
        other => panic!("{other:?}"),
    };
    let before = figures();
    assert_eq!((before.entries, before.attempts, before.oldest_ms), (0, 0, None));
    let all: Vec<_> = ["a", "b", "c"].iter().map(|name| in_gc(&node, name, &flag).0).collect();
    let stuck = figures();
    assert_eq!((stuck.entries, stuck.attempts, stuck.cleaned), (3, 3, 0), "{stuck:?}");
    assert!(stuck.oldest_ms.is_some());
    let again = node.sexton(&["gc", "retry", "--all"]);
    assert_ne!(again.code(), 0, "they are there still: {again:?}");
    assert!(all.iter().all(|id| again.stdout.contains(id.as_str()) || again.stderr.contains(id.as_str())), "{again:?}");
    assert_eq!(figures().attempts, 6);
    flag.lower();
    let _ = node.sexton(&["gc", "retry", "--all"]).ok();
    for id in &all {
        node.wait_state(id, State::Stopped);
    }
    let after = figures();
    assert_eq!((after.entries, after.attempts, after.cleaned, after.oldest_ms), (0, 9, 3, None), "{after:?}");
    for step in [Step::Runtime, Step::Commands] {
        let done = after.done.iter().find(|(done, _)| *done == step).map_or(0, |(_, count)| *count);
        assert_eq!(done, 3, "{step}: {after:?}");
    }
    let shown = node.sexton(&["inspect", "--node", "--json"]).ok();
    assert_eq!(shown.json()["gc"]["attempts"], 9, "{shown:?}");
    node.finish();
}
