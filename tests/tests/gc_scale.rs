//! The loop never runs away: a thousand entries that cannot be cleaned cost next to nothing, and hold up nobody.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sexton_common::{
    ContainerId,
    cleanup::Cleanup,
    wire::{EventKind, GcAddRequest, GcFigures, Reply, Request},
};
use sexton_tests::{Bundle, LONG, Node, Options, gc::Freezer, proc, skip, skipped, wait::observe, wait_for};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// Of each of two kinds.
const ENTRIES: usize = 500;
/// The usual longest back-off is 300 s. Here each is tried twenty times as often, so that one period can be watched: what it
/// costs is what 300 s cost at steady state.
const PERIOD: Duration = Duration::from_secs(15);
const STEADY: Duration = Duration::from_secs(300);
/// A hundredth of a core at steady state, in clock ticks of a hundredth of a second.
const TICKS: u64 = STEADY.as_secs();
/// Memory for each entry.
const KIB: u64 = 32;

/// Processes that are killed and do not die, because they are frozen.
struct Frozen(Vec<Child>, Freezer);

impl Frozen {
    fn new(node: &Node, freezer: Freezer) -> Self {
        let sleep = || {
            let mut command = Command::new("sleep");
            command.arg("100000").env("SEXTON_TEST_NODE", node.prefix()).stdin(Stdio::null()).spawn().unwrap()
        };
        let frozen = Self((0..5).map(|_| sleep()).collect(), freezer);
        frozen.0.iter().for_each(|child| frozen.1.take(child.id()));
        frozen.1.freeze(true);
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.1.freeze(false);
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Mounts and unmounts something, fifty times a second, until it is dropped.
struct Restless<'a>(&'a AtomicBool);

impl Drop for Restless<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn restless(point: &Path, end: &AtomicBool) {
    while !end.load(Ordering::Relaxed) {
        mount(Some("none"), point, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        observe(Duration::from_millis(10));
        umount2(point, MntFlags::empty()).unwrap();
        observe(Duration::from_millis(10));
    }
}

fn figures(node: &Node) -> GcFigures {
    match node.ask(&Request::Node {}) {
        Ok(Reply::Node(node)) => node.gc,
        other => panic!("{other:?}"),
    }
}

/// Half of them wait for frozen processes, which five of them share; the others for a file that is no network namespace,
/// which any change of the mount table might be about.
fn add(node: &Node, frozen: &Frozen) -> Vec<(ContainerId, PathBuf)> {
    let mut client = node.client();
    let dir = node.dir().join("netns");
    fs::create_dir(&dir).unwrap();
    let mut ask = |name: String, pids: Vec<u32>, cleanup: Cleanup| {
        let id = node.id(&name);
        let request = GcAddRequest { id: id.clone(), runtime: node.runtime(), pids, bundle: None, cleanup };
        let reply = client.call(&Request::GcAdd(request));
        assert!(matches!(reply, Ok(Reply::Done {})), "{reply:?}");
        id
    };
    let mut files = Vec::new();
    for number in 0..ENTRIES {
        let pid = frozen.0[number % frozen.0.len()].id();
        ask(format!("p{number}"), vec![pid], Cleanup::default());
        let file = dir.join(number.to_string());
        fs::write(&file, "no namespace").unwrap();
        let cleanup = Cleanup { netns: vec![file.clone()], ..Cleanup::default() };
        files.push((ask(format!("n{number}"), Vec::new(), cleanup), file));
    }
    files
}

/// What a healthy container takes from its end until it is clean: the best of some.
fn healthy(node: &Node, name: &str) -> Duration {
    let events = node.subscribe();
    let one = |number: usize| {
        let id = node.id(&format!("{name}{number}"));
        let (bundle, gate) = Bundle::new(node, id.as_str()).gated();
        node.run(&id, &bundle.write());
        gate.exit(3);
        let (exited, _) = events.wait(&id, EventKind::Exited);
        let (stopped, _) = events.wait(&id, EventKind::Stopped);
        node.remove(&id, false).unwrap();
        stopped - exited
    };
    (0..5).map(one).min().unwrap()
}

/// Over one period, or until each was tried: attempts, and ticks that the collector used in a period.
fn watch(node: &Node, pid: u32, what: &str) -> u64 {
    let (ticks, attempts, since) = (proc::cpu_ticks(pid), figures(node).attempts, Instant::now());
    let tried = || figures(node).attempts - attempts;
    // But for those whose attempt fell on the period's ends.
    let each = 2 * ENTRIES as u64 * 9 / 10;
    observe(PERIOD);
    while tried() < each && since.elapsed() < LONG {
        observe(Duration::from_secs(1));
    }
    let (ticks, attempts, took) = (proc::cpu_ticks(pid) - ticks, tried(), since.elapsed());
    let ticks = u64::try_from(u128::from(ticks) * PERIOD.as_millis() / took.as_millis()).unwrap();
    let percent = ticks as f64 / TICKS as f64;
    eprintln!(
        "{what}: {attempts} attempts in {took:.1?}, {ticks} ticks a period: {percent:.2} % of a core at steady state"
    );
    assert!(attempts >= each, "each was tried: {attempts}");
    ticks
}

#[test]
fn a_thousand_entries() {
    if skipped() {
        return;
    }
    let config = format!("[exit]\nbackoff_first = '{0}s'\nbackoff_max = '{0}s'\n", PERIOD.as_secs());
    let mut node = Node::with(Options { config, ..Options::default() });
    let name = format!("{}par", node.prefix());
    let Some(freezer) = Freezer::new(&name) else { return skip("there is no v1 freezer") };
    let pid = node.daemon().pid();
    let (alone, before) = (healthy(&node, "a"), proc::resident_kib(pid));
    let mut frozen = Frozen::new(&node, freezer);
    let files = add(&node, &frozen);
    wait_for("all are in GC", LONG, || figures(&node).entries == 2 * ENTRIES as u32);
    let each = (proc::resident_kib(pid) - before).div_ceil(2 * ENTRIES as u64);
    eprintln!("{each} KiB for each entry; {before} KiB before");
    assert!(each <= KIB, "{each} KiB for each entry");
    let calm = watch(&node, pid, "calm");
    assert!(calm <= TICKS, "{calm} ticks in {STEADY:?}");
    let beside = healthy(&node, "b");

    let (point, end) = (node.dir().join("point"), AtomicBool::new(false));
    fs::create_dir(&point).unwrap();
    let (among, restless) = std::thread::scope(|scope| {
        scope.spawn(|| restless(&point, &end));
        let _ends = Restless(&end);
        (healthy(&node, "c"), watch(&node, pid, "while mounts come and go"))
    });
    assert!(restless <= 2 * TICKS, "{restless} ticks in {STEADY:?}");
    eprintln!("from exit to clean: {alone:?} alone, {beside:?} beside all entries, {among:?} while mounts come and go");
    let limit = alone * 5 + Duration::from_secs(5);
    assert!(beside < limit && among < limit, "an exit is handled at once");
    let after = (proc::resident_kib(pid) - before).div_ceil(2 * ENTRIES as u64);
    eprintln!("{after} KiB for each entry in the end");
    assert!(after <= KIB, "{after} KiB for each entry: it grows");
    assert_eq!(figures(&node).entries, 2 * ENTRIES as u32, "none was given up");

    // All of them at once.
    let begin = Instant::now();
    frozen.1.freeze(false);
    wait_for("those that waited for processes are clean", LONG, || figures(&node).entries == ENTRIES as u32);
    eprintln!("{ENTRIES} were clean {:?} after the thaw", begin.elapsed());
    for child in &mut frozen.0 {
        child.wait().unwrap();
    }
    files.iter().for_each(|(_, file)| fs::write(file, "").unwrap());
    node.ask(&Request::GcRetry { id: None }).unwrap();
    wait_for("all are clean", LONG, || figures(&node).entries == 0);
    assert!(files.iter().all(|(_, file)| !file.exists()));
    drop(frozen);
    node.finish();
}
