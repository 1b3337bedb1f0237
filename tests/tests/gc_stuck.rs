//! Containers whose processes do not die: in GC until they do, with the reason, and clean at once then.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, Source,
    gc::Step,
    wire::{ErrorCode, EventKind, Launched, Request, State},
};
use sexton_tests::{
    Bundle, LONG, Node,
    gc::Freezer,
    node_api::killed_by,
    proc, run, skip, skipped, skipped_without_info_exit,
    wait::{observe, wait_some},
    wait_for,
};
use std::{path::PathBuf, time::Duration};

/// A bundle that sleeps below the freezer, in a cgroup of its own.
fn sleeper(node: &Node, freezer: &Freezer, id: &ContainerId) -> PathBuf {
    let path = freezer.below(id);
    Bundle::new(node, id.as_str()).sleeping().with(|config| config["linux"]["cgroupsPath"] = path.into()).write()
}

fn sleeping(node: &Node, freezer: &Freezer, name: &str) -> (ContainerId, Launched) {
    let id = node.id(name);
    let launched = node.run(&id, &sleeper(node, freezer, &id));
    (id, launched)
}

fn freezer(node: &Node) -> Option<Freezer> {
    let freezer = Freezer::new(&format!("{}par", node.prefix()));
    if freezer.is_none() {
        skip("there is no v1 freezer");
    }
    freezer
}

#[track_caller]
fn was_killed(node: &Node, id: &ContainerId, source: Source) {
    let info = node.inspect(id);
    assert_eq!((info.status, info.source), (Some(killed_by(9)), Some(source)), "{info:?}");
}

/// Each attempt writes into its cgroups, and watches them (v2): that is no sign that somebody else has changed something.
#[test]
fn our_own_looks_lead_to_no_others() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let Some(freezer) = freezer(&node) else { return };
    let (id, _) = sleeping(&node, &freezer, "c");
    freezer.freeze(true);
    let _ = node.sexton(&["kill", id.as_str(), "KILL"]).ok();
    let before = node.wait_gc(&id).attempts;
    observe(Duration::from_secs(2));
    let after = node.wait_gc(&id).attempts;
    // What may have changed before it was watched is looked at once more.
    assert!(after <= before.max(1), "{before} attempts, then {after}, and the next one is due in a minute");
    freezer.freeze(false);
    node.wait_state(&id, State::Stopped);
    was_killed(&node, &id, Source::Waited);
    drop(freezer);
    node.finish();
}

#[test]
fn however_it_is_killed_thawing_a_frozen_ancestor_is_enough() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let Some(freezer) = freezer(&node) else { return };
    let events = node.subscribe();
    let all = ["raw", "kill", "stop", "rm"].map(|name| sleeping(&node, &freezer, name));
    let [(raw, raw_process), (kill, _), (stop, stop_process), (rm, _)] = &all;
    freezer.freeze(true);
    let (stopped, removed) = std::thread::scope(|scope| {
        let stopped = scope.spawn(|| node.sexton(&["stop", "-t", "0", stop.as_str()]));
        let removed = scope.spawn(|| node.remove(rm, true));
        let _ = node.sexton(&["kill", kill.as_str(), "KILL"]).ok();
        // Nobody has to ask for those that Sexton killed.
        for id in [kill, stop, rm] {
            let (_, event) = events.wait(id, EventKind::Delayed);
            assert_eq!((event.container.state, event.container.status), (State::Gc, None));
        }
        proc::kill(raw_process.pid);
        (stopped.join().unwrap(), removed.join().unwrap())
    });
    let named = format!("process {} (sleep) is frozen by cgroup {}", stop_process.pid, freezer.dir().display());
    assert!(stopped.code() != 0 && stopped.stderr.contains(&named), "{stopped:?}");
    assert_eq!(removed.map_err(|e| e.code), Err(ErrorCode::TimedOut));
    for (id, launched) in &all {
        let entry = node.wait_gc(id);
        assert_eq!(entry.step, Step::Processes, "{entry:?}");
        let why = node.gc_why(id).unwrap();
        let holder = &why.obstacles[0].holders[0];
        assert_eq!((holder.pid, holder.frozen_by.as_deref()), (launched.pid, Some(&*freezer.dir())), "{why:?}");
        assert!(node.layout().gc_entry(id).exists(), "durable");
        assert!(node.record(id).is_none() && node.inspect(id).status.is_none(), "it has not ended");
    }
    // What an engine would do fails, and says it after ten seconds only.
    let forced = run(&mut node.runc("delete", &["--force", raw.as_str()]));
    assert!(!forced.status.success(), "{forced:?}");
    let ids: Vec<_> = all.iter().map(|(id, _)| id).collect();
    node.clean_after(&events, &ids[..3], || freezer.freeze(false));
    events.wait(rm, EventKind::Removed);
    for id in [raw, kill, stop] {
        was_killed(&node, id, Source::Waited);
    }
    drop((freezer, events));
    node.finish();
}

