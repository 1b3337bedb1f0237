//! Cleaning up after a container, at once or later, and looking whether it is clean.

mod added;
mod ask;
mod attempt;
mod calm;
mod census;
mod cgroup_tree;
mod cgroups;
mod doomed;
mod entries;
mod figures;
mod files;
#[cfg(test)]
mod fixture;
mod freezer;
mod grave;
mod holder;
mod leftovers;
mod lingering;
mod mounts;
mod obstacle;
mod plan;
mod processes;
mod rootfs;
mod scan;
mod scene;
mod service;
mod shown;
mod stranger;
mod tend;
mod turn;
mod wake;
mod ward;

pub use added::tend_durably;
pub use ask::Ask;
pub use doomed::is_doomed;
pub use entries::remove_lasting;
pub use files::descriptors as beneath;
pub use freezer::{has_freezer, is_frozen, set_frozen, thaw};
pub use grave::bury;
pub use lingering::{FOR, MARK};
pub use obstacle::Obstacle;
pub use scan::{Known, scan};
pub use service::{Gc, restore, take_up, tend};
pub use shown::shown;
pub use stranger::estate_of_stranger;
pub use ward::{Dead, Progress, Ward};

use attempt::Attempt;
use entries::Entries;
