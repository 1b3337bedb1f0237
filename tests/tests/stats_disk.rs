//! The files in registered paths, counted in the background.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId,
    cleanup::Cleanup,
    launch::Mode,
    wire::{DiskUse, LaunchRequest, State},
};
use sexton_tests::{Bundle, Node, Options, skipped};
use std::{
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    time::Duration,
};

const PERIOD: Duration = Duration::from_millis(100);

fn launch(node: &Node, id: &ContainerId, paths: Vec<PathBuf>) {
    let bundle = Bundle::new(node, id.as_str()).sleeping().write();
    let cleanup = Cleanup { paths, ..Cleanup::default() };
    let request = node.launch_request(id, &bundle, Mode::Run);
    node.launch(LaunchRequest { cleanup, ..request }).unwrap();
}

fn counted(node: &Node, id: &ContainerId) -> DiskUse {
    let mut samples = node.samples(std::slice::from_ref(id), Some(PERIOD));
    samples.until("a count", |stats| stats.disk.is_some()).disk.unwrap()
}

fn allocated(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().blocks() * 512
}

#[test]
fn what_is_allocated_once_and_at_home() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let (id, top) = (node.id("c"), node.dir().join("scratch"));
    fs::create_dir_all(top.join("sub")).unwrap();
    for (name, size) in [("f", 300_000), ("sub/g", 5000)] {
        fs::write(top.join(name), vec![1; size]).unwrap();
        fs::File::open(top.join(name)).unwrap().sync_all().unwrap();
    }
    fs::hard_link(top.join("f"), top.join("sub/f")).unwrap();
    // Far more than all of it, and not its own.
    fs::write(node.dir().join("foreign"), vec![1; 4 << 20]).unwrap();
    symlink(node.dir(), top.join("link")).unwrap();
    let expected = ["", "sub", "f", "sub/g", "link"].map(|name| allocated(&top.join(name))).iter().sum::<u64>();
    launch(&node, &id, vec![top.clone(), node.dir().join("not-there")]);
    let disk = counted(&node, &id);
    assert_eq!((disk.bytes, disk.complete), (expected, true));
    assert_eq!(counted(&node, &id), disk, "it is not counted again at once");
    assert!(node.sexton(&["stats", id.as_str()]).ok().stdout.contains("KiB"));
    node.kill(&id, 9);
    node.wait_state(&id, State::Stopped);
    assert_eq!(node.stats(std::slice::from_ref(&id)).unwrap()[0].disk, None);
    node.finish();
}

#[test]
fn past_the_deadline_it_is_what_was_counted() {
    if skipped() {
        return;
    }
    let config = "[stats]\ndisk_timeout = '1ms'\n".into();
    let node = Node::with(Options { config, ..Options::default() });
    let (many, few) = (node.id("many"), node.id("few"));
    let (top, small) = (node.dir().join("many-files"), node.dir().join("few-files"));
    fs::create_dir_all(&top).unwrap();
    fs::create_dir_all(&small).unwrap();
    (0..30_000).for_each(|n| symlink("x", top.join(n.to_string())).unwrap());
    launch(&node, &many, vec![top]);
    let disk = counted(&node, &many);
    assert!(!disk.complete, "thirty thousand files were counted in a millisecond: {disk:?}");
    assert!(node.sexton(&["stats", many.as_str()]).ok().stdout.contains(">= "));
    launch(&node, &few, vec![small]);
    assert!(counted(&node, &few).bytes < 1 << 20);
    [&many, &few].into_iter().for_each(|id| node.kill(id, 9));
    node.finish();
}
