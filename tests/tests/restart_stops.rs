//! A user's stop goes before every policy, and outlives the collector.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    instance::Next,
    wire::{ErrorCode, EventKind, State},
};
use sexton_tests::{
    LONG, Node,
    node_api::killed_by,
    proc,
    restarts::{Comer, QUICK, SLOW, generations, told},
    skipped, wait_for,
};

const SLEEPS: &str = "exec /bin/sleep 100000";

/// So much time passes that whatever is due has come: another one, with the same delays, comes back some times.
fn time_passes(node: &Node, name: &str) {
    let witness = Comer::new(node, name, "exit 1");
    witness.launch(node, "on-failure:4");
    witness.wait_runs(5);
    node.wait_rest(&witness.id);
    node.remove(&witness.id, false).unwrap();
}

#[test]
fn it_is_durable_and_only_always_comes_back_with_the_next_collector() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(QUICK);
    let all = ["always", "unless-stopped", "on-failure", "on-failure:5", "on-reboot"].map(|policy| {
        let comer = Comer::new(&node, &policy.replace(':', "-"), SLEEPS);
        comer.launch(&node, policy);
        comer
    });
    for comer in &all {
        comer.wait_runs(1);
        let info = node.stop(&comer.id).unwrap();
        assert_eq!(info.status, Some(killed_by(15)), "{info:?}");
        assert!(node.instance(&comer.id).unwrap().stopped_by_user, "durable once it is answered");
    }
    node.kill_daemon();
    node.start_daemon();
    let [always, others @ ..] = &all;
    always.wait_runs(2);
    node.wait_state(&always.id, State::Running);
    assert!(!node.restart_of(&always.id).stopped_by_user);
    time_passes(&node, "w1");
    node.terminate_daemon();
    node.start_daemon();
    time_passes(&node, "w2");
    assert_eq!(always.runs(), 2, "it runs: it is not started again");
    for comer in others {
        let info = node.wait_rest(&comer.id);
        assert!(info.restart.unwrap().stopped_by_user);
        assert_eq!(comer.runs(), 1, "{}", comer.id);
    }
    node.finish_all();
}

#[test]
fn signals_that_stop_and_signals_that_do_not() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    let comer = Comer::new(&node, "c", SLEEPS);
    comer.launch(&node, "unless-stopped");
    for (runs, signal) in [(1, 1), (2, 10), (3, 2), (4, 3)] {
        comer.wait_runs(runs);
        node.wait_state(&comer.id, State::Running);
        node.kill(&comer.id, signal);
        comer.wait_runs(runs + 1);
        assert!(!node.restart_of(&comer.id).stopped_by_user, "signal {signal}");
    }
    for (runs, signal) in [(5, 15), (6, 9)] {
        node.wait_state(&comer.id, State::Running);
        node.kill(&comer.id, signal);
        let info = node.wait_rest(&comer.id);
        assert_eq!(info.status, Some(killed_by(u8::try_from(signal).unwrap())));
        assert!(info.restart.unwrap().stopped_by_user, "signal {signal}");
        time_passes(&node, &format!("w{signal}"));
        assert_eq!(comer.runs(), runs, "signal {signal}");
        let refused = node.ask(&sexton_common::wire::Request::Kill { id: comer.id.clone(), signal }).unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotRunning, "{refused}");
        if signal == 15 {
            node.start(&comer.id).unwrap();
            comer.wait_runs(runs + 1);
            assert!(!node.restart_of(&comer.id).stopped_by_user);
        }
    }
    // By hand, from outside: nobody's stop. A run that dies before it has counted itself would be missing.
    node.start(&comer.id).unwrap();
    proc::kill(node.wait_stays(&comer.id).pid.unwrap());
    comer.wait_runs(8);
    node.finish_all();
}

