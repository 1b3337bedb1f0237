//! After a reboot: files go and commands run, and nothing of today is touched that bears an old pid or an old name.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, Init, Launch, ProcessIdentity, Stamp,
    cgroup::CgroupDir,
    cleanup::Cleanup,
    durable,
    gc::{Device, Entry, Estate, GcOrigin, Step},
    identity::BootId,
    launch::Mode,
    layout::ContainerDir,
    wire::{ErrorCode, State},
};
use sexton_tests::{
    bundle::Bundle,
    leftovers, needs,
    node::{Node, Options},
    proc,
    registered::{Registered, Sleeper, is_mounted},
    wait::{LONG, wait_for},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

const OLD: &str = "01234567-89ab-cdef-0123-456789abcdef";
const FAST: &str = "[exit]\nbackoff_first = \"100ms\"\nbackoff_max = \"200ms\"\n";

fn old() -> BootId {
    OLD.parse().unwrap()
}

fn quick() -> Node {
    Node::with(Options { daemon: true, config: FAST.into() })
}

/// As it would have been written in an earlier boot.
fn age_launch(dir: &ContainerDir) -> Launch {
    let mut launch: Launch = durable::read(&dir.launch()).unwrap().unwrap();
    launch.shim.boot_id = old();
    durable::write(&dir.launch(), &launch).unwrap();
    launch
}

/// Runs a container whose commands fail as long as `gate` is not there.
fn launch(node: &Node, id: &ContainerId, cleanup: Cleanup) -> sexton_common::wire::Launched {
    let mut request = node.launch_request(id, &Bundle::new(node, "b").sleeping().write(), Mode::Run);
    request.cleanup = cleanup;
    node.launch(request).unwrap()
}

/// What a reboot does to a container, but for its files.
fn lose_power(node: &mut Node, id: &ContainerId, launched: &sexton_common::wire::Launched) {
    node.terminate_daemon();
    proc::kill_shim(launched);
    proc::kill(launched.pid);
    wait_for("its end", LONG, || proc::is_gone(launched.pid));
    let _ = sexton_tests::run(&mut node.runc("delete", &["--force", id.as_str()])).ok();
}

#[test]
fn what_the_data_directory_has_is_enough() {
    if needs::skipped() {
        return;
    }
    let mut node = quick();
    let id = node.id("c");
    let registered = Registered::new(node.dir().join("registered"));
    let gate = node.dir().join("gate");
    let mut cleanup = registered.cleanup();
    cleanup.exec.insert(0, format!("test -e {}", gate.display()));
    let launched = launch(&node, &id, cleanup);
    lose_power(&mut node, &id, &launched);
    age_launch(&node.layout().lasting_container(&id));
    registered.unmount();
    // /run has been emptied.
    fs::remove_dir_all(node.layout().state()).unwrap();
    node.start_daemon();
    let entry = node.wait_gc(&id);
    assert!(entry.earlier_boot && entry.step == Step::Commands && !registered.files().exists(), "{entry:?}");
    // Until that is over the name is taken, whoever asks, and whether the collector runs or not.
    let bundle = Bundle::new(&node, "again").args(&["/bin/true"]).write();
    let refused = node.launch(node.launch_request(&id, &bundle, Mode::Run)).unwrap_err();
    assert!(refused.code == ErrorCode::InGc && refused.message.contains("sexton gc why"), "{refused:?}");
    node.terminate_daemon();
    let ended = sexton_tests::run(&mut node.shim_command("run", id.as_str(), &bundle));
    assert!(ended.code() == 125 && ended.stderr.contains("in GC"), "{ended:?}");
    node.start_daemon();
    assert_eq!(node.wait_gc(&id).since, entry.since);
    fs::write(&gate, "").unwrap();
    node.wait_no_gc();
    assert_eq!(registered.said(), ["one", "two"], "nobody knows the status");
    assert_eq!(leftovers::entries(&node.layout().lasting()), Vec::<PathBuf>::new());
    let _ = node.run(&id, &bundle);
    node.wait_state(&id, State::Stopped);
    node.finish();
}

/// Cgroups of today, in two hierarchies where there are two, with a process in each; gone when they are dropped.
struct Today(Vec<(PathBuf, Sleeper)>);

impl Today {
    fn new(name: &str) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let v1 = ["pids", "freezer"].map(|name| root.join(name)).into_iter().filter(|dir| dir.is_dir());
        let mut roots: Vec<PathBuf> = v1.collect();
        if roots.is_empty() {
            roots.push(root.into());
        }
        let made = roots.into_iter().map(|root| {
            let dir = root.join(name);
            fs::create_dir(&dir).unwrap();
            let sleeper = Sleeper::start(Path::new("/"));
            fs::write(dir.join("cgroup.procs"), sleeper.pid().to_string()).unwrap();
            (dir, sleeper)
        });
        Self(made.collect())
    }
}

impl Drop for Today {
    fn drop(&mut self) {
        for (dir, sleeper) in self.0.drain(..) {
            drop(sleeper);
            wait_for("an empty cgroup", LONG, || fs::remove_dir(&dir).is_ok() || !dir.exists());
        }
    }
}

