//! What is measured, a file each.

mod durability;
mod exit;
mod gc;
mod memory;
mod scale;
mod start;
mod storm;
mod stuck;

use crate::{plan::Plan, report::Scenario};

/// A scenario by its name.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// As `--only` has it.
    pub name: &'static str,
    /// What is measured, one sentence.
    pub title: &'static str,
    /// Measures it.
    pub measure: fn(&Plan, &mut Scenario),
}

/// All of them, in the order in which they run.
pub const ALL: &[Known] = &[
    // Before there are fleets.
    Known { name: "exit", title: exit::TITLE, measure: exit::idle },
    Known {
        name: "start",
        title: "From just before the command is executed to the first instruction of the container's process.",
        measure: start::measure,
    },
    Known {
        name: "memory",
        title: "Memory and wake-ups of the process that watches an idle container, and of the daemon.",
        measure: memory::measure,
    },
    Known { name: "exit-crowded", title: exit::CROWDED, measure: exit::crowded },
    // Its victims are the neighbours of those before.
    Known { name: "storm", title: storm::TITLE, measure: storm::measure },
    Known { name: "stuck", title: stuck::TITLE, measure: stuck::measure },
    Known { name: "scale", title: scale::TITLE, measure: scale::measure },
    Known { name: "gc", title: gc::TITLE, measure: gc::measure },
    Known { name: "durability", title: durability::TITLE, measure: durability::measure },
];
