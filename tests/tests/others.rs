//! What others do meanwhile: delete the container themselves, take its bundle away, ask for the same thing at once.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use sexton_common::{
    ExitStatus, Source,
    launch::Mode,
    wire::{ErrorCode, Reply, Request, State},
};
use sexton_tests::{Bundle, LONG, Node, Options, node_api::killed_by, proc, run, skipped, wait_for};
use std::fs;

/// An engine that uses the runtime itself, as `runc delete --force`.
#[test]
fn somebody_deletes_it() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("runs");
    node.run(&id, &Bundle::new(&node, "runs").sleeping().write());
    let _ = run(&mut node.runc("delete", &["--force", id.as_str()])).ok();
    let info = node.wait(&id);
    assert_eq!((info.status, info.source), (Some(killed_by(9)), Some(Source::Waited)));
    node.wait_state(&id, State::Stopped);
    node.finish();
}

#[test]
fn somebody_deleted_it_while_nobody_listened() {
    if skipped() {
        return;
    }
    let mut node = Node::bare();
    let id = node.id("a");
    let launched = node.shim("run", &id, &Bundle::new(&node, "a").sh("exit 7").write());
    wait_for("the record", LONG, || node.record(&id).is_some());
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    let _ = run(&mut node.runc("delete", &[id.as_str()])).ok();
    node.start_daemon();
    let info = node.wait_state(&id, State::Stopped);
    assert_eq!((info.status, info.in_the_way), (Some(ExitStatus::Code(7)), None));
    node.finish();
}

/// What is needed for cleaning up was kept before the container was there (I4).
#[test]
fn its_bundle_is_gone() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sleeping().write();
    node.run(&id, &bundle);
    fs::remove_dir_all(&bundle).unwrap();
    node.kill(&id, 9);
    assert_eq!(node.wait(&id).status, Some(killed_by(9)));
    node.wait_state(&id, State::Stopped);
    node.finish();
}

/// The runtime is replaced by an upgrade and away for a moment.
#[test]
fn its_runtime_is_gone_for_a_while() {
    if skipped() {
        return;
    }
    let config = "[exit]\nbackoff_first = \"300ms\"\nbackoff_max = \"1s\"\n".into();
    let node = Node::with(Options { config, ..Options::default() });
    let id = node.id("a");
    let mut request = node.launch_request(&id, &Bundle::new(&node, "a").sleeping().write(), Mode::Run);
    request.runtime = node.runtime_but("upgraded", "nothing", "true");
    let program = request.runtime.program.clone();
    node.launch(request).unwrap();
    let away = program.with_extension("away");
    fs::rename(&program, &away).unwrap();
    node.kill(&id, 9);
    assert_eq!(node.wait(&id).status, Some(killed_by(9)), "the status does not wait for the runtime");
    let info = node.wait_state(&id, State::Gc);
    assert!(info.in_the_way.unwrap().contains("upgraded"), "it says what is missing");
    fs::rename(&away, &program).unwrap();
    node.wait_state(&id, State::Stopped);
    node.finish();
}

#[test]
fn many_stop_and_remove_it_at_once() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").host_pids().no_core_dumps().sleeping().write();
    for _ in 0..3 {
        node.run(&id, &bundle);
        let all = |request: Request| {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| node.ask(&request))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
            })
        };
        for answer in all(Request::Stop { id: id.clone(), signal: 15, timeout_ms: 5000 }) {
            match answer {
                Ok(Reply::Container(info)) => assert_eq!(info.status, Some(killed_by(15))),
                Err(error) if matches!(error.code, ErrorCode::Busy | ErrorCode::AlreadyStopped) => {}
                other => panic!("{other:?}"),
            }
        }
        let answers = all(Request::Remove { id: id.clone(), force: true });
        assert!(answers.iter().any(Result::is_ok), "{answers:?}");
        for error in answers.into_iter().filter_map(Result::err) {
            let known = [ErrorCode::NoSuchContainer, ErrorCode::Busy, ErrorCode::InGc];
            assert!(known.contains(&error.code), "{error:?}");
        }
        assert_eq!(node.list(true), []);
    }
    node.finish();
}

/// One is removed by force while it is created, in every moment of that.
#[test]
fn it_is_removed_while_it_is_launched() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for round in 0..8 {
        let id = node.id(&round.to_string());
        let bundle = Bundle::new(&node, &round.to_string()).sleeping().write();
        std::thread::scope(|scope| {
            let launch = scope.spawn(|| node.launch(node.launch_request(&id, &bundle, Mode::Run)));
            sexton_tests::wait::observe(std::time::Duration::from_millis(7 * round));
            // Whatever it answers: it is one thing or the other afterwards.
            let _ = node.remove(&id, true);
            let _ = launch.join().unwrap();
        });
        if node.list(true).iter().any(|info| info.id == id) {
            wait_for("the removal", LONG, || node.remove(&id, true).is_ok());
        }
        node.assert_clean();
    }
    node.finish();
}
