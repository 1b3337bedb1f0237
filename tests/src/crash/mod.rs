//! The crash sweep: a program is killed before and after each system call of a whole life, and nothing may be
//! lost and nothing may be left. Or, with the same lives, its disk fails from one of its changes on.
//!
//! [`killer`] stops the traced program at every system call's entry and exit and kills it at the Nth stop;
//! [`shim`], [`collector`], [`gc`] and [`restart`] are the lives, and what must hold after the crash; [`sweep`] goes through the
//! points; [`tally`] counts what became of them.

pub mod bad_disk;
pub mod calls;
pub mod collector;
pub mod containers;
pub mod fault;
pub mod gc;
pub mod killer;
pub mod options;
pub mod progress;
pub mod reaper;
pub mod restart;
pub mod shim;
pub mod site;
mod stops;
pub mod sweep;
mod sys;
pub mod tally;
mod tracer;
