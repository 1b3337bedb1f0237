//! What the machine around a container does to it: service managers, cleaners of temporary files, freezers,
//! stopped shims, and others who use the same names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use rustix::process::{Pid, Signal, kill_process};
use sexton_common::{
    ExitStatus, Source, Stamp, durable,
    launch::{Mode, Started},
    wire::{LaunchRequest, Reply, Request, State},
};
use sexton_tests::{
    Bundle, LONG, Node, binaries, daemon::Daemon, node_api::killed_by, proc, run, shim::launched, skipped, wait_for,
};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    process::{Child, Command, Stdio},
};

/// A collector that is started in another way than the harness does.
struct Other(Child);

impl Other {
    fn start(node: &Node, mut command: Command) -> Self {
        command.env("SEXTON_TEST_NODE", node.prefix()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let answers = || sexton_common::client::Client::connect(node.layout()).is_ok();
        wait_for("it listens", LONG, answers);
        node.assert_alive();
        Self(child)
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

/// A runtime that sees `NOTIFY_SOCKET` waits in `start` until the container says that it is ready.
#[test]
fn a_service_managers_words_are_not_the_containers() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let socket = node.dir().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    let mut command = Daemon::command(node.layout(), &node.config());
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "1000000");
    let collector = Other::start(&node, command);
    let bundle = Bundle::new(&node, "seven").sh("exit 7").write();
    let id = node.id("a");
    node.run(&id, &bundle);
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(7)));
    let id = node.id("b");
    let mut shim = node.shim_command("run", id.as_str(), &bundle);
    let _ = launched(&run(shim.env("NOTIFY_SOCKET", &socket)).ok());
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(7)));
    node.remove_all();
    collector.stop();
    drop(manager);
    node.finish();
}

#[test]
fn relative_directories_are_the_collectors_own() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let mut command = Command::new(binaries::sextond());
    command.args(["--state-dir", "state", "--data-dir", "data"]).current_dir(node.dir());
    command.env_remove("SEXTON_STATE_DIR").env_remove("SEXTON_DATA_DIR").env_remove("NOTIFY_SOCKET");
    let collector = Other::start(&node, command);
    let bundle = Bundle::new(&node, "seven").sh("exit 7").write();
    let id = node.id("a");
    let launched = node.run(&id, &bundle);
    assert!(launched.exit_file.starts_with(node.dir()), "{launched:?}");
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(7)));
    node.remove_all();
    collector.stop();
    node.finish();
}

#[test]
fn a_directory_that_is_not_ours_alone_is_left_open() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let state = node.layout().state();
    fs::create_dir(state).unwrap();
    fs::write(state.join("letter"), "").unwrap();
    fs::set_permissions(state, fs::Permissions::from_mode(0o1777)).unwrap();
    let bundle = Bundle::new(&node, "true").write();
    let shim = run(&mut node.shim_command("run", node.id("a").as_str(), &bundle));
    assert_eq!(shim.code(), 125, "{shim:?}");
    let collector = run(&mut Daemon::command(node.layout(), &node.config()));
    assert_eq!(collector.code(), 1, "{collector:?}");
    for said in [shim.stderr, collector.stderr] {
        assert!(said.contains("open to others") && said.contains(state.to_str().unwrap()), "{said}");
    }
    assert_eq!(fs::metadata(state).unwrap().permissions().mode() & 0o7777, 0o1777);
    fs::remove_dir_all(state).unwrap();
    node.finish();
}

#[test]
fn a_socket_that_somebody_removed_is_made_anew() {
    if skipped() {
        return;
    }
    let node = Node::new();
    fs::remove_file(node.layout().socket()).unwrap();
    wait_for("there is a socket again", LONG, || node.layout().socket().exists());
    node.assert_alive();
    node.finish();
}

#[test]
fn a_frozen_container_can_be_stopped() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let bundle = Bundle::new(&node, "sleeps").sleeping().write();
    for (name, force) in [("stop", false), ("remove", true)] {
        let id = node.id(name);
        node.run(&id, &bundle);
        let _ = run(&mut node.runc("pause", &[id.as_str()])).ok();
        if force {
            node.remove(&id, true).unwrap();
            continue;
        }
        node.ask(&Request::Stop { id: id.clone(), signal: 15, timeout_ms: 100 }).unwrap();
        assert_eq!(node.wait(&id).status, Some(killed_by(9)));
    }
    node.remove_all();
    node.finish();
}

/// Its record stands, whatever the shim does when it comes to itself.
#[test]
fn a_stopped_shim_does_not_hold_an_exit_back() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "gated").gated();
    let launched = node.run(&id, &bundle.write());
    let shim = Pid::from_raw(i32::try_from(launched.shim_pid).unwrap()).unwrap();
    kill_process(shim, Signal::STOP).unwrap();
    gate.exit(9);
    let info = node.wait(&id);
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(9)), Some(Source::Zombie)));
    kill_process(shim, Signal::CONT).unwrap();
    wait_for("the shim leaves", LONG, || proc::is_dead(launched.shim_pid));
    assert_eq!(node.record(&id).unwrap().source, Source::Zombie);
    node.wait_state(&id, State::Stopped);
    drop(events);
    node.remove_all();
    node.finish();
}

/// What was clean once is never cleaned again: by then it may be another's of the same name.
#[test]
fn whoever_takes_the_name_afterwards_is_left_alone() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    node.run(&id, &Bundle::new(&node, "ends").write());
    node.wait_state(&id, State::Stopped);
    let bundle = Bundle::new(&node, "another").sleeping().write();
    let mut another = node.runc("run", &["-d", "--bundle", bundle.to_str().unwrap(), id.as_str()]);
    another.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(another.status().unwrap().success());
    node.kill_daemon();
    node.start_daemon();
    assert_eq!(node.inspect(&id).state, State::Stopped);
    node.remove(&id, false).unwrap();
    let state = run(&mut node.runc("state", &[id.as_str()])).ok();
    assert_eq!(state.json()["status"], "running");
    let _ = run(&mut node.runc("delete", &["--force", id.as_str()])).ok();
    node.finish();
}

/// A collector that was killed between noting a start and telling the runtime.
#[test]
fn a_start_that_was_only_noted_can_be_made_good() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    let launched = node.create(&id, &Bundle::new(&node, "seven").sh("exit 7").write());
    node.kill_daemon();
    let noted = Started { generation: launched.generation, at: Stamp::now() };
    durable::write(&node.layout().container(&id).start(), &noted).unwrap();
    node.start_daemon();
    let info = node.inspect(&id);
    assert_eq!((info.state, info.started_at), (State::Created, None));
    node.ask(&Request::Start { id: id.clone() }).unwrap();
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(7)));
    node.remove_all();
    node.finish();
}

/// It is gone when the collector is back; whoever waits for that very run gets its status all the same.
#[test]
fn one_that_removes_itself_while_nobody_is_there_is_not_lost() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "gated").gated();
    let request = LaunchRequest { auto_remove: true, ..node.launch_request(&id, &bundle.write(), Mode::Run) };
    let launched = node.launch(request).unwrap();
    node.kill_daemon();
    gate.exit(5);
    wait_for("the shim leaves", LONG, || proc::is_dead(launched.shim_pid));
    node.start_daemon();
    wait_for("it is removed", LONG, || node.list(true).is_empty());
    match node.ask(&Request::Wait { id, generation: Some(launched.generation) }) {
        Ok(Reply::Container(info)) => assert_eq!(info.status, Some(ExitStatus::Code(5))),
        other => panic!("{other:?}"),
    }
    node.finish();
}
