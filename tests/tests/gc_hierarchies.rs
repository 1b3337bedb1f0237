//! Cgroups of every layout: what the runtime does not know of in v1 and hybrid ones, and v2.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, Source,
    gc::Step,
    wire::{EventKind, State},
};
use sexton_tests::{
    Bundle, LONG, Node, Subscriber,
    gc::{Freezer, LoopDisk},
    in_private_pids, leftovers,
    node_api::killed_by,
    proc, skip, skipped,
    wait::wait_some,
    wait_for, wait_until,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A process of the node's that no runtime knows.
struct Stray(Child);

impl Stray {
    fn new(node: &Node) -> Self {
        let mut command = Command::new("sleep");
        command.arg("100000").env("SEXTON_TEST_NODE", node.prefix());
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Into this cgroup, which is made.
    fn enter(&self, cgroup: &Path) {
        fs::create_dir_all(cgroup).unwrap();
        fs::write(cgroup.join("cgroup.procs"), self.0.id().to_string()).unwrap();
    }

    fn within(node: &Node, cgroup: &Path) -> Self {
        let stray = Self::new(node);
        stray.enter(cgroup);
        stray
    }

    /// Somebody has killed it.
    #[track_caller]
    fn was_killed(mut self) {
        let pid = self.0.id();
        wait_for("the stray's end", LONG, || proc::is_dead(pid));
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&self.0.wait().unwrap()), Some(9));
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        let _ = self.0.kill();
        // One that is still frozen is left to the node's clean-up.
        wait_until(Duration::from_secs(5), || !matches!(self.0.try_wait(), Ok(None)));
    }
}

/// Its cgroups, without those below them.
fn own(id: &ContainerId) -> Vec<PathBuf> {
    let all = leftovers::cgroups(id.as_str()).into_iter();
    all.filter(|dir| dir.file_name().unwrap().to_str() == Some(id.as_str())).collect()
}

#[test]
fn what_lies_below_its_cgroups_goes_with_them() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let events = node.subscribe();
    let id = node.id("c");
    let launched = node.run(&id, &Bundle::new(&node, "b").sleeping().write());
    let all = own(&id);
    let kinds = |dir: &PathBuf| {
        ["unified", "pids", "freezer", "systemd"]
            .iter()
            .any(|kind| dir.starts_with(Path::new("/sys/fs/cgroup").join(kind)))
    };
    let some: Vec<_> = all.iter().filter(|dir| kinds(dir)).collect();
    assert!(!some.is_empty(), "{all:?}");
    let strays: Vec<_> = some.iter().map(|dir| Stray::within(&node, &dir.join("nested/deeper"))).collect();
    // And one that is asleep for good until somebody thaws it.
    if let Some(dir) = all.iter().find(|dir| dir.join("freezer.state").exists()) {
        fs::write(dir.join("nested/freezer.state"), "FROZEN").unwrap();
    }
    proc::kill(launched.pid);
    events.wait(&id, EventKind::Stopped);
    assert_eq!(node.inspect(&id).status, Some(killed_by(9)));
    strays.into_iter().for_each(Stray::was_killed);
    assert_eq!(leftovers::cgroups(id.as_str()), [] as [PathBuf; 0]);
    drop(events);
    node.finish();
}

/// One hierarchy's cgroup has a process that does not die, the others are empty.
#[test]
fn a_stray_that_does_not_die_is_named_with_its_cgroup() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    // Made before the freezer, so that it is waited for after the thaw, whatever happens.
    let stray = Stray::new(&node);
    let Some(freezer) = Freezer::new(&format!("{}par", node.prefix())) else { return skip("there is no v1 freezer") };
    let events = node.subscribe();
    let id = node.id("c");
    let launched = node.run(&id, &Bundle::new(&node, "b").sleeping().write());
    let unified = own(&id).into_iter().find(|dir| dir.starts_with("/sys/fs/cgroup/unified"));
    let Some(unified) = unified else { return skip("this is no hybrid layout, or the runtime leaves nothing in v2") };
    freezer.take(stray.0.id());
    let (pid, nested) = (stray.0.id(), unified.join("nested"));
    stray.enter(&nested);
    freezer.freeze(true);
    proc::kill(launched.pid);
    let (_, exited) = events.wait(&id, EventKind::Exited);
    assert_eq!(exited.container.status, Some(killed_by(9)), "it has ended, whatever it left");
    let entry = node.wait_gc(&id);
    assert_eq!((entry.step, node.inspect(&id).state), (Step::Processes, State::Gc), "{entry:?}");
    let holder = &node.gc_why(&id).unwrap().obstacles[0].holders[0];
    assert_eq!((holder.pid, holder.frozen_by.as_deref()), (pid, Some(&*freezer.dir())));
    assert!(holder.how.contains(nested.to_str().unwrap()), "{holder:?}");
    node.clean_after(&events, &[&id], || freezer.freeze(false));
    stray.was_killed();
    drop((freezer, events));
    node.finish();
}

