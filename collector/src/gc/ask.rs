//! What somebody wants cleaned.

use super::ward::Dead;
use sexton_common::{
    cgroup::CgroupDir,
    gc::{Estate, GcOrigin},
};

/// What is to be cleaned.
#[derive(Clone, Debug)]
pub struct Ask {
    /// All that is needed for it.
    pub estate: Estate,
    /// The cgroups of whoever called its runtime, below which its own may be.
    pub above: Vec<CgroupDir>,
    /// Where it comes from.
    pub origin: GcOrigin,
    /// Of a container whose exit is known.
    pub dead: Option<Dead>,
    /// Of a container that was killed and does not die.
    pub alive: bool,
    /// Whether the container is removed once it is clean.
    pub remove: bool,
    /// It ended among many: it is cleaned when it is calm.
    pub patient: bool,
}

impl Ask {
    /// Of what has no container.
    #[must_use]
    pub fn of(estate: Estate, origin: GcOrigin) -> Self {
        Self { estate, above: Vec::new(), origin, dead: None, alive: false, remove: false, patient: false }
    }
}
