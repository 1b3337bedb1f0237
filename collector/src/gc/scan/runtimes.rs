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
    // As long as there is none, its maker may be about to write it.
    let program =
        [("state.json", "runc"), ("status", "crun")].into_iter().find(|(file, _)| dir.join(file).is_file())?.1;
    let noted = super::super::stranger::noted(&dir);
    if noted.process.is_some() || noted.may_live {
        return None;
    }
    let mut runtime = Runtime { program: program.into(), root: Some(root.into()), args: Vec::new() };
    runtime = runtime.clone().resolve().unwrap_or(runtime);
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
