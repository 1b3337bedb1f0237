//! The wall clock is set by twenty years, forward and back: no deadline, order or duration changes.
//! By a preloaded library, which the collector and the command line see.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::{Signal, pidfd_send_signal};
use sexton_common::{
    ExitStatus, Init, Launch, ProcessIdentity, Source, Stamp, durable,
    launch::Mode,
    time::boot_ns,
    wire::{EventKind, Launched, Request, State},
};
use sexton_tests::{
    Bundle, Gate, LONG, Node, Options, Subscriber,
    clock::{Clock, TWENTY_YEARS, ages_are_short, machine_seconds, ran_since},
    node_api::killed_by,
    skipped, wait_for,
};
use std::{
    fs,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

const JUMPS: [i64; 2] = [TWENTY_YEARS, -TWENTY_YEARS];

/// A node whose clock can be set.
fn node(config: &str) -> (Node, Clock) {
    let mut node = Node::with(Options { daemon: false, config: config.into() });
    let clock = Clock::of(&mut node);
    node.start_daemon();
    (node, clock)
}

fn gated(node: &Node, name: &str) -> (Launched, Gate) {
    let (bundle, gate) = Bundle::new(node, name).gated();
    (node.run(&node.id(name), &bundle.write()), gate)
}

#[track_caller]
fn in_order(events: &Subscriber) {
    let heard = events.heard();
    let mut seq = heard.snapshot_seq;
    for (_, event) in &heard.events {
        assert_eq!(event.seq, seq + 1, "one after the other");
        seq = event.seq;
    }
}

/// The collector's own stamps bear its clock, so the clock really was set; and the boot-time clock, which was not.
#[test]
fn between_all_that_happens_to_a_container() {
    if skipped() {
        return;
    }
    for jump in JUMPS {
        let (node, clock) = node("");
        let events = node.subscribe();
        let began = boot_ns();
        let (created, gate) = Bundle::new(&node, "created").gated();
        let first = node.create(&node.id("created"), &created.write());
        clock.set(jump);
        let _ = node.ask(&Request::Start { id: first.id.clone() }).unwrap();
        let (second, orphan) = gated(&node, "orphan");
        assert!(second.generation > first.generation);
        ages_are_short(&node);
        let shown = node.sexton(&["ps", "-q"]).ok().stdout;
        assert_eq!(shown.lines().collect::<Vec<_>>(), [second.id.as_str(), first.id.as_str()], "the newest first");
        clock.set(0);
        ages_are_short(&node);
        clock.set(jump);
        let (_, fd) = ProcessIdentity::open_pid(second.shim_pid).unwrap();
        pidfd_send_signal(fd, Signal::KILL).unwrap();
        node.wait_state(&second.id, State::Orphaned);
        gate.exit(3);
        orphan.exit(4);
        let stopped = |launched: &Launched| {
            events.wait(&launched.id, EventKind::Stopped);
            node.wait_state(&launched.id, State::Stopped)
        };
        let (first, second) = (stopped(&first), stopped(&second));
        assert_eq!((first.status, first.source), (Some(ExitStatus::Code(3)), Some(Source::Waited)));
        assert_eq!(second.status, Some(ExitStatus::Code(4)));
        for info in [&first, &second] {
            ran_since(&node, info, began);
            let kinds = events.kinds(&info.id);
            let order = [EventKind::Created, EventKind::Started, EventKind::Exited, EventKind::Stopped];
            assert_eq!(kinds.into_iter().filter(|kind| *kind != EventKind::Orphaned).collect::<Vec<_>>(), order);
        }
        if second.source == Some(Source::Pidfd) {
            let wall = i64::try_from(second.exited_at.unwrap().0 / 1_000_000_000).unwrap();
            assert!((wall - machine_seconds() - jump).abs() < 3600, "the collector's clock was not set: {wall}");
        }
        in_order(&events);
        ages_are_short(&node);
        drop(events);
        node.finish();
    }
}

/// Since when at the latest, and what.
fn spawn(node: &Node, args: &[&str]) -> (Instant, Child) {
    let mut command = node.sexton_command(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    (Instant::now(), command.spawn().unwrap())
}

/// How long it takes, and how it ends; it must not be over at once, and not take years.
#[track_caller]
fn takes((began, mut child): (Instant, Child), least: Duration) -> Option<i32> {
    let mut status = None;
    wait_for("a deadline that is past", LONG, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let took = began.elapsed();
    assert!(took >= least, "over after {took:?}, before {least:?}");
    status.unwrap().code()
}

/// `wait` and `stop` keep their time when the clock jumps in the middle.
#[test]
fn time_outs() {
    if skipped() {
        return;
    }
    for jump in JUMPS {
        let (node, clock) = node("");
        let id = node.id("deaf");
        let bundle = Bundle::new(&node, "deaf").sh("trap '' TERM; echo > /gate/up; while :; do sleep 0.1; done");
        let up = node.dir().join("up");
        fs::create_dir(&up).unwrap();
        node.run(&id, &bundle.bind(&up, "/gate").write());
        wait_for("it to be deaf", LONG, || up.join("up").exists());
        let events = node.subscribe();

        let waits = spawn(&node, &["wait", "--timeout", "2s", id.as_str()]);
        let half = Instant::now();
        wait_for("it to wait", LONG, || half.elapsed() > Duration::from_millis(500));
        clock.set(jump);
        assert_eq!(takes(waits, Duration::from_secs(2)), Some(124));
        assert_eq!(node.inspect(&id).state, State::Running);

        let stops = spawn(&node, &["stop", "--timeout", "2s", id.as_str()]);
        let half = Instant::now();
        wait_for("it to wait", LONG, || half.elapsed() > Duration::from_millis(500));
        clock.set(-jump);
        assert_eq!(takes(stops, Duration::from_secs(2)), Some(0));
        assert_eq!(node.wait(&id).status, Some(killed_by(9)));
        events.wait(&id, EventKind::Stopped);
        drop(events);
        node.finish();
    }
}

/// Between exit and clean-up: the attempt has its time, and the next one comes when it is due, neither at once nor never.
#[test]
fn a_clean_up_that_is_stuck() {
    if skipped() {
        return;
    }
    for jump in JUMPS {
        let config = "[exit]\ndeadline = \"1s\"\nbackoff_first = \"500ms\"\nbackoff_max = \"1s\"\n";
        let (node, clock) = node(config);
        let events = node.subscribe();
        let hang = node.dir().join("hang");
        fs::write(&hang, "").unwrap();
        let wait = format!("while [ -e {} ]; do sleep 0.1; done", hang.display());
        let id = node.id("stuck");
        let mut request = node.launch_request(&id, &Bundle::new(&node, "stuck").sleeping().write(), Mode::Run);
        request.runtime = node.runtime_but("hangs", "delete", &wait);
        node.launch(request).unwrap();
        let (began, killed) = (boot_ns(), Instant::now());
        node.kill(&id, 9);
        events.wait(&id, EventKind::Exited);
        clock.set(jump);
        let (delayed, _) = events.wait(&id, EventKind::Delayed);
        assert!(delayed - killed > Duration::from_millis(300), "the attempt was given up at once");
        clock.set(0);
        wait_for("the third attempt", LONG, || node.inspect(&id).attempts >= 3);
        clock.set(jump);
        let attempts = |least| {
            wait_for("more attempts", LONG, || node.inspect(&id).attempts >= least);
            u64::from(node.inspect(&id).attempts)
        };
        let tried = attempts(5);
        // Each takes at least half of the deadline, and then the delay.
        let most = (boot_ns() - began) / 700_000_000 + 1;
        assert!(tried <= most, "{tried} attempts, {most} at most");
        fs::remove_file(&hang).unwrap();
        node.wait_state(&id, State::Stopped);
        events.wait(&id, EventKind::Stopped);
        in_order(&events);
        drop(events);
        node.finish();
    }
}

/// As if its shim had seen a wall clock that was off by so many seconds.
fn launched_at_another_time(node: &Node, launched: &Launched, off: i64) {
    let dir = node.layout().container(&launched.id);
    let shift = |stamp: &mut Stamp| stamp.wall.0 = stamp.wall.0.saturating_add_signed(off * 1_000_000_000);
    let mut launch: Launch = durable::read(&dir.launch()).unwrap().unwrap();
    shift(&mut launch.created);
    durable::write(&dir.launch(), &launch).unwrap();
    let mut init: Init = durable::read(&dir.init()).unwrap().unwrap();
    shift(&mut init.ready);
    durable::write(&dir.init(), &init).unwrap();
}

/// Set while the collector is away: generations and event numbers still rise, and what ended meanwhile is exact.
#[test]
fn while_the_collector_is_away() {
    if skipped() {
        return;
    }
    for jump in JUMPS {
        let (mut node, clock) = node("");
        let began = boot_ns();
        let (ends, gate) = gated(&node, "ends");
        let (runs, _gate) = gated(&node, "runs");
        let before = node.subscribe();
        let seq = before.heard().snapshot_seq;
        drop(before);
        node.kill_daemon();
        clock.set(jump);
        launched_at_another_time(&node, &runs, -jump);
        gate.exit(5);
        wait_for("its record", LONG, || node.record(&ends.id).is_some());
        node.start_daemon();
        let events = node.subscribe();
        assert!(events.heard().snapshot_seq > seq, "a collector that comes back begins higher");
        let info = node.wait(&ends.id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(5)), Some(Source::Waited)));
        ran_since(&node, &info, began);
        let (later, _later_gate) = gated(&node, "later");
        assert!(later.generation > runs.generation);
        let shown = node.sexton(&["ps", "-q"]).ok().stdout;
        assert_eq!(shown.lines().collect::<Vec<_>>(), [later.id.as_str(), runs.id.as_str()], "the newest first");
        ages_are_short(&node);
        clock.set(0);
        ages_are_short(&node);
        for launched in [&runs, &later] {
            let _ = node.sexton(&["stop", "--timeout", "0s", launched.id.as_str()]).ok();
        }
        in_order(&events);
        drop(events);
        node.finish();
    }
}
