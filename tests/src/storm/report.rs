//! What came of a storm.

use super::{fleet::Ship, ledger::Ledger, listener::Listener, options::Storm, strike::Struck};
use crate::{node::Node, proc};
use sexton_common::{ExitStatus, Source, UnknownReason, wire::State};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::Duration,
};

/// Memory of processes, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Proportional.
    pub pss: u64,
    /// Resident.
    pub rss: u64,
}

impl Memory {
    /// Of all of them.
    #[must_use]
    pub fn of(pids: impl Iterator<Item = u32>) -> Self {
        pids.map(proc::memory_kib)
            .fold(Self::default(), |sum, (pss, rss)| Self { pss: sum.pss + pss, rss: sum.rss + rss })
    }
}

/// The sums.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Containers.
    pub containers: u64,
    /// Whose exit is exact, on disk, in the list and at every subscriber's.
    pub exact: u64,
    /// Of those, whose shim was killed too.
    pub exact_without_shim: u64,
    /// Where nobody could know, by reason.
    pub unknown: BTreeMap<String, u64>,
    /// Exits that a subscriber was told of though it knew them.
    pub doubled: u64,
    /// What is lost, or cannot be true.
    pub lost: Vec<String>,
    /// Times that the collector was killed.
    pub restarts: u64,
    /// Times that subscribers were told that they lag by a collector that had not been restarted.
    pub lagged: u64,
    /// The slowest batch: launching, striking, and from the first signal until each subscriber knew the last exit, and
    /// the last one that is clean.
    pub times: Times,
    /// The shims together, before the strike.
    pub shims: Memory,
    /// The largest batch.
    pub at_once: u64,
    /// The collector before the strike, and the most that it ever had resident.
    pub collector: Memory,
    /// In KiB.
    pub collector_peak: u64,
    /// Its descriptors before the strike.
    pub descriptors: usize,
}

/// See [`Report::times`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// All of a batch.
    pub launch: Duration,
    /// From the first signal to the last.
    pub strike: Duration,
    /// The last exit is known to everybody.
    pub known: Duration,
    /// The last one is clean.
    pub clean: Duration,
}

impl Report {
    /// What was there before the strike.
    pub fn before(&mut self, collector: u32, ships: &[Ship], launch: Duration) {
        let shims = Memory::of(ships.iter().map(|ship| ship.shim_pid));
        if ships.len() as u64 >= self.at_once {
            (self.shims, self.at_once) = (shims, ships.len() as u64);
            self.collector = Memory::of(std::iter::once(collector));
            self.descriptors = proc::descriptors(collector).values().sum();
        }
        self.times.launch = self.times.launch.max(launch);
    }

    /// The collector's peak, while it is still there.
    pub fn peak(&mut self, collector: u32) {
        let peak = proc::status(collector, "VmHWM").unwrap_or_default();
        let peak = peak.split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
        self.collector_peak = self.collector_peak.max(peak);
    }

    /// What everybody knows of a batch by now, against what was done to it.
    pub fn judge(&mut self, node: &Node, storm: &Storm, ships: &[Ship], listeners: &[Listener], struck: Struck) {
        self.containers += ships.len() as u64;
        let listed: HashMap<_, _> =
            node.list(true).into_iter().map(|info| ((info.id.clone(), info.generation), info)).collect();
        let ledgers: Vec<Ledger> = listeners.iter().map(|listener| listener.ledger().clone()).collect();
        for ship in ships {
            let (id, generation) = &ship.key;
            let record = node.record(id).filter(|record| record.generation == *generation);
            let said = record.as_ref().map(|record| record.status);
            let info = listed.get(&ship.key).filter(|info| info.state == State::Stopped);
            let agree = said.is_some()
                && info.is_some_and(|info| info.status == said)
                && ledgers.iter().all(|ledger| ledger.exits.get(&ship.key).copied() == said);
            let sources: &[Source] =
                if ship.loses_shim { &[Source::Waited, Source::Pidfd, Source::Zombie] } else { &[Source::Waited] };
            match (agree, said) {
                (true, Some(status)) if status == ship.end => {
                    if !record.is_some_and(|record| sources.contains(&record.source)) {
                        self.lost.push(format!("{id}: {status} does not come from {sources:?}"));
                    }
                    self.exact += 1;
                    self.exact_without_shim += u64::from(ship.loses_shim);
                }
                (true, Some(ExitStatus::Unknown { reason })) if may_be_unknown(storm, ship, reason) => {
                    *self.unknown.entry(reason.to_string()).or_default() += 1;
                }
                _ => {
                    let heard: Vec<_> = ledgers.iter().map(|ledger| ledger.exits.get(&ship.key)).collect();
                    self.lost.push(format!("{id} {}: record {said:?}, listed {info:?}, heard {heard:?}", ship.end));
                }
            }
        }
        let last = |when: fn(&Ledger) -> Option<std::time::Instant>| {
            ledgers
                .iter()
                .filter_map(when)
                .max()
                .map_or(Duration::ZERO, |last| last.saturating_duration_since(struck.begin))
        };
        let times = &mut self.times;
        times.strike = times.strike.max(struck.end - struck.begin);
        times.known = times.known.max(last(|ledger| ledger.last_exit));
        times.clean = times.clean.max(last(|ledger| ledger.last_clean));
    }

    /// What subscribers found odd.
    pub fn hear(&mut self, listeners: &[Listener]) {
        for listener in listeners {
            let ledger = listener.ledger();
            self.doubled += ledger.doubled;
            self.lost.extend(ledger.nonsense.iter().map(|words| format!("{:?}: {words}", listener.language)));
            self.lagged += ledger.lagged;
        }
        // A collector that is new to a subscriber begins with that.
        self.lagged = self.lagged.saturating_sub(self.restarts);
    }
}

/// Its shim was killed, and the collector with its pidfd.
fn may_be_unknown(storm: &Storm, ship: &Ship, reason: UnknownReason) -> bool {
    use UnknownReason::{ShimAndCollectorKilled, ShimKilled};
    storm.kill_collector.is_some()
        && !storm.keeper
        && ship.loses_shim
        && matches!(reason, ShimAndCollectorKilled | ShimKilled)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { containers, exact, exact_without_shim, doubled, restarts, lagged, at_once, .. } = self;
        let unknown: u64 = self.unknown.values().sum();
        writeln!(
            f,
            "{containers} containers, at most {at_once} at once: {exact} exact ({exact_without_shim} without their shim), \
             {unknown} allowed unknown {:?}, {} lost, {doubled} doubled; collector killed {restarts} times, {lagged} times lagged",
            self.unknown,
            self.lost.len()
        )?;
        let Times { launch, strike, known, clean } = self.times;
        writeln!(
            f,
            "  slowest batch: launched in {launch:.1?}, struck within {strike:.1?}, last exit known to all after {known:.2?}, \
             last one clean after {clean:.1?}"
        )?;
        let each = |sum: u64| sum.checked_div(*at_once).unwrap_or(0);
        write!(
            f,
            "  {at_once} shims: PSS {} KiB ({} each), RSS {} KiB each; collector: PSS {} KiB, RSS {} KiB, peak {} KiB, {} descriptors",
            self.shims.pss,
            each(self.shims.pss),
            each(self.shims.rss),
            self.collector.pss,
            self.collector.rss,
            self.collector_peak,
            self.descriptors
        )
    }
}
