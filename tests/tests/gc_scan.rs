//! `sexton gc scan`: what nobody owns any more is listed and not touched; adopted, it goes. What somebody owns is never listed.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sexton_common::{
    ContainerId, ProcessIdentity,
    launch::Mode,
    wire::{Finding, FindingKind},
};
use sexton_tests::{
    bundle::Bundle,
    needs,
    node::Node,
    proc,
    registered::{Registered, Sleeper, is_mounted},
    wait::{LONG, wait_for},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

/// A cgroup parent and a mount root of the test's own, which the collector is told to scan; gone when it is dropped.
struct Places {
    parents: Vec<PathBuf>,
    mounts: PathBuf,
}

impl Places {
    /// Configures the node, which has no collector yet, and starts that.
    fn of(node: &mut Node) -> Self {
        let name = format!("{}scan", node.prefix());
        let root = Path::new("/sys/fs/cgroup");
        let v1 = ["pids", "freezer"].map(|name| root.join(name)).into_iter().filter(|dir| dir.is_dir());
        let mut parents: Vec<PathBuf> = v1.map(|dir| dir.join(&name)).collect();
        if parents.is_empty() {
            parents.push(root.join(&name));
        }
        let places = Self { parents, mounts: node.dir().join("mounts") };
        places.parents.iter().chain([&places.mounts]).for_each(|dir| fs::create_dir(dir).unwrap());
        let config = format!(
            "[exit]\nbackoff_first = \"100ms\"\nbackoff_max = \"200ms\"\n[gc]\nruntime_roots = [{:?}]\ncgroup_parents = [{:?}]\nmount_roots = [{:?}]\n",
            node.runtime_root(),
            Path::new("/").join(name),
            places.mounts
        );
        fs::write(node.config(), config).unwrap();
        node.start_daemon();
        places
    }

    fn cgroup(&self, name: &str) -> Vec<PathBuf> {
        let made = self.parents.iter().map(|parent| parent.join(name)).collect::<Vec<_>>();
        made.iter().for_each(|dir| fs::create_dir_all(dir.join("inner")).unwrap());
        made
    }

    fn mount(&self, name: &str) -> PathBuf {
        let point = self.mounts.join(name);
        fs::create_dir_all(&point).unwrap();
        mount(Some("tmpfs"), &point, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        point
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        fn clear(dir: &Path) {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    clear(&entry.path());
                }
            }
            let _ = fs::remove_dir(dir);
        }
        self.parents.iter().for_each(|parent| clear(parent));
        for entry in fs::read_dir(&self.mounts).into_iter().flatten().flatten() {
            while is_mounted(&entry.path()) && umount2(&entry.path(), MntFlags::MNT_DETACH).is_ok() {}
        }
    }
}

