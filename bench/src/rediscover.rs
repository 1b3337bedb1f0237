//! How long a collector that comes back takes until it knows every container, and what each costs in memory.

use comfy_table::{Table, presets};
use serde::Serialize;
use sexton_common::wire::State;
use sexton_tests::{Node, crowd::Crowd, daemon::listed, proc, wait_until};
use std::time::{Duration, Instant};

/// Enough for any machine.
const WITHIN: Duration = Duration::from_secs(300);
/// Restarts of each kind; the median counts.
const ROUNDS: usize = 3;

/// The figures.
#[derive(Debug, Serialize)]
pub struct Rediscover {
    n: usize,
    kinds: Vec<Kind>,
}

#[derive(Debug, Serialize)]
struct Kind {
    name: &'static str,
    /// From the start of the program until a list has nothing that is pending.
    known_ms: f64,
    us_each: f64,
    rss_kib: u64,
    bytes_each: u64,
}

/// Containers that run, and as many that have stopped, each for themselves.
pub fn measure(n: usize) -> Rediscover {
    let (_, empty) = known(0, 0);
    let kind = |name, running, stopped| {
        let (time, rss_kib) = known(running, stopped);
        let known_ms = time.as_secs_f64() * 1000.0;
        let bytes_each = rss_kib.saturating_sub(empty) * 1024 / n as u64;
        Kind { name, known_ms, us_each: known_ms * 1000.0 / n as f64, rss_kib, bytes_each }
    };
    Rediscover { n, kinds: vec![kind("running", n, 0), kind("stopped", 0, n)] }
}

/// Median time, and the memory afterwards.
fn known(running: usize, stopped: usize) -> (Duration, u64) {
    let mut node = Node::new();
    node.kill_daemon();
    let crowd = Crowd::new(&node, running, stopped);
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            node.start_looking();
            let all = || {
                let listed = listed(node.layout()).unwrap_or_default();
                listed.len() == running + stopped && listed.iter().all(|info| info.state != State::Pending)
            };
            assert!(wait_until(WITHIN, all), "not all are known after {WITHIN:?}: {}", node.words());
            let time = begun.elapsed();
            let rss = proc::status(node.daemon().pid(), "VmRSS").unwrap();
            node.kill_daemon();
            (time, rss.trim_end_matches(" kB").parse::<u64>().unwrap())
        })
        .collect();
    drop(crowd);
    rounds.sort();
    rounds[ROUNDS / 2]
}

impl Rediscover {
    /// For people.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["REDISCOVER", "KNOWN AFTER", "EACH", "RSS", "RSS EACH", "N"]);
        for kind in &self.kinds {
            table.add_row([
                kind.name.to_owned(),
                format!("{:.0} ms", kind.known_ms),
                format!("{:.0} us", kind.us_each),
                format!("{} KiB", kind.rss_kib),
                format!("{} B", kind.bytes_each),
                self.n.to_string(),
            ]);
        }
        table
    }
}
