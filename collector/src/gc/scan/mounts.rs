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
    let mut found: BTreeMap<PathBuf, (PathBuf, usize)> = BTreeMap::new();
    for mount in read_table()?.into_iter().filter(|mount| !mount.deleted) {
        let Some(top) = roots.iter().find_map(|root| top(root, &mount.point)) else { continue };
        if !known.owns_below(&mount.point) && mount.point.to_str().is_some() {
            let (first, count) = found.entry(top).or_insert((mount.point.clone(), 0));
            *first = first.clone().min(mount.point);
            *count += 1;
        }
    }
    let left = found.into_iter().filter_map(|(top, (point, count))| {
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
        let cleanup = Cleanup { mounts: vec![top], ..Cleanup::default() };
        Some(Left { finding, estate: Estate { cleanup, ..super::bare(&id, boot) } })
    });
    Ok(left.collect())
}

/// The directory of the root in which the path lies; the root itself is not a container's.
fn top(root: &Path, path: &Path) -> Option<PathBuf> {
    let first = path.strip_prefix(root).ok()?.components().next()?;
    Some(root.join(first))
}
