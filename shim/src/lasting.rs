//! The launch of a container that owns what a reboot does not clear: it lies in the data directory too, before the
//! container is there (I4).

use crate::{
    args::Plan,
    place::{self, NoPlace},
};
use rustix::fs::RenameFlags;
use sexton_common::{ContainerId, Launch, Layout, durable};
use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt};

/// Whether something of this name is still to be cleaned: its files may be the same ones.
pub fn in_gc(plan: &Plan) -> bool {
    let there = |path: std::path::PathBuf| path.symlink_metadata().is_ok();
    there(plan.layout.gc_entry(&plan.id)) || there(plan.layout.lasting_container(&plan.id).path().into())
}

/// Writes it, if it is needed: whole or not at all. Blocks on the disk.
pub fn write(plan: &Plan, launch: &Launch) -> Result<(), NoPlace> {
    if launch.cleanup.is_empty() {
        return Ok(());
    }
    let (unborn, dir) = (plan.layout.lasting_unborn(launch.shim.pid), plan.layout.lasting_container(&plan.id));
    // A dead process that had our pid may have left one.
    let _ = place::bury(unborn.path());
    let placed = DirBuilder::new()
        .mode(0o700)
        .create(unborn.path())
        .and_then(|()| durable::write(&unborn.launch(), launch))
        .and_then(|()| durable::appear(unborn.path(), dir.path()));
    placed.map_err(|e| {
        let _ = place::bury(unborn.path());
        match e.kind() {
            io::ErrorKind::AlreadyExists => NoPlace::InGc(plan.id.clone()),
            _ => NoPlace::Failed("write `launch` in the data directory", e),
        }
    })
}

/// Removes it, if this run has one: nothing was launched. Called again it goes on where it stopped.
pub fn remove(layout: &Layout, id: &ContainerId, generation: u64) -> io::Result<()> {
    let (dir, buried) = (layout.lasting_container(id), layout.lasting_buried(id, generation));
    let there = durable::read::<Launch>(&dir.launch()).ok().flatten();
    if there.is_some_and(|there| there.generation == generation) {
        durable::rename(dir.path(), buried.path(), RenameFlags::NOREPLACE)?;
        durable::sync_parent(dir.path())?;
    }
    place::bury(buried.path())
}

/// Removes what a launch that came to nothing has left under the temporary names of this pid, and what it wrote here.
pub fn bury_unborn(layout: &Layout, pid: u32) {
    let unborn = layout.unborn(pid);
    let launch = durable::read::<Launch>(&unborn.launch()).ok().flatten();
    if let Some(launch) = launch.filter(|launch| !launch.cleanup.is_empty()) {
        let _ = place::bury(layout.lasting_unborn(pid).path());
        let _ = remove(layout, &launch.id, launch.generation);
    }
    let _ = place::bury(unborn.path());
}
