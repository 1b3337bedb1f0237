//! Registered files go, whatever somebody has put among them, and nothing else does.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, mkdirat, mknodat, openat, renameat_with};
use sexton_common::{ExitStatus, cleanup::Cleanup, gc::Step, wire::State};
use sexton_tests::{
    Bundle, LONG, Node, Options,
    gc::LoopDisk,
    gc_things::{bind, config, must, patient},
    leftovers, skipped, wait_until,
};
use std::{
    fs::{self, File},
    os::{fd::OwnedFd, unix::fs::symlink, unix::net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Instant,
};

fn node() -> Node {
    Node::with(Options { config: patient(), ..Options::default() })
}

/// A directory with something in it that nobody registers.
fn precious(node: &Node) -> PathBuf {
    let dir = node.dir().join("precious");
    fs::create_dir_all(dir.join("deep")).unwrap();
    for name in ["file", "deep/file"] {
        fs::write(dir.join(name), "dear").unwrap();
    }
    dir
}

#[track_caller]
fn assert_whole(precious: &Path) {
    for name in ["file", "deep/file"] {
        assert_eq!(fs::read_to_string(precious.join(name)).unwrap(), "dear", "{name}");
    }
}

fn deep(dir: &Path, levels: usize) {
    let mut at: OwnedFd = File::open(dir).unwrap().into();
    // A path to the innermost would be longer than any system call takes.
    for _ in 0..levels {
        mkdirat(&at, "directory", Mode::RWXU).unwrap();
        at = openat(&at, "directory", OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
    }
}

#[test]
fn a_hostile_tree() {
    if skipped() {
        return;
    }
    // A hundred thousand may take their time; what a deadline has cut short goes on soon.
    let node = Node::with(Options { config: config("60s", "200ms", "1s", "10s"), ..Options::default() });
    let (precious, tree, id) = (precious(&node), node.dir().join("tree"), node.id("c"));
    fs::create_dir_all(tree.join("many")).unwrap();
    fs::create_dir(tree.join("deep")).unwrap();
    for n in 0..100_000 {
        File::create(tree.join("many").join(n.to_string())).unwrap();
    }
    deep(&tree.join("deep"), 1000);
    for (name, to) in
        [("etc", Path::new("/etc")), ("host", &precious), ("root", Path::new("/")), ("up", Path::new(".."))]
    {
        symlink(to, tree.join(name)).unwrap();
    }
    bind(&precious, &tree.join("bind"));
    for name in ["new\nline", "-rf", "\u{1b}[2J", " ", "...", "\\"] {
        fs::write(tree.join(name), "").unwrap();
    }
    fs::create_dir(tree.join("dir\nline")).unwrap();
    let _socket = UnixListener::bind(tree.join("socket")).unwrap();
    mknodat(CWD, tree.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    fs::hard_link(precious.join("file"), tree.join("hard")).unwrap();
    let (single, socket, link) = (node.dir().join("single"), node.dir().join("socket"), node.dir().join("link"));
    fs::write(&single, "").unwrap();
    let _other = UnixListener::bind(&socket).unwrap();
    symlink(&precious, &link).unwrap();
    let all = [&tree, &single, &socket, &link, &node.dir().join("not-there"), &node.dir().join("not/there")];
    let etc = fs::read_dir("/etc").unwrap().count();
    let options: Vec<&str> = all.iter().flat_map(|path| ["--cleanup-path", path.to_str().unwrap()]).collect();
    let bundle = Bundle::new(&node, "b").sh("exit 0").write();
    node.run_cli(&id, &bundle, &options);
    let since = Instant::now();
    let info = node.wait_state(&id, State::Stopped);
    eprintln!("100,000 files: clean after {:?}, {} attempts in vain", since.elapsed(), info.attempts);
    for path in all {
        assert!(path.symlink_metadata().is_err(), "{} is there", path.display());
    }
    assert_whole(&precious);
    assert_eq!(fs::read_dir("/etc").unwrap().count(), etc);
    node.finish();
}

#[test]
fn what_is_a_link_by_now_is_removed_as_a_link() {
    if skipped() {
        return;
    }
    let node = node();
    let (precious, id) = (precious(&node), node.id("c"));
    let (file, dir, way) = (node.dir().join("file"), node.dir().join("dir"), node.dir().join("way"));
    fs::write(&file, "").unwrap();
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&way).unwrap();
    fs::create_dir(way.join("deep")).unwrap();
    let cleanup = Cleanup { paths: vec![file.clone(), dir.clone(), way.join("deep")], ..Cleanup::default() };
    let (bundle, gate) = Bundle::new(&node, "b").gated();
    node.run_owning(&id, &bundle.write(), cleanup);
    fs::remove_file(&file).unwrap();
    symlink(precious.join("file"), &file).unwrap();
    fs::remove_dir(&dir).unwrap();
    symlink(&precious, &dir).unwrap();
    // Not the last component: nothing is looked for behind a link.
    fs::rename(&way, node.dir().join("away")).unwrap();
    symlink(&precious, &way).unwrap();
    gate.exit(0);
    let entry = node.wait_gc(&id);
    assert_eq!(entry.step, Step::Files);
    assert!(entry.in_the_way.contains("is a symbolic link now"), "{entry:?}");
    assert!(file.symlink_metadata().is_err() && dir.symlink_metadata().is_err());
    assert_whole(&precious);
    fs::remove_file(&way).unwrap();
    node.retry_is_enough(&id);
    assert!(node.dir().join("away/deep").exists(), "what is not at its name is not what was registered");
    node.finish();
}

#[test]
fn directories_that_are_swapped_for_links_meanwhile() {
    const ROUNDS: usize = 10;
    const PAIRS: usize = 100;
    if skipped() {
        return;
    }
    let node = node();
    let (precious, tree) = (precious(&node), node.dir().join("tree"));
    let swaps = AtomicU32::new(0);
    for round in 0..ROUNDS {
        let pair = |n: usize| (tree.join(format!("d{n}")), tree.join(format!("l{n}")));
        for n in 0..PAIRS {
            let (dir, link) = pair(n);
            fs::create_dir_all(dir.join("deep")).unwrap();
            fs::write(dir.join("file"), "").unwrap();
            fs::write(dir.join("deep/file"), "").unwrap();
            symlink(&precious, &link).unwrap();
        }
        let id = node.id(&format!("c{round}"));
        let (bundle, gate) = Bundle::new(&node, &format!("b{round}")).gated();
        node.run_owning(&id, &bundle.write(), Cleanup { paths: vec![tree.clone()], ..Cleanup::default() });
        let over = AtomicBool::new(false);
        let gone = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for (dir, link) in (0..PAIRS).map(pair) {
                        let swapped = renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE);
                        swaps.fetch_add(u32::from(swapped.is_ok()), Ordering::Relaxed);
                    }
                }
            });
            gate.exit(0);
            let gone = wait_until(LONG, || {
                // One that gave up because of the swaps goes on when asked.
                let _ = node.sexton(&["gc", "retry", "--all"]);
                !tree.exists()
            });
            over.store(true, Ordering::Relaxed);
            gone
        });
        assert!(gone, "{:?}", node.inspect(&id));
        node.wait_state(&id, State::Stopped);
        assert_whole(&precious);
    }
    eprintln!("{} swaps", swaps.load(Ordering::Relaxed));
    assert!(swaps.load(Ordering::Relaxed) > 0, "nothing was swapped");
    node.finish();
}

