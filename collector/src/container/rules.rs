//! What a task makes of what it sees of shim and init. Pure, so that the model explores these very rules.

use super::machine::Phase;
use crate::watch::{Death, Watched};
use sexton_common::{ExitStatus, Source, UnknownReason};

/// What is to be done now that init was seen dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Wait,
    /// Its reaper has its time.
    GiveReaperTime,
    /// Its shim has its time.
    GiveShimTime,
    /// It is over.
    Act,
}

/// The watched init made a step towards the grave.
#[must_use]
pub fn on_init_death(step: Watched, phase: Phase, info_exit: bool, foreign: bool) -> Then {
    match step {
        Watched::Zombie if phase == Phase::Orphaned && info_exit => Then::GiveReaperTime,
        // The shim is about to tell. A foreign one may be long dead, its FIFO held by somebody else.
        Watched::Zombie if phase != Phase::Orphaned && !foreign => Then::GiveShimTime,
        Watched::Zombie | Watched::Reaped => Then::Act,
        Watched::Wanted => Then::Wait,
    }
}

/// The shim is dead. `dead`: whether init is, if it is watched.
#[must_use]
pub fn on_orphaned(dead: Option<bool>, reaped: bool, info_exit: bool) -> Then {
    match dead {
        // A zombie whose step we have seen already gets its reaper's time, too.
        Some(true) if !reaped && info_exit => Then::GiveReaperTime,
        Some(false) => Then::Wait,
        _ => Then::Act,
    }
}

/// What the shim said counts only if it speaks of our init, as far as we know that, and that is really dead.
#[must_use]
pub fn said_counts<P: PartialEq>(init: Option<&P>, said: Option<&P>, alive: bool) -> bool {
    (init.is_none() || init == said) && !alive
}

/// How init ended, in the order in which sources are believed.
pub fn how_it_ended(
    watched: Death,
    zombie: impl FnOnce() -> Death,
    foreign: bool,
    hung_up: bool,
) -> (ExitStatus, Source) {
    let reason = match (foreign, hung_up) {
        (true, true) => UnknownReason::ForeignHangUp,
        // What it wrote went with it, before we were there to read it.
        (true, false) => UnknownReason::ShimAndCollectorKilled,
        (false, _) => UnknownReason::ShimKilled,
    };
    watched.or_else(zombie).unwrap_or((ExitStatus::Unknown { reason }, Source::None))
}

/// Nothing is known from the kernel, but the shim lives and has reaped it meanwhile: it knows.
#[must_use]
pub fn shim_knows_better(phase: Phase, death: &(ExitStatus, Source)) -> bool {
    phase != Phase::Orphaned && death.1 == Source::None
}

/// What is to be done when it is looked at again and its FIFO had nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Nothing.
    Wait,
    /// Its shim is dead.
    ShimDied,
    /// Nothing would tell of its shim.
    WatchShim,
    /// Its shim does not tell of its end.
    Lingers,
}

/// `listens`: something would tell of the shim. `lingers`: init has been dead for long and is not reaped.
#[must_use]
pub fn look_again(shim_dead: bool, listens: bool, lingers: bool) -> Again {
    match (shim_dead, listens, lingers) {
        (true, ..) => Again::ShimDied,
        (false, false, _) => Again::WatchShim,
        (false, true, true) => Again::Lingers,
        (false, true, false) => Again::Wait,
    }
}
