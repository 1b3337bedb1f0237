//! What is known of a container's end, and when a failed attempt to handle it is repeated.

mod backoff;
mod record;

pub use backoff::Backoff;
pub use record::{Verdict, of_death, read_exit, read_exit_at_once, started, write_record};
