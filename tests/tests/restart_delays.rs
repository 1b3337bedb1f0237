//! When a container comes back: the delays, what they are counted from, and what outlives the collector.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    WallTime,
    wire::{Event, EventKind, State},
};
use sexton_tests::{
    LONG, Node,
    restarts::{Comer, told},
    skipped, wait_for,
};
use std::time::Duration;

/// Of the events that say so, the delay that was decided upon, in milliseconds, and by how much the start was later.
fn delays(events: &[Event]) -> Vec<(u64, i64)> {
    let ms = |time: WallTime| i64::try_from(time.0 / 1_000_000).unwrap();
    let said = events.iter().enumerate().filter(|(_, event)| event.kind == EventKind::Restarting);
    said.map(|(place, event)| {
        let due = event.container.restart.as_ref().unwrap().next_start.unwrap();
        let next = events[place..].iter().find(|event| event.kind == EventKind::Created);
        let begun = next.map_or(i64::MAX, |event| ms(event.container.created_at) - ms(due));
        let exited = ms(event.container.exited_at.unwrap());
        (u64::try_from(ms(due) - exited).unwrap(), begun)
    })
    .collect()
}

/// Decided after the end, the delay is at least what it should be, and less than the next one.
#[track_caller]
fn assert_delays(events: &[Event], expected: &[u64]) {
    let delays = delays(events);
    assert_eq!(delays.len(), expected.len(), "{delays:?}");
    for ((delay, late), expected) in delays.iter().zip(expected) {
        assert!(delay >= expected, "{delays:?}: {expected}");
        // Less a clock's tick: both are rounded.
        assert!(*late >= -1, "begun before it was due: {delays:?}");
    }
}

#[test]
fn they_double_up_to_the_longest() {
    if skipped() {
        return;
    }
    let node = Node::configured("[restart]\nfirst = \"100ms\"\nmax = \"500ms\"\n");
    let events = node.subscribe();
    let comer = Comer::new(&node, "c", "exit 1");
    comer.launch(&node, "on-failure:5");
    let mut durable = Vec::new();
    for count in 1..=5 {
        node.wait_shown(&comer.id, "counts", |info| {
            info.restart.as_ref().is_some_and(|restart| restart.count >= count)
        });
        durable.push(node.instance(&comer.id).unwrap().delay_ms);
    }
    node.wait_rest(&comer.id);
    assert!(durable.is_sorted() && durable.last() == Some(&500), "{durable:?}");
    assert_delays(&told(&node, &events, &comer.id), &[100, 200, 400, 500, 500]);
    drop(events);
    node.finish_all();
}

/// After a long run the delay is the first one again; N is not.
#[test]
fn a_long_run_resets_the_delay_and_not_the_count() {
    if skipped() {
        return;
    }
    let node = Node::configured("[restart]\nfirst = \"50ms\"\nmax = \"10s\"\nreset_after = \"5s\"\n");
    let events = node.subscribe();
    // The fourth run is a long one; the others are short on a loaded machine too.
    let script = "n=$(/bin/cat /gate/runs | /bin/busybox wc -l); test $n = 4 && /bin/sleep 6; exit 1";
    let comer = Comer::new(&node, "c", script);
    comer.launch(&node, "on-failure:4");
    assert_eq!(node.wait_rest(&comer.id).restart.unwrap().count, 4);
    let instance = node.instance(&comer.id).unwrap();
    assert_eq!((instance.count, instance.delay_ms), (4, 50), "{instance:?}");
    assert_delays(&told(&node, &events, &comer.id), &[50, 100, 200, 50]);
    assert_eq!(comer.runs(), 5);
    drop(events);
    node.finish_all();
}

/// What was due stays due at that moment, and the next delay is the next one.
#[test]
fn they_outlive_the_collector() {
    if skipped() {
        return;
    }
    let mut node = Node::configured("[restart]\nfirst = \"500ms\"\nmax = \"1h\"\n");
    let comer = Comer::new(&node, "c", "exit 1");
    comer.launch(&node, "always");
    let mut last = None;
    for count in 1..=3 {
        let info = node.wait_shown(&comer.id, "waits", |info| {
            info.state == State::Restarting && info.restart.as_ref().is_some_and(|restart| restart.count >= count)
        });
        let before = info.restart.unwrap();
        let next = before.next_start.unwrap();
        node.kill_daemon();
        // A loaded machine may be a run ahead of what was shown.
        let instance = node.instance(&comer.id).unwrap();
        assert_eq!(instance.delay_ms, 500 << (instance.count - 1), "{instance:?}");
        node.start_daemon();
        let again = node.wait_shown(&comer.id, "is back", |info| info.restart.is_some()).restart.unwrap();
        assert!(again.count >= before.count, "{before:?}, {again:?}");
        if let Some(again) = again.next_start.filter(|_| again.count == before.count) {
            assert_eq!(again, next, "neither sooner nor later");
        }
        last = Some((before.count, next));
    }
    let (count, due) = last.unwrap();
    comer.wait_runs(usize::try_from(count).unwrap() + 1);
    assert!(WallTime::now() >= due, "in a hurry");
    let instance = node.instance(&comer.id).unwrap();
    assert!(instance.delay_ms >= 2000, "{instance:?}");
    node.finish_all();
}

/// With the delays that nobody has configured.
#[test]
fn the_usual_ones_are_mobys() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    let comer = Comer::new(&node, "c", "exit 1");
    comer.launch(&node, "on-failure:3");
    wait_for("four runs", LONG, || comer.runs() == 4);
    node.wait_rest(&comer.id);
    let heard = told(&node, &events, &comer.id);
    assert_delays(&heard, &[100, 200, 400]);
    let total: u64 = delays(&heard).iter().map(|(delay, _)| delay).sum();
    assert!(Duration::from_millis(total) < LONG, "{total}");
    drop(events);
    node.finish_all();
}
