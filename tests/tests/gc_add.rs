//! `sexton gc add`: what some other engine left behind, here plain runc, is cleaned as if it were ours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{ContainerId, ProcessIdentity, gc::GcOrigin, wire::ErrorCode};
use sexton_tests::{
    bundle::Bundle,
    leftovers, needs,
    node::Node,
    proc,
    registered::{Registered, Sleeper},
    wait::{LONG, wait_for},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Runs it as somebody who knows nothing of Sexton would; its init.
fn runc_run(node: &Node, id: &ContainerId, bundle: &Path) -> ProcessIdentity {
    let mut run = node.runc("run", &["--detach", "--bundle"]);
    run.arg(bundle).arg(id.as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(run.status().unwrap().success(), "{run:?}");
    let state = sexton_tests::run(&mut node.runc("state", &[id.as_str()])).ok().json();
    ProcessIdentity::of(u32::try_from(state["pid"].as_u64().unwrap()).unwrap()).unwrap()
}

fn runtime_state(node: &Node, id: &ContainerId) -> bool {
    node.runtime_root().join(id.as_str()).exists()
}

#[test]
fn what_lives_is_killed_and_everything_goes_durably() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("c");
    let init = runc_run(&node, &id, &Bundle::new(&node, "b").sleeping().write());
    let registered = Registered::new(node.dir().join("registered"));
    let holder = registered.holder();
    let words: Vec<String> = ["gc", "add", id.as_str(), "--runtime-root"].map(str::to_owned).into();
    let root = vec![node.runtime_root().display().to_string(), "--pid".into(), init.pid.to_string()];
    let added = node.sexton(&[words, root, registered.words()].concat()).ok();
    assert_eq!(added.stdout.trim(), id.as_str());
    assert!(node.layout().gc_entry(&id).exists(), "durable when it is answered");
    let before = node.wait_gc(&id);
    assert_eq!(before.origin, GcOrigin::Added);
    let is_gone = || proc::is_dead(init.pid) && !runtime_state(&node, &id);
    wait_for("what nobody holds to be gone", LONG, is_gone);
    node.kill_daemon();
    let written = node.gc_entry(&id);
    node.start_daemon();
    let after = node.wait_gc(&id);
    assert_eq!((after.since, after.generation), (before.since, before.generation));
    wait_for("another attempt", LONG, || node.wait_gc(&id).attempts > written.attempts);
    drop(holder);
    node.wait_no_gc();
    registered.is_clean(Some("")).unwrap();
    node.finish();
}

#[test]
fn the_dead_with_state_and_the_dead_with_processes() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let (dead, leaky) = (node.id("dead"), node.id("leaky"));
    let init = runc_run(&node, &dead, &Bundle::new(&node, "dead").sleeping().write());
    proc::kill(init.pid);
    let share = node.dir().join("share");
    fs::create_dir(&share).unwrap();
    let script = "sleep 100000 & echo $! > /gate/pid; wait";
    let bundle = Bundle::new(&node, "leaky").host_pids().bind(&share, "/gate").sh(script).write();
    let leaking = runc_run(&node, &leaky, &bundle);
    let noted = || fs::read_to_string(share.join("pid")).ok()?.trim().parse::<u32>().ok();
    wait_for("a second process", LONG, || noted().is_some());
    proc::kill(leaking.pid);
    wait_for("their ends", LONG, || proc::is_dead(init.pid) && proc::is_dead(leaking.pid));
    let second = ProcessIdentity::of(noted().unwrap()).unwrap();
    assert!(!proc::is_dead(second.pid), "it outlives its init");
    for id in [&dead, &leaky] {
        assert!(runtime_state(&node, id));
        node.gc_add(node.gc_add_request(id)).unwrap();
    }
    node.wait_no_gc();
    assert!(!runtime_state(&node, &dead) && !runtime_state(&node, &leaky));
    assert!(proc::is_dead(second.pid));
    node.finish();
}

#[test]
fn what_makes_no_sense_is_refused() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let (own, id) = (node.id("own"), node.id("c"));
    let launched = node.run(&own, &Bundle::new(&node, "b").sleeping().write());
    let refused = |request, code: ErrorCode, word: &str| {
        let error = node.gc_add(request).unwrap_err();
        assert!(error.code == code && error.message.contains(word), "{error:?}");
    };
    refused(node.gc_add_request(&own), ErrorCode::AlreadyExists, "Sexton's own");
    let base = || node.gc_add_request(&id);
    let with = |change: &dyn Fn(&mut sexton_common::wire::GcAddRequest)| {
        let mut request = base();
        change(&mut request);
        request
    };
    refused(with(&|r| r.pids = vec![1]), ErrorCode::Invalid, "1 cannot be");
    refused(with(&|r| r.pids = vec![0]), ErrorCode::Invalid, "0 cannot be");
    refused(with(&|r| r.pids = vec![u32::MAX]), ErrorCode::Invalid, "cannot be");
    refused(with(&|r| r.bundle = Some("b".into())), ErrorCode::Invalid, "absolute");
    refused(with(&|r| r.cleanup.paths = vec!["x".into()]), ErrorCode::Invalid, "absolute");
    refused(with(&|r| r.cleanup.mounts = vec!["/etc".into()]), ErrorCode::Invalid, "top level");
    refused(with(&|r| r.cleanup.paths = vec![node.layout().state().into()]), ErrorCode::Invalid, "Sexton's own");
    refused(with(&|r| r.runtime.program = "no-such-runtime".into()), ErrorCode::Invalid, "no-such-runtime");
    refused(with(&|r| r.pids = vec![launched.pid]), ErrorCode::Invalid, own.as_str());
    refused(with(&|r| r.pids = vec![launched.shim_pid]), ErrorCode::Invalid, own.as_str());
    assert!(!proc::is_dead(launched.pid) && !proc::is_dead(launched.shim_pid));
    assert_eq!(leftovers::entries(&node.layout().gc()), Vec::<std::path::PathBuf>::new());
    // It was there a moment ago, perhaps: there is nothing to do.
    node.gc_add(with(&|r| r.pids = vec![4_194_303])).unwrap();
    node.wait_no_gc();
    node.kill(&own, 9);
    node.finish();
}

