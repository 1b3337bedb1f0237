//! What the collector costs with more and more containers, and how quick it stays.

use crate::{
    guest::{ms, now},
    listen::Listener,
    plan::Plan,
    report::{Scenario, Unit},
    summary::{Samples, Stat},
    usage::{Usage, busy_ns},
};
use sexton_common::{
    Layout,
    client::Client,
    wire::{EventKind, Reply, Request, State},
};
use sexton_tests::{Node, Options, crowd::Crowd, wait::observe, wait_until};
use std::time::Duration;

/// What is measured.
pub const TITLE: &str = "sextond with more and more containers: resident memory for each, processor time while nothing \
                         happens, from a shim's exit record to a subscriber, and from the start of a new sextond, its \
                         predecessor killed, until it knows every container";

const MEMORY: &str = "resident memory for each container";
const IDLE: &str = "processor time while idle";
const EXIT: &str = "exit to subscriber";
const KNOWN: &str = "all known after SIGKILL";
const WHO: &str = "sextond";

/// Enough for any machine.
const WITHIN: Duration = Duration::from_secs(300);
/// The aims of the largest number that is watched.
const BYTES: f64 = 4096.0;
const KNOWN_MS: f64 = 5000.0;
/// What is printed as 0.0 %.
const IDLE_PERCENT: f64 = 0.05;

/// Nodes of every size stand side by side, and take turns.
pub fn measure(plan: &Plan, scenario: &mut Scenario) {
    let sizes: &[usize] = plan.of(&[100, 1000, 9000], &[100, 1000]);
    let empty = resident(&mut Stage::new(plan, 0, 0));
    scenario.value("resident memory without containers", "", WHO, Unit::Kib, empty);
    let mut stages: Vec<_> = sizes.iter().map(|&size| Stage::new(plan, size, 0)).collect();
    let mut sums: Vec<_> = sizes.iter().map(|_| Sums::default()).collect();
    restarts(plan, plan.of(5, 2), &mut stages, &mut sums, empty);
    idle(plan, &mut stages, &mut sums);
    exits(plan, plan.of(250, 40), &mut stages, &mut sums);
    for (stage, sums) in stages.iter().zip(&sums) {
        sums.rows(scenario, &stage.case);
    }
    aims(scenario, &stages, &sums);
    drop(stages);
    if !plan.quick {
        records(plan, scenario, empty);
    }
    scenario.note(
        "A container here is a real process with the files of one of runc's containers, cgroup paths of every hierarchy \
         among them, and a bench that plays its shim: what is measured is the collector. Each takes two descriptors, of \
         which a process has 20,000 here.",
    );
}

/// 100,000: no machine here has the descriptors for so many that run.
fn records(plan: &Plan, scenario: &mut Scenario, empty: f64) {
    let mut stages = [Stage::new(plan, 100, 100_000)];
    let mut sums = [Sums::default()];
    restarts(plan, 1, &mut stages, &mut sums, empty);
    idle(plan, &mut stages, &mut sums);
    exits(plan, 60, &mut stages, &mut sums);
    sums[0].rows(scenario, "100 and 100,000 records");
    scenario.note("The 100,000 are simulated: records of containers that have ended, beside 100 that run.");
}

/// A node with a crowd.
struct Stage {
    crowd: Crowd,
    node: Node,
    count: usize,
    case: String,
}

#[derive(Default)]
struct Sums {
    memory: Samples,
    idle: Samples,
    exits: Samples,
    known: Samples,
}

impl Stage {
    fn new(plan: &Plan, running: usize, stopped: usize) -> Self {
        plan.say(format!("{} containers", running + stopped));
        // The first one makes the directories.
        let mut node = plan.node(Options::default());
        node.kill_daemon();
        let crowd = Crowd::new(&node, running, stopped);
        let mut stage = Self { crowd, node, count: running + stopped, case: format!("{running} containers") };
        stage.start();
        stage
    }

    /// How long it takes until nothing is pending, in milliseconds.
    fn start(&mut self) -> f64 {
        let from = now();
        self.node.start_looking();
        let (layout, count) = (self.node.layout().clone(), self.count);
        assert!(
            wait_until(WITHIN, || known(&layout) == Some(count)),
            "not all are known after {WITHIN:?}: {}",
            self.node.words()
        );
        ms(from, now())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The processes of the crowd are about to end: nobody is to wonder how.
        if !std::thread::panicking() {
            self.node.kill_daemon();
        }
    }
}

/// Of how many it is known what they are; without a list, which costs the collector more the more there are.
fn known(layout: &Layout) -> Option<usize> {
    let mut client = Client::connect(layout).ok()?;
    let Ok(Reply::NodeStats(stats)) = client.call(&Request::NodeStats {}) else { return None };
    let known = stats.containers.iter().filter(|(state, _)| *state != State::Pending);
    Some(known.map(|(_, count)| *count as usize).sum())
}