#[test]
fn innocent_processes_cgroups_mounts_and_containers_of_today_survive() {
    if needs::skipped() {
        return;
    }
    let mut node = quick();
    let (id, kept) = (node.id("c"), node.id("kept"));
    node.terminate_daemon();
    let registered = Registered::new(node.dir().join("registered"));
    let mut today = Today::new(id.as_str());
    let cgroups = || {
        let dirs = today.0.iter().map(|(dir, _)| dir.clone());
        dirs.map(|dir| CgroupDir { hierarchy: String::new(), dir }).collect::<Vec<_>>()
    };
    // Another container of that name, of today, which is not ours.
    let bundle = Bundle::new(&node, "b").sleeping().write();
    let mut runc = node.runc("run", &["--detach", "--bundle"]);
    let null = std::process::Stdio::null;
    runc.arg(&bundle).arg(id.as_str()).stdin(null()).stdout(null()).stderr(null());
    assert!(runc.status().unwrap().success());
    let aged = |pid: u32| ProcessIdentity { boot_id: old(), ..ProcessIdentity::of(pid).unwrap() };
    let processes: Vec<_> = today.0.iter().map(|(_, sleeper)| aged(sleeper.pid())).collect();
    let estate = Estate {
        id: id.clone(),
        generation: 7,
        boot: old(),
        runtime: Some(node.runtime()),
        bundle: Some(bundle.clone()),
        rootfs: Some(registered.mount()),
        processes: processes.clone(),
        cgroups: cgroups(),
        guessed: cgroups(),
        cleanup: registered.cleanup(),
    };
    let devices = vec![Device { major: 0, minor: 1, fs: "tmpfs".into(), source: "tmpfs".into() }];
    let (since, in_the_way) = (Stamp::now(), "it was stuck".to_owned());
    let entry = Entry {
        estate,
        origin: GcOrigin::Container,
        since,
        attempts: 9,
        step: Step::Processes,
        in_the_way,
        commands_done: 0,
        devices,
        remove: false,
    };
    durable::write(&node.layout().gc_entry(&id), &entry).unwrap();
    // And one whose state directory was not cleared: its init has the pid of a process of today.
    let launched = {
        node.start_daemon();
        let files = node.dir().join("of-kept");
        fs::write(&files, "").unwrap();
        let cleanup = Cleanup { paths: vec![files], ..Cleanup::default() };
        let mut request = node.launch_request(&kept, &Bundle::new(&node, "kept").sleeping().write(), Mode::Run);
        request.cleanup = cleanup;
        node.launch(request).unwrap()
    };
    node.wait_no_gc();
    registered.left().iter().for_each(|left| assert_ne!(left, "the directory"));
    assert_eq!(registered.said(), ["one", "two"]);
    lose_power(&mut node, &kept, &launched);
    let dir = node.layout().container(&kept);
    age_launch(&dir);
    age_launch(&node.layout().lasting_container(&kept));
    let mut init: Init = durable::read(&dir.init()).unwrap().unwrap();
    (init.process, init.shim, init.cgroups) = (processes[0], aged(today.0.last().unwrap().1.pid()), cgroups());
    durable::write(&dir.init(), &init).unwrap();
    node.start_daemon();
    node.wait_state(&kept, State::Stopped);
    wait_for("its file to go", LONG, || !node.dir().join("of-kept").exists());
    node.wait_no_gc();
    for (dir, sleeper) in &mut today.0 {
        assert!(sleeper.lives() && dir.is_dir(), "{}", dir.display());
    }
    assert!(is_mounted(&registered.mount()) && registered.mount().join("file").exists());
    assert!(is_mounted(&registered.netns()));
    let state = sexton_tests::run(&mut node.runc("state", &[id.as_str()])).ok().json();
    assert_eq!(state["status"], "running", "the other one of that name");
    let _ = sexton_tests::run(&mut node.runc("delete", &["--force", id.as_str()])).ok();
    registered.unmount();
    drop(today);
    node.finish();
}

#[test]
fn an_entry_of_today_without_a_container_is_cleaned_wholly() {
    if needs::skipped() {
        return;
    }
    let mut node = quick();
    let id = node.id("c");
    let registered = Registered::new(node.dir().join("registered"));
    let holder = registered.holder();
    let launched = launch(&node, &id, registered.cleanup());
    node.kill(&id, 9);
    node.wait_gc(&id);
    wait_for("a durable entry", LONG, || node.layout().gc_entry(&id).exists());
    node.kill_daemon();
    fs::remove_dir_all(node.layout().container(&id).path()).unwrap();
    node.start_daemon();
    let entry = node.wait_gc(&id);
    assert!(!entry.earlier_boot, "{entry:?}");
    drop(holder);
    node.wait_no_gc();
    registered.is_clean(None).unwrap();
    wait_for("its processes' end", LONG, || proc::is_dead(launched.pid) && proc::is_dead(launched.shim_pid));
    node.finish();
}

/// The collector itself takes another boot id for today's.
#[test]
fn a_mount_of_an_earlier_boot_is_somebody_elses_today() {
    if needs::skipped() {
        return;
    }
    let mut node = quick();
    let id = node.id("c");
    let registered = Registered::new(node.dir().join("registered"));
    let mut holder = registered.holder();
    let mut request = node.gc_add_request(&id);
    request.cleanup = registered.cleanup();
    node.gc_add(request).unwrap();
    let entry = node.wait_gc(&id);
    node.terminate_daemon();
    // Whoever has that name today has mounted there again.
    registered.unmount();
    registered.make();
    fs::write(node.config(), format!("{FAST}[kernel]\nboot_id = \"{OLD}\"\n")).unwrap();
    node.start_daemon();
    node.wait_no_gc();
    assert!(!entry.earlier_boot && holder.lives());
    assert!(is_mounted(&registered.mount()) && registered.mount().join("file").exists());
    assert!(!registered.files().exists());
    assert_eq!(registered.said(), ["one", "two"]);
    registered.unmount();
    node.finish();
}
