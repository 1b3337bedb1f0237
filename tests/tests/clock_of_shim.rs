//! The shim's wall clock is set by twenty years, by a tracer; with `SEXTON_TEST_SET_CLOCK=1` the machine's own, too.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ExitStatus, Source, WallTime,
    time::boot_ns,
    wire::{EventKind, Launched, State},
};
use sexton_tests::{
    Bundle, Gate, LONG, Node,
    clock::{TWENTY_YEARS, ages_are_short, machine_seconds, ran_since},
    crash::killer::{Killer, Order},
    run, skipped, wait_for,
};
use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

const JUMPS: [i64; 2] = [TWENTY_YEARS, -TWENTY_YEARS];

fn gated(node: &Node, name: &str) -> (Launched, Gate) {
    let (bundle, gate) = Bundle::new(node, name).gated();
    (node.run(&node.id(name), &bundle.write()), gate)
}

/// The shim is static: a tracer sets what the kernel answers it.
#[test]
fn the_shim_s() {
    if skipped() {
        return;
    }
    for [before, after] in [[0, TWENTY_YEARS], [TWENTY_YEARS, 0], [0, -TWENTY_YEARS]] {
        let node = Node::new();
        let events = node.subscribe();
        let began = boot_ns();
        let (id, (bundle, gate)) = (node.id("a"), Bundle::new(&node, "a").gated());
        let command = node.shim_command("run", id.as_str(), &bundle.write());
        let clock_off = Arc::new(AtomicI64::new(before));
        let words = node.dir().join("shim.words");
        let traced =
            Killer::start(Order { no_vdso: true, clock_off: clock_off.clone(), ..Order::new(command, words, 2, None) });
        let said = || fs::read_to_string(node.dir().join("shim.words")).unwrap_or_default();
        wait_for("the shim's word", LONG, || !said().is_empty());
        assert!(said().starts_with('{'), "{}", said());
        node.wait_state(&id, State::Running);
        clock_off.store(after, Ordering::SeqCst);
        gate.exit(8);
        let info = node.wait(&id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(8)), Some(Source::Waited)));
        ran_since(&node, &info, began);
        let off = |at: WallTime| i64::try_from(at.0 / 1_000_000_000).unwrap() - machine_seconds();
        let stamps = [(info.created_at, before), (info.exited_at.unwrap(), after)];
        assert!(stamps.iter().all(|(at, set)| (off(*at) - set).abs() < 3600), "its clock was not set: {info:?}");
        events.wait(&id, EventKind::Stopped);
        ages_are_short(&node);
        traced.join(LONG).unwrap();
        drop(events);
        node.finish();
    }
}

/// The real clock, and so the shim's too. Others on the machine notice: only when asked for.
#[test]
fn the_machine_s_own() {
    if skipped() {
        return;
    }
    if std::env::var_os("SEXTON_TEST_SET_CLOCK").is_none_or(|set| set != "1") {
        return sexton_tests::skip("it sets the machine's clock: SEXTON_TEST_SET_CLOCK=1 lets it");
    }
    for jump in JUMPS {
        let node = Node::new();
        let began = boot_ns();
        let (launched, gate) = gated(&node, "a");
        let info = {
            let _set = Set::by(jump);
            gate.exit(6);
            wait_for("its record", LONG, || node.record(&launched.id).is_some());
            node.wait(&launched.id)
        };
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(6)), Some(Source::Waited)));
        ran_since(&node, &info, began);
        let record = node.record(&launched.id).unwrap();
        let off = i64::try_from(record.exited.unwrap().wall.0 / 1_000_000_000).unwrap() - machine_seconds();
        assert!((off - jump).abs() < 3600, "the shim's clock was not set: {off}");
        ages_are_short(&node);
        node.finish();
    }
}

/// The machine's clock is wrong until this is dropped.
struct Set(i64);

impl Set {
    fn by(seconds: i64) -> Self {
        shift(seconds);
        Self(seconds)
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        shift(-self.0);
    }
}

fn shift(seconds: i64) {
    let to = format!("@{}", machine_seconds() + seconds);
    let _ = run(Command::new("date").args(["--set", &to])).ok();
}
