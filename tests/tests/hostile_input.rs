//! Requests that make no sense, clients that misbehave, disks that are full: an answer, and a daemon that lives on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use sexton_common::{
    ExitStatus,
    launch::Mode,
    wire::{ErrorCode, LaunchRequest, Request, State},
};
use sexton_tests::{Bundle, LONG, Node, disk::SmallDisk, skipped, wait_for};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
    sync::Barrier,
};

#[test]
fn requests_that_cannot_be_done() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("none");
    let all = [
        Request::Start { id: id.clone() },
        Request::Kill { id: id.clone(), signal: 15 },
        Request::Stop { id: id.clone(), signal: 15, timeout_ms: 10 },
        Request::Remove { id: id.clone(), force: true },
        Request::Wait { id: id.clone(), generation: None },
        Request::Inspect { id: id.clone() },
        Request::Announce { id: id.clone(), generation: 7 },
    ];
    for request in all {
        let error = node.ask(&request).unwrap_err();
        assert_eq!(error.code, ErrorCode::NoSuchContainer, "{request:?}");
        assert!(error.message.contains(id.as_str()), "{error:?}");
    }
    let id = node.id("a");
    node.run(&id, &Bundle::new(&node, "a").sleeping().write());
    for signal in [0, -1, 65, i32::MAX, i32::MIN] {
        let error = node.ask(&Request::Kill { id: id.clone(), signal }).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid, "{signal}");
    }
    let error = node.remove(&id, false).unwrap_err();
    assert_eq!(error.code, ErrorCode::Running);
    let error = node.ask(&Request::Start { id: id.clone() }).unwrap_err();
    assert_eq!(error.code, ErrorCode::AlreadyStarted);
    let other = Request::Wait { id: id.clone(), generation: Some(1) };
    assert!(node.ask(&other).is_err(), "there is no such run");
    assert_eq!(node.inspect(&id).state, State::Running);
    node.kill(&id, 9);
    node.wait_state(&id, State::Stopped);
    let error = node.ask(&Request::Kill { id: id.clone(), signal: 9 }).unwrap_err();
    assert_eq!(error.code, ErrorCode::NotRunning);
    node.finish();
}

#[test]
fn launches_that_fail() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let absent = Bundle::new(&node, "absent").args(&["/bin/no-such-program"]).write();
    let broken = node.dir().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("config.json"), "{ no JSON").unwrap();
    fs::write(node.rootfs().join("etc/plain"), "text").unwrap();
    let plain = Bundle::new(&node, "plain").args(&["/etc/plain"]).write();
    let says = node.runtime_but("says", "create", "echo my own words >&2; exit 1");
    let plainly = |bundle| node.launch_request(&id, bundle, Mode::Run);
    let with = |runtime| LaunchRequest { runtime, ..plainly(&bundle) };
    let named = |program: &str| sexton_common::runtime::Runtime { program: program.into(), ..node.runtime() };
    for (request, code, words) in [
        (plainly(&node.dir().join("nowhere")), 125, "nowhere"),
        (plainly(&broken), 125, "invalid character"),
        (plainly(&absent), 127, "no-such-program"),
        (plainly(&plain), 126, "/etc/plain"),
        (plainly("relative/bundle".as_ref()), 125, "relative/bundle"),
        (with(named("no-such-runtime")), 125, "no-such-runtime"),
        (with(says), 125, "my own words"),
    ] {
        let error = node.launch(request.clone()).unwrap_err();
        assert_eq!(error.exit_code, code, "{request:?}: {error:?}");
        assert!(error.message.contains(words), "{words:?} is not in {error:?}");
        assert_eq!(node.list(true), [], "nothing is left of it");
        node.assert_clean();
    }
    node.finish();
}

#[test]
fn one_id_for_two() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let bundle = Bundle::new(&node, "a").sleeping().write();
    for round in 0..5 {
        let id = node.id(&round.to_string());
        let ready = Barrier::new(4);
        let attempt = || {
            ready.wait();
            node.launch(node.launch_request(&id, &bundle, Mode::Run))
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(attempt)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let won: Vec<_> = results.iter().flatten().collect();
        assert_eq!(won.len(), 1, "{results:?}");
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            assert!(matches!(error.code, ErrorCode::AlreadyExists | ErrorCode::Busy), "{error:?}");
            assert!(error.message.contains(id.as_str()), "{error:?}");
        }
        let later = node.launch(node.launch_request(&id, &bundle, Mode::Run)).unwrap_err();
        assert_eq!(later.code, ErrorCode::AlreadyExists, "{later:?}");
        let info = node.inspect(&id);
        assert_eq!((info.state, info.generation), (State::Running, won[0].generation), "the first does not notice");
        node.kill(&id, 9);
    }
    node.finish();
}

