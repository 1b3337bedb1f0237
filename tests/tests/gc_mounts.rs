//! What is mounted in a container's root file system and where it said so is unmounted, whoever holds it is named, and
//! nothing else is touched.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus,
    cleanup::Cleanup,
    gc::Step,
    wire::{Holder, State},
};
use sexton_tests::{
    Bundle, Gate, LONG, Node, Options,
    gc::LoopDisk,
    gc_things::{Bystander, alone, bind, mounted, patient, tmpfs},
    leftovers, skipped, wait_for,
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

fn node() -> Node {
    Node::with(Options { config: patient(), ..Options::default() })
}

/// A gated container with a root of its own: that, its bundle and its gate.
fn own(node: &Node, name: &str) -> (PathBuf, PathBuf, Gate) {
    let (bundle, gate) = Bundle::new(node, name).gated();
    let root = node.own_rootfs(name);
    (root, bundle.with(|config| config["root"]["path"] = "rootfs".into()).write(), gate)
}

fn ends(node: &Node, id: &ContainerId) {
    let info = node.wait_state(id, State::Stopped);
    assert_eq!((info.status, info.attempts), (Some(ExitStatus::Code(0)), 0), "clean at the first attempt: {info:?}");
}

fn holder(node: &Node, id: &ContainerId, pid: u32) -> Holder {
    let entry = node.wait_gc(id);
    assert_eq!(entry.step, Step::Mounts, "{entry:?}");
    let why = node.gc_why(id).unwrap();
    let named = why.obstacles[0].holders.iter().find(|holder| holder.pid == pid);
    let holder = named.unwrap_or_else(|| panic!("{pid} is not named: {why:?}")).clone();
    let shown = node.sexton(&["gc", "why", id.as_str()]).ok().stdout;
    assert!(shown.contains(&format!("pid {pid} (")), "{shown}");
    holder
}

#[test]
fn what_is_mounted_in_the_root_goes_and_the_root_stays() {
    if skipped() {
        return;
    }
    let _alone = alone();
    let node = node();
    let (root, bundle, gate) = own(&node, "b");
    let (host, id) = (node.dir().join("host"), node.id("c"));
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "x").unwrap();
    bind(&root, &root);
    node.run(&id, &bundle);
    tmpfs(&root.join("tmp"));
    tmpfs(&root.join("tmp/in"));
    bind(&host, &root.join("tmp/in/bind"));
    let disk = LoopDisk::new(&node.dir().join("image"), &root.join("etc"));
    let top = root.join("gate");
    for _ in 0..500 {
        tmpfs(&top);
    }
    gate.exit(0);
    let since = Instant::now();
    ends(&node, &id);
    eprintln!("500 stacked, 3 nested, a loop device: clean after {:?}", since.elapsed());
    assert!(!disk.is_attached());
    let below: Vec<_> = leftovers::mounts(&node).into_iter().filter(|point| *point != root).collect();
    assert_eq!(below, Vec::<PathBuf>::new());
    assert_eq!(mounted(&root), 1, "what was mounted at the root is its owner's");
    assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "x");

    let again = node.id("again");
    let (bundle, gate) = Bundle::new(&node, "again").gated();
    let bundle = bundle.with(|config| config["root"]["path"] = root.to_str().unwrap().into()).write();
    node.run_owning(&again, &bundle, Cleanup { mounts: vec![root.clone()], ..Cleanup::default() });
    gate.exit(0);
    ends(&node, &again);
    assert_eq!(mounted(&root), 0, "but for who has registered it");
    assert!(root.join("bin/sh").exists());
    drop(disk);
    node.finish();
}

#[test]
fn who_has_its_cwd_there_is_named_and_its_end_is_enough() {
    if skipped() {
        return;
    }
    let _alone = alone();
    let node = node();
    let (root, bundle, gate) = own(&node, "b");
    let id = node.id("c");
    node.run(&id, &bundle);
    let disk = LoopDisk::new(&node.dir().join("image"), &root.join("etc"));
    let sitting = Bystander::start(Command::new("sleep").arg("100000").current_dir(disk.point()));
    gate.exit(0);
    let holder = holder(&node, &id, sitting.pid());
    assert!(holder.how.contains("cwd"), "{holder:?}");
    assert_eq!((holder.comm.as_str(), mounted(disk.point())), ("sleep", 0), "{holder:?}");
    assert!(disk.is_attached());
    let since = Instant::now();
    drop(sitting);
    node.wait_state(&id, State::Stopped);
    eprintln!("clean {:?} after its end", since.elapsed());
    assert!(!disk.is_attached());
    drop(disk);
    node.finish();
}

