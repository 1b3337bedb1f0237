//! Cleaning up after a container, and looking whether it is clean.

mod clean;
mod observe;
mod obstacle;

pub use clean::{Cleaner, Estate};
pub use observe::{bury, thaw};
pub use obstacle::{Holder, Obstacle};