/// Even where file permissions let them through, others are refused.
#[test]
fn another_user() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let mode = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    assert_eq!(fs::metadata(node.layout().state()).unwrap().permissions().mode() & 0o777, 0o700);
    let copy = node.dir().join("sexton");
    node.copy(&sexton_tests::binaries::sexton(), &copy);
    mode(node.dir(), 0o711);
    let nobody = |node: &Node| {
        let mut command = Command::new(&copy);
        command.arg("--state-dir").arg(node.layout().state()).args(["ps", "--json"]);
        command.current_dir("/").uid(65534).gid(65534);
        sexton_tests::run(&mut command)
    };
    let ended = nobody(&node);
    assert_eq!(ended.code(), 18, "the directory keeps them out: {ended:?}");
    mode(node.layout().state(), 0o711);
    mode(&node.layout().socket(), 0o777);
    let ended = nobody(&node);
    assert_eq!(ended.code(), 18, "and so does the collector: {ended:?}");
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("only root"), "it says why: {ended:?}");
    node.assert_alive();
    node.finish();
}

#[test]
fn a_disk_that_cannot_be_written() {
    if skipped() {
        return;
    }
    let mut node = Node::bare();
    let disk = SmallDisk::new(node.layout().state());
    node.start_daemon();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let bundle = bundle.write();
    disk.fill();
    let error = node.launch(node.launch_request(&id, &bundle, Mode::Run)).unwrap_err();
    assert!(error.message.contains("No space left"), "{error:?}");
    assert_eq!(node.list(true), []);
    disk.free();
    node.run(&id, &bundle);
    disk.fill();
    // Its exit is known although it cannot be written yet; and it is on disk once there is room again.
    gate.exit(7);
    let info = node.wait(&id);
    assert_eq!(info.status, Some(ExitStatus::Code(7)), "{}", node.words());
    disk.free();
    wait_for("the record", LONG, || node.record(&id).is_some());
    node.wait_state(&id, State::Stopped);
    node.remove(&id, false).unwrap();
    node.assert_clean_but("mount ");
    node.terminate_daemon();
    disk.read_only(true);
    let ended = sexton_tests::run(&mut sexton_tests::daemon::Daemon::command(node.layout(), &node.config()));
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains("Read-only"), "{ended:?}");
    drop(disk);
    node.finish();
}

#[test]
fn a_second_collector() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let second = sexton_tests::run(&mut sexton_tests::daemon::Daemon::command(node.layout(), &node.config()));
    assert_eq!(second.code(), 1, "{second:?}");
    let state = node.layout().state().to_str().unwrap();
    assert!(second.stderr.contains(state), "it names the directory: {second:?}");
    node.assert_alive();
    assert!(node.daemon().is_running());
    node.kill_daemon();
    // A socket and a lock file that a killed one left are in nobody's way.
    node.start_daemon();
    node.finish();
}

#[test]
fn configurations_that_make_no_sense() {
    if skipped() {
        return;
    }
    let mut node = Node::bare();
    for (text, words) in [
        ("dance = 1\n", "dance"),
        ("[exit]\ndeadlin = \"1s\"\n", "deadlin"),
        ("[exit]\ndeadline = \"soon\"\n", "deadline"),
        ("log = [\n", "sextond.toml"),
    ] {
        fs::write(node.config(), text).unwrap();
        let ended = sexton_tests::run(&mut sexton_tests::daemon::Daemon::command(node.layout(), &node.config()));
        assert_eq!(ended.code(), 1, "{text:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{text:?}: {ended:?}");
    }
    // This one may come into being later: it is missed when it is needed.
    fs::write(node.config(), "shim = \"/no/such/shim\"\n").unwrap();
    node.start_daemon();
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let error = node.launch(node.launch_request(&node.id("a"), &bundle, Mode::Run)).unwrap_err();
    assert!(error.message.contains("/no/such/shim"), "{error:?}");
    node.finish();
}
