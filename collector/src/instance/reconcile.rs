//! What is to be done for an instance now. Pure: from what is wanted and what is seen, whatever has happened in between.

use crate::backend::Seen;
use sexton_common::instance::{Ended, Instance, Next};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something has to be seen first.
    Wait,
    /// At that moment, in nanoseconds since boot: look again.
    Until(u64),
    /// Its run has ended: the policy decides.
    Decide(Ended),
    /// A run that nobody will hear of any more came to nothing.
    Undone,
    /// The restart that was to come is there.
    Adopt {
        /// That run.
        generation: u64,
    },
    /// A new run is created.
    Create,
    /// There is nothing left to do for it, ever.
    Finish,
}

/// See the module. `now` in nanoseconds since boot.
#[must_use]
pub fn reconcile(instance: &Instance, seen: &Seen, now: u64) -> Step {
    let there = seen.generation != 0 && !seen.gone;
    if instance.removing {
        return if there { Step::Wait } else { Step::Finish };
    }
    match instance.next {
        Next::Run if there && seen.generation > instance.launch.generation => {
            Step::Adopt { generation: seen.generation }
        }
        Next::Run if there => match seen.ended.filter(|ended| ended.generation >= instance.launch.generation) {
            Some(ended) => Step::Decide(ended),
            None => Step::Wait,
        },
        // It was removed behind our back, or its first launch failed, which whoever asked for it was told.
        Next::Run if instance.last.is_none() && instance.count == 0 => Step::Finish,
        Next::Run => Step::Undone,
        Next::Start { after, .. } | Next::Nothing { after } if there && seen.generation != after => {
            Step::Adopt { generation: seen.generation }
        }
        Next::Start { after, .. } if there && seen.generation == after && !seen.clean => Step::Wait,
        Next::Start { due, .. } if due.boot_ns > now => Step::Until(due.boot_ns),
        Next::Start { .. } => Step::Create,
        // Whoever started it once has no policy that would ever have it back; but where that failed nothing else tells of it.
        Next::Nothing { .. } if !instance.launch.restart.comes_back() && (there || instance.failure.is_none()) => {
            Step::Finish
        }
        Next::Nothing { .. } => Step::Wait,
    }
}