/// A container that plain runc has; its init.
fn runc_run(node: &Node, name: &str) -> ProcessIdentity {
    let bundle = Bundle::new(node, name).sleeping().write();
    let mut run = node.runc("run", &["--detach", "--bundle"]);
    run.arg(bundle).arg(node.id(name).as_str()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(run.status().unwrap().success(), "{run:?}");
    let state = sexton_tests::run(&mut node.runc("state", &[node.id(name).as_str()])).ok().json();
    ProcessIdentity::of(u32::try_from(state["pid"].as_u64().unwrap()).unwrap()).unwrap()
}

fn shown(findings: &[Finding]) -> Vec<(FindingKind, String)> {
    let name = |finding: &Finding| finding.path.file_name().unwrap().to_string_lossy().into_owned();
    let mut all: Vec<_> = findings.iter().map(|finding| (finding.kind, name(finding))).collect();
    all.sort_by_key(|(kind, name)| (kind.name(), name.clone()));
    all
}

#[test]
fn what_nobody_owns_is_listed_with_reasons_left_alone_and_adopted_goes() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::bare();
    let places = Places::of(&mut node);
    let id = |name: &str| node.id(name).to_string();
    // Of others, and alive; and being created.
    let alive = runc_run(&node, "alive");
    let busy = places.cgroup(&id("busy"));
    let sleepers: Vec<_> = busy.iter().map(|_| Sleeper::start(Path::new("/"))).collect();
    for (dir, sleeper) in busy.iter().zip(&sleepers) {
        fs::write(dir.join("inner/cgroup.procs"), sleeper.pid().to_string()).unwrap();
    }
    fs::create_dir(node.runtime_root().join(id("unborn"))).unwrap();
    // Our own: a running container, one that has ended, and an entry.
    let own = node.id("own");
    let registered = places.mount(own.as_str());
    let mut request = node.launch_request(&own, &Bundle::new(&node, "own").sleeping().write(), Mode::Run);
    request.cleanup.mounts = vec![registered.clone()];
    let _ = node.launch(request).unwrap();
    // Its runtime does not let go of it, and so its mount stays.
    let (entry, held) = (node.id("entry"), places.mount("of-an-entry"));
    let stays = node.runtime_root().join(entry.as_str());
    fs::create_dir(&stays).unwrap();
    fs::write(stays.join("state.json"), "{}").unwrap();
    let mut request = node.gc_add_request(&entry);
    request.runtime = node.runtime_but("stubborn", "delete", "exit 1");
    request.cleanup.mounts = vec![held.clone()];
    node.gc_add(request).unwrap();
    node.wait_gc(&entry);
    assert_eq!(shown(&node.gc_scan(false)), []);

    let dead = runc_run(&node, "dead");
    proc::kill(dead.pid);
    // As long as somebody is about to reap it, it is somebody's.
    wait_for("its end", LONG, || proc::is_gone(dead.pid));
    let cgroups = [places.cgroup(&id("empty")), places.cgroup("with blank é")].concat();
    let mounts = [places.mount(&id("lost")), places.mount("with\nline, blank and (parens)")];
    let expected = [
        (FindingKind::Cgroup, id("empty")),
        (FindingKind::Cgroup, "with blank é".into()),
        (FindingKind::Mount, id("lost")),
        (FindingKind::Mount, "with\nline, blank and (parens)".into()),
        (FindingKind::RuntimeState, id("dead")),
    ];
    for _ in 0..2 {
        let findings = node.gc_scan(false);
        assert_eq!(shown(&findings), expected, "{findings:?}");
        assert!(findings.iter().all(|finding| !finding.why.is_empty() && finding.adopted.is_none()), "{findings:?}");
        assert!(node.runtime_root().join(id("dead")).exists());
        assert!(cgroups.iter().all(|dir| dir.join("inner").is_dir()) && mounts.iter().all(|point| is_mounted(point)));
        assert_eq!(node.gc_list().len(), 1, "only what was added");
    }
    let listed = node.sexton(&["gc", "scan"]).ok();
    assert!(listed.stdout.contains("its process is gone") && listed.stdout.contains(&id("lost")), "{listed:?}");
    let adopted = node.gc_scan(true);
    assert!(shown(&adopted) == expected && adopted.iter().all(|finding| finding.adopted.is_some()), "{adopted:?}");
    let is_clean = || {
        !node.runtime_root().join(id("dead")).exists()
            && cgroups.iter().all(|dir| !dir.exists())
            && mounts.iter().all(|point| !is_mounted(point))
    };
    wait_for("all that was adopted to go", LONG, is_clean);
    wait_for("its entries to go", LONG, || node.gc_list().len() == 1);
    assert_eq!(shown(&node.gc_scan(false)), []);
    assert!(!proc::is_dead(alive.pid) && is_mounted(&registered) && is_mounted(&held));
    assert!(busy.iter().all(|dir| dir.join("inner").is_dir()));
    drop(sleepers);
    fs::remove_dir_all(&stays).unwrap();
    node.kill(&own, 9);
    let _ = sexton_tests::run(&mut node.runc("delete", &["--force", &id("alive")])).ok();
    fs::remove_dir(node.runtime_root().join(id("unborn"))).unwrap();
    node.wait_no_gc();
    drop(places);
    node.finish();
}

#[test]
fn shims_whose_directory_was_removed() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::bare();
    let places = Places::of(&mut node);
    let ids: [ContainerId; 2] = ["lost", "ended"].map(|name| node.id(name));
    let launched = ids.each_ref().map(|id| node.run(id, &Bundle::new(&node, id.as_str()).sleeping().write()));
    assert_eq!(shown(&node.gc_scan(false)), []);
    node.terminate_daemon();
    ids.each_ref().iter().for_each(|id| fs::remove_dir_all(node.layout().container(id).path()).unwrap());
    proc::kill(launched[1].pid);
    wait_for("a shim that has nothing to say any more", LONG, || proc::is_dead(launched[1].shim_pid));
    node.start_daemon();
    let findings = node.gc_scan(false);
    let expected = [(FindingKind::RuntimeState, ids[1].to_string()), (FindingKind::Shim, ids[0].to_string())];
    assert_eq!(shown(&findings), expected, "{findings:?}");
    let shim = findings.iter().find(|finding| finding.kind == FindingKind::Shim).unwrap();
    assert_eq!(shim.pid, Some(launched[0].shim_pid));
    assert!(shim.why.contains("adopting kills it") && shim.why.contains(&launched[0].pid.to_string()), "{shim:?}");
    assert!(!proc::is_dead(launched[0].pid) && !proc::is_dead(launched[0].shim_pid));
    let _ = node.gc_scan(true);
    wait_for("the end of both", LONG, || proc::is_dead(launched[0].pid) && proc::is_dead(launched[0].shim_pid));
    node.wait_no_gc();
    assert_eq!(shown(&node.gc_scan(false)), []);
    drop(places);
    node.finish();
}

/// A registered place of a container that has ended, and is clean, is nobody's again.
#[test]
fn what_a_clean_container_left_to_others_is_not_its_own_any_more() {
    if needs::skipped() {
        return;
    }
    let mut node = Node::bare();
    let places = Places::of(&mut node);
    let id = node.id("c");
    let registered = Registered::new(node.dir().join("registered"));
    let mut request = node.launch_request(&id, &Bundle::new(&node, "b").args(&["/bin/true"]).write(), Mode::Run);
    request.cleanup = registered.cleanup();
    let _ = node.launch(request).unwrap();
    node.wait_state(&id, sexton_common::wire::State::Stopped);
    registered.is_clean(Some("0")).unwrap();
    let point = places.mount("somebody");
    assert_eq!(shown(&node.gc_scan(false)), [(FindingKind::Mount, "somebody".into())]);
    let _ = node.gc_scan(true);
    wait_for("it to go", LONG, || !is_mounted(&point));
    node.wait_no_gc();
    drop(places);
    node.finish();
}
