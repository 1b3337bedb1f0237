//! `sextond --keeper` as a service manager's stand-in: starts, restarts, stops.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use rustix::process::{Pid, Signal, kill_process};
use sexton_common::{
    ExitStatus,
    wire::{Reply, Request, State},
};
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
    // Its socket is made anew for the next one.
    for socket in sexton_tests::keeper::sockets(&node) {
        std::fs::remove_file(socket).unwrap();
    }
    keeper.kill_collector(&node, || {});
    let stored = || matches!(node.ask(&Request::Node {}), Ok(Reply::Node(about)) if about.stored == Some(1));
    wait_for("it to be stored", LONG, stored);
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

/// A service manager whose queue is full and that reads nothing.
fn deaf(node: &Node) -> (UnixDatagram, std::path::PathBuf) {
    let path = node.dir().join("deaf.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    sender.connect(&path).unwrap();
    while sender.send(b"STATUS=full").is_ok() {}
    (socket, path)
}

#[test]
fn nobody_waits_for_a_service_manager_that_does_not_listen() {
    if skipped() {
        return;
    }
    for keeper in [false, true] {
        let node = Node::bare();
        let (_socket, path) = deaf(&node);
        let mut command = Daemon::command(node.layout(), &node.config());
        command.args(keeper.then_some("--keeper")).env("NOTIFY_SOCKET", &path).env("SEXTON_TEST_NODE", node.prefix());
        let log = std::fs::File::create(node.log()).unwrap();
        let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        wait_for("its socket", LONG, || node.layout().socket().exists());
        let id = node.id("a");
        let (bundle, gate) = Bundle::new(&node, "a").gated();
        let _ = node.run(&id, &bundle.write());
        kill_process(Pid::from_child(&child), Signal::HUP).unwrap();
        gate.exit(6);
        assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(6)));
        node.remove_all();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        wait_for("its end", LONG, || child.try_wait().unwrap().is_some());
        assert!(child.wait().unwrap().success(), "{}", node.words());
        node.finish();
    }
}

/// More, and with longer names, than can be passed on; and a limit that it nearly reaches.
#[test]
fn it_holds_no_more_than_it_can_pass_on() {
    if skipped() {
        return;
    }
    for (limit, names) in [(100, 200_usize), (20_000, 2_000)] {
        let node = Node::bare();
        let plain = Daemon::command(node.layout(), &node.config());
        let mut command = std::process::Command::new("prlimit");
        command.arg(format!("--nofile={limit}")).arg(plain.get_program()).args(plain.get_args());
        let mut keeper = Keeper::start_by(&node, command);
        let id = node.id("a");
        let (bundle, gate) = Bundle::new(&node, "a").gated();
        let launched = node.run(&id, &bundle.write());
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(&sexton_tests::keeper::sockets(&node)[0]).unwrap();
        let stdin = std::io::stdin();
        for number in 0..names {
            use std::os::fd::AsRawFd;
            let words = format!("FDSTORE=1\nFDNAME=x{number:0100}\n");
            let fds = [stdin.as_raw_fd()];
            let control = [nix::sys::socket::ControlMessage::ScmRights(&fds)];
            let parts = [std::io::IoSlice::new(words.as_bytes())];
            let flags = nix::sys::socket::MsgFlags::empty();
            nix::sys::socket::sendmsg::<()>(sender.as_raw_fd(), &parts, &control, flags, None).unwrap();
        }
        keeper.kill_collector(&node, || {
            kill_process(Pid::from_raw(i32::try_from(launched.shim_pid).unwrap()).unwrap(), Signal::KILL).unwrap();
            wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
            gate.exit(8);
            wait_for("its end", LONG, || proc::is_dead(launched.pid));
        });
        assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(8)), "{}", node.words());
        assert!(node.words().contains("no more than"), "{}", node.words());
        node.wait_state(&id, State::Stopped);
        keeper.finish(node);
    }
}

