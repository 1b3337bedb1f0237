//! What some other engine left behind, as its runtime knows it (iSulad's `gc_add_container`). Everything here blocks.

use serde::Deserialize;
use sexton_common::{
    ContainerId, Layout, ProcessIdentity, Stamp,
    cgroup::{self, CgroupDir},
    gc::Estate,
    identity::{BootId, Stat},
    runtime::Runtime,
    wire::{ApiError, ErrorCode, GcAddRequest},
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// What runtimes write down: runc (and youki) in `state.json`, crun in `status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    #[serde(alias = "pid")]
    init_process_pid: Option<u32>,
    #[serde(alias = "process-start-time")]
    init_process_start: Option<u64>,
    cgroup_paths: BTreeMap<String, PathBuf>,
    #[serde(rename = "cgroup-path")]
    cgroup_path: Option<PathBuf>,
    bundle: Option<PathBuf>,
    config: Config,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    labels: Vec<String>,
}

/// What a runtime's state directory says of a container.
#[derive(Debug, Default)]
pub struct Noted {
    /// Its init, if that lives.
    pub process: Option<ProcessIdentity>,
    /// Some process has its init's pid, and nothing tells whether it is another's by now.
    pub may_live: bool,
    /// Its cgroups.
    pub cgroups: Vec<CgroupDir>,
    /// Its bundle.
    pub bundle: Option<PathBuf>,
}

/// Reads it; nothing where there is nothing that can be understood.
#[must_use]
pub fn noted(state_dir: &Path) -> Noted {
    let read = |name: &str| fs::read(state_dir.join(name)).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let state: State = read("state.json").or_else(|| read("status")).unwrap_or_default();
    // The pid may be another's by now: only with its start time does it count.
    let process = state.init_process_pid.and_then(|pid| {
        let started = Stat::of(pid).ok()??.start_time;
        let is = state.init_process_start.is_some_and(|noted| noted == started);
        ProcessIdentity::of(pid).ok().filter(|process| is && process.start_time == started)
    });
    let may_live = state.init_process_start.is_none()
        && state.init_process_pid.is_some_and(|pid| pid != 0 && Stat::of(pid).ok().flatten().is_some());
    let mut cgroups: Vec<CgroupDir> = Vec::new();
    for (hierarchy, dir) in state.cgroup_paths {
        if dir.is_absolute() && !cgroups.iter().any(|cgroup| cgroup.dir == dir) {
            cgroups.push(CgroupDir { hierarchy, dir });
        }
    }
    // Without cgroups of its own it has none of a name.
    if let Some(path) = state.cgroup_path.filter(|path| path.file_name().is_some()) {
        let path = Path::new("/").join(path);
        cgroups.extend(cgroup::at(&path).unwrap_or_default());
    }
    let label = state.config.labels.iter().find_map(|label| label.strip_prefix("bundle=")).map(PathBuf::from);
    Noted { process, may_live, cgroups, bundle: state.bundle.or(label) }
}

/// What is to be cleaned of a container that some other engine had.
///
/// # Errors
/// If the request makes no sense.
pub fn estate_of_stranger(layout: &Layout, request: GcAddRequest) -> Result<Estate, ApiError> {
    let invalid = |text: String| ApiError::new(ErrorCode::Invalid, text);
    let GcAddRequest { id, runtime, pids, bundle, cleanup } = request;
    let cleanup = cleanup.checked(layout).map_err(|e| invalid(e.to_string()))?;
    if let Some(bundle) = bundle.as_ref().filter(|bundle| !bundle.is_absolute()) {
        return Err(invalid(format!("the bundle {} must be an absolute path", bundle.display())));
    }
    let named = runtime.program.display().to_string();
    let runtime = runtime
        .resolve()
        .map_err(|e| invalid(format!("runtime {named}: {e}: install it or name it with --runtime")))?;
    let mut estate = bare(&id, runtime, bundle)?;
    estate.cleanup = cleanup;
    for pid in pids {
        if pid <= 1 || pid == std::process::id() || i32::try_from(pid).is_err() {
            return Err(invalid(format!("{pid} cannot be a container's pid")));
        }
        match ProcessIdentity::open_pid(pid) {
            Ok((process, _pidfd)) => {
                estate.cgroups.extend(own_cgroups(pid, &id));
                estate.processes.push(process);
            }
            // Gone already.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(ApiError::new(ErrorCode::Internal, format!("open process {pid}: {e}"))),
        }
    }
    estate.processes.dedup();
    let mut dirs = std::collections::BTreeSet::new();
    estate.cgroups.retain(|cgroup| dirs.insert(cgroup.dir.clone()));
    Ok(estate)
}

/// What its runtime knows of it.
///
/// # Errors
/// If this boot's id cannot be read.
pub fn bare(id: &ContainerId, runtime: Runtime, bundle: Option<PathBuf>) -> Result<Estate, ApiError> {
    let noted = runtime.state_dir(id).map(|dir| noted(&dir)).unwrap_or_default();
    let boot = BootId::current().map_err(|e| ApiError::new(ErrorCode::Internal, format!("read the boot id: {e}")))?;
    Ok(Estate {
        id: id.clone(),
        generation: Stamp::now().boot_ns / 1000,
        boot,
        runtime: Some(runtime),
        bundle: bundle.or(noted.bundle),
        rootfs: None,
        processes: noted.process.into_iter().collect(),
        cgroups: noted.cgroups,
        guessed: Vec::new(),
        cleanup: sexton_common::cleanup::Cleanup::default(),
    })
}

/// The cgroups that a process is in and that bear the container's name: in others there may be anybody.
pub fn own_cgroups(pid: u32, id: &ContainerId) -> Vec<CgroupDir> {
    let mut cgroups = cgroup::of_process(pid).unwrap_or_default();
    cgroups.retain(|cgroup| cgroup.dir.file_name().is_some_and(|name| is_named(&name.to_string_lossy(), id.as_str())));
    cgroups
}

/// Whether a cgroup is called as the container is, or as a scope of its, `libpod-ID.scope` or `cri-containerd-ID.scope`: a short
/// id is part of many names.
fn is_named(name: &str, id: &str) -> bool {
    let scope = || name.strip_suffix(".scope")?.strip_suffix(id)?.strip_suffix('-');
    // A login's processes, and what systemd-run runs, are numbered.
    name == id || scope().is_some_and(|prefix| !matches!(prefix, "" | "session" | "run"))
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn a_cgroup_is_its_own_only_by_its_whole_name() {
        for (name, id) in [("c1", "c1"), ("libpod-c1.scope", "c1"), ("cri-containerd-a-b.scope", "a-b")] {
            assert!(is_named(name, id), "{name} {id}");
        }
        let others = [
            ("session-1.scope", "1"),
            ("ssh.service", "ssh"),
            ("user.slice", "s"),
            ("webserver", "web"),
            ("-1.scope", "1"),
        ];
        for (name, id) in others {
            assert!(!is_named(name, id), "{name} {id}");
        }
    }
}
