//! Whoever creates and deletes containers for us.

mod oci;

pub use oci::{Lanes, Outcome, Runtimes};
