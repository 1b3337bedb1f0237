//! From a container's last instruction to whoever waits for its end.

use crate::{
    fleet::Fleet,
    guest::{Guest, ms},
    peers::{Engine, Exits, Kind, Running},
    plan::Plan,
    report::{Scenario, Unit},
    summary::{Samples, Stat},
};
use sexton_tests::{LONG, proc, wait::observe, wait_for};
use std::{
    thread,
    time::{Duration, Instant},
};

/// What is measured.
pub const TITLE: &str = "From a container's last instruction to the notification of who waits for its end.";
/// The same, in other surroundings.
pub const CROWDED: &str = "The same as `exit`, with many idle containers on the machine.";
/// Who is told by what.
const TOLD: [(Kind, &str); 6] = [
    (Kind::Floor, FLOOR),
    (Kind::Shim, FIFO),
    (Kind::Sexton, API),
    (Kind::SextonEvents, EVENTS),
    (Kind::Conmon, FILE),
    (Kind::Containerd, CTR),
];
const FLOOR: &str = "floor: waitid returns";
const FIFO: &str = "sexton-shim: FIFO";
const API: &str = "sextond: API";
const EVENTS: &str = "sexton events";
const FILE: &str = "conmon: exit file";
const CTR: &str = "ctr events";
const WHAT: &str = "exit to subscriber";
/// What of it is the contestant's own doing: the median of the floor is taken away.
const ABOVE: &str = "the same above the floor";
const IDLE: &str = "idle";
/// Whose exits have idle neighbours of the same engine's, besides all the others'.
const NEIGHBOURS: [Kind; 3] = [Kind::Sexton, Kind::Conmon, Kind::Containerd];

/// How many of each are started before they end, one at a time.
const BATCH: usize = 6;
/// Between two exits, for what the last one has stirred up.
const REST: Duration = Duration::from_millis(5);

/// Somebody who is compared, and what was seen of him.
struct Contestant<'f> {
    told: &'static str,
    engine: &'f dyn Engine,
    samples: Samples,
    /// Exits that were never told, or with another code than they had.
    wrong: usize,
    guests: usize,
}

/// A container that runs, and is to end.
struct Victim {
    guest: Guest,
    running: Running,
}

/// Nothing else runs.
pub fn idle(plan: &Plan, scenario: &mut Scenario) {
    let fleets = fleets(plan, scenario, |kind| Fleet::new(kind, plan));
    compared(plan, scenario, IDLE, &fleets, plan.of(60, 7));
    scenario.note(
        "The floor is the smallest parent that can be written: a subreaper that runs `runc run -d` and notes when \
         waitid(2) returns. What the kernel does to end a process and its namespaces is in everybody's figures.",
    );
    scenario.note(
        "`ctr events` and `sexton events` are programs whose standard output is read; the others are read directly.",
    );
}

/// Idle containers besides.
pub fn crowded(plan: &Plan, scenario: &mut Scenario) {
    let size = plan.of(200, 50);
    let neighbours = |kind: Kind| match NEIGHBOURS.contains(&kind) {
        true => plan.fleet(kind, size),
        false => Fleet::new(kind, plan),
    };
    let mut fleets = fleets(plan, scenario, neighbours);
    let others: usize = fleets.iter().map(|fleet| fleet.members.len()).sum();
    compared(plan, scenario, &format!("{size} idle neighbours"), &fleets, plan.of(40, 5));
    scenario.note(format!(
        "sextond, conmon and containerd have {size} idle containers each; {others} on the machine are everybody's neighbours."
    ));
    fleets.retain(|fleet| !fleet.members.is_empty());
    fleets.into_iter().for_each(|fleet| plan.keep(fleet));
}

fn fleets(plan: &Plan, scenario: &mut Scenario, fleet: impl Fn(Kind) -> Fleet) -> Vec<Fleet> {
    plan.present(&TOLD.map(|(kind, _)| kind), scenario).into_iter().map(fleet).collect()
}