fn resident(stage: &mut Stage) -> f64 {
    Usage::of(stage.node.daemon().pid()).rss_kib as f64
}

fn restarts(plan: &Plan, rounds: usize, stages: &mut [Stage], sums: &mut [Sums], empty: f64) {
    for round in 0..rounds {
        plan.say(format!("SIGKILL, round {} of {rounds}", round + 1));
        for (stage, sums) in stages.iter_mut().zip(&mut *sums) {
            stage.node.kill_daemon();
            sums.known.push(stage.start());
            let kib = resident(stage) - empty;
            sums.memory.push(kib * 1024.0 / stage.count as f64);
        }
    }
}

/// All of them at the same time, which is nothing if each does nothing.
fn idle(plan: &Plan, stages: &mut [Stage], sums: &mut [Sums]) {
    plan.say("nothing happens");
    // What the start has stirred up settles.
    observe(Duration::from_secs(3));
    for _ in 0..plan.of(5, 2) {
        let from = now();
        let mut used = || stages.iter_mut().map(|stage| busy_ns(stage.node.daemon().pid())).collect::<Vec<_>>();
        let before = used();
        observe(Duration::from_secs(2));
        let (after, past) = (used(), ms(from, now()));
        for ((sums, before), after) in sums.iter_mut().zip(before).zip(after) {
            sums.idle.push((after - before) as f64 / 1e6 / past * 100.0);
        }
    }
}

/// One at a time, and clean before the next one.
fn exits(plan: &Plan, rounds: usize, stages: &mut [Stage], sums: &mut [Sums]) {
    let mut listeners: Vec<_> = stages.iter().map(|stage| Listener::new(&stage.node)).collect();
    for round in 0..rounds.min(stages[0].crowd.running.len()) {
        plan.say(format!("exits, round {} of {rounds}", round + 1));
        for ((stage, sums), listener) in stages.iter_mut().zip(&mut *sums).zip(&mut listeners) {
            let member = &mut stage.crowd.running[round];
            member.die(7);
            let from = now();
            member.tell(7);
            sums.exits.push(ms(from, listener.wait(member.id(), EventKind::Exited)));
            listener.wait(member.id(), EventKind::Stopped);
        }
    }
}

impl Sums {
    fn rows(&self, scenario: &mut Scenario, case: &str) {
        scenario.row(MEMORY, case, WHO, Unit::Bytes, &self.memory);
        scenario.row(IDLE, case, WHO, Unit::Percent, &self.idle);
        scenario.row(EXIT, case, WHO, Unit::Ms, &self.exits);
        scenario.row(KNOWN, case, WHO, Unit::Ms, &self.known);
    }
}

/// Of the largest, against the limits and against the smallest.
fn aims(scenario: &mut Scenario, stages: &[Stage], sums: &[Sums]) {
    let ([first, .., last], [fewest, .., most]) = (stages, sums) else { return };
    let case = &last.case;
    scenario.limit(MEMORY, case, Stat::Median, WHO, ("4 KiB", BYTES), Some(1.0));
    scenario.limit(IDLE, case, Stat::Median, WHO, ("0.05 %, printed as 0.0", IDLE_PERCENT), Some(1.0));
    let few = fewest.exits.summary().unwrap();
    let name = format!("sextond, {}", first.case);
    scenario.limit(EXIT, case, Stat::P99, WHO, (&name, few.p99), Some(2.0));
    scenario.limit(EXIT, case, Stat::Median, WHO, (&name, few.median), None);
    scenario.limit(KNOWN, case, Stat::Median, WHO, ("5 s", KNOWN_MS), Some(1.0));
    for (what, few, many, unit) in
        [("Time until all are known", &fewest.known, &most.known, "us"), ("An exit", &fewest.exits, &most.exits, "us")]
    {
        let (few, many) = (few.summary().unwrap().median, many.summary().unwrap().median);
        let slope = (many - few) * 1000.0 / (last.count - first.count) as f64;
        scenario
            .note(format!("{what}: {slope:.2} {unit} more for each container from {} to {}.", first.count, last.count));
    }
    let bytes = |sums: &Sums| sums.memory.summary().unwrap().median;
    let whole = |sums: &Sums, stage: &Stage| bytes(sums) * stage.count as f64;
    let slope = (whole(most, last) - whole(fewest, first)) / (last.count - first.count) as f64;
    scenario.note(format!("Memory: {slope:.0} bytes more for each container from {} to {}.", first.count, last.count));
}
