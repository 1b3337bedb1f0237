//! A hundred thousand that crash in loops.

use super::*;
use crate::{
    backend::simulated::{Creation, Plan, chance},
    instance::{Verdict, after_exit},
};
use sexton_common::{ExitStatus, instance::Next};

const MS: Duration = Duration::from_millis(1);
/// So often each comes back.
const TIMES: u32 = 5;

/// Its run of that number: codes, signals and failed creations; some run for long.
fn plan(id: &ContainerId, number: u32) -> Plan {
    let chance = |what: u32| u32::try_from(chance(7, id, number * 8 + what) % 1000).unwrap();
    // Whole milliseconds, as timers have them: 9.999 s is less than 10 s, 9.9995 s could be either.
    let ran = if chance(0) < 200 { (9_990 + chance(1) / 50) * MS } else { chance(1) * MS };
    let status = match chance(2) {
        0..500 => ExitStatus::Code(1 + (chance(3) % 255) as u8),
        _ => ExitStatus::Signal { number: 1 + (chance(3) % 31) as u8, core_dumped: false },
    };
    Plan { creation: Creation::Takes(chance(4) / 20 * MS), clean: chance(5) / 2 * MS, ..Plan::ends(ran, status) }
}

#[tokio::test(start_paused = true)]
async fn counts_and_delays_are_exact_for_a_hundred_thousand() {
    const COUNT: u32 = 100_000;
    let real = std::time::Instant::now();
    type Times = Arc<Mutex<HashMap<ContainerId, Vec<Instant>>>>;
    let created = Times::default();
    let noted = created.clone();
    let world = Simulated::new(move |id, number| {
        noted.lock().unwrap().entry(id.clone()).or_default().push(Instant::now());
        plan(id, number)
    });
    let machine = Machine::new(world, format!("on-failure:{TIMES}").parse().unwrap());
    let collector = machine.collector();
    let ids: Vec<ContainerId> = (0..COUNT).map(|n| format!("c{n}").parse().unwrap()).collect();
    let collector = Arc::new(collector);
    let mut launches = tokio::task::JoinSet::new();
    for id in &ids {
        let (id, machine, collector) = (id.clone(), machine.clone(), collector.clone());
        launches.spawn(async move { machine.launch(&collector, &id).await });
    }
    while let Some(launched) = launches.join_next().await {
        launched.unwrap();
    }
    // Longer than all delays and runs together.
    sleep(Duration::from_secs(3600)).await;
    for id in &ids {
        let instance = machine.instance(id).unwrap();
        assert!(matches!(instance.next, Next::Nothing { .. }), "{instance:?}");
        assert_eq!((instance.count, machine.world.created(id)), (TIMES, TIMES + 1), "{id}");
        let times = created.lock().unwrap()[id].clone();
        let mut tally = crate::instance::Tally::default();
        for number in 0..TIMES {
            let plan = plan(id, number);
            let (Creation::Takes(creation), Some((ran, status))) = (plan.creation, plan.ends) else { panic!() };
            let verdict = after_exit(machine.restart, tally, false, &status, Some(ran), &Rules::default());
            let Verdict::Restart { tally: next, delay } = verdict else { panic!("{verdict:?}") };
            tally = next;
            let expected = creation + ran + delay.max(plan.clean);
            let number = number as usize;
            let gap = times[number + 1] - times[number];
            // Each of four timers may be late by its millisecond.
            assert!(gap >= expected && gap <= expected + 4 * MS, "{id} run {number}: {gap:?} and not {expected:?}");
        }
    }
    assert_eq!(machine.world.violations(), [""; 0]);
    let figures = machine.world.figures();
    assert_eq!((figures.starts, figures.exits), (u64::from(COUNT * (TIMES + 1)), u64::from(COUNT * (TIMES + 1))));
    println!(
        "{COUNT} instances, {} runs, {} at once at most, in {:?}",
        figures.starts,
        figures.most_alive,
        real.elapsed()
    );
}