/// Nothing but v2 at the usual place, for this process and whatever it starts.
fn unify() {
    let must = |command: &str, args: &[&str]| {
        let out = Command::new(command).args(args).output().unwrap();
        assert!(out.status.success(), "{command} {args:?}: {out:?}");
    };
    must("umount", &["-R", "/sys/fs/cgroup"]);
    must("mount", &["-t", "cgroup2", "none", "/sys/fs/cgroup"]);
    assert!(Path::new("/sys/fs/cgroup/cgroup.procs").exists());
}

/// A parent cgroup of v2, thawed and removed when it is dropped.
struct Parent(PathBuf);

impl Parent {
    fn new(node: &Node) -> Self {
        let dir = Path::new("/sys/fs/cgroup").join(format!("{}par", node.prefix()));
        fs::create_dir(&dir).unwrap();
        Self(dir)
    }

    fn freeze(&self, yes: bool) {
        fs::write(self.0.join("cgroup.freeze"), if yes { "1" } else { "0" }).unwrap();
        let frozen = if yes { "frozen 1" } else { "frozen 0" };
        wait_for(frozen, LONG, || fs::read_to_string(self.0.join("cgroup.events")).unwrap().contains(frozen));
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.freeze"), "0");
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn v2() {
    if skipped() {
        return;
    }
    in_private_pids("v2", || {
        unify();
        let node = Node::patient();
        let events = node.subscribe();
        let parent = Parent::new(&node);
        let below = |node: &Node, name: &str| {
            let path = format!("/{}/{}", parent.0.file_name().unwrap().display(), node.id(name));
            Bundle::new(node, name).with(|config| config["linux"]["cgroupsPath"] = path.into())
        };
        frozen(&node, &events, &parent, &below(&node, "frozen").sleeping().write());
        left_below(&node, &events, &below(&node, "left").sleeping().write());
        let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
        let script = "for n in 1 2 3 4 5; do (while :; do echo x >> /gate/file$n; done) & done; wait";
        let bundle = below(&node, "stuck").bind(disk.point(), "/gate").host_pids().sh(script).write();
        stuck(&node, &events, &disk, &bundle);
        drop((disk, parent, events));
        node.finish();
    });
}

/// In v2 whoever was killed dies, frozen or not: there is nothing to wait for.
fn frozen(node: &Node, events: &Subscriber, parent: &Parent, bundle: &Path) {
    let id = node.id("frozen");
    node.run(&id, bundle);
    assert_eq!(own(&id), [parent.0.join(id.as_str())], "this is v2");
    parent.freeze(true);
    node.kill(&id, 9);
    events.wait(&id, EventKind::Stopped);
    assert_eq!(node.inspect(&id).status, Some(killed_by(9)));
    assert!(!events.kinds(&id).contains(&EventKind::Delayed), "nothing was in the way");
    parent.freeze(false);
}

/// `cgroup.kill` reaches whoever is below.
fn left_below(node: &Node, events: &Subscriber, bundle: &Path) {
    let id = node.id("left");
    let launched = node.run(&id, bundle);
    let strays = ["a", "a/b", "c"].map(|name| Stray::within(node, &own(&id)[0].join(name)));
    proc::kill(launched.pid);
    events.wait(&id, EventKind::Stopped);
    strays.into_iter().for_each(Stray::was_killed);
    assert_eq!(leftovers::cgroups(id.as_str()), [] as [PathBuf; 0]);
}

/// More writers than are watched one by one.
fn stuck(node: &Node, events: &Subscriber, disk: &LoopDisk, bundle: &Path) {
    let id = node.id("stuck");
    let launched = node.run(&id, bundle);
    let writers = wait_some("the writers", LONG, || Some(proc::children(launched.pid)).filter(|all| all.len() == 5));
    (1..=5).for_each(|n| wait_for("a first write", LONG, || disk.point().join(format!("file{n}")).exists()));
    disk.freeze();
    let waits = |pid: &u32| proc::is_in(*pid, 'D');
    wait_for("the writers in D", LONG, || writers.iter().all(waits));
    node.kill(&id, 9);
    let (_, exited) = events.wait(&id, EventKind::Exited);
    assert_eq!((exited.container.status, exited.container.source), (Some(killed_by(9)), Some(Source::Waited)));
    let entry = node.wait_gc(&id);
    assert_eq!(entry.step, Step::Processes, "{entry:?}");
    let why = node.gc_why(&id).unwrap();
    let mut named: Vec<u32> = why.obstacles[0].holders.iter().map(|holder| holder.pid).collect();
    named.sort_unstable();
    assert_eq!(named, writers, "{why:#?}");
    assert!(
        why.obstacles[0].holders.iter().all(|holder| holder.state == "D" && holder.frozen_by.is_none()),
        "{why:#?}"
    );
    node.clean_after(events, &[&id], || disk.thaw());
}
