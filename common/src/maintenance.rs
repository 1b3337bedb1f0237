//! Maintenance: a node that refuses new starts.

use crate::{WallTime, durable::Fact};
use serde::{Deserialize, Serialize};

/// The `maintenance` fact. The node is in maintenance as long as the file is there, whatever is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// Since when.
    pub since: WallTime,
}

impl Fact for Maintenance {
    const KIND: u8 = b'M';
    const VERSION: u16 = 1;
}
