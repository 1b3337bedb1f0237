//! A user's stop against a restart.

use super::*;
use crate::backend::simulated::{Creation, Plan, chance};
use sexton_common::ExitStatus;

const MS: Duration = Duration::from_millis(1);
const CONTAINERS: u32 = 500;
const ROUNDS: u32 = 200;

fn below(id: &ContainerId, number: u32, most: u64) -> Duration {
    Duration::from_micros(chance(11, id, number) % (most * 1000))
}

/// 100,000 rounds: whenever it comes, after a stop has returned nothing runs, and nothing begins.
#[tokio::test(start_paused = true)]
async fn stop_wins_a_hundred_thousand_times() {
    let script = |id: &ContainerId, number: u32| {
        let below = |what: u32, most| below(id, number * 8 + what, most);
        Plan {
            hidden: below(0, 5),
            creation: Creation::Takes(below(1, 20)),
            hears: below(5, 10),
            term: (!number.is_multiple_of(3)).then(|| below(2, 30)),
            clean: below(3, 20),
            ..Plan::ends(below(4, 120), ExitStatus::Code(1))
        }
    };
    let machine = Machine::new(Simulated::new(script), RestartPolicy::Always);
    let collector = Arc::new(machine.collector());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..CONTAINERS {
        let (machine, collector) = (machine.clone(), collector.clone());
        let id: ContainerId = format!("c{number}").parse().unwrap();
        tasks.spawn(async move {
            machine.launch(&collector, &id).await;
            let mut caught = [0u32; 3];
            for round in 0..ROUNDS {
                sleep(below(&id, 1_000_000 + round, 600)).await;
                let before = machine.world.state(&id);
                let stopped = collector.instances.stop(&id, 15, 20 * MS).await;
                // It ran, or was about to: that it ended by itself just then is no mistake of whoever stops it.
                assert!(stopped.is_ok(), "{id} in round {round}, which found {before:?}: {stopped:?}");
                let runs = machine.world.created(&id);
                let dead = |state| !matches!(state, Some(State::Running | State::Creating | State::Paused));
                assert!(dead(machine.world.state(&id)), "{id} in round {round}, which found {before:?}");
                assert!(machine.instance(&id).unwrap().stopped_by_user, "durably");
                sleep(if round % 50 == 0 { Duration::from_secs(120) } else { 150 * MS }).await;
                assert_eq!(machine.world.created(&id), runs, "{id} in round {round}: it came back");
                caught[match before {
                    Some(State::Running) => 0,
                    Some(State::Creating) => 1,
                    _ => 2,
                }] += 1;
                collector.instances.start(&id).await.unwrap();
            }
            caught
        });
    }
    let mut caught = [0; 3];
    while let Some(done) = tasks.join_next().await {
        caught.iter_mut().zip(done.unwrap()).for_each(|(sum, more)| *sum += more);
    }
    println!("stopped while it ran, was created, waited: {caught:?}");
    assert!(caught.iter().all(|count| *count > 1000) && caught.iter().sum::<u32>() == CONTAINERS * ROUNDS);
    assert_eq!(machine.world.violations(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_ends_by_itself_while_its_stop_is_written_was_stopped() {
    let script = |_: &ContainerId, _| Plan { clean: MS, ..Plan::ends(10_500 * MS, ExitStatus::Code(1)) };
    let machine = Machine::new(Simulated::new(script), RestartPolicy::Always);
    let machine = Machine { slow: |_| 500 * MS, ..machine };
    let (begun, collector) = (Instant::now(), machine.collector());
    let id: ContainerId = "c".parse().unwrap();
    machine.launch(&collector, &id).await;
    tokio::time::sleep_until(begun + 10_000 * MS).await;
    assert_eq!(machine.world.state(&id), Some(State::Running));
    collector.instances.stop(&id, 15, 20 * MS).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    assert_eq!(machine.world.created(&id), 1);
}
