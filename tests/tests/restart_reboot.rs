//! What comes back after a reboot: another boot id, and an emptied state directory.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ExitStatus, Launch, UnknownReason, durable,
    identity::BootId,
    instance::Instance,
    wire::{ErrorCode, EventKind, Launched, State},
};
use sexton_tests::{
    LONG, Node, leftovers, proc,
    restarts::{Comer, QUICK, generations, told},
    skipped,
    wait::wait_some,
    wait_for,
};
use std::{fs, path::PathBuf};

const SLEEPS: &str = "test -e /gate/end && exit 3; : > /gate/stays; exec /bin/sleep 100000";

fn node() -> Node {
    Node::configured(&format!("{QUICK}[exit]\nbackoff_first = \"100ms\"\nbackoff_max = \"200ms\"\n"))
}

/// The machine goes down, and comes up with an empty state directory: what there is is of an earlier boot.
fn reboot(node: &mut Node, running: &[Launched]) {
    node.kill_daemon();
    for launched in running {
        proc::kill_shim(launched);
        proc::kill(launched.pid);
        wait_for("its end", LONG, || proc::is_gone(launched.pid) && proc::is_dead(launched.shim_pid));
        let _ = sexton_tests::run(&mut node.runc("delete", &["--force", launched.id.as_str()])).ok();
    }
    fs::remove_dir_all(node.layout().state()).unwrap();
    let old: BootId = "01234567-89ab-cdef-0123-456789abcdef".parse().unwrap();
    for path in leftovers::entries(&node.layout().instances()) {
        if let Some(instance) = durable::read::<Instance>(&path).unwrap() {
            durable::write(&path, &Instance { boot: old, ..instance }).unwrap();
        }
    }
    for dir in leftovers::entries(&node.layout().lasting()) {
        let path = dir.join("launch");
        let mut launch: Launch = durable::read(&path).unwrap().unwrap();
        launch.shim.boot_id = old;
        durable::write(&path, &launch).unwrap();
    }
    node.start_daemon();
}

fn running(node: &Node) -> Vec<Launched> {
    let all = node.list(true).into_iter().filter(|info| info.state == State::Running);
    all.map(|info| Launched {
        id: info.id,
        generation: info.generation,
        pid: info.pid.unwrap(),
        shim_pid: info.shim_pid.unwrap(),
        exit_fifo: PathBuf::new(),
        exit_file: PathBuf::new(),
    })
    .collect()
}

#[test]
fn each_policy_after_it_ran_after_it_ended_and_after_it_was_stopped() {
    if skipped() {
        return;
    }
    let mut node = node();
    let make = |policy: &str, what: &str| Comer::new(&node, &format!("{}-{what}", policy.replace(':', "-")), SLEEPS);
    let policies = ["no", "on-failure", "on-failure:1", "always", "unless-stopped", "on-reboot"];
    let all: Vec<_> = policies
        .into_iter()
        .flat_map(|policy| ["ran", "stopped", "ended"].map(|what| (policy, what, make(policy, what))))
        .collect();
    for (policy, what, comer) in &all {
        if *what == "ended" {
            // Those that come back for any end have not ended when the machine goes down.
            comer.put("end", "");
        }
        comer.launch(&node, policy);
        comer.wait_runs(1);
        if *what == "stopped" {
            node.stop(&comer.id).unwrap();
            node.wait_rest(&comer.id);
        }
    }
    // Those that have ended are at rest, or on and on.
    for (policy, what, comer) in &all {
        match (*policy, *what) {
            ("always" | "unless-stopped" | "on-failure", "ended") => {
                fs::remove_file(comer.share().join("end")).unwrap();
                wait_for("one that stays", LONG, || comer.share().join("stays").exists());
                node.wait_state(&comer.id, State::Running);
            }
            (_, "ended") => drop(node.wait_rest(&comer.id)),
            _ => {}
        }
    }
    let before: Vec<_> = all.iter().map(|(_, _, comer)| comer.runs()).collect();
    let down = running(&node);
    reboot(&mut node, &down);
    for ((policy, what, comer), before) in all.iter().zip(before) {
        let back = match (*policy, *what) {
            ("no", _) => false,
            ("always", _) => true,
            (_, "stopped") => false,
            ("unless-stopped", _) => true,
            (_, "ran") => true,
            // It did not run any more; N was used up; `on-reboot` was not running.
            ("on-failure:1" | "on-reboot", "ended") => false,
            (_, "ended") => true,
            other => panic!("{other:?}"),
        };
        let name = (*policy, *what);
        if !back {
            assert_eq!(comer.runs(), before, "{name:?} is back");
            match node.list(true).into_iter().find(|info| info.id == comer.id) {
                None => assert_eq!(*policy, "no", "{name:?} is not listed"),
                Some(info) => {
                    assert_eq!((info.state, info.pid), (State::Stopped, None), "{name:?}: {info:?}");
                    assert!(info.status.is_some() && *policy != "no", "{name:?}: {info:?}");
                }
            }
            continue;
        }
        comer.wait_runs(before + 1);
        let info = node.wait_shown(&comer.id, "runs", |info| {
            info.state == State::Running && info.restart.as_ref().is_some_and(|restart| restart.next_start.is_none())
        });
        let restart = info.restart.unwrap();
        assert!(!restart.stopped_by_user, "{name:?}: {restart:?}");
        let lost = restart.last.unwrap().status;
        if *what == "ran" {
            let reason = UnknownReason::ShimAndCollectorKilled;
            assert_eq!(lost, ExitStatus::Unknown { reason }, "{name:?}");
            assert_eq!(restart.count, u32::from(policy.starts_with("on-failure")), "{name:?}");
        }
        assert_eq!(comer.runs(), before + 1, "{name:?}");
    }
    // The second reboot in a row is the second unknown end, and uses up N.
    let down = running(&node);
    reboot(&mut node, &down);
    let used_up = &all.iter().find(|(policy, what, _)| (*policy, *what) == ("on-failure:1", "ran")).unwrap().2;
    assert_eq!((node.wait_rest(&used_up.id).restart.unwrap().count, used_up.runs()), (1, 2));
    let again = &all.iter().find(|(policy, what, _)| (*policy, *what) == ("on-failure", "ran")).unwrap().2;
    again.wait_runs(3);
    assert_eq!(node.instance(&again.id).unwrap().unknowns, 2);
    for _ in 0..2 {
        node.kill_daemon();
        node.start_daemon();
        assert_eq!((node.wait_rest(&used_up.id).restart.unwrap().count, used_up.runs()), (1, 2));
    }
    node.finish_all();
}

