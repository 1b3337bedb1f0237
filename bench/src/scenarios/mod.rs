//! What is measured, a file each.

mod durability;
mod gc;
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
    Known { name: "stuck", title: stuck::TITLE, measure: stuck::measure },
    Known { name: "gc", title: gc::TITLE, measure: gc::measure },
    Known { name: "durability", title: durability::TITLE, measure: durability::measure },
];
