//! `sexton run` in the foreground: as if the container were the command.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::{Pid, Signal, kill_process};
use sexton_common::ExitStatus;
use sexton_tests::{Bundle, Ended, LONG, Node, run, skipped, wait_for};
use std::{
    ffi::OsString,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

fn run_command(node: &Node, id: &str, bundle: &Path, more: &[&str]) -> Command {
    let mut args: Vec<OsString> = vec!["run".into()];
    args.extend(more.iter().map(OsString::from));
    args.extend([id.into(), "--bundle".into(), bundle.into(), "--runtime-root".into(), node.runtime_root().into()]);
    node.sexton_command(&args)
}

fn foreground(node: &Node, name: &str, script: &str, more: &[&str]) -> Ended {
    let bundle = Bundle::new(node, name).sh(script).write();
    run(&mut run_command(node, node.id(name).as_str(), &bundle, more))
}

#[test]
fn ends_as_the_container_does() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for code in [0, 1, 7, 126, 127, 255] {
        let ended = foreground(&node, &format!("code-{code}"), &format!("exit {code}"), &[]);
        assert_eq!(ended.code(), code, "{ended:?}");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    }
    let bundle = Bundle::new(&node, "killed").host_pids().sh("kill -9 $$").write();
    let ended = run(&mut run_command(&node, node.id("killed").as_str(), &bundle, &[]));
    assert_eq!(ended.code(), 137, "{ended:?}");
    node.finish();
}

#[test]
fn its_streams_are_the_container_s() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let ended = foreground(&node, "out", "echo to-out; echo to-err >&2; exit 3", &[]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str(), ended.code()), ("to-out\n", "to-err\n", 3));

    let bundle = Bundle::new(&node, "in").sh("cat; echo end").write();
    let mut command = run_command(&node, node.id("in").as_str(), &bundle, &[]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"words\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "words\nend\n");
    assert!(output.status.success());

    // In a pipeline: what it wrote has come through before the end does.
    let bundle = Bundle::new(&node, "pipe").sh("busybox seq 1 20000").write();
    let command = run_command(&node, node.id("pipe").as_str(), &bundle, &[]);
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let ended = run(Command::new("sh").args(["-c", &format!("{} | tail -n 1", words.join(" "))])).ok();
    assert_eq!(ended.stdout, "20000\n");
    node.finish();
}

#[test]
fn signals_reach_the_container() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for (name, signal, caught) in
        [("int", Signal::INT, "INT"), ("term", Signal::TERM, "TERM"), ("hup", Signal::HUP, "HUP")]
    {
        let id = node.id(name);
        let script = format!("trap 'exit 42' {caught}; echo ready; while :; do sleep 0.05; done");
        let bundle = Bundle::new(&node, name).sh(&script).write();
        let out = node.dir().join(name);
        let file = fs::File::create(&out).unwrap();
        let mut command = run_command(&node, id.as_str(), &bundle, &[]);
        let mut child = command.stdin(Stdio::null()).stdout(file).spawn().unwrap();
        wait_for("the trap", LONG, || fs::read_to_string(&out).unwrap().contains("ready"));
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(42), "{name}");
    }
    node.finish();
}

#[test]
fn rm_leaves_no_record() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for round in 0..5 {
        let ended = foreground(&node, &format!("r{round}"), "exit 9", &["--rm"]);
        assert_eq!(ended.code(), 9, "{ended:?}");
        assert_eq!(node.list(true), [], "the name is free when the command has ended");
    }
    let bundle = Bundle::new(&node, "same").sh("exit 0").write();
    for _ in 0..5 {
        let ended = run(&mut run_command(&node, node.id("same").as_str(), &bundle, &["--rm"]));
        assert_eq!(ended.code(), 0, "the same name again at once: {ended:?}");
    }
    let ended = run(&mut run_command(&node, node.id("same").as_str(), &bundle, &["--rm", "-d"])).ok();
    assert_eq!(ended.stdout.trim(), node.id("same").as_str());
    wait_for("the removal", LONG, || node.list(true).is_empty());
    node.finish();
}

/// The collector is restarted meanwhile: the status comes all the same.
#[test]
fn over_a_restart_of_the_collector() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    for hard in [false, true] {
        let name = if hard { "kill" } else { "term" };
        let id = node.id(name);
        let (bundle, gate) = Bundle::new(&node, name).gated();
        let bundle = bundle.write();
        let out = node.dir().join(name);
        let mut command = run_command(&node, id.as_str(), &bundle, &["--json"]);
        command.stdin(Stdio::null()).stdout(fs::File::create(&out).unwrap()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_for("the launch", LONG, || fs::read_to_string(&out).unwrap().ends_with('\n'));
        if hard {
            node.kill_daemon()
        } else {
            node.terminate_daemon()
        }
        node.start_daemon();
        gate.exit(23);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(23), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    node.finish();
}

#[test]
fn failures_are_not_the_container_s() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let nowhere = node.dir().join("nowhere");
    let ended = run(&mut run_command(&node, node.id("a").as_str(), &nowhere, &[]));
    assert!(ended.code() == 125 && ended.stderr.contains("nowhere"), "{ended:?}");
    let bundle = Bundle::new(&node, "absent").args(&["/bin/no-such-program"]).write();
    let ended = run(&mut run_command(&node, node.id("a").as_str(), &bundle, &[]));
    assert!(ended.code() == 127 && ended.stderr.contains("no-such-program"), "{ended:?}");
    fs::write(node.rootfs().join("etc/plain"), "text").unwrap();
    let bundle = Bundle::new(&node, "plain").args(&["/etc/plain"]).write();
    let ended = run(&mut run_command(&node, node.id("a").as_str(), &bundle, &[]));
    assert!(ended.code() == 126 && ended.stderr.contains("/etc/plain"), "{ended:?}");
    for bad in ["a/b", "..", ""] {
        let ended = run(&mut run_command(&node, bad, &bundle, &[]));
        assert!(ended.code() == 125 && !ended.stderr.is_empty(), "{bad:?}: {ended:?}");
    }
    let runtime = run(&mut run_command(&node, node.id("a").as_str(), &bundle, &["--runtime", "no-such-runtime"]));
    assert!(runtime.code() == 125 && runtime.stderr.contains("no-such-runtime"), "{runtime:?}");
    assert_eq!(node.list(true), []);
    node.finish();
}

#[test]
fn a_file_takes_the_output() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let file = node.dir().join("output");
    let to_file = format!("file:{}", file.display());
    let ended = foreground(&node, "a", "echo words; exit 2", &["--stdio", &to_file]);
    assert_eq!((ended.code(), ended.stdout.as_str()), (2, ""));
    assert_eq!(fs::read_to_string(&file).unwrap(), "words\n");
    let ended = foreground(&node, "b", "echo words; exit 2", &["-d", "--stdio", "null"]).ok();
    assert_eq!(ended.stdout.trim(), node.id("b").as_str());
    assert_eq!(node.wait(&node.id("b")).status, Some(ExitStatus::Code(2)));
    node.finish();
}
