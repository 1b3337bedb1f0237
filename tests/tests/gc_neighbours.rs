//! Those that are stuck hold up nobody else (I7): two hundred containers end while twenty do not die, and are as clean as
//! soon as without the twenty.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus,
    launch::Mode,
    runtime::Runtime,
    time::boot_ns,
    wire::{EventKind, LaunchRequest, Launched},
};
use sexton_tests::{
    Bundle, LONG, Node, Subscriber,
    gc::{Freezer, LoopDisk},
    helper::helper,
    node_api::killed_by,
    proc, skip, skipped,
    wait::observe,
    wait_for,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const OTHERS: usize = 200;
/// Of each kind.
const STUCK: usize = 10;
/// What is promised.
const RATIO: f64 = 1.5;
/// Noise only ever makes a round slower: the fastest of each kind are compared, of at least so many, and at most.
const ROUNDS: (usize, usize) = (3, 8);
/// Between two exits.
const PACE: Duration = Duration::from_millis(10);

/// A runtime whose containers are single processes; it ends by SIGTERM, with 7.
fn light(node: &Node) -> (Runtime, PathBuf) {
    let dir = node.dir().join("bundles").join("light-7");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.json"), "{}").unwrap();
    (Runtime { program: helper("runtime"), root: Some(node.runtime_root()), args: Vec::new() }, dir)
}

fn launch(node: &Node, round: usize, others: &(Runtime, PathBuf)) -> Vec<(ContainerId, Launched)> {
    let (next, all) = (AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= OTHERS {
                        return;
                    }
                    let id = node.id(&format!("o{round}-{number}"));
                    let request = node.launch_request(&id, &others.1, Mode::Run);
                    let launched = node.launch(LaunchRequest { runtime: others.0.clone(), ..request }).unwrap();
                    all.lock().unwrap().push((id, launched));
                }
            });
        }
    });
    all.into_inner().unwrap()
}

/// They end one after the other; how long the 99th in a hundred took from its end to being clean.
fn p99(node: &Node, round: usize, others: &(Runtime, PathBuf)) -> Duration {
    let all = launch(node, round, others);
    let events = node.subscribe();
    for (_, launched) in &all {
        let pid = rustix::process::Pid::from_raw(launched.pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        observe(PACE);
    }
    let stopped = |heard: &sexton_tests::subscriber::Heard| {
        heard.events.iter().filter(|(_, event)| event.kind == EventKind::Stopped).count()
    };
    wait_for("all are clean", LONG, || stopped(&events.heard()) == OTHERS);
    let (now, now_ns) = (Instant::now(), boot_ns());
    let mut took = Vec::new();
    for (at, event) in events.heard().events.iter().filter(|(_, event)| event.kind == EventKind::Stopped) {
        assert_eq!(event.container.status, Some(ExitStatus::Code(7)));
        let exited = node.record(&event.container.id).unwrap().exited.unwrap().boot_ns;
        took.push(Duration::from_nanos(now_ns - exited).saturating_sub(now - *at));
    }
    took.sort_unstable();
    for (id, _) in &all {
        node.remove(id, false).unwrap();
    }
    took[OTHERS * 99 / 100 - 1]
}

/// Ten that are frozen, and ten that wait for a frozen file system; all were killed, and are in GC.
fn twenty(node: &Node, round: usize, freezer: &Freezer, disk: &LoopDisk, events: &Subscriber) -> Vec<ContainerId> {
    let run = |kind: &str, number: usize, change: &dyn Fn(Bundle, &ContainerId) -> Bundle| {
        let id = node.id(&format!("{kind}{round}-{number}"));
        let launched = node.run(&id, &change(Bundle::new(node, id.as_str()), &id).write());
        (id, launched)
    };
    let mut all = Vec::new();
    for number in 0..STUCK {
        all.push(run("frozen", number, &|bundle, id| {
            let path = freezer.below(id);
            bundle.sleeping().with(|config| config["linux"]["cgroupsPath"] = path.into())
        }));
        let script = format!("while :; do echo x > /gate/file{number}; usleep 1000; done");
        all.push(run("writes", number, &|bundle, _| bundle.bind(disk.point(), "/gate").sh(&script)));
    }
    let wrote = |number| disk.point().join(format!("file{number}")).exists();
    wait_for("all have written", LONG, || (0..STUCK).all(wrote));
    freezer.freeze(true);
    disk.freeze();
    let waits = |pid| proc::status(pid, "State").is_some_and(|state| state.starts_with('D'));
    wait_for("all writers in D", LONG, || all.iter().skip(1).step_by(2).all(|(_, launched)| waits(launched.pid)));
    for (id, _) in &all {
        node.kill(id, 9);
    }
    for (id, _) in &all {
        events.wait(id, EventKind::Delayed);
    }
    all.into_iter().map(|(id, _)| id).collect()
}

#[test]
fn twenty_that_are_stuck_do_not_hold_up_two_hundred() {
    if skipped() {
        return;
    }
    // With the usual back-off: the twenty are tried again and again meanwhile.
    let node = Node::new();
    let Some(freezer) = Freezer::new(&format!("{}par", node.prefix())) else { return skip("there is no v1 freezer") };
    let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
    let others = light(&node);
    let (mut without, mut with) = (Duration::MAX, Duration::MAX);
    for round in 0..ROUNDS.1 {
        let alone = p99(&node, 2 * round, &others);
        let events = node.subscribe();
        let stuck = twenty(&node, round, &freezer, &disk, &events);
        let beside = p99(&node, 2 * round + 1, &others);
        assert_eq!(node.gc_list().len(), 2 * STUCK, "they were stuck all the time");
        freezer.freeze(false);
        disk.thaw();
        for id in &stuck {
            events.wait(id, EventKind::Stopped);
            assert_eq!(node.inspect(id).status, Some(killed_by(9)));
            node.remove(id, false).unwrap();
        }
        (0..STUCK).for_each(|number| remove(&disk.point().join(format!("file{number}"))));
        (without, with) = (without.min(alone), with.min(beside));
        let ratio = with.as_secs_f64() / without.as_secs_f64();
        eprintln!("round {round}: p99 {alone:?} alone, {beside:?} beside; best {without:?} and {with:?}: {ratio:.2}");
        if round + 1 >= ROUNDS.0 && ratio <= RATIO {
            drop((events, disk, freezer));
            return node.finish();
        }
    }
    panic!("p99 from exit to clean: {without:?} alone, {with:?} beside {} that are stuck", 2 * STUCK);
}

fn remove(file: &Path) {
    fs::remove_file(file).unwrap();
}
