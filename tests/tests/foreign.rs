//! Somebody else's shims, which write four bytes: watched as our own, and never an invented code.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use sexton_common::{
    ExitStatus, Source, UnknownReason,
    wire::{ContainerInfo, EventKind, State},
};
use sexton_tests::{Bundle, LONG, Node, binaries, foreign::Foreign, node_api::killed_by, skipped, wait_for};
use std::{fs, process::Command};

#[track_caller]
fn clean(node: &Node, foreign: &Foreign, status: ExitStatus, source: Source) -> ContainerInfo {
    let info = node.wait(&foreign.id);
    assert_eq!((info.status, info.source), (Some(status), Some(source)), "{}", node.words());
    node.wait_state(&foreign.id, State::Stopped)
}

#[test]
fn codes() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    for code in [0, 1, 7, 137, 255] {
        let mut foreign = Foreign::new(&node, &format!("code-{code}"));
        let info = foreign.watch(&node).unwrap();
        assert_eq!((info.state, info.foreign), (State::Running, true));
        assert_eq!((info.pid, info.shim_pid), (Some(foreign.request.pid), Some(foreign.request.shim_pid)));
        foreign.exit(code);
        clean(&node, &foreign, ExitStatus::Code(code.try_into().unwrap()), Source::Reported);
        events.wait(&foreign.id, EventKind::Stopped);
        let kinds = events.kinds(&foreign.id);
        assert_eq!(kinds.iter().filter(|kind| **kind == EventKind::Exited).count(), 1, "{kinds:?}");
    }
    drop(events);
    node.finish();
}

const MALFORMED: ExitStatus = ExitStatus::Unknown { reason: UnknownReason::ForeignMalformed };
const HANG_UP: ExitStatus = ExitStatus::Unknown { reason: UnknownReason::ForeignHangUp };

/// What a shim may say that is no code.
const NO_CODES: [(&str, &[u8], ExitStatus); 5] = [
    ("nothing", &[], HANG_UP),
    ("short", &[7, 0], MALFORMED),
    ("three", &[7, 0, 0], MALFORMED),
    ("large", &256i32.to_ne_bytes(), MALFORMED),
    ("negative", &(-1i32).to_ne_bytes(), MALFORMED),
];

/// Neither 137 nor any other number is made up.
#[test]
fn what_is_no_code() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for (name, bytes, status) in NO_CODES {
        let mut foreign = Foreign::new(&node, name);
        // Dead and reaped before anybody looked: only its shim could know.
        foreign.end_container();
        foreign.watch(&node).unwrap();
        if !bytes.is_empty() {
            foreign.write(bytes);
        }
        foreign.end_shim();
        clean(&node, &foreign, status, Source::None);
    }
    node.finish();
}

/// The kernel's word is as good as the shim's: exact, and it says where it comes from; or honestly unknown.
#[test]
fn what_is_no_code_of_a_container_that_was_seen() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for (name, bytes, status) in NO_CODES {
        let mut foreign = Foreign::new(&node, name);
        foreign.watch(&node).unwrap();
        foreign.end_container();
        if !bytes.is_empty() {
            foreign.write(bytes);
        }
        foreign.end_shim();
        let info = node.wait(&foreign.id);
        let unknown = info.status == Some(status) && info.source == Some(Source::None);
        let exact = info.status == Some(killed_by(9)) && info.source == Some(Source::Pidfd);
        assert!(unknown || exact, "{name}: {info:?}");
    }
    node.finish();
}

#[test]
fn over_a_restart_of_the_collector() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let mut foreign: Vec<_> = ["runs", "meanwhile", "gone"].map(|name| Foreign::new(&node, name)).into();
    for one in &foreign {
        one.watch(&node).unwrap();
    }
    node.kill_daemon();
    // Its shim waits for the code to be read, as long as it takes.
    foreign[1].end_container();
    foreign[1].write(&9i32.to_ne_bytes());
    // This one leaves, and takes what it knew along.
    foreign[2].exit(5);
    node.start_daemon();
    assert_eq!(node.inspect(&foreign[0].id).state, State::Running);
    clean(&node, &foreign[1], ExitStatus::Code(9), Source::Reported);
    foreign[1].end_shim();
    let info = node.wait(&foreign[2].id);
    assert!(matches!(info.status, Some(ExitStatus::Unknown { .. })), "{info:?}");
    foreign[0].exit(3);
    clean(&node, &foreign[0], ExitStatus::Code(3), Source::Reported);
    node.finish();
}

#[test]
fn requests_that_make_no_sense() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let foreign = Foreign::new(&node, "a");
    let mut bad = Vec::new();
    for change in 0..4 {
        let mut request = foreign.request.clone();
        match change {
            0 => request.fifo = node.dir().join("none"),
            1 => request.fifo = node.config(),
            2 => request.fifo = "relative".into(),
            _ => request.pid = 0,
        }
        bad.push(request);
    }
    for request in bad {
        let answer = node.ask(&sexton_common::wire::Request::Watch(request.clone()));
        assert!(answer.is_err(), "{request:?}: {answer:?}");
    }
    assert_eq!(node.list(true), [], "nothing is half known");
    foreign.watch(&node).unwrap();
    let twice = foreign.watch(&node).unwrap_err();
    assert!(twice.message.contains(foreign.id.as_str()), "{twice:?}");
    let mut foreign = foreign;
    foreign.exit(0);
    clean(&node, &foreign, ExitStatus::Code(0), Source::Reported);
    node.finish();
}

/// A real container under a shim that is a shell script, watched by command line.
#[test]
fn a_real_one() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let (bundle, fifo, pid_file) = (bundle.write(), node.dir().join("exit.fifo"), node.dir().join("pid"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let script = format!(
        "exec 3<>{fifo}; {runc} --root {root} run --keep --bundle {bundle} --pid-file {pid} {id} </dev/null \
         >/dev/null 2>&1; printf \"\\\\$(printf %03o $?)\\\\000\\\\000\\\\000\" >&3; sleep 100000",
        fifo = fifo.display(),
        runc = binaries::runc().display(),
        root = node.runtime_root().display(),
        bundle = bundle.display(),
        pid = pid_file.display(),
    );
    let mut shim = Command::new("sh").args(["-c", &script]).env("SEXTON_TEST_NODE", node.prefix()).spawn().unwrap();
    let pid = || fs::read_to_string(&pid_file).ok().filter(|text| !text.is_empty());
    wait_for("the container", LONG, || pid().is_some());
    let watched = node
        .sexton(
            &["watch", "--id", id.as_str(), "--pid", &pid().unwrap(), "--shim-pid", &shim.id().to_string()]
                .map(std::ffi::OsString::from)
                .into_iter()
                .chain(["--fifo".into(), fifo.into(), "--runtime-root".into(), node.runtime_root().into()])
                .collect::<Vec<_>>(),
        )
        .ok();
    assert!(!watched.stderr.contains("error"), "{watched:?}");
    assert_eq!(node.inspect(&id).state, State::Running);
    gate.exit(77);
    let info = node.wait(&id);
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(77)), Some(Source::Reported)));
    node.wait_state(&id, State::Stopped);
    shim.kill().unwrap();
    shim.wait().unwrap();
    let sleep = sexton_tests::leftovers::processes(&node)
        .into_iter()
        .filter(|pid| sexton_tests::proc::command_line(*pid) == "sleep 100000");
    for pid in sleep {
        let (_, fd) = sexton_common::ProcessIdentity::open_pid(pid).unwrap();
        rustix::process::pidfd_send_signal(fd, rustix::process::Signal::KILL).unwrap();
    }
    node.finish();
}
