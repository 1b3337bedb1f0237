//! The launch of a container that owns what a reboot does not clear: it lies in the data directory too, before the
//! container is there (I4).

use crate::{
    args::Plan,
    place::{self, NoPlace},
};
use rustix::fs::RenameFlags;
use sexton_common::{ContainerId, Launch, Layout, durable, layout::ContainerDir};
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
    if run_of(&dir).is_some_and(|(_, there)| there == generation) {
        durable::rename(dir.path(), buried.path(), RenameFlags::NOREPLACE)?;
        durable::sync_parent(dir.path())?;
    }
    place::bury(buried.path())
}

/// Which run's launch lies there: a launch's first two fields.
fn run_of(dir: &ContainerDir) -> Option<(ContainerId, u64)> {
    durable::read_head::<Launch, _>(&dir.launch())
}

/// Removes what a launch that came to nothing has left under the temporary names of this pid, and what it wrote here.
pub fn bury_unborn(layout: &Layout, pid: u32) {
    let unborn = layout.unborn(pid);
    if let Some((id, generation)) = run_of(&unborn) {
        let _ = place::bury(layout.lasting_unborn(pid).path());
        let _ = remove(layout, &id, generation);
    }
    let _ = place::bury(unborn.path());
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_common::{
        ProcessIdentity, Stamp,
        cleanup::Cleanup,
        launch::{Mode, OnShimDeath, Origin, Stdio},
        runtime::Runtime,
        workload::Workload,
    };

    #[test]
    fn only_its_own_run_s_launch_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().join("state"), root.path().join("data"));
        let id: ContainerId = "web".parse().unwrap();
        let launch = Launch {
            id: id.clone(),
            generation: 7,
            workload: Workload::Oci { bundle: "/b".into(), runtime: Runtime::default() },
            stdio: Stdio::Null,
            mode: Mode::Run,
            auto_remove: false,
            on_shim_death: OnShimDeath::Adopt,
            shim: ProcessIdentity::of(std::process::id()).unwrap(),
            origin: Origin::Sexton,
            cgroups: vec![],
            created: Stamp::now(),
            cleanup: Cleanup { exec: vec!["true".into()], ..Cleanup::default() },
            restart: sexton_common::restart::RestartPolicy::No,
            timeout_ms: Launch::TIMEOUT_MS,
        };
        let dir = layout.lasting_container(&id);
        std::fs::create_dir_all(dir.path()).unwrap();
        durable::write(&dir.launch(), &launch).unwrap();
        assert_eq!(run_of(&dir), Some((id.clone(), 7)));
        remove(&layout, &id, 8).unwrap();
        assert!(dir.launch().exists());
        remove(&layout, &id, 7).unwrap();
        assert!(!dir.path().exists());
        remove(&layout, &id, 7).unwrap();
    }
}