#[test]
fn what_a_person_reads_of_it_and_what_is_refused() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let Some(freezer) = freezer(&node) else { return };
    let events = node.subscribe();
    let (id, launched) = sleeping(&node, &freezer, "c");
    freezer.freeze(true);
    node.kill(&id, 9);
    events.wait(&id, EventKind::Delayed);
    let (pid, dir) = (launched.pid.to_string(), freezer.dir().display().to_string());
    let says = |args: &[&str], words: &[&str]| {
        let said = node.sexton(args).ok().stdout;
        words.iter().for_each(|word| assert!(said.contains(word), "{word:?} is not in {args:?}:\n{said}"));
    };
    says(&["ps"], &[id.as_str(), "gc"]);
    assert_eq!(node.sexton(&["ps", "--json"]).ok().json()[0]["state"], "gc");
    says(&["inspect", id.as_str()], &["state            gc", &pid, &dir]);
    says(&["gc", "ls"], &[id.as_str(), "processes", &pid, &dir, "echo THAWED"]);
    let list = node.sexton(&["gc", "ls", "--json"]).ok().json();
    assert_eq!(
        (&list[0]["id"], &list[0]["step"], list.as_array().unwrap().len()),
        (&id.as_str().into(), &"processes".into(), 1)
    );
    says(&["gc", "why", id.as_str()], &[&format!("pid {pid} (sleep)"), &format!("frozen by   {dir}: thaw it")]);
    let why = node.sexton(&["gc", "why", id.as_str(), "--json"]).ok().json();
    let holder = &why["obstacles"][0]["holders"][0];
    assert_eq!((&holder["pid"], &holder["frozen_by"]), (&launched.pid.into(), &dir.as_str().into()), "{why}");
    assert_eq!(node.sexton(&["inspect", "--node", "--json"]).ok().json()["gc"]["entries"], 1);

    let refused = |args: &[&str]| {
        let said = node.sexton(args);
        assert!(said.code() != 0 && said.stderr.contains("in GC") && said.stderr.contains(&dir), "{said:?}");
    };
    refused(&["start", id.as_str()]);
    refused(&["rm", id.as_str()]);
    refused(&["run", id.as_str(), "--bundle", node.dir().join("bundles").join(id.as_str()).to_str().unwrap()]);
    let code = |request: Request| node.ask(&request).unwrap_err().code;
    assert_eq!(code(Request::Start { id: id.clone() }), ErrorCode::InGc);
    assert_eq!(code(Request::Remove { id: id.clone(), force: false }), ErrorCode::InGc);
    let retried = node.sexton(&["gc", "retry", id.as_str()]);
    assert!(retried.code() == 1 && retried.stdout.contains(&dir), "{retried:?}");

    node.clean_after(&events, &[&id], || freezer.freeze(false));
    was_killed(&node, &id, Source::Waited);
    says(&["gc", "ls"], &["ID"]);
    assert_eq!(node.sexton(&["gc", "ls", "--json"]).ok().stdout.trim(), "[]");
    drop((freezer, events));
    node.finish();
}

/// The one that is frozen need not be the next above; and nobody else may thaw it.
#[test]
fn a_frozen_grandparent_is_named() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let Some(freezer) = freezer(&node) else { return };
    let events = node.subscribe();
    let id = node.id("c");
    let path = freezer.below(&"mid".parse().unwrap()) + "/" + id.as_str();
    let bundle = Bundle::new(&node, "b").sleeping().with(|config| config["linux"]["cgroupsPath"] = path.into()).write();
    let launched = node.run(&id, &bundle);
    freezer.freeze(true);
    proc::kill(launched.pid);
    node.wait_gc(&id);
    let holder = &node.gc_why(&id).unwrap().obstacles[0].holders[0];
    assert_eq!((holder.pid, holder.frozen_by.as_deref()), (launched.pid, Some(&*freezer.dir())));
    node.clean_after(&events, &[&id], || freezer.freeze(false));
    was_killed(&node, &id, Source::Waited);
    drop((freezer, events));
    node.finish();
}

