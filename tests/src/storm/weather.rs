//! A storm from its beginning to its end.

use super::{
    fits::{fits, raise_limits},
    fleet::{Ship, launch},
    listener::{Language, Listener},
    options::Storm,
    report::Report,
    strike::{Struck, strike},
};
use crate::{
    chance::Chance,
    keeper::Keeper,
    node::{Node, Options},
    wait::{observe, wait_for, wait_until},
};
use sexton_common::wire::{Reply, Request};
use std::time::{Duration, Instant};

/// By then everything is known and clean: a thousand deletes by runc take their time on few cores.
const CALM: Duration = Duration::from_secs(600);
/// Beyond so many restarts the collector may finish its work in peace.
const RESTARTS: u64 = 200;

/// Lets it come and go. Nothing is left afterwards.
///
/// # Panics
/// If something is, or a container does not start, or never comes to rest.
#[must_use]
pub fn weather(storm: &Storm) -> Report {
    raise_limits();
    let mut node = Node::with(Options { daemon: !storm.keeper, ..Options::default() });
    let mut keeper = storm.keeper.then(|| Keeper::start(&node));
    let listeners = [Language::Json, Language::Frames].map(|language| Listener::start(node.layout(), language));
    wait_for("the subscribers", crate::LONG, || listeners.iter().all(|listener| listener.ledger().seq.is_some()));
    let batch = storm.batch.min(fits(storm.kind));
    let mut report = Report::default();
    let mut begin = 0;
    while begin < storm.count {
        let end = (begin + batch).min(storm.count);
        let clock = Instant::now();
        let ships = launch(&node, storm, begin..end);
        report.before(collector(&mut node, &keeper), &ships, clock.elapsed());
        let struck = rage(&mut node, &mut keeper, storm, &ships, &listeners, &mut report);
        report.peak(collector(&mut node, &keeper));
        report.judge(&node, storm, &ships, &listeners, struck);
        drop(ships);
        remove(&node);
        begin = end;
    }
    report.hear(&listeners);
    drop(listeners);
    match keeper {
        Some(keeper) => keeper.finish(node),
        None => node.finish(),
    }
    report
}

fn collector(node: &mut Node, keeper: &Option<Keeper>) -> u32 {
    keeper.as_ref().map_or_else(|| node.daemon().pid(), Keeper::collector)
}

/// Strikes, and waits until everything is known to everybody and clean, or clearly never will be.
fn rage(
    node: &mut Node,
    keeper: &mut Option<Keeper>,
    storm: &Storm,
    ships: &[Ship],
    listeners: &[Listener],
    report: &mut Report,
) -> Struck {
    let calm = || listeners.iter().all(|listener| ships.iter().all(|ship| listener.ledger().clean.contains(&ship.key)));
    let end = Instant::now() + CALM;
    std::thread::scope(|scope| {
        let striker = scope.spawn(|| {
            // Sometime in the collector's life, or between two of them.
            let percent = 50 + Chance::new(storm.seed).below(60);
            observe(storm.kill_collector.unwrap_or_default() * u32::try_from(percent).unwrap() / 100);
            strike(ships, storm.seed)
        });
        while let Some(pause) = storm.kill_collector
            && report.restarts < RESTARTS
            && Instant::now() < end
            && !(striker.is_finished() && report.restarts >= 2 && calm())
        {
            observe(pause);
            report.peak(collector(node, keeper));
            if let Some(keeper) = keeper {
                keeper.strike();
                keeper.wait_for_another(node);
            } else {
                node.kill_daemon();
                node.start_daemon();
            }
            report.restarts += 1;
        }
        let struck = striker.join().unwrap();
        // What is lost is judged, not waited for.
        wait_until(end.saturating_duration_since(Instant::now()), || {
            observe(Duration::from_millis(20));
            calm()
        });
        struck
    })
}

/// Forgets all of them, as an engine does that has read their statuses.
fn remove(node: &Node) {
    let ids: Vec<_> = node.list(true).into_iter().map(|info| info.id).collect();
    std::thread::scope(|scope| {
        for part in ids.chunks(ids.len().div_ceil(4).max(1)) {
            scope.spawn(move || {
                let mut client = node.client();
                for id in part {
                    let reply = client.call(&Request::Remove { id: id.clone(), force: true });
                    assert!(matches!(reply, Ok(Reply::Done {})), "remove {id}: {reply:?}");
                }
            });
        }
    });
}
