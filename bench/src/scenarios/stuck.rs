//! Whether healthy containers notice that others do not die (I7).

use crate::{
    guest::{Guest, ms},
    jam::Disk,
    listen::Listener,
    plan::Plan,
    report::{Scenario, Unit},
    summary::{Samples, Stat},
};
use sexton_common::{
    ContainerId,
    wire::{EventKind, State},
};
use sexton_tests::{Bundle, Node, Options};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is measured.
pub const TITLE: &str = "From the last instruction of a healthy container until everything that it owned is seen to be \
                         gone, without and beside containers that were killed and wait in the kernel";

const WHAT: &str = "exit to clean";
const STUCK: usize = 20;
/// Of those that end in one round, one after the other.
const HEALTHY: usize = 40;

/// Both cases in turn, by one collector: with none that is stuck there is none anywhere.
pub fn measure(plan: &Plan, scenario: &mut Scenario) {
    let node = plan.node(Options::default());
    let mut took = [Samples::default(), Samples::default()];
    let [none, all] = &mut took;
    let one = |number: usize, stuck: usize, samples: &mut Samples| round(&node, number, stuck, samples);
    plan.turns(WHAT, plan.of(5, 1), &mut [&mut |n| one(2 * n, 0, none), &mut |n| one(2 * n + 1, STUCK, all)]);
    let cases = [0, STUCK].map(|stuck| format!("beside {stuck} in state D"));
    for (case, samples) in cases.iter().zip(&took) {
        scenario.row(WHAT, case, "sexton", Unit::Ms, samples);
    }
    for (stat, aim) in [(Stat::P99, Some(1.5)), (Stat::Median, None)] {
        let alone = took[0].summary().unwrap().get(stat);
        scenario.limit(WHAT, &cases[1], stat, "sexton", (&format!("sexton, {}", cases[0]), alone), aim);
    }
    scenario.note(format!(
        "The {STUCK} write to a frozen file system and were sent SIGKILL; the others end one after the other while the \
         collector keeps trying. Clean is the event `stopped`: processes, runtime's state and cgroups are gone."
    ));
    node.finish();
}

fn round(node: &Node, number: usize, stuck: usize, samples: &mut Samples) {
    let guests: Vec<_> = (0..HEALTHY).map(|n| Guest::new(node, &format!("h{number}-{n}"), 7)).collect();
    run_all(node, &guests);
    let mut events = Listener::new(node);
    let jam = (stuck > 0).then(|| Jam::new(node, number, stuck, &mut events));
    for guest in &guests {
        guest.end();
        let clean = events.wait(&guest.id, EventKind::Stopped);
        samples.push(ms(guest.ended().unwrap(), clean));
    }
    if let Some(jam) = jam {
        assert_eq!(node.gc_list().len(), stuck, "they were stuck all the time");
        jam.end(node, &mut events);
    }
    for guest in &guests {
        node.remove(&guest.id, false).unwrap();
    }
}

/// Two at a time, which is all that the launches of a few dozen need.
fn run_all(node: &Node, guests: &[Guest]) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(guest) = guests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    node.run(&guest.id, &guest.bundle);
                    guest.wait_began();
                }
            });
        }
    });
}

/// Containers that were killed and do not die.
struct Jam(Disk, Vec<ContainerId>);

impl Jam {
    fn new(node: &Node, round: usize, stuck: usize, events: &mut Listener) -> Self {
        let disk = Disk::new(node, &format!("disk{round}"));
        let run = |n| {
            let id = node.id(&format!("stuck{round}-{n}"));
            let bundle = disk.writer(Bundle::new(node, id.as_str()), &id).write();
            let launched = node.run(&id, &bundle);
            (id, launched.pid)
        };
        let all: Vec<_> = (0..stuck).map(run).collect();
        disk.freeze(&all.iter().map(|(id, pid)| (id.as_str(), *pid)).collect::<Vec<_>>());
        all.iter().for_each(|(id, _)| node.kill(id, 9));
        for (id, _) in &all {
            events.wait(id, EventKind::Delayed);
        }
        Self(disk, all.into_iter().map(|(id, _)| id).collect())
    }

    fn end(self, node: &Node, events: &mut Listener) {
        self.0.thaw();
        for id in &self.1 {
            events.wait(id, EventKind::Stopped);
            assert_eq!(node.inspect(id).state, State::Stopped);
            node.remove(id, false).unwrap();
        }
    }
}