/// Seats are not lost to what was passed on.
#[test]
fn a_restart_costs_no_seat() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let mut keeper = Keeper::start(&node);
    let seats = || match node.ask(&Request::Node {}) {
        Ok(Reply::Node(about)) => (about.seats, about.stored),
        other => panic!("{other:?}"),
    };
    let (before, _) = seats();
    for name in ["a", "b", "c", "d"] {
        let _ = node.run(&node.id(name), &Bundle::new(&node, name).sleeping().write());
    }
    for _ in 0..3 {
        keeper.kill_collector(&node, || {});
        assert_eq!(node.list(true).len(), 4);
        wait_for("the same again", LONG, || seats() == (before, Some(4)));
    }
    for name in ["a", "b", "c", "d"] {
        node.remove(&node.id(name), true).unwrap();
    }
    keeper.finish(node);
}

#[test]
fn one_that_was_told_to_ignore_sigchld_does_not() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let plain = Daemon::command(node.layout(), &node.config());
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "trap '' CHLD; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    let mut keeper = Keeper::start_by(&node, command);
    keeper.kill_collector(&node, || {});
    keeper.finish(node);
}

/// sextond goes on without its keeper, and does not say that anything is stored.
#[test]
fn a_keeper_that_was_killed_is_missed() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let keeper = Keeper::start(&node);
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let _ = node.run(&id, &bundle.write());
    keeper.signal(Signal::KILL);
    let stored = || match node.ask(&Request::Node {}) {
        Ok(Reply::Node(about)) => about.stored,
        other => panic!("{other:?}"),
    };
    wait_for("it to be missed", LONG, || stored().is_none());
    wait_for("it to be said", LONG, || node.words().contains("the keeper is dead"));
    gate.exit(4);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(4)));
    node.wait_state(&id, State::Stopped);
    node.remove_all();
    kill_process(Pid::from_raw(i32::try_from(keeper.collector()).unwrap()).unwrap(), Signal::TERM).unwrap();
    wait_for("its end", LONG, || proc::is_gone(keeper.collector()));
    node.expect(&[]);
    drop(keeper);
    node.finish();
}

/// Descriptors that were announced and are not there.
#[test]
fn what_was_not_passed_is_not_taken() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let plain = Daemon::command(node.layout(), &node.config());
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=9 LISTEN_FDNAMES=i1:x exec \"$@\"", "sh"]);
    command.arg(plain.get_program()).args(plain.get_args()).env("SEXTON_TEST_NODE", node.prefix());
    let log = std::fs::File::create(node.log()).unwrap();
    let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    wait_for("its socket", LONG, || node.layout().socket().exists());
    node.assert_alive();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success(), "{}", node.words());
    node.finish();
}

#[test]
fn too_few_descriptors_are_refused_in_words() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let plain = Daemon::command(node.layout(), &node.config());
    let mut command = std::process::Command::new("prlimit");
    let ended = run(command.arg("--nofile=30").arg(plain.get_program()).args(plain.get_args()));
    assert!(ended.code() == 1 && ended.stderr.contains("raise LimitNOFILE"), "{}: {}", ended.code(), ended.stderr);
    node.finish();
}

/// What others have stored under sextond's roof is let go of.
#[test]
fn what_is_not_ours_does_not_stay_stored() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let mut keeper = Keeper::start(&node);
    let own = |pid| proc::descriptors(pid).values().sum::<usize>();
    let mut before = own(keeper.pid());
    wait_for("it to be at rest", LONG, || {
        let sleeps = proc::is_in(keeper.pid(), 'S');
        std::mem::replace(&mut before, own(keeper.pid())) == before && sleeps
    });
    let sender = UnixDatagram::unbound().unwrap();
    sender.connect(&sexton_tests::keeper::sockets(&node)[0]).unwrap();
    let stdin = std::io::stdin();
    let fds = [std::os::fd::AsRawFd::as_raw_fd(&stdin)];
    let control = [nix::sys::socket::ControlMessage::ScmRights(&fds)];
    let parts = [std::io::IoSlice::new(b"FDSTORE=1\nFDNAME=somebody's\n")];
    let flags = nix::sys::socket::MsgFlags::empty();
    nix::sys::socket::sendmsg::<()>(std::os::fd::AsRawFd::as_raw_fd(&sender), &parts, &control, flags, None).unwrap();
    wait_for("it to be held", LONG, || own(keeper.pid()) > before);
    for held in ["1 descriptors", "0 descriptors"] {
        keeper.kill_collector(&node, || {});
        assert!(node.words().contains(held), "{held}: {}", node.words());
        wait_for("it to be let go of", LONG, || own(keeper.pid()) == before);
    }
    keeper.finish(node);
}
