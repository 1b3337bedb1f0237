//! Two hundred real containers, eight at a time, with random ends: each told exactly, and once to each subscriber.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus, Source,
    wire::{EventKind, State},
};
use sexton_tests::{Bundle, LONG, Node, skipped, wait_for};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

const CONTAINERS: u64 = 200;
const AT_A_TIME: usize = 8;

/// A generator whose seed is printed, so that a failure can be had again (splitmix64).
fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[test]
fn two_hundred() {
    if skipped() {
        return;
    }
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    println!("seed {seed}");
    let node = Node::new();
    let subscribers = [node.subscribe(), node.subscribe()];
    let next = AtomicU64::new(0);
    let launched = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= CONTAINERS {
                        return;
                    }
                    let value = random(u64::from(seed) ^ (n << 32));
                    let (code, time) = (u8::try_from(value & 0xff).unwrap(), (value >> 8) % 1_500_000);
                    let id = node.id(&n.to_string());
                    let script = format!("usleep {time}; exit {code}");
                    let bundle = Bundle::new(&node, &n.to_string()).sh(&script).write();
                    let generation = node.run(&id, &bundle).generation;
                    launched.lock().unwrap().insert(id, (generation, code));
                }
            });
        }
    });
    let launched: BTreeMap<ContainerId, (u64, u8)> = launched.into_inner().unwrap();
    for (id, (generation, code)) in &launched {
        let info = node.wait(id);
        assert_eq!(info.generation, *generation);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(*code)), Some(Source::Waited)), "{id}");
        let record = node.record(id).unwrap();
        assert_eq!((record.generation, record.status), (*generation, ExitStatus::Code(*code)));
    }
    let stopped = || node.list(true).iter().filter(|info| info.state == State::Stopped).count() as u64;
    wait_for("all of them to be clean", LONG, || stopped() == CONTAINERS);
    for subscriber in &subscribers {
        let count = |kind| subscriber.heard().events.iter().filter(|(_, event)| event.kind == kind).count() as u64;
        wait_for("the last event", LONG, || count(EventKind::Stopped) == CONTAINERS);
        let heard = subscriber.heard();
        assert_eq!((heard.lagged, heard.snapshots, &heard.ended), (0, 1, &None));
        let mut seen: HashMap<(&ContainerId, u64), Vec<EventKind>> = HashMap::new();
        let mut seq = heard.snapshot_seq;
        for (_, event) in &heard.events {
            assert_eq!(event.seq, seq + 1, "one after the other");
            seq = event.seq;
            seen.entry((&event.container.id, event.container.generation)).or_default().push(event.kind);
            if event.kind == EventKind::Exited {
                let (_, code) = launched[&event.container.id];
                assert_eq!(event.container.status, Some(ExitStatus::Code(code)));
            }
        }
        assert_eq!(seen.len() as u64, CONTAINERS);
        let once = [EventKind::Created, EventKind::Started, EventKind::Exited, EventKind::Stopped];
        for ((id, _), kinds) in seen {
            assert_eq!(kinds, once, "{id}");
        }
    }
    drop(subscribers);
    node.assert_clean_but_records();
    node.finish();
}
