//! Containers that come back: what outlives their runs.
//!
//! A run is the container's task's (`container/`). Above it stands one serial task for each container that has a restart
//! policy, or that a user starts again: it owns the durable [`sexton_common::instance::Instance`], decides what follows from
//! a run's end, and has the next run created. It knows runs only through [`crate::backend::Backend`].
//!
//! ```text
//!              exit: policy says no ----------------------------------------------> Nothing --start, or the collector's start--+
//!             /                                                                        ^                                       |
//!  Run ------+                                                                         | stop                                  |
//!   ^         \                                                                        |                                       |
//!   |          exit: policy says yes --> Start{after, due}: clean? due? --> a new run is created <------------------------------+
//!   |                                                                         |       |
//!   +-------------------------------------------------------------------------+       +--failed: as after a failed run
//! ```
//!
//! Each arrow is on disk before anything follows from it, so a collector that is killed in between neither counts a run
//! twice nor starts it twice: a run of a higher generation than `after` is the restart.

mod book;
mod order;
mod policy;
#[cfg(test)]
mod policy_properties;
#[cfg(test)]
mod policy_tests;
mod reconcile;
mod registry;
mod shown;
#[cfg(test)]
mod simulated;
mod task;
mod users;

pub use crate::mailbox::MAILBOX;
pub use book::{Disk, Found};
pub use order::{Go, Order};
pub use policy::*;
pub use registry::{Around, Backends, Instances};
