//! The daemon as a service manager sees it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use rustix::process::Signal;
use sexton_common::{
    ExitStatus, Layout,
    client::Client,
    launch::Mode,
    wire::{ErrorCode, Reply, Request, State},
};
use sexton_tests::{Bundle, LONG, Node, binaries, proc, run, skipped, wait_for};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    process::{Command, Stdio},
};

#[test]
fn it_says_that_it_is_ready_and_that_it_stops() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let path = node.dir().join("notify");
    let notify = UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(LONG)).unwrap();
    let hear = |word: &str| {
        loop {
            let mut buffer = [0; 4096];
            let length = notify.recv(&mut buffer).unwrap_or_else(|e| panic!("{word}: {e}"));
            if String::from_utf8_lossy(&buffer[..length]).contains(word) {
                return;
            }
        }
    };
    let mut command = sexton_tests::daemon::Daemon::command(node.layout(), &node.config());
    command.env("NOTIFY_SOCKET", &path).env("SEXTON_TEST_NODE", node.prefix());
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    hear("READY=1");
    assert!(matches!(node.ask(&Request::Version {}), Ok(Reply::Version { .. })), "ready is ready");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    hear("STOPPING=1");
    assert!(child.wait().unwrap().success());
    assert!(Client::connect(node.layout()).is_err(), "nobody listens any more");
    node.finish();
}

#[test]
fn a_hang_up_reloads_the_configuration() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let lives = |node: &Node, name: &str| {
        let id = node.id(name);
        node.run(&id, &Bundle::new(node, name).sh("exit 0").write());
        node.wait_state(&id, State::Stopped);
    };
    lives(&node, "quiet");
    assert!(!node.words().contains("DEBUG"), "{}", node.words());
    fs::write(node.config(), "log = \"debug\"\n").unwrap();
    node.daemon().signal(Signal::HUP);
    wait_for("the reload", LONG, || node.words().lines().count() > 2);
    lives(&node, "loud");
    assert!(node.words().contains("DEBUG"), "{}", node.words());
    // What cannot be understood leaves everything as it is.
    let before = node.words().lines().count();
    fs::write(node.config(), "dance = 1\n").unwrap();
    node.daemon().signal(Signal::HUP);
    wait_for("a word about it", LONG, || node.words().lines().skip(before).any(|line| line.contains("dance")));
    lives(&node, "still");
    node.finish();
}

#[test]
fn the_environment_names_the_directories() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let mut command = Command::new(binaries::sextond());
    command.env(Layout::STATE_ENV, node.layout().state()).env(Layout::DATA_ENV, node.layout().data());
    command.env("SEXTON_LOG", "trace").arg("--config").arg(node.config());
    command.env("SEXTON_TEST_NODE", node.prefix()).env_remove("NOTIFY_SOCKET");
    let log = fs::File::create(node.log()).unwrap();
    let mut child = command.stdin(Stdio::null()).stderr(log).spawn().unwrap();
    wait_for("an answer", LONG, || run(&mut node.sexton_command(&["ps"])).status.success());
    for dir in [node.layout().state(), node.layout().data()] {
        let mode = fs::metadata(dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", dir.display());
    }
    let id = node.id("a");
    node.run(&id, &Bundle::new(&node, "a").sh("exit 0").write());
    node.wait_state(&id, State::Stopped);
    node.remove(&id, false).unwrap();
    assert!(node.words().contains("TRACE") || node.words().contains("DEBUG"), "{}", node.words());
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success(), "SIGINT is as good as SIGTERM");
    node.finish();
}

/// It is stopped in the middle of a launch: the container is not its hostage.
#[test]
fn a_launch_that_it_does_not_live_to_see() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    for hard in [false, true] {
        let id = node.id(if hard { "kill" } else { "term" });
        let (bundle, gate) = Bundle::new(&node, id.as_str()).gated();
        let slow = node.dir().join("slow");
        fs::write(&slow, "").unwrap();
        let wait = format!("touch {0}.seen; while [ -e {0} ]; do sleep 0.05; done", slow.display());
        let mut request = node.launch_request(&id, &bundle.write(), Mode::Run);
        request.runtime = node.runtime_but(&format!("slow-{hard}"), "create", &wait);
        let mut client = node.client();
        client.send(&Request::Launch(request), &[]).unwrap();
        let seen = node.dir().join("slow.seen");
        wait_for("the runtime", LONG, || seen.exists());
        if hard {
            node.kill_daemon();
        } else {
            node.terminate_daemon_in_time();
        }
        fs::remove_file(&slow).unwrap();
        fs::remove_file(&seen).unwrap();
        node.start_daemon();
        let info = node.wait_state(&id, State::Running);
        assert!(!proc::is_dead(info.shim_pid.unwrap()));
        gate.exit(7);
        assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(7)));
    }
    node.finish();
}

/// Nothing of a collector's own is left in its directory when it has stopped, but its lock.
#[test]
fn it_leaves_its_directory_as_it_was() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    node.run(&id, &Bundle::new(&node, "a").sh("exit 0").write());
    node.wait_state(&id, State::Stopped);
    node.remove(&id, false).unwrap();
    node.terminate_daemon_in_time();
    let mut left: Vec<_> = sexton_tests::leftovers::entries(node.layout().state())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    left.sort();
    left.retain(|name| {
        !["containers", "quarantine", "sextond.lock", "sextond.sock", "sextond.seq"].contains(&name.as_str())
    });
    assert_eq!(left, [] as [&str; 0]);
    node.finish();
}

#[test]
fn many_wait_for_one() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    let waits: Vec<_> = (0..100)
        .map(|n| {
            let mut client = node.client();
            let generation = (n % 2 == 0).then_some(launched.generation);
            client.send(&Request::Wait { id: id.clone(), generation }, &[]).unwrap();
            client
        })
        .collect();
    gate.exit(7);
    let mut told = 0;
    for mut client in waits {
        match client.receive().unwrap() {
            Reply::Container(info) => {
                assert_eq!(info.status, Some(ExitStatus::Code(7)));
                told += 1;
            }
            // Every queue has a bound (I7), and says so.
            Reply::Error(error) => assert_eq!(error.code, ErrorCode::Busy, "{error:?}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(told >= 16, "{told} were told");
    node.finish();
}
