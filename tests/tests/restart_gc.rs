//! GC first: what is not clean is not started again, and is as soon as it is clean.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::wire::{ErrorCode, EventKind, State};
use sexton_tests::{
    LONG, Node,
    gc::Freezer,
    registered::Registered,
    restarts::{Comer, assert_told_once, told},
    skip, skipped,
    wait::wait_some,
    wait_for,
};
use std::{fs::File, io::Write, os::unix::fs::OpenOptionsExt};

/// Nothing is tried again in a test's time unless it is woken.
const PATIENT: &str =
    "[restart]\nfirst = \"20ms\"\nmax = \"80ms\"\n[exit]\nbackoff_first = \"10m\"\nbackoff_max = \"10m\"\n";

#[test]
fn a_busy_mount_is_waited_for_and_not_a_moment_longer() {
    if skipped() {
        return;
    }
    let node = Node::configured(PATIENT);
    let events = node.subscribe();
    let registered = Registered::new(node.dir().join("registered"));
    let comer =
        Comer::new(&node, "c", "test -e /gate/stay && exec /bin/sleep 100000; read code < /gate/in; exit $code");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        comer.share().join("in"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o600),
        0,
    )
    .unwrap();
    let mut request = comer.request(&node, "on-failure:3");
    request.cleanup = registered.cleanup();
    node.launch(request).unwrap();
    // Once it reads there it has looked whether it is to stay.
    let mut code = wait_some("the reader", LONG, || {
        let flags = rustix::fs::OFlags::NONBLOCK.bits().try_into().unwrap();
        File::options().write(true).custom_flags(flags).open(comer.share().join("in")).ok()
    });
    let holder = registered.holder();
    comer.put("stay", "");
    code.write_all(b"7\n").unwrap();
    node.wait_gc(&comer.id);
    // Decided long ago, and due: 20 ms.
    let info = node.wait_shown(&comer.id, "waits", |info| {
        info.restart.as_ref().is_some_and(|restart| restart.count == 1 && restart.next_start.is_some())
    });
    assert_eq!(info.state, State::Gc);
    assert!(info.in_the_way.is_some(), "{info:?}");
    for refused in [node.start(&comer.id).unwrap_err(), node.restart(&comer.id).unwrap_err()] {
        assert_eq!(refused.code, ErrorCode::InGc, "{refused}");
    }
    assert_eq!(comer.runs(), 1);
    let shown = node.restart_of(&comer.id);
    assert!(shown.count == 1 && shown.next_start.is_some() && !shown.stopped_by_user, "cancelled: {shown:?}");
    assert_eq!(node.instance(&comer.id).unwrap().count, 1);
    drop(holder);
    comer.wait_runs(2);
    let heard = told(&node, &events, &comer.id);
    let kinds: Vec<_> = heard.iter().map(|event| event.kind).collect();
    let place = |kind: EventKind| kinds.iter().position(|is| *is == kind).unwrap();
    let again = kinds.iter().rposition(|is| *is == EventKind::Created).unwrap();
    assert!(place(EventKind::Delayed) < place(EventKind::Stopped) && place(EventKind::Stopped) < again, "{kinds:?}");
    node.wait_shown(&comer.id, "runs", |info| info.state == State::Running);
    registered.make();
    node.stop(&comer.id).unwrap();
    node.wait_rest(&comer.id);
    assert_told_once(&told(&node, &events, &comer.id), 2);
    drop((events, registered));
    node.finish_all();
}

/// It was killed and does not die: it is not started beside itself, and comes back when it is gone.
#[test]
fn one_that_does_not_die_is_not_started_beside_itself() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(PATIENT);
    let Some(freezer) = Freezer::new(&format!("{}par", node.prefix())) else {
        skip("there is no v1 freezer");
        return;
    };
    let id = node.id("c");
    let path = freezer.below(&id);
    let comer = Comer::with(&node, "c", "exec /bin/sleep 100000", |bundle| {
        bundle.with(|config| config["linux"]["cgroupsPath"] = path.into())
    });
    let launched = comer.launch(&node, "always");
    comer.wait_runs(1);
    node.wait_state(&comer.id, State::Running);
    freezer.freeze(true);
    // By hand: nobody's stop.
    sexton_tests::proc::kill(launched.pid);
    node.wait_gc(&comer.id);
    let refused = node.restart(&comer.id).unwrap_err();
    assert!(matches!(refused.code, ErrorCode::InGc | ErrorCode::TimedOut), "{refused}");
    node.kill_daemon();
    node.start_daemon();
    node.wait_gc(&comer.id);
    assert_eq!(comer.runs(), 1);
    freezer.freeze(false);
    comer.wait_runs(2);
    node.wait_shown(&comer.id, "runs", |info| info.state == State::Running);
    // A stop while it is stuck holds.
    freezer.freeze(true);
    let stopped = std::thread::scope(|scope| {
        let asked = scope.spawn(|| node.stop(&comer.id));
        wait_for("a durable stop", LONG, || node.instance(&comer.id).unwrap().stopped_by_user);
        node.wait_gc(&comer.id);
        freezer.freeze(false);
        asked.join().unwrap()
    });
    assert!(stopped.is_ok() || stopped.as_ref().is_err_and(|e| e.code == ErrorCode::TimedOut), "{stopped:?}");
    assert!(node.wait_rest(&comer.id).restart.unwrap().stopped_by_user);
    assert_eq!(comer.runs(), 2);
    drop(freezer);
    node.finish_all();
}
