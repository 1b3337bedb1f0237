//! Collectors that are killed at any moment.

use super::*;
use crate::backend::simulated::{Creation, Plan, chance};
use sexton_common::{ExitStatus, instance::Next};

const MS: Duration = Duration::from_millis(1);

fn below(id: &ContainerId, number: u32, most: u64) -> Duration {
    Duration::from_micros(chance(13, id, number) % (most * 1000))
}

/// Between exit and restart, between a restart's steps, during the delay: the count is right, and nothing starts twice.
#[tokio::test(start_paused = true)]
async fn the_count_is_right_whenever_the_collector_dies() {
    const COUNT: u32 = 300;
    const TIMES: u32 = 6;
    let script = |id: &ContainerId, number: u32| {
        let below = |what: u32, most| below(id, number * 8 + what, most);
        Plan {
            hidden: below(0, 10),
            creation: Creation::Takes(below(1, 40)),
            clean: below(2, 40),
            in_gc: if number.is_multiple_of(4) { below(3, 50) } else { Duration::ZERO },
            ..Plan::ends(below(4, 200), ExitStatus::Code(1))
        }
    };
    let mut deaths = 0;
    for seed in 0..20 {
        let mut machine = Machine::new(Simulated::new(script), format!("on-failure:{TIMES}").parse().unwrap());
        machine.slow = |id| below(id, clock().boot_ns as u32 / 1_000_000, 5);
        let ids: Vec<ContainerId> = (0..COUNT).map(|n| format!("s{seed}c{n}").parse().unwrap()).collect();
        let mut collector = machine.collector();
        for id in &ids {
            machine.launch(&collector, id).await;
        }
        let over = |id: &ContainerId| matches!(machine.instance(id).unwrap().next, Next::Nothing { .. });
        while !ids.iter().all(over) {
            sleep(1 * MS + below(&ids[0], deaths, 150)).await;
            machine.kill(collector);
            deaths += 1;
            // Containers live on without it.
            sleep(below(&ids[0], deaths, if deaths % 5 == 0 { 300 } else { 3 })).await;
            collector = machine.collector();
        }
        sleep(Duration::from_secs(300)).await;
        for id in &ids {
            let instance = machine.instance(id).unwrap();
            assert_eq!((instance.count, machine.world.created(id)), (TIMES, TIMES + 1), "{instance:?}");
        }
        assert_eq!(machine.world.violations(), [""; 0]);
    }
    println!("{deaths} collectors were killed");
    assert!(deaths > 100);
}