/// A cgroup of the test's own in a hierarchy, with a process in it; removed when it is dropped.
struct Shared(std::path::PathBuf, Sleeper);

impl Shared {
    fn new(name: &str) -> Self {
        let v1 = Path::new("/sys/fs/cgroup/pids");
        let dir = if v1.is_dir() { v1 } else { Path::new("/sys/fs/cgroup") }.join(name);
        fs::create_dir(&dir).unwrap();
        Self(dir, Sleeper::start(Path::new("/")))
    }

    fn take_in(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.1 = Sleeper::start(Path::new("/"));
        wait_for("an empty cgroup", LONG, || fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}

#[test]
fn whoever_shares_a_cgroup_with_it_lives() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("c");
    // Names that have the container's in them, and are somebody else's.
    for name in [format!("{id}ousins"), format!("my{id}"), format!("{}-session.scope", node.id("c"))] {
        let mut shared = Shared::new(&name);
        shared.take_in(shared.1.pid());
        let mut meant = Sleeper::start(Path::new("/"));
        shared.take_in(meant.pid());
        let mut request = node.gc_add_request(&id);
        request.pids = vec![meant.pid()];
        node.gc_add(request).unwrap();
        wait_for("its end", LONG, || !meant.lives());
        node.wait_no_gc();
        assert!(shared.1.lives(), "a stranger in {name} was killed");
    }
    // Those of the cgroup that bears its name are its own.
    let mut shared = Shared::new(id.as_str());
    shared.take_in(shared.1.pid());
    let meant = Sleeper::start(Path::new("/"));
    shared.take_in(meant.pid());
    let mut request = node.gc_add_request(&id);
    request.pids = vec![meant.pid()];
    node.gc_add(request).unwrap();
    wait_for("the end of both", LONG, || !shared.1.lives());
    node.wait_no_gc();
    drop(shared);
    node.finish();
}

#[test]
fn added_again_it_is_one_entry_that_has_both_and_never_more_than_a_fact_can_hold() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("c");
    let registered = Registered::new(node.dir().join("registered"));
    let holder = registered.holder();
    let mut request = node.gc_add_request(&id);
    request.cleanup = registered.cleanup();
    node.gc_add(request.clone()).unwrap();
    let first = node.wait_gc(&id);
    node.gc_add(request).unwrap();
    let dir = node.dir().join("many");
    fs::create_dir(&dir).unwrap();
    let mut made = Vec::new();
    let refused = (0..64).find_map(|round| {
        let mut request = node.gc_add_request(&id);
        let names = (0..60).map(|n| dir.join(format!("{round}-{n}-{}", "x".repeat(200))));
        request.cleanup.paths = names.collect();
        request.cleanup.paths.iter().for_each(|path| fs::write(path, "").unwrap());
        let answer = node.gc_add(request.clone());
        if answer.is_ok() {
            made.extend(request.cleanup.paths);
        }
        answer.err()
    });
    let refused = refused.expect("a bound");
    assert_eq!(refused.code, ErrorCode::Invalid, "{refused:?}");
    assert!(refused.message.contains("sexton gc"), "and what to do about it: {refused:?}");
    assert!(!made.is_empty());
    let entries = node.gc_list();
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!((entries[0].since, entries[0].generation), (first.since, first.generation));
    assert_eq!(leftovers::entries(&node.layout().gc()).len(), 1);
    node.kill_daemon();
    node.start_daemon();
    assert!(node.wait_gc(&id).since == first.since, "it is still what can be read");
    drop(holder);
    node.wait_no_gc();
    registered.is_clean(Some("")).unwrap();
    assert!(made.iter().all(|path| !path.exists()), "everything that was accepted has gone");
    let _ = Command::new("rm").arg("-r").arg(&dir).status();
    node.finish();
}

#[test]
fn what_is_added_while_it_becomes_clean_is_cleaned_too() {
    if needs::skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("c");
    let dir = node.dir().join("files");
    fs::create_dir(&dir).unwrap();
    let (adders, each) = (4, 50);
    std::thread::scope(|scope| {
        for adder in 0..adders {
            let (node, id, dir) = (&node, &id, &dir);
            scope.spawn(move || {
                for n in 0..each {
                    let file = dir.join(format!("{adder}-{n}"));
                    fs::write(&file, "").unwrap();
                    let mut request = node.gc_add_request(id);
                    request.cleanup.paths = vec![file];
                    node.gc_add(request).unwrap();
                }
            });
        }
    });
    node.wait_no_gc();
    assert_eq!(leftovers::entries(&dir), Vec::<std::path::PathBuf>::new(), "answered, and not cleaned");
    node.finish();
}
