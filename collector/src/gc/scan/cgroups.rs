//! Cgroups below the configured parents that have no process.

use super::{Known, Left};
use sexton_common::{
    cgroup::{self, CgroupDir},
    gc::Estate,
    identity::BootId,
    wire::{Finding, FindingKind},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Cgroups nest no deeper than this where people work with them; what does is taken for somebody's.
const DEPTH: u32 = 64;

pub(super) fn scan(parents: &[PathBuf], known: &Known, boot: BootId) -> Vec<Left> {
    // One container has a directory in each hierarchy.
    let mut found: BTreeMap<(&Path, String), Vec<CgroupDir>> = BTreeMap::new();
    for parent in parents {
        for CgroupDir { hierarchy, dir } in cgroup::at(parent).unwrap_or_default() {
            for child in children(&dir) {
                let Some(name) = child.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
                let cgroup = CgroupDir { hierarchy: hierarchy.clone(), dir: child };
                let all = found.entry((parent, name)).or_default();
                if !all.iter().any(|one| one.dir == cgroup.dir) {
                    all.push(cgroup);
                }
            }
        }
    }
    let nobodys = |cgroups: &[CgroupDir]| {
        let owned = |dir: &Path| known.cgroups.iter().any(|mine| mine.starts_with(dir) || dir.starts_with(mine));
        !cgroups.iter().any(|cgroup| owned(&cgroup.dir) || has_processes(&cgroup.dir, 0))
    };
    let left = found.into_iter().filter(|(_, cgroups)| nobodys(cgroups));
    left.filter_map(|((_, name), cgroups)| {
        let id = super::id_of(&name)?;
        if known.ids.contains(&id) {
            return None;
        }
        let finding = Finding {
            kind: FindingKind::Cgroup,
            id: name.parse().ok(),
            path: cgroups.first()?.dir.clone(),
            pid: None,
            why: match cgroups.len() {
                1 => "it has no process".into(),
                n => format!("it has no process, here and in {} other hierarchies", n - 1),
            },
            adopted: None,
        };
        // Removed if it is still empty then; what somebody starts in it meanwhile is not killed.
        let estate = Estate { guessed: cgroups, ..super::bare(&id, boot) };
        Some(Left { finding, estate })
    })
    .collect()
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// In it or below it; yes, if that cannot be seen.
fn has_processes(dir: &Path, depth: u32) -> bool {
    depth > DEPTH
        || fs::read_to_string(dir.join("cgroup.procs")).map_or(true, |text| !text.is_empty())
        || children(dir).iter().any(|child| has_processes(child, depth + 1))
}
