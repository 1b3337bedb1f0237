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
        runtime: Some(runtime),
        bundle: bundle.or(noted.bundle),
        processes: noted.process.into_iter().collect(),
        cgroups: noted.cgroups,
        ..Estate::bare(id.clone(), Stamp::now().boot_ns / 1000, boot)
    })
}

/// The cgroups that a process is in and that bear the container's name: in others there may be anybody.
#[must_use]
pub fn own_cgroups(pid: u32, id: &ContainerId) -> Vec<CgroupDir> {
    let mut cgroups = cgroup::of_process(pid).unwrap_or_default();
    cgroups.retain(|cgroup| cgroup.dir.file_name().is_some_and(|name| bears_name(&name.to_string_lossy(), id)));
    cgroups
}

/// From this length on an id is nobody else's: short ones, as `1`, are in the names of sessions too.
const TELLING: usize = 12;

/// Whether a cgroup of this name is the container's: `ID`, `ID.scope`, or `ENGINE-ID.scope` as engines on systemd have it.
fn bears_name(name: &str, id: &ContainerId) -> bool {
    let id = id.as_str();
    if name == id {
        return true;
    }
    let Some(engine) = name.strip_suffix(".scope").and_then(|name| name.strip_suffix(id)) else { return false };
    engine.is_empty() || (engine.ends_with('-') && id.len() >= TELLING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bears_the_whole_name_is_its_own() {
        let long: ContainerId = "0123456789ab".parse().unwrap();
        for name in
            ["0123456789ab", "0123456789ab.scope", "docker-0123456789ab.scope", "cri-containerd-0123456789ab.scope"]
        {
            assert!(bears_name(name, &long), "{name}");
        }
        for name in [
            "0123456789abc",
            "x0123456789ab",
            "docker-0123456789ab.slice",
            "0123456789ab-x.scope",
            "x0123456789ab.scope",
        ] {
            assert!(!bears_name(name, &long), "{name}");
        }
        let short: ContainerId = "1".parse().unwrap();
        assert!(bears_name("1", &short) && bears_name("1.scope", &short));
        assert!(!bears_name("session-1.scope", &short) && !bears_name("system.slice", &"s".parse().unwrap()));
    }

    #[test]
    fn what_runtimes_write_down_is_understood() {
        let own = ProcessIdentity::of(std::process::id()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let note = |name: &str, text: String| {
            for old in ["state.json", "status"] {
                let _ = fs::remove_file(dir.path().join(old));
            }
            fs::write(dir.path().join(name), text).unwrap();
            noted(dir.path())
        };
        let runc = |start: u64| {
            format!(
                r#"{{"id":"c","init_process_pid":{},"init_process_start":{start},"created":"2024-01-01T00:00:00Z",
                "config":{{"rootfs":"/b/rootfs","labels":["x=y","bundle=/b"]}},"rootless":false,
                "cgroup_paths":{{"":"/sys/fs/cgroup/unified/c","pids":"/sys/fs/cgroup/pids/c","cpu":"/sys/fs/cgroup/cpu/c",
                "cpuacct":"/sys/fs/cgroup/cpu/c","odd":"relative"}},"namespace_paths":{{"NEWPID":"/proc/1/ns/pid"}}}}"#,
                own.pid
            )
        };
        let found = note("state.json", runc(own.start_time));
        assert_eq!(found.process, Some(own));
        assert_eq!(found.bundle.as_deref(), Some(Path::new("/b")));
        let mut dirs: Vec<_> = found.cgroups.iter().map(|cgroup| cgroup.dir.display().to_string()).collect();
        dirs.sort();
        assert_eq!(dirs, ["/sys/fs/cgroup/cpu/c", "/sys/fs/cgroup/pids/c", "/sys/fs/cgroup/unified/c"]);
        assert_eq!(note("state.json", runc(own.start_time + 1)).process, None, "the pid is another's by now");
        let crun = |start: u64| {
            format!(
                r#"{{"pid":{},"process-start-time":{start},"cgroup-path":"no-such/cgroup","scope":null,"rootfs":"/b/rootfs",
                "systemd-cgroup":false,"bundle":"/b","created":"2024-01-01T00:00:00Z","owner":"root","detached":true,
                "external_descriptors":"[]"}}"#,
                own.pid
            )
        };
        let found = note("status", crun(own.start_time));
        assert_eq!((found.process, found.bundle.as_deref()), (Some(own), Some(Path::new("/b"))));
        assert_eq!(note("status", crun(own.start_time + 1)).process, None);
        for damaged in ["", "{", "[]", r#"{"init_process_pid":-1}"#, r#"{"cgroup_paths":["x"]}"#] {
            let nothing = note("state.json", damaged.into());
            assert!(nothing.process.is_none() && nothing.cgroups.is_empty() && nothing.bundle.is_none(), "{damaged}");
        }
    }
}