#[test]
fn who_has_a_copy_in_another_namespace_is_named_and_its_end_is_enough() {
    if skipped() {
        return;
    }
    let _alone = alone();
    let node = node();
    let (root, bundle, gate) = own(&node, "b");
    let id = node.id("c");
    node.run(&id, &bundle);
    let disk = LoopDisk::new(&node.dir().join("image"), &root.join("etc"));
    tmpfs(&root.join("tmp"));
    let sitting = Bystander::start(Command::new("unshare").args(["-m", "--propagation", "private", "sleep", "100000"]));
    let namespace = || fs::read_link(format!("/proc/{}/ns/mnt", sitting.pid())).unwrap();
    wait_for("a namespace of its own", LONG, || {
        let sleeps = sexton_tests::proc::command_line(sitting.pid()).starts_with("sleep");
        sleeps && namespace() != fs::read_link("/proc/self/ns/mnt").unwrap()
    });
    gate.exit(0);
    let holder = holder(&node, &id, sitting.pid());
    let inode = holder.mount_ns.unwrap_or_else(|| panic!("its namespace is not named: {holder:?}"));
    assert_eq!(namespace(), Path::new(&format!("mnt:[{inode}]")));
    let since = Instant::now();
    drop(sitting);
    node.wait_state(&id, State::Stopped);
    eprintln!("clean {:?} after its end", since.elapsed());
    assert!(!disk.is_attached());
    drop(disk);
    node.finish();
}

#[test]
fn what_was_registered_is_unmounted_and_what_is_below_a_registered_path_too() {
    if skipped() {
        return;
    }
    let _alone = alone();
    let node = node();
    let (point, path, host) = (node.dir().join("point"), node.dir().join("path"), node.dir().join("host"));
    fs::create_dir_all(&path).unwrap();
    fs::create_dir(&host).unwrap();
    fs::write(host.join("file"), "x").unwrap();
    tmpfs(&point);
    tmpfs(&point.join("in"));
    bind(&host, &point.join("in/bind"));
    bind(&host, &path.join("bind"));
    tmpfs(&path.join("deep/tmpfs"));
    let neighbour = node.dir().join("point-not");
    tmpfs(&neighbour);
    let id = node.id("c");
    let bundle = Bundle::new(&node, "b").write();
    let options = ["--cleanup-mount", point.to_str().unwrap(), "--cleanup-path", path.to_str().unwrap()];
    node.run_cli(&id, &bundle, &options);
    ends(&node, &id);
    assert_eq!(leftovers::mounts(&node), std::slice::from_ref(&neighbour));
    assert_eq!(leftovers::entries(&point), Vec::<PathBuf>::new(), "the point itself stays");
    assert!(!path.exists());
    assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "x");
    sexton_tests::gc_things::must(Command::new("umount").arg(&neighbour));
    node.finish();
}

#[test]
fn a_root_of_two_is_the_survivors() {
    if skipped() {
        return;
    }
    let _alone = alone();
    let node = node();
    let (root, bundle, gate) = own(&node, "a");
    let (other, last) = Bundle::new(&node, "b").gated();
    let other = other.with(|config| config["root"]["path"] = root.to_str().unwrap().into()).write();
    let (a, b) = (node.id("a"), node.id("b"));
    node.run(&a, &bundle);
    node.run(&b, &other);
    tmpfs(&root.join("tmp"));
    gate.exit(0);
    ends(&node, &a);
    assert_eq!(mounted(&root.join("tmp")), 1, "b is there");
    last.exit(0);
    ends(&node, &b);
    assert_eq!(mounted(&root.join("tmp")), 0);
    node.finish();
}

/// What a bundle says when it is too late is not believed to be the container's root if it is more than that.
#[test]
fn a_root_that_is_the_hosts_is_left_alone() {
    if skipped() {
        return;
    }
    let _alone = alone();
    let node = node();
    let neighbour = node.dir().join("bundles/neighbour");
    tmpfs(&neighbour);
    // Other tests have their own.
    let others = |line: &&str| !line.contains("sexton-test");
    let hosts = || fs::read_to_string("/proc/self/mountinfo").unwrap().lines().filter(others).count();
    let before = hosts();
    for (n, path) in ["/", "..", "../..", "/tmp", "."].into_iter().enumerate() {
        let id = node.id(&format!("c{n}"));
        let (bundle, gate) = Bundle::new(&node, &format!("c{n}")).gated();
        let bundle = bundle.write();
        node.run(&id, &bundle);
        let config = bundle.join("config.json");
        let mut text: serde_json::Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        text["root"]["path"] = path.into();
        fs::write(&config, text.to_string()).unwrap();
        gate.exit(0);
        ends(&node, &id);
        assert_eq!(mounted(&neighbour), 1, "{path}");
    }
    assert_eq!(hosts(), before);
    sexton_tests::gc_things::must(Command::new("umount").arg(&neighbour));
    node.finish();
}
