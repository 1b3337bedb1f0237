//! When a launch has failed: nothing may be left of it.

use crate::{
    args::Plan,
    child::{Call, End},
    home::Home,
    leftovers,
    place::{Grave, Place},
    stdio::Streams,
};
use rustix::process::geteuid;
use sexton_common::{ContainerId, ExitStatus, cgroup::CgroupDir, runtime::Runtime};
use std::time::{Duration, Instant};

const DELETE_TIME: Duration = Duration::from_secs(10);
const KILL_TIME: Duration = Duration::from_secs(5);

/// Whether the runtime knows a container of this name.
pub fn is_known(runtime: &Runtime, id: &ContainerId, home: &Home) -> bool {
    // The usual roots are root's.
    let usual = geteuid().is_root() || runtime.root.is_some();
    match runtime.state_dir(id).filter(|_| usual) {
        Some(dir) => dir.symlink_metadata().is_ok(),
        None => call(runtime, "state", &[], id, home),
    }
}

/// Makes the runtime forget the container, whatever state it is in.
pub fn delete(runtime: &Runtime, id: &ContainerId, home: &Home) {
    call(runtime, "delete", &["--force".into()], id, home);
}

fn call(runtime: &Runtime, verb: &str, options: &[std::ffi::OsString], id: &ContainerId, home: &Home) -> bool {
    let args = runtime.arguments(&[], verb, options, id);
    let call = Call { program: &runtime.program, args, streams: &Streams::Null, hear: false, timeout: DELETE_TIME };
    matches!(call.run(home).end, End::Exited(ExitStatus::Code(0)))
}

/// Removes everything that the launch made; with `ours` the runtime's container too. What could not be removed
/// is named, and then our own files stay: the collector finds them and is the undertaker (I4). If only the files are
/// left they are ours to remove, and the grave is returned.
pub fn undo(
    plan: &Plan,
    home: &Home,
    place: Place,
    generation: u64,
    mut cgroups: Vec<CgroupDir>,
    ours: bool,
) -> Result<(), (String, Option<Box<Grave>>)> {
    if ours {
        cgroups.extend(leftovers::cgroups_below(home.pid));
        if let Some(runtime) = plan.workload.runtime() {
            delete(runtime, &plan.id, home);
        }
    }
    let deadline = Instant::now() + KILL_TIME;
    let mut left = Vec::new();
    for process in leftovers::kill_all(home.pid, deadline) {
        left.push(format!("process {process}"));
    }
    for dir in leftovers::remove_cgroups(&cgroups, deadline) {
        left.push(format!("cgroup {}", dir.display()));
    }
    if let Some(runtime) = plan.workload.runtime().filter(|runtime| ours && is_known(runtime, &plan.id, home)) {
        left.push(format!("{}'s state of {}", runtime.program.display(), plan.id));
    }
    if !left.is_empty() {
        return Err((left.join(", "), None));
    }
    let unborn = plan.layout.unborn(home.pid);
    let grave =
        Grave { place: Some(place), unborn, layout: plan.layout.clone(), launch: (plan.id.clone(), generation) };
    grave.empty().map_err(|e| (format!("its state directory: {e}"), Some(Box::new(grave))))
}
