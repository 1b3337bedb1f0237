//! Small storms; `make storm` has the great ones.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_tests::{
    skipped,
    storm::{
        options::{Kind, Storm},
        report::Report,
        weather::weather,
    },
};
use std::time::Duration;

const OFTEN: Duration = Duration::from_millis(300);

fn endure(storm: &Storm) -> Report {
    println!("seed {}", storm.seed);
    let report = weather(storm);
    println!("{report}");
    assert_eq!(report.lost, [] as [&str; 0]);
    assert_eq!((report.doubled, report.containers), (0, storm.count));
    let unknown: u64 = report.unknown.values().sum();
    assert_eq!(report.exact + unknown, storm.count, "{report}");
    report
}

/// With shims and collector alive, or either of them, nothing is unknown.
fn all_exact(storm: &Storm) {
    let report = endure(storm);
    assert_eq!(report.exact, storm.count, "{report}");
}

#[test]
fn real_containers_at_once() {
    if !skipped() {
        all_exact(&Storm { count: 50, ..Storm::new(Kind::Real) });
    }
}

/// Their exits must not wait for each other in the mailbox, the ring or the queue of connections.
#[test]
fn single_processes_at_once() {
    if !skipped() {
        all_exact(&Storm { count: 300, batch: 200, ..Storm::new(Kind::Light) });
    }
}

/// A tenth of the shims is killed in the same moment: the collector has their pidfds.
#[test]
fn with_shims_that_die_too() {
    if !skipped() {
        all_exact(&Storm { count: 150, kill_shims: 10, ..Storm::new(Kind::Light) });
    }
}

#[test]
fn real_containers_while_the_collector_is_killed() {
    if !skipped() {
        let report = endure(&Storm { count: 30, kill_collector: Some(OFTEN), ..Storm::new(Kind::Real) });
        assert!(report.restarts >= 2 && report.unknown.is_empty(), "{report}");
    }
}

/// Only who lost shim and collector may be unknown.
#[test]
fn single_processes_while_collector_and_shims_are_killed() {
    if !skipped() {
        let storm = Storm { count: 150, kill_collector: Some(OFTEN), kill_shims: 10, ..Storm::new(Kind::Light) };
        assert!(endure(&storm).restarts >= 2);
    }
}

/// Somebody holds what both would have known.
#[test]
fn nothing_is_unknown_below_a_keeper() {
    if !skipped() {
        let keeper = Storm { keeper: true, kill_collector: Some(OFTEN), kill_shims: 20, ..Storm::new(Kind::Light) };
        for storm in [Storm { count: 100, ..keeper.clone() }, Storm { kind: Kind::Real, count: 30, ..keeper }] {
            all_exact(&storm);
        }
    }
}
