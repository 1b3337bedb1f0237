//! Shims whose state directory is gone: each holds its own open.

use super::{Known, Left};
use crate::gc::stranger::own_cgroups;
use sexton_common::{
    ContainerId, Layout, ProcessIdentity,
    gc::Estate,
    identity::BootId,
    wire::{Finding, FindingKind},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

pub(super) fn scan(layout: &Layout, known: &Known, boot: BootId) -> Vec<Left> {
    let containers = layout.containers();
    let containers = containers.canonicalize().unwrap_or(containers);
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| look(&containers, pid, known, boot)).collect()
}

fn look(containers: &Path, pid: u32, known: &Known, boot: BootId) -> Option<Left> {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    if comm.trim_end() != "sexton-shim" {
        return None;
    }
    let shim = ProcessIdentity::of(pid).ok()?;
    let id = lost(containers, pid)?;
    if known.ids.contains(&id) {
        return None;
    }
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = children.split_ascii_whitespace().filter_map(|child| child.parse().ok()).collect();
    let mut cgroups = Vec::new();
    for cgroup in children.iter().flat_map(|child| own_cgroups(*child, &id)) {
        if !cgroups.contains(&cgroup) {
            cgroups.push(cgroup);
        }
    }
    let why = match children.as_slice() {
        [] => "its state directory is gone".to_owned(),
        [child, ..] => {
            format!("its state directory is gone, but its container, process {child}, still runs: adopting kills it")
        }
    };
    let mut processes: Vec<_> = children.iter().filter_map(|child| ProcessIdentity::of(*child).ok()).collect();
    processes.push(shim);
    let finding = Finding {
        kind: FindingKind::Shim,
        id: Some(id.clone()),
        path: containers.join(id.as_str()),
        pid: Some(pid),
        why,
        adopted: None,
    };
    Some(Left { finding, estate: Estate { processes, cgroups, ..super::bare(&id, boot) } })
}

/// The container whose directory, which that process has open, was removed. The kernel adds a word to the path then.
fn lost(containers: &Path, pid: u32) -> Option<ContainerId> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let mut links = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.find_map(|link: PathBuf| {
        let name = link.strip_prefix(containers).ok()?.to_str()?;
        // Buried by whoever removed it: the run's generation stands before the id.
        let name = name.strip_suffix(" (deleted)")?;
        let name = name.strip_prefix(Layout::BURIED).and_then(|rest| Some(rest.split_once('-')?.1)).unwrap_or(name);
        name.parse().ok()
    })
}