#[test]
fn what_was_registered_is_cleaned_before_the_new_start() {
    if skipped() {
        return;
    }
    let mut node = node();
    let (gate, said) = (node.dir().join("gate"), node.dir().join("said"));
    let comer = Comer::new(&node, "c", "test -e /gate/cleaned && : > /gate/after; exec /bin/sleep 100000");
    let mut request = comer.request(&node, "always");
    let done = comer.share().join("cleaned");
    let script = format!("echo one >> {}; test -e {} && : > {}", said.display(), gate.display(), done.display());
    request.cleanup.exec = vec![script];
    let launched = node.launch(request).unwrap();
    comer.wait_runs(1);
    let events_before = comer.runs();
    reboot(&mut node, &[launched]);
    let entry = wait_some("an entry", LONG, || node.gc_list().into_iter().find(|entry| entry.id == comer.id));
    assert!(entry.earlier_boot, "{entry:?}");
    wait_for("a second attempt", LONG, || fs::read_to_string(&said).unwrap_or_default().lines().count() >= 2);
    let info = node.wait_shown(&comer.id, "waits", |info| info.restart.is_some());
    assert_eq!(info.state, State::Restarting, "{info:?}");
    assert_eq!(comer.runs(), events_before, "it was not clean");
    let refused = node.start(&comer.id).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InGc, "{refused}");
    let events = node.subscribe();
    fs::write(&gate, "").unwrap();
    // Not cancelled by the refusal.
    comer.wait_runs(2);
    wait_for("its word", LONG, || comer.share().join("after").exists());
    assert_eq!(generations(&told(&node, &events, &comer.id), EventKind::GaveUp).len(), 0);
    drop(events);
    fs::remove_file(&done).unwrap();
    node.remove(&comer.id, true).unwrap();
    node.wait_no_gc();
    assert!(leftovers::entries(&node.layout().lasting()).is_empty());
    node.finish_all();
}

/// A name that somebody may start again is taken, though it has no run.
#[test]
fn a_name_without_a_run_is_taken() {
    if skipped() {
        return;
    }
    let mut node = node();
    let comer = Comer::new(&node, "c", SLEEPS);
    comer.launch(&node, "unless-stopped");
    comer.wait_runs(1);
    node.stop(&comer.id).unwrap();
    node.wait_rest(&comer.id);
    reboot(&mut node, &[]);
    assert_eq!(node.wait_rest(&comer.id).status, Some(sexton_tests::node_api::killed_by(15)));
    let refused = node.launch(comer.request(&node, "no")).unwrap_err();
    assert!(refused.code == ErrorCode::AlreadyExists && refused.message.contains("rm -f"), "{refused}");
    // An engine that calls the shim itself has begun anew: it is as that says.
    let other = Comer::new(&node, "other", "test -e /gate/end && exit 3; exec /bin/sleep 100000");
    let mut shim = node.shim_command("run", comer.id.as_str(), &other.bundle);
    let launched = sexton_tests::shim::launched(&sexton_tests::run(shim.args(["--restart", "on-failure:2"])).ok());
    let info = node.wait_shown(&comer.id, "is the new one", |info| info.generation == launched.generation);
    let restart = info.restart.unwrap();
    assert_eq!(info.bundle, other.bundle, "{restart:?}");
    assert!(restart.policy.to_string() == "on-failure:2" && !restart.stopped_by_user, "{restart:?}");
    node.wait_stays(&comer.id);
    other.put("end", "");
    node.kill(&comer.id, 1);
    other.wait_runs(3);
    assert_eq!(node.wait_rest(&comer.id).restart.unwrap().count, 2);
    assert_eq!((comer.runs(), other.runs()), (1, 3));
    node.finish_all();
}
