//! What belongs to containers that nobody owns any more. It is only looked for here, and nothing is touched.

mod cgroups;
mod mounts;
mod runtimes;
mod shims;

use super::Gc;
use crate::{board::Board, config::ScanConfig};
use sexton_common::{
    ContainerId, Init, Launch, Layout, Stamp, durable, gc::Estate, identity::BootId, layout::ContainerDir,
    wire::Finding,
};
use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

/// Something that was found, and what would be cleaned if it were adopted.
#[derive(Clone, Debug)]
pub struct Left {
    /// As clients see it.
    pub finding: Finding,
    /// For an entry.
    pub estate: Estate,
}

/// What somebody owns.
#[derive(Debug, Default)]
pub struct Known {
    /// Containers and entries, whatever their state.
    ids: HashSet<ContainerId>,
    /// Cgroups of those that are not clean.
    cgroups: HashSet<PathBuf>,
    /// Places below which their mounts are.
    places: Vec<PathBuf>,
}

impl Known {
    /// Everything of the containers that lie on disk, and of the entries. Blocks on the disk.
    ///
    /// # Errors
    /// If the containers cannot be listed: then nothing may be taken for nobody's.
    pub fn of(layout: &Layout, board: &Board, gc: &Gc) -> io::Result<Self> {
        let mut known = Self::default();
        board.read(|all| known.ids.extend(all.keys().cloned()));
        for entry in fs::read_dir(layout.containers())? {
            let entry = entry?;
            let dir = ContainerDir::at(entry.path());
            known.ids.extend(entry.file_name().to_string_lossy().parse::<ContainerId>());
            // Of a clean one nothing is left; what bears its name is somebody else's, or nobody's.
            if dir.clean().symlink_metadata().is_ok() {
                continue;
            }
            // One that is being made, or cannot be read, has its name.
            let launch = durable::read::<Launch>(&dir.launch()).ok().flatten();
            let init = durable::read::<Init>(&dir.init()).ok().flatten();
            if let Some(launch) = launch {
                let above = launch.cgroups.clone();
                known.take(layout, &Estate::of(&launch, init.as_ref()), &above);
            }
        }
        for ward in gc.all() {
            let estate = ward.lock().entry.estate.clone();
            known.take(layout, &estate, &[]);
        }
        Ok(known)
    }

    fn take(&mut self, layout: &Layout, estate: &Estate, above: &[sexton_common::cgroup::CgroupDir]) {
        self.ids.insert(estate.id.clone());
        if let Some(bundle) = &estate.bundle {
            let expected = super::rootfs::expected_cgroups(bundle, above, &estate.id);
            self.cgroups.extend(expected.into_iter().map(|cgroup| cgroup.dir));
            self.places.extend(super::rootfs::rootfs(bundle, layout));
            self.places.push(bundle.clone());
        }
        self.cgroups.extend(estate.cgroups.iter().chain(&estate.guessed).map(|cgroup| cgroup.dir.clone()));
        self.places.extend(estate.rootfs.clone());
        self.places.extend(estate.cleanup.mounts.iter().chain(&estate.cleanup.paths).cloned());
    }

    fn owns_below(&self, path: &Path) -> bool {
        self.places.iter().any(|place| path.starts_with(place) || place.starts_with(path))
    }
}

/// Looks everywhere. Blocks on the file system.
///
/// # Errors
/// If this boot's id, or the mount table, cannot be read.
pub fn scan(layout: &Layout, config: &ScanConfig, known: &Known) -> io::Result<Vec<Left>> {
    let boot = BootId::current()?;
    let mut left = runtimes::scan(&config.runtime_roots, known, boot);
    left.extend(cgroups::scan(&config.cgroup_parents, known, boot));
    left.extend(mounts::scan(&config.mount_roots, known, boot)?);
    left.extend(shims::scan(layout, &config.runtime_roots, known, boot));
    Ok(left)
}

/// Found now, with nothing to clean yet.
fn bare(id: &ContainerId, boot: BootId) -> Estate {
    Estate::bare(id.clone(), Stamp::now().boot_ns / 1000, boot)
}

/// The id that a name is, or what comes nearest to it.
fn id_of(name: &str) -> Option<ContainerId> {
    name.parse().ok().or_else(|| {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "_+-.".contains(c) { c } else { '_' };
        name.chars().map(plain).take(ContainerId::MAX).collect::<String>().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_becomes_an_id_or_none() {
        let id = |name: &str| id_of(name).map(|id| id.to_string());
        assert_eq!(id("c1").as_deref(), Some("c1"));
        assert_eq!(id("with blank\né").as_deref(), Some("with_blank__"));
        assert_eq!(id("a@b").as_deref(), Some("a_b"));
        for name in ["", ".", "..", "~new-1", "-x", &"x".repeat(1000), &"é".repeat(200)] {
            assert!(id(name).is_none_or(|id| id.len() <= ContainerId::MAX && !id.contains(['~', '/', '@'])), "{name}");
        }
        assert_eq!(id(&"x".repeat(1000)).map(|id| id.len()), Some(ContainerId::MAX));
    }

    #[test]
    fn what_is_around_a_known_place_is_owned_too() {
        let known = Known { places: vec!["/m/a/b".into()], ..Known::default() };
        for (path, owned) in [("/m/a/b", true), ("/m/a/b/c", true), ("/m/a", true), ("/m/a/bc", false), ("/m/c", false)]
        {
            assert_eq!(known.owns_below(Path::new(path)), owned, "{path}");
        }
    }
}
