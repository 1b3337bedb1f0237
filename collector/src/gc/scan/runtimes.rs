//! Runtimes' state directories whose container is dead.

use super::{Known, Left};
use sexton_common::{
    ContainerId,
    gc::Estate,
    identity::BootId,
    runtime::Runtime,
    wire::{Finding, FindingKind},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) fn scan(roots: &[PathBuf], known: &Known, boot: BootId) -> Vec<Left> {
    let states = roots.iter().flat_map(|root| {
        let names = fs::read_dir(root).into_iter().flatten().flatten();
        names.map(move |entry| (root.clone(), entry.file_name().to_string_lossy().into_owned()))
    });
    states.filter_map(|(root, name)| look(&root, name.parse().ok()?, known, boot)).collect()
}

fn look(root: &Path, id: ContainerId, known: &Known, boot: BootId) -> Option<Left> {
    if known.ids.contains(&id) {
        return None;
    }
    let dir = root.join(id.as_str());
    let runtime = runtime(root, &id)?;
    let noted = super::super::stranger::noted(&dir);
    if noted.process.is_some() || noted.may_live {
        return None;
    }
    let estate =
        Estate { runtime: Some(runtime), bundle: noted.bundle, cgroups: noted.cgroups, ..super::bare(&id, boot) };
    let finding = Finding {
        kind: FindingKind::RuntimeState,
        id: Some(id),
        path: dir,
        pid: None,
        why: "its process is gone, and no container of Sexton's has that name".into(),
        adopted: None,
    };
    Some(Left { finding, estate })
}

/// The runtime that has a container of this name there.
pub(super) fn runtime(root: &Path, id: &ContainerId) -> Option<Runtime> {
    let dir = root.join(id.as_str());
    // As long as there is no such file, its maker may be about to write it.
    let mut files = [("state.json", "runc"), ("status", "crun")].into_iter();
    let (_, program) = files.find(|(file, _)| dir.join(file).is_file())?;
    let runtime = Runtime { program: program.into(), root: Some(root.into()), args: Vec::new() };
    Some(runtime.clone().resolve().unwrap_or(runtime))
}
