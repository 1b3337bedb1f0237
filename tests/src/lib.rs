//! Harness of the end-to-end tests: a [`Node`] with a collector of its own, [`Bundle`]s, and a search for leftovers.
//!
//! Needs root, an OCI runtime and a static busybox. Whoever lacks them fails, or, with `SEXTON_ALLOW_SKIP=1`,
//! says `SKIPPED` with the test's name and the reason.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot go on fails the test"
)]

pub mod binaries;
pub mod bundle;
pub mod chance;
pub mod cleanup;
pub mod clock;
pub mod command;
pub mod crash;
pub mod crowd;
pub mod daemon;
pub mod disk;
pub mod fake;
pub mod foreign;
pub mod gc;
pub mod gc_things;
pub mod helper;
pub mod hung;
pub mod keeper;
pub mod leftovers;
pub mod manager;
pub mod needs;
pub mod node;
pub mod node_api;
pub mod node_stats;
pub mod obstacles;
pub mod pids;
pub mod played;
pub mod proc;
pub mod program;
pub mod pty;
pub mod random;
pub mod registered;
pub mod restarts;
pub mod samples;
pub mod shim;
pub mod storm;
pub mod subscriber;
pub mod wait;

pub use bundle::{Bundle, Gate};
pub use command::{Ended, run};
pub use keeper::Keeper;
pub use manager::Manager;
pub use needs::{skip, skipped, skipped_without_info_exit};
pub use node::{Node, Options};
pub use pids::{Stranger, in_private_pids};
pub use samples::Samples;
pub use subscriber::Subscriber;
pub use wait::{LONG, wait_for, wait_until};