#[test]
fn during_back_off_it_answers_at_once_and_nothing_follows() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(SLOW);
    let events = node.subscribe();
    for (name, policy) in [("a", "always"), ("u", "unless-stopped"), ("f", "on-failure:3")] {
        let comer = Comer::new(&node, name, "exit 1");
        comer.launch(&node, policy);
        node.wait_state(&comer.id, State::Restarting);
        let rm = node.remove(&comer.id, false).unwrap_err();
        assert_eq!(rm.code, ErrorCode::Running, "{rm}");
        let info = node.stop(&comer.id).unwrap();
        let restart = info.restart.clone().unwrap();
        assert!(info.state == State::Stopped && restart.stopped_by_user && restart.next_start.is_none(), "{info:?}");
        assert!(matches!(node.instance(&comer.id).unwrap().next, Next::Nothing { .. }));
        assert_eq!(node.stop(&comer.id).unwrap_err().code, ErrorCode::AlreadyStopped);
        assert_eq!(generations(&told(&node, &events, &comer.id), EventKind::Started).len(), 1);
    }
    drop(events);
    node.kill_daemon();
    node.start_daemon();
    let id = node.id("a");
    // The delay is over for `always`: whoever starts the collector wants it back.
    node.wait_shown(&id, "runs twice", |info| info.restart.as_ref().is_some_and(|restart| restart.last.is_some()));
    for name in ["u", "f"] {
        assert!(node.wait_rest(&node.id(name)).restart.unwrap().stopped_by_user);
    }
    node.finish_all();
}

#[test]
fn while_the_next_run_is_being_created() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    let events = node.subscribe();
    let (hold, at) = (node.dir().join("hold"), node.dir().join("at"));
    let slow = format!("while test -e {}; do : > {}; sleep 0.01; done", hold.display(), at.display());
    for (name, remove) in [("stop", false), ("rm", true)] {
        let comer = Comer::new(&node, name, "until test -e /gate/end; do /bin/usleep 5000; done; exit 1");
        let mut request = comer.request(&node, "always");
        request.runtime = node.runtime_but(&format!("slow-{name}"), "create", &slow);
        node.launch(request).unwrap();
        let _ = std::fs::remove_file(&at);
        std::fs::write(&hold, "").unwrap();
        comer.put("end", "");
        wait_for("the second run's creation", LONG, || at.exists());
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| match remove {
                true => node.remove(&comer.id, true),
                false => node.stop(&comer.id).map(drop),
            });
            wait_for("a durable stop", LONG, || node.instance(&comer.id).unwrap().stopped_by_user);
            std::fs::remove_file(&hold).unwrap();
            asked.join().unwrap().unwrap();
        });
        let runs = comer.runs();
        assert!(runs <= 2, "{runs}");
        time_passes(&node, &format!("w-{name}"));
        assert_eq!(comer.runs(), runs, "nothing follows");
        let exits = generations(&told(&node, &events, &comer.id), EventKind::Exited).len();
        assert_eq!(exits, 2, "the run that was begun is told of too");
        if remove {
            assert!(node.instance(&comer.id).is_none() && node.list(true).iter().all(|info| info.id != comer.id));
        } else {
            assert!(node.wait_rest(&comer.id).restart.unwrap().stopped_by_user);
        }
    }
    drop(events);
    node.finish_all();
}

/// What is asked while it ends, and before that was decided upon, is a stop as well.
#[test]
fn always_comes_back_although_the_collector_was_killed_before_it_had_decided() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(QUICK);
    let comer = Comer::new(&node, "c", "trap : TERM; : > /gate/deaf; while :; do /bin/usleep 5000; done");
    let launched = comer.launch(&node, "always");
    wait_for("it to be deaf", LONG, || comer.share().join("deaf").exists());
    // It takes that for nothing; the flag is there all the same, as with moby.
    node.kill(&comer.id, 15);
    assert!(node.instance(&comer.id).unwrap().stopped_by_user);
    node.kill_daemon();
    proc::kill(launched.pid);
    wait_for("its record", LONG, || node.record(&comer.id).is_some());
    node.start_daemon();
    comer.wait_runs(2);
    assert!(!node.restart_of(&comer.id).stopped_by_user);
    node.finish_all();
}
