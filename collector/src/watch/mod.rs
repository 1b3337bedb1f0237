//! The doorbells of one container: its exit channel and its init's pidfd.
//!
//! None of them carries truth (I2): each only says "look".

mod fifo;
mod names;
mod pidfd;

pub use fifo::{Fifo, Ring, foreign, own};
pub use names::{Change, Directories, Names};
pub use pidfd::{Death, InitWatch, Watched, zombie};
