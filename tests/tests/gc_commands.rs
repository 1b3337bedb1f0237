//! Clean-up commands: after everything else, in their order, each until it ends with 0. And network namespaces.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use sexton_common::{ContainerId, ExitStatus, cleanup::Cleanup, gc::Step, wire::State};
use sexton_tests::{
    Bundle, LONG, Node, Options,
    gc_things::{Bystander, config, mounted, must, patient},
    leftovers, proc, skipped, wait_for,
};
use std::{fs, path::Path, process::Command};

fn node(config: String) -> Node {
    Node::with(Options { config, ..Options::default() })
}

/// Runs what ends with 7 and has these commands.
fn run(node: &Node, name: &str, exec: &[&str]) -> ContainerId {
    let id = node.id(name);
    let cleanup = Cleanup { exec: exec.iter().map(ToString::to_string).collect(), ..Cleanup::default() };
    node.run_owning(&id, &Bundle::new(node, name).sh("exit 7").write(), cleanup);
    id
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn they_come_last_and_know_what_ended() {
    if skipped() {
        return;
    }
    let node = node(patient());
    let (file, out, id) = (node.dir().join("file"), node.dir().join("out"), node.id("c"));
    fs::write(&file, "").unwrap();
    let (at, shown) = (node.dir().display().to_string(), out.display());
    let command = format!(
        "echo \"$SEXTON_ID $SEXTON_GENERATION $SEXTON_BUNDLE $SEXTON_STATUS\" > {shown}; pwd >> {shown}; \
         ls -d {at}/file {at}/runc/{id} >> {shown} 2> /dev/null; find /sys/fs/cgroup -name '*{id}*' >> {shown}"
    );
    let bundle = Bundle::new(&node, "b").sh("exit 7").write();
    let options = ["--cleanup-exec", &command, "--cleanup-path", file.to_str().unwrap()];
    let launched = node.run_cli(&id, &bundle, &options);
    assert_eq!(node.wait_state(&id, State::Stopped).status, Some(ExitStatus::Code(7)));
    let expected = format!("{id} {} {} 7\n/\n", launched.generation, bundle.display());
    assert_eq!(text(&out), expected, "and nothing else was there any more");
    node.finish();
}

#[test]
fn each_until_it_succeeds_and_none_before_the_one_before_it() {
    if skipped() {
        return;
    }
    let mut node = node(config("5s", "200ms", "400ms", "10s"));
    let (log, flag) = (node.dir().join("log"), node.dir().join("flag"));
    fs::write(&flag, "").unwrap();
    let (at, flag_at) = (log.display(), flag.display());
    let first = format!("echo 1 >> {at}");
    let second = format!("echo 2 >> {at}; echo to stdout; echo to stderr >&2; test ! -e {flag_at}");
    let third = format!("echo 3 >> {at}");
    let id = run(&node, "c", &[&first, &second, &third]);
    let entry = node.wait_gc(&id);
    assert_eq!(entry.step, Step::Commands);
    assert!(entry.in_the_way.contains("command 2 of 3"), "{entry:?}");
    wait_for("a third attempt", LONG, || node.wait_gc(&id).attempts >= 3);
    let why = node.gc_why(&id).unwrap();
    assert_eq!(why.output.as_deref(), Some("to stdout\nto stderr"), "{why:?}");
    let shown = node.sexton(&["gc", "why", id.as_str()]).ok().stdout;
    assert!(shown.contains("The last clean-up command said:\n  to stdout\n  to stderr"), "{shown}");
    // What is done is done, over a restart too.
    node.kill_daemon();
    node.start_daemon();
    let before = text(&log).lines().count();
    wait_for("another attempt", LONG, || text(&log).lines().count() > before);
    fs::remove_file(&flag).unwrap();
    assert_eq!(node.wait_state(&id, State::Stopped).status, Some(ExitStatus::Code(7)));
    let ran = text(&log);
    let lines: Vec<&str> = ran.lines().collect();
    assert_eq!((lines.first(), lines.last()), (Some(&"1"), Some(&"3")), "{ran}");
    assert!(lines.len() > 5 && lines[1..lines.len() - 1].iter().all(|line| *line == "2"), "{ran}");
    node.finish();
}

#[test]
fn one_that_hangs_is_killed_with_its_group() {
    if skipped() {
        return;
    }
    let node = node(config("5s", "60s", "60s", "5s"));
    let (children, flag) = (node.dir().join("children"), node.dir().join("flag"));
    fs::write(&flag, "").unwrap();
    let command = format!(
        "test -e {} || exit 0; echo before; trap '' TERM; sleep 100000 & echo $! > {}; wait",
        flag.display(),
        children.display()
    );
    let id = run(&node, "c", &[&command]);
    let entry = node.wait_gc(&id);
    assert_eq!(entry.step, Step::Commands);
    assert!(entry.in_the_way.contains("not done after 5s: killed"), "{entry:?}");
    let child: u32 = text(&children).trim().parse().unwrap();
    wait_for("the end of its child", LONG, || !proc::command_line(child).starts_with("sleep 100000"));
    let why = node.gc_why(&id).unwrap();
    assert!(why.output.as_ref().is_some_and(|said| said.contains("before")), "what it said before is kept: {why:?}");
    fs::remove_file(&flag).unwrap();
    node.retry_is_enough(&id);
    node.finish();
}

#[test]
fn a_flood_of_words_is_cut_and_the_end_of_it_is_kept() {
    if skipped() {
        return;
    }
    let node = node(patient());
    let flag = node.dir().join("flag");
    fs::write(&flag, "").unwrap();
    let command = format!("yes flood | head -c 50000000; echo the reason; test ! -e {}", flag.display());
    let id = run(&node, "c", &[&command]);
    let entry = node.wait_gc(&id);
    let why = node.gc_why(&id).unwrap();
    let said = why.output.unwrap();
    assert!(said.len() < 10_000 && said.contains("flood"), "{} bytes", said.len());
    assert!(said.ends_with("the reason"), "{}", &said[said.len().saturating_sub(100)..]);
    assert!(entry.in_the_way.len() <= 4096, "{}", entry.in_the_way.len());
    fs::remove_file(&flag).unwrap();
    node.retry_is_enough(&id);
    node.finish();
}

#[test]
fn what_one_leaves_running_is_no_matter() {
    if skipped() {
        return;
    }
    let mut node = node(patient());
    let pids = node.dir().join("pids");
    let command = format!("sleep 100000 & echo $! > {}; exit 0", pids.display());
    let id = run(&node, "c", &[&command]);
    node.wait_state(&id, State::Stopped);
    node.remove(&id, false).unwrap();
    let pid: u32 = text(&pids).trim().parse().unwrap();
    let lives = || proc::command_line(pid).starts_with("sleep 100000");
    wait_for("it to go on, and be what it was started as", LONG, lives);
    // Nor is it taken for something that a killed collector has left.
    node.kill_daemon();
    node.start_daemon();
    assert!(lives(), "not by the next collector either");
    proc::kill(pid);
    node.finish();
}

#[test]
fn a_network_namespace_is_unmounted_and_removed() {
    if skipped() {
        return;
    }
    let node = node(patient());
    let (busy, idle) = (node.dir().join("busy"), node.dir().join("idle"));
    for file in [&busy, &idle] {
        fs::write(file, "").unwrap();
        must(Command::new("unshare").arg(format!("--net={}", file.display())).arg("true"));
        assert_eq!(mounted(file), 1);
    }
    let inside =
        Bystander::start(Command::new("nsenter").arg(format!("--net={}", busy.display())).args(["sleep", "100000"]));
    let missing = node.dir().join("missing");
    let id = node.id("c");
    let options: Vec<&str> =
        [&busy, &idle, &missing].iter().flat_map(|path| ["--cleanup-netns", path.to_str().unwrap()]).collect();
    node.run_cli(&id, &Bundle::new(&node, "b").sh("exit 0").write(), &options);
    let info = node.wait_state(&id, State::Stopped);
    assert_eq!(info.attempts, 0, "{info:?}");
    assert!(!busy.exists() && !idle.exists());
    assert_eq!(leftovers::mounts(&node), Vec::<std::path::PathBuf>::new());
    drop(inside);
    node.finish();
}
