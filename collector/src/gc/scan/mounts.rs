//! Mounts below the configured roots that are no container's.

use super::{Known, Left};
use crate::gc::mounts::read_table;
use sexton_common::{
    cleanup::Cleanup,
    gc::Estate,
    identity::BootId,
    wire::{Finding, FindingKind},
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

pub(super) fn scan(roots: &[PathBuf], known: &Known, boot: BootId) -> io::Result<Vec<Left>> {
    let roots: Vec<PathBuf> = roots.iter().filter_map(|root| root.canonicalize().ok()).collect();
    if roots.is_empty() {
        return Ok(Vec::new());
    }
    // What belongs together lies in one directory of the root.
    let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for mount in read_table()?.into_iter().filter(|mount| !mount.deleted) {
        let Some(top) = roots.iter().find_map(|root| top(root, &mount.point)) else { continue };
        if !known.owns_below(&mount.point) && mount.point.to_str().is_some() {
            found.entry(top).or_default().push(mount.point);
        }
    }
    let left = found.into_iter().filter_map(|(top, mut points)| {
        points.sort();
        let (point, count) = (points.first()?.clone(), points.len());
        let id = super::id_of(&top.file_name()?.to_string_lossy())?;
        if known.ids.contains(&id) {
            return None;
        }
        let finding = Finding {
            kind: FindingKind::Mount,
            id: top.file_name()?.to_str()?.parse().ok(),
            path: point.clone(),
            pid: None,
            why: match count {
                1 => "it is no container's".into(),
                n => format!("it and {} more in {} are no container's", n - 1, top.display()),
            },
            adopted: None,
        };
        // Beside somebody's nothing goes but what is nobody's.
        let mounts = if known.owns_below(&top) { outermost(points) } else { vec![top] };
        let cleanup = Cleanup { mounts, ..Cleanup::default() };
        Some(Left { finding, estate: Estate { cleanup, ..super::bare(&id, boot) } })
    });
    Ok(left.collect())
}

/// Those that are not below another of them; as many as one entry may have, which is enough to go on with.
fn outermost(points: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut outermost: Vec<PathBuf> = Vec::new();
    for point in points {
        if !outermost.iter().any(|above| point.starts_with(above)) {
            outermost.push(point);
        }
    }
    outermost.truncate(Cleanup::MOST);
    outermost
}

/// The directory of the root in which the path lies; the root itself is not a container's.
fn top(root: &Path, path: &Path) -> Option<PathBuf> {
    let first = path.strip_prefix(root).ok()?.components().next()?;
    Some(root.join(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gc::mounts::sandbox::{alone, tmpfs};

    #[test]
    fn beside_a_container_s_mounts_only_those_of_nobody_are_found() {
        alone("a root that is shared", |root| {
            let (live, dead, lone) = (root.join("all/live/rootfs"), root.join("all/dead/rootfs"), root.join("lone"));
            for dir in [&live, &dead, &dead.join("below"), &lone.join("deep")] {
                tmpfs(dir);
            }
            let known = Known { places: vec![live.clone()], ..Known::default() };
            let left = scan(&[root.into()], &known, BootId::current().unwrap()).unwrap();
            let mounts: Vec<_> = left.iter().map(|left| left.estate.cleanup.mounts.clone()).collect();
            assert_eq!(mounts, [vec![dead], vec![lone]]);
        });
    }
}
