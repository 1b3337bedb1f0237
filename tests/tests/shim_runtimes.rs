//! Runtimes that fail, hang, talk without end or leave children: the shim says so, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::ExitStatus;
use sexton_tests::{Bundle, Ended, LONG, Node, proc, run, shim::launched, skipped, wait_for};
use std::{fs, path::Path, time::Duration};

#[test]
fn runtimes_that_fail() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let with = |runtime: &Path| {
        let mut command = node.shim_command("run", id.as_str(), &bundle);
        run(command.arg("--runtime").arg(runtime))
    };
    node.assert_failed(&with("no-such-runtime".as_ref()), 125, "no-such-runtime");
    node.assert_failed(&with("/etc/passwd".as_ref()), 125, "/etc/passwd");
    let create = node.runtime_but("create-fails", "create", "echo my own words >&2; exit 1");
    node.assert_failed(&with(&create.program), 125, "my own words");
    let start = node.runtime_but("start-fails", "start", "echo no start today >&2; exit 1");
    node.assert_failed(&with(&start.program), 125, "no start today");
    let killed = node.runtime_but("create-dies", "create", "kill -9 $$");
    node.assert_failed(&with(&killed.program), 125, "create");
    // It claims to have created something, but there is nothing.
    let liar = node.runtime_but("liar", "create", "exit 0");
    node.assert_failed(&with(&liar.program), 125, "");
    node.finish();
}

/// What a runtime says is told, but not without end.
#[test]
fn runtimes_that_talk() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let talks = "echo begin >&2; busybox yes 0123456789 | head -c 4000000 >&2; echo end >&2; exit 1";
    let runtime = node.runtime_but("talks", "create", talks);
    let mut command = node.shim_command("run", id.as_str(), &bundle);
    let ended = run(command.arg("--runtime").arg(&runtime.program));
    assert!(ended.stderr.len() < 1 << 20, "{} bytes", ended.stderr.len());
    assert!(ended.stderr.contains("begin") || ended.stderr.contains("end"));
    node.assert_failed(&Ended { stderr: "cut\n".into(), ..ended }, 125, "");
    node.finish();
}

/// A child of the runtime's that keeps its streams open holds nobody up.
#[test]
fn runtimes_that_leave_a_child() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 7").write();
    let pid_file = node.dir().join("stray");
    let leaves = format!("sleep 3600 & echo $! > {}", pid_file.display());
    let runtime = node.runtime_but("leaves", "create", &leaves);
    let mut command = node.shim_command("run", id.as_str(), &bundle);
    let ended = run(command.arg("--runtime").arg(&runtime.program)).ok();
    assert!(ended.took < Duration::from_secs(20), "{ended:?}");
    wait_for("the record", LONG, || node.record(&id).is_some());
    assert_eq!(node.record(&id).unwrap().status, ExitStatus::Code(7));
    wait_for("the shim's end", LONG, || proc::is_dead(launched(&ended).shim_pid));
    let stray = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    if let Ok((_, fd)) = sexton_common::ProcessIdentity::open_pid(stray) {
        let _ = rustix::process::pidfd_send_signal(fd, rustix::process::Signal::KILL);
    }
    node.bury(&id);
    node.finish();
}

#[test]
fn runtimes_that_hang() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    for verb in ["create", "start"] {
        // The sleep is a child: killing the script alone would leave it.
        let runtime = node.runtime_but(&format!("{verb}-hangs"), verb, &format!("sleep 3600 '{}' & wait", 0));
        let mut command = node.shim_command("run", id.as_str(), &bundle);
        let ended = run(command.arg("--runtime").arg(&runtime.program).args(["--create-timeout", "1s"]));
        assert!(ended.took >= Duration::from_secs(1) && ended.took < Duration::from_secs(20), "{ended:?}");
        node.assert_failed(&ended, 125, verb);
    }
    node.finish();
}
