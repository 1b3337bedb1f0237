//! What the GC must not touch: whoever bears a name, or lives in a place, that was a container's.

use sexton_common::launch::Mode;
use sexton_common::{
    gc::Step,
    wire::{ErrorCode, GcAddRequest, Request, State},
};
use sexton_tests::{
    bundle::Bundle,
    command,
    daemon::Daemon,
    needs,
    node::{Node, Options},
    proc,
    wait::{LONG, wait_for},
};
use std::{fs, process::Stdio};

/// Its runtime's name and its cgroup are free again while a clean-up command still fails; by then somebody else has both.
#[test]
fn who_has_its_name_by_now_lives_on() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::new();
    let (id, flag) = (node.id("c"), node.dir().join("flag"));
    let path = format!("/{id}");
    let bundle = Bundle::new(&node, "b").sleeping().with(|config| config["linux"]["cgroupsPath"] = path.into()).write();
    let mut request = node.launch_request(&id, &bundle, Mode::Run);
    request.cleanup.exec = vec![format!("test -e {}", flag.display())];
    let launched = node.launch(request).unwrap();
    proc::kill(launched.pid);
    assert_eq!(node.wait_gc(&id).step, Step::Commands);

    let pid_file = node.dir().join("stranger");
    let args =
        ["--detach", "--bundle", bundle.to_str().unwrap(), "--pid-file", pid_file.to_str().unwrap(), id.as_str()];
    let mut stranger = node.runc("run", &args);
    let status = stranger.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
    let stranger: u32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    let again = |node: &Node| {
        node.ask(&Request::GcRetry { id: Some(id.clone()) }).unwrap();
        assert!(!proc::is_dead(stranger), "it is not the container's");
        assert_eq!(node.wait_gc(&id).step, Step::Commands);
    };
    again(&node);
    node.kill_daemon();
    node.start_daemon();
    again(&node);
    fs::write(&flag, "").unwrap();
    node.ask(&Request::GcRetry { id: Some(id.clone()) }).unwrap();
    node.wait_state(&id, State::Stopped);
    assert!(!proc::is_dead(stranger), "it is not the container's");
    assert!(node.runc("delete", &["--force", id.as_str()]).status().unwrap().success());
    wait_for("the stranger's end", LONG, || proc::is_gone(stranger));
    node.finish();
}

/// Two containers run from one bundle, which the first has registered.
#[test]
fn what_another_runs_from_stays_as_long_as_it_lives() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let (first, second) = (node.id("a"), node.id("b"));
    let bundle = Bundle::new(&node, "b").sleeping().write();
    let mut request = node.launch_request(&first, &bundle, Mode::Run);
    request.cleanup.paths = vec![bundle.clone()];
    let launched = node.launch(request).unwrap();
    let other = node.run(&second, &bundle);
    proc::kill(launched.pid);
    let entry = node.wait_gc(&first);
    assert_eq!(entry.step, Step::Files);
    assert!(entry.in_the_way.contains(second.as_str()), "{entry:?}");
    assert!(bundle.join("config.json").exists());
    proc::kill(other.pid);
    node.wait_state(&second, State::Stopped);
    node.wait_state(&first, State::Stopped);
    assert!(!bundle.exists());
    node.finish();
}

#[test]
fn a_container_of_sexton_s_own_cannot_be_added_under_another_name() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("c");
    let launched = node.run(&id, &Bundle::new(&node, "b").sleeping().write());
    for pid in [launched.pid, launched.shim_pid] {
        let request = GcAddRequest {
            id: node.id("other"),
            runtime: node.runtime(),
            pids: vec![pid],
            bundle: None,
            cleanup: Default::default(),
        };
        let error = node.ask(&Request::GcAdd(request)).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid, "{error}");
        assert!(error.message.contains(&pid.to_string()), "{error}");
    }
    assert!(!proc::is_dead(launched.pid));
    proc::kill(launched.pid);
    node.remove_all();
    node.finish();
}

/// Else each would take the other's containers for nobody's.
#[test]
fn two_collectors_do_not_share_what_is_to_be_cleaned() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let second = Node::with(Options { daemon: false, ..Options::default() });
    let layout = sexton_common::Layout::new(second.layout().state().into(), node.layout().data().into());
    let ended = command::run(&mut Daemon::command(&layout, &second.config()));
    assert!(!ended.status.success() && format!("{ended:?}").contains("--data-dir"), "{ended:?}");
    node.assert_alive();
    second.finish();
    node.finish();
}