/// Whoever killed it: Sexton thaws what is the container's own.
#[test]
fn its_own_freezer_is_thawed_for_it() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let Some(freezer) = freezer(&node) else { return };
    let events = node.subscribe();
    for way in ["raw", "kill", "stop"] {
        let (id, launched) = sleeping(&node, &freezer, way);
        let _ = run(&mut node.runc("pause", &[id.as_str()])).ok();
        match way {
            "raw" => {
                proc::kill(launched.pid);
                // Nobody tells of it: it is seen when somebody looks.
                assert_eq!(node.list(false).len(), 1);
            }
            "kill" => node.kill(&id, 9),
            _ => drop(node.sexton(&["stop", "-t", "0", id.as_str()]).ok()),
        }
        events.wait(&id, EventKind::Stopped);
        was_killed(&node, &id, Source::Waited);
    }
    drop((freezer, events));
    node.finish();
}

#[test]
fn it_stays_in_gc_over_the_collectors_death() {
    if skipped() {
        return;
    }
    let mut node = Node::patient();
    let Some(freezer) = freezer(&node) else { return };
    let (id, _) = sleeping(&node, &freezer, "c");
    let (away, _) = sleeping(&node, &freezer, "away");
    freezer.freeze(true);
    node.kill(&id, 9);
    node.kill(&away, 9);
    for id in [&id, &away] {
        node.wait_gc(id);
    }
    // The number of attempts is written when it has doubled.
    let before = wait_some("some attempts", LONG, || {
        node.ask(&Request::GcRetry { id: Some(id.clone()) }).unwrap();
        Some(node.wait_gc(&id)).filter(|entry| entry.attempts >= 4 && entry.next_try.is_some())
    });
    for _ in 0..2 {
        node.kill_daemon();
        node.start_daemon();
        wait_for("it is tried again", LONG, || node.gc_list().iter().any(|entry| entry.id == id && entry.attempts > 4));
        let after = node.wait_gc(&id);
        assert_eq!((after.since, after.generation, after.step), (before.since, before.generation, Step::Processes));
        assert_eq!(node.inspect(&id).state, State::Gc);
        node.wait_gc(&away);
        assert_eq!(node.gc_list().len(), 2, "each is there once");
    }
    let events = node.subscribe();
    node.clean_after(&events, &[&id, &away], || freezer.freeze(false));
    was_killed(&node, &id, Source::Waited);
    drop((freezer, events));
    node.finish();
}

/// What was in the way goes while nobody is there to see it.
#[test]
fn thawed_while_the_collector_is_away() {
    if skipped() {
        return;
    }
    let mut node = Node::patient();
    let Some(freezer) = freezer(&node) else { return };
    let (id, launched) = sleeping(&node, &freezer, "c");
    freezer.freeze(true);
    node.kill(&id, 9);
    node.wait_gc(&id);
    node.kill_daemon();
    freezer.freeze(false);
    wait_for("the shim leaves", LONG, || proc::is_dead(launched.shim_pid));
    node.start_daemon();
    node.wait_state(&id, State::Stopped);
    was_killed(&node, &id, Source::Waited);
    assert!(!node.layout().gc_entry(&id).exists() && node.gc_list().is_empty());
    drop(freezer);
    node.finish();
}

#[test]
fn one_without_its_shim_is_exact_too() {
    if skipped_without_info_exit() {
        return;
    }
    let node = Node::patient();
    let Some(freezer) = freezer(&node) else { return };
    let events = node.subscribe();
    let (id, launched) = sleeping(&node, &freezer, "c");
    proc::kill_shim(&launched);
    events.wait(&id, EventKind::Orphaned);
    freezer.freeze(true);
    proc::kill(launched.pid);
    node.wait_gc(&id);
    node.clean_after(&events, &[&id], || freezer.freeze(false));
    was_killed(&node, &id, Source::Pidfd);
    drop((freezer, events));
    node.finish();
}
