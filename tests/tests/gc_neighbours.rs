//! Those that are stuck hold up nobody else (I7): two hundred containers end while twenty do not die, and are clean as soon
//! as two hundred others, which end at the same time on a node that has no such twenty.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus,
    launch::Mode,
    runtime::Runtime,
    time::boot_ns,
    wire::{Event, EventKind, LaunchRequest, Launched},
};
use sexton_tests::{
    Bundle, LONG, Node, Options, Subscriber,
    gc::{Freezer, LoopDisk},
    helper::helper,
    node_api::killed_by,
    proc, skip, skipped,
    wait::observe,
    wait_for,
};
use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const OTHERS: usize = 200;
/// Of each kind.
const STUCK: usize = 10;
/// What is promised.
const RATIO: f64 = 1.5;
/// What a machine that was loaded in all rounds may add. Who waits for one that is stuck waits for longer.
const NOISE: Duration = Duration::from_millis(100);
/// Noise only ever makes a round slower: the fastest of each node are compared, of at least so many, and at most.
const ROUNDS: (usize, usize) = (3, 10);
/// Between two exits.
const PACE: Duration = Duration::from_millis(8);

/// A runtime whose containers are single processes; it ends by SIGTERM, with 7.
fn light(node: &Node) -> (Runtime, PathBuf) {
    let dir = node.dir().join("bundles").join("light-7");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.json"), "{}").unwrap();
    (Runtime { program: helper("runtime"), root: Some(node.runtime_root()), args: Vec::new() }, dir)
}

fn launch(node: &Node, round: usize) -> Vec<(ContainerId, Launched)> {
    let others = light(node);
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

/// They end one after the other, on both nodes in turn; how long the 99th in a hundred took from its end to being clean.
fn p99(nodes: [&Node; 2], round: usize) -> [Duration; 2] {
    let all = nodes.map(|node| launch(node, round));
    let events = nodes.map(Node::subscribe);
    for pair in all[0].iter().zip(&all[1]) {
        for (_, launched) in [pair.0, pair.1] {
            let pid = rustix::process::Pid::from_raw(launched.pid.cast_signed()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            observe(PACE);
        }
    }
    let mut index = 0;
    nodes.map(|node| {
        let took = until_clean(node, &events[index]);
        for (id, _) in &all[index] {
            node.remove(id, false).unwrap();
        }
        index += 1;
        took[OTHERS * 99 / 100 - 1]
    })
}

/// What each of them took, the quickest first.
fn until_clean(node: &Node, events: &Subscriber) -> Vec<Duration> {
    let stopped = || {
        let events = events.heard().events.into_iter();
        events.filter(|(_, event)| event.kind == EventKind::Stopped).collect::<Vec<_>>()
    };
    wait_for("all are clean", LONG, || stopped().len() == OTHERS);
    let (now, now_ns) = (Instant::now(), boot_ns());
    let took = |(at, event): (Instant, Event)| {
        assert_eq!(event.container.status, Some(ExitStatus::Code(7)));
        let exited = node.record(&event.container.id).unwrap().exited.unwrap().boot_ns;
        Duration::from_nanos(now_ns - exited).saturating_sub(now - at)
    };
    let mut took: Vec<_> = stopped().into_iter().map(took).collect();
    took.sort_unstable();
    took
}

/// Ten that are frozen, and ten that wait for a frozen file system; all were killed, and are in GC.
fn twenty(node: &Node, freezer: &Freezer, disk: &LoopDisk, events: &Subscriber) -> Vec<ContainerId> {
    let run = |kind: &str, number: usize, change: &dyn Fn(Bundle, &ContainerId) -> Bundle| {
        let id = node.id(&format!("{kind}{number}"));
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
    let waits = |pid| proc::is_in(pid, 'D');
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
    // The twenty are tried again more often than is usual by then.
    let node = || Node::with(Options { config: "[exit]\nbackoff_max = '5s'\n".into(), ..Options::default() });
    let (alone, beside) = (node(), node());
    let Some(freezer) = Freezer::new(&format!("{}par", beside.prefix())) else {
        return skip("there is no v1 freezer");
    };
    let disk = LoopDisk::new(&beside.dir().join("image"), &beside.dir().join("disk"));
    let events = beside.subscribe();
    let stuck = twenty(&beside, &freezer, &disk, &events);
    let mut best = [Duration::MAX; 2];
    let ratio = (0..ROUNDS.1).find_map(|round| {
        let now = p99([&alone, &beside], round);
        assert_eq!(beside.gc_list().len(), 2 * STUCK, "they were stuck all the time");
        best = [best[0].min(now[0]), best[1].min(now[1])];
        let ratio = best[1].as_secs_f64() / best[0].as_secs_f64();
        eprintln!("round {round}: p99 alone and beside {now:?}; the best {best:?}: {ratio:.2}");
        (round + 1 >= ROUNDS.0 && ratio <= RATIO).then_some(ratio)
    });
    freezer.freeze(false);
    disk.thaw();
    for id in &stuck {
        events.wait(id, EventKind::Stopped);
        assert_eq!(beside.inspect(id).status, Some(killed_by(9)));
    }
    let near = best[1] <= best[0].mul_f64(RATIO) + NOISE;
    assert!(ratio.is_some() || near, "p99 from exit to clean, alone and beside {} that are stuck: {best:?}", 2 * STUCK);
    drop((events, disk, freezer));
    beside.finish();
    alone.finish();
}