fn compared(plan: &Plan, scenario: &mut Scenario, case: &str, fleets: &[Fleet], seconds: u64) {
    let mut contestants: Vec<_> = fleets.iter().map(Contestant::new).collect();
    let (begun, time) = (Instant::now(), Duration::from_secs(seconds));
    while begun.elapsed() < time {
        plan.say(format!("{case}, {:.0} of {seconds} s", begun.elapsed().as_secs_f64()));
        round(&mut contestants);
    }
    for Contestant { told, samples, .. } in &contestants {
        scenario.row(WHAT, case, told, Unit::Ms, samples);
    }
    for Contestant { told, wrong, .. } in &contestants {
        scenario.value("exits lost or wrong", case, told, Unit::Count, *wrong as f64);
    }
    let aims =
        [(API, FILE, 1.0 / 4.0), (API, CTR, 1.0 / 6.0), (API, FLOOR, 3.0), (FIFO, FILE, 1.0 / 4.0), (FIFO, FLOOR, 3.0)];
    for (ours, theirs, aim) in aims {
        scenario.compare(WHAT, case, Stat::Median, ours, theirs, Some(aim));
    }
    scenario.compare(WHAT, case, Stat::Median, EVENTS, CTR, None);
    let floor =
        contestants.iter().find(|contestant| contestant.told == FLOOR).and_then(|floor| floor.samples.summary());
    if let Some(floor) = floor {
        for Contestant { told, samples, .. } in contestants.iter().filter(|contestant| contestant.told != FLOOR) {
            scenario.row(ABOVE, case, told, Unit::Ms, &samples.above(floor.median));
        }
        for (ours, theirs) in [(API, FILE), (API, CTR), (FIFO, FILE), (EVENTS, CTR)] {
            scenario.compare(ABOVE, case, Stat::Median, ours, theirs, None);
        }
    }
    for (ours, theirs) in [(API, FILE), (API, CTR)] {
        scenario.compare(WHAT, case, Stat::P99, ours, theirs, None);
    }
}

/// A batch of each contestant's is started; then they end one at a time, in turns.
fn round(contestants: &mut [Contestant<'_>]) {
    let batches: Vec<_> = contestants.iter_mut().map(Contestant::start).collect();
    let listening: Vec<_> = contestants.iter().map(|contestant| contestant.engine.listen().unwrap()).collect();
    for n in 0..BATCH {
        for (contestant, (batch, exits)) in contestants.iter_mut().zip(batches.iter().zip(&listening)) {
            observe(REST);
            contestant.end(&batch[n], exits);
        }
    }
    drop(listening);
    for (contestant, batch) in contestants.iter().zip(&batches) {
        batch.iter().for_each(|victim| contestant.engine.remove(&victim.guest.id));
    }
}

impl<'f> Contestant<'f> {
    fn new(fleet: &'f Fleet) -> Self {
        let told = TOLD.iter().find(|(kind, _)| *kind == fleet.kind).unwrap().1;
        Self { told, engine: fleet.engine(), samples: Samples::default(), wrong: 0, guests: 0 }
    }

    fn start(&mut self) -> Vec<Victim> {
        let first = self.guests;
        self.guests += BATCH;
        let engine = self.engine;
        let victim = |n: usize| {
            // Never 0, which is what somebody says who does not know.
            let code = u8::try_from(n % 100).unwrap() + 1;
            let guest = Guest::new(engine.node(), &format!("exit-{n}"), code);
            let running = engine.run(&guest);
            guest.wait_began();
            Victim { guest, running }
        };
        // Two at once, for two cores.
        let half = first + BATCH / 2;
        thread::scope(|scope| {
            let other = scope.spawn(|| (half..first + BATCH).map(victim).collect::<Vec<_>>());
            (first..half).map(victim).collect::<Vec<_>>().into_iter().chain(other.join().unwrap()).collect()
        })
    }

    /// One ends, and he is told.
    fn end(&mut self, victim: &Victim, exits: &Exits) {
        let Victim { guest, running } = victim;
        guest.end();
        let until = Instant::now() + LONG;
        let heard = loop {
            match exits.heard.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(exit) if exit.id == guest.id.as_str() => break Some(exit),
                Ok(_) => {}
                Err(_) => break None,
            }
        };
        match (heard, guest.ended()) {
            (Some(exit), Some(ended)) if exit.code == Some(guest.code.into()) => self.samples.push(ms(ended, exit.at)),
            _ => self.wrong += 1,
        }
        // What follows from it must not be in the next one's way.
        wait_for("an exit's end", LONG, || proc::is_gone(running.init));
        self.engine.clean(&guest.id);
        wait_for("an exit's consequences", LONG, || self.engine.is_clean(&guest.id));
        if let Some(monitor) = running.monitor {
            wait_for("a monitor's end", LONG, || proc::is_dead(monitor));
        }
    }
}
