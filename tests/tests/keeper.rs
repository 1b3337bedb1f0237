//! `sextond --keeper` as a service manager's stand-in: starts, restarts, stops.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::{Pid, Signal, kill_process};
use sexton_common::{ExitStatus, wire::State};
use sexton_tests::{Bundle, Keeper, LONG, Node, Options, daemon::Daemon, proc, run, skipped, wait_for};
use std::{os::unix::net::UnixDatagram, time::Duration};

#[test]
fn what_sextond_does_not_like_is_its_keepers_failure_too() {
    if skipped() {
        return;
    }
    let node = Node::with(Options { daemon: false, config: "colour = 'red'\n".into() });
    let ended = run(Daemon::command(node.layout(), &node.config()).arg("--keeper"));
    assert!(ended.code() == 1 && ended.stderr.contains("colour"), "{}: {}", ended.code(), ended.stderr);
    let other = Node::new();
    let ended = run(Daemon::command(other.layout(), &other.config()).arg("--keeper"));
    assert!(ended.code() == 1 && ended.stderr.contains("another sextond"), "{}: {}", ended.code(), ended.stderr);
    other.finish();
    node.finish();
}

#[test]
fn a_second_keeper_leaves_the_first_one_alone() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let mut keeper = Keeper::start(&node);
    let ended = run(Daemon::command(node.layout(), &node.config()).arg("--keeper"));
    assert!(ended.code() == 1 && ended.stderr.contains("another sextond"), "{}: {}", ended.code(), ended.stderr);
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    keeper.kill_collector(&node, || {
        kill_process(Pid::from_raw(i32::try_from(launched.shim_pid).unwrap()).unwrap(), Signal::KILL).unwrap();
        wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
        gate.exit(21);
        wait_for("its end", LONG, || proc::is_dead(launched.pid));
    });
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(21)), "{}", node.words());
    node.wait_state(&id, State::Stopped);
    keeper.finish(node);
}

#[test]
fn it_comes_back_however_often_it_is_killed_and_containers_do_not_mind() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let mut keeper = Keeper::start(&node);
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    for _ in 0..10 {
        keeper.kill_collector(&node, || {});
        assert_eq!(node.wait_state(&id, State::Running).pid, Some(launched.pid));
    }
    // What sextond started itself, and its own zombies, are reaped at once.
    let zombies = || proc::children(keeper.pid()).into_iter().filter(|&pid| proc::is_dead(pid)).count();
    wait_for("no zombie to be left", LONG, || zombies() == 0);
    gate.exit(5);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(5)));
    wait_for("the shim to be reaped", Duration::from_secs(5), || proc::is_gone(launched.shim_pid));
    keeper.finish(node);
}

/// Whoever keeps the keeper hears what sextond would have told it.
#[test]
fn it_passes_on_what_sextond_says_and_what_it_is_told() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let path = node.dir().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let heard = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut command = Daemon::command(node.layout(), &node.config());
    command.arg("--keeper").env("NOTIFY_SOCKET", &path).env("SEXTON_TEST_NODE", node.prefix());
    let log = std::fs::File::create(node.log()).unwrap();
    let mut keeper = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    assert!(heard().contains("READY=1"));
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let _ = node.run(&id, &bundle.write());
    gate.exit(0);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(0)));
    node.remove_all();
    kill_process(Pid::from_child(&keeper), Signal::HUP).unwrap();
    assert!(heard().contains("RELOADING=1"), "and nothing of what is for the keeper alone");
    assert!(heard().contains("READY=1"));
    kill_process(Pid::from_child(&keeper), Signal::INT).unwrap();
    assert!(heard().contains("STOPPING=1"));
    assert!(keeper.wait().unwrap().success(), "{}", node.words());
    node.finish();
}
