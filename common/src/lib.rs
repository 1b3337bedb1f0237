//! What the shim, the collector and the command line say to each other.
//!
//! Nothing here starts a thread, needs an async runtime or contains `unsafe`: the shim links it.

pub mod cgroup;
pub mod cleanup;
pub mod client;
pub mod descriptors;
pub mod durable;
pub mod exit;
pub mod gate;
pub mod gc;
pub mod id;
pub mod identity;
pub mod instance;
pub mod launch;
pub mod layout;
pub mod maintenance;
pub mod mountinfo;
pub mod private;
pub mod restart;
pub mod runtime;
mod stat;
pub mod time;
pub mod unborn;
pub mod wire;
pub mod workload;

pub use exit::{ExitRecord, ExitStatus, Source, UnknownReason};
pub use id::ContainerId;
pub use identity::ProcessIdentity;
pub use launch::{Init, Launch};
pub use layout::Layout;
pub use time::{Stamp, WallTime};
