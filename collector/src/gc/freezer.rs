//! Freezing and thawing, and who froze a process.

use super::{cgroup_tree::walk, cgroups::events_say};
use sexton_common::cgroup::{self, CgroupDir};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// How a hierarchy freezes.
#[derive(Clone, Copy, Debug)]
struct Freezer {
    file: &'static str,
    freeze: &'static str,
    thaw: &'static str,
}

const V1: Freezer = Freezer { file: "freezer.state", freeze: "FROZEN", thaw: "THAWED" };
const V2: Freezer = Freezer { file: "cgroup.freeze", freeze: "1", thaw: "0" };

impl Freezer {
    fn of(cgroup: &CgroupDir) -> Option<Self> {
        match cgroup.hierarchy.as_str() {
            "" => Some(V2),
            controllers => controllers.split(',').any(|c| c == "freezer").then_some(V1),
        }
    }
}

/// Lets a container's own freezers go, those below its own too. One above is somebody else's to thaw.
pub fn thaw(cgroups: &[CgroupDir]) {
    for (cgroup, freezer) in cgroups.iter().filter_map(|cgroup| Some((cgroup, Freezer::of(cgroup)?))) {
        // It may be gone, or the kernel may have no freezer there: what counts is whether the processes die.
        let _ = walk(&cgroup.dir, |place| {
            let _ = place.write(freezer.file, freezer.thaw);
        });
    }
}

/// Cgroups that are frozen, so that nobody in them forks; thawed when it is dropped. If we die before that, the next attempt
/// begins with thawing.
#[derive(Debug)]
pub struct Frozen<'a>(&'a [CgroupDir]);

impl<'a> Frozen<'a> {
    /// Freezes them as far as there are freezers.
    pub fn new(cgroups: &'a [CgroupDir]) -> Self {
        for (cgroup, freezer) in cgroups.iter().filter_map(|cgroup| Some((cgroup, Freezer::of(cgroup)?))) {
            let _ = walk(&cgroup.dir, |place| {
                if place.path == cgroup.dir {
                    let _ = place.write(freezer.file, freezer.freeze);
                }
            });
        }
        Self(cgroups)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        thaw(self.0);
    }
}

/// The freezer of a container's own, of which there is one: where both kinds are mounted, v1 has it.
fn own(cgroups: &[CgroupDir]) -> Option<(&CgroupDir, Freezer)> {
    let with = |v2| cgroups.iter().filter(move |cgroup| cgroup.hierarchy.is_empty() == v2);
    with(false).chain(with(true)).find_map(|cgroup| {
        let freezer = Freezer::of(cgroup)?;
        cgroup.dir.join(freezer.file).exists().then_some((cgroup, freezer))
    })
}

/// Whether a container has a freezer of its own.
#[must_use]
pub fn has_freezer(cgroups: &[CgroupDir]) -> bool {
    own(cgroups).is_some()
}

/// Whether a container's own freezer holds it: all of its processes stand still, and not only because of a cgroup above.
#[must_use]
pub fn is_frozen(cgroups: &[CgroupDir]) -> bool {
    let Some((cgroup, freezer)) = own(cgroups) else { return false };
    let says = |file: &str| fs::read_to_string(cgroup.dir.join(file)).unwrap_or_default();
    if cgroup.hierarchy.is_empty() {
        says(freezer.file).trim() == "1" && events_say(&cgroup.dir, "frozen 1")
    } else {
        says("freezer.self_freezing").trim() == "1" && says(freezer.file).trim() == freezer.freeze
    }
}

/// Tells a container's own freezer.
///
/// # Errors
/// What was tried, and why it failed.
pub fn set_frozen(cgroups: &[CgroupDir], frozen: bool) -> Result<(), String> {
    let Some((cgroup, freezer)) = own(cgroups) else { return Err("there is no freezer of its own".into()) };
    let (path, word) = (cgroup.dir.join(freezer.file), if frozen { freezer.freeze } else { freezer.thaw });
    fs::write(&path, word).map_err(|e| format!("write {word} to {}: {e}", path.display()))
}

/// The frozen cgroup that this process, or thread, is in or below: the topmost one that was frozen by itself.
#[must_use]
pub fn frozen_by(pid: u32) -> Option<PathBuf> {
    let cgroups = cgroup::of_process(pid).unwrap_or_default();
    cgroups.iter().find_map(|cgroup| {
        let says = |dir: &Path, file: &str| fs::read_to_string(dir.join(file)).ok();
        let (frozen, own) = if cgroup.hierarchy.is_empty() {
            (events_say(&cgroup.dir, "frozen 1"), V2.file)
        } else {
            (says(&cgroup.dir, V1.file)?.trim() != V1.thaw, "freezer.self_freezing")
        };
        if !frozen {
            return None;
        }
        // The root of a hierarchy cannot be frozen and has no such file.
        let above = cgroup.dir.ancestors().map_while(|dir| Some((dir, says(dir, own)?)));
        let (mut by, mut highest) = (None, None);
        for (dir, word) in above {
            highest = Some(dir);
            by = if word.trim() == "1" { Some(dir) } else { by };
        }
        // Frozen from above what is mounted here: as near as can be seen.
        by.or(highest).map(Path::to_owned)
    })
}

/// Whether even a killed process waits for the thaw: in v1 it does.
#[must_use]
pub fn holds_the_killed(frozen: &Path) -> bool {
    frozen.join(V1.file).exists()
}

/// What to do about it, for people.
#[must_use]
pub fn way_out(frozen: &Path) -> String {
    let freezer = if holds_the_killed(frozen) { V1 } else { V2 };
    format!("thaw it (echo {} > {})", freezer.thaw, frozen.join(freezer.file).display())
}

#[cfg(test)]
#[path = "freezer_tests.rs"]
mod tests;