/// Makes a file immutable, until it is dropped.
struct Immutable(PathBuf);

impl Immutable {
    fn new(file: PathBuf) -> Self {
        must(Command::new("chattr").arg("+i").arg(&file));
        Self(file)
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.0).output();
    }
}

#[test]
fn what_is_immutable_is_named() {
    if skipped() {
        return;
    }
    let node = node();
    let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
    let tree = disk.point().join("tree");
    fs::create_dir_all(tree.join("deep")).unwrap();
    for name in ["a", "deep/stays", "z"] {
        fs::write(tree.join(name), "").unwrap();
    }
    let immutable = Immutable::new(tree.join("deep/stays"));
    let id = node.id("c");
    let cleanup = Cleanup { paths: vec![tree.clone()], ..Cleanup::default() };
    node.run_owning(&id, &Bundle::new(&node, "b").sh("exit 4").write(), cleanup);
    let entry = node.wait_gc(&id);
    assert_eq!(entry.step, Step::Files);
    let name = tree.join("deep/stays").display().to_string();
    let why = node.gc_why(&id).unwrap();
    assert!(why.obstacles[0].what.contains(&name) && why.obstacles[0].what.contains("chattr -i"), "{why:?}");
    assert_eq!(leftovers::entries(&tree), [tree.join("deep")], "all else is gone");
    drop(immutable);
    node.retry_is_enough(&id);
    assert!(!tree.exists());
    assert_eq!(node.inspect(&id).status, Some(ExitStatus::Code(4)));
    drop(disk);
    node.finish();
}
