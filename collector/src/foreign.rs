//! Containers of foreign shims: registered here, watched like our own from then on.

use crate::{overseer::Overseer, seats::Rank};
use sexton_common::{
    Init, Launch, ProcessIdentity, Stamp,
    cgroup::{self, CgroupDir},
    cleanup::Cleanup,
    durable,
    launch::{Mode, OnShimDeath, Origin, Stdio},
    layout::Layout,
    restart::RestartPolicy,
    wire::{ApiError, ErrorCode, WatchRequest},
    workload::Workload,
};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, FileTypeExt},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// Registers a foreign container durably and watches it (iSulad's `container_supervisor_add_exit_monitor`).
///
/// # Errors
/// If the id is taken, the FIFO is none, or the facts cannot be written.
pub async fn watch(overseer: &Arc<Overseer>, request: WatchRequest) -> Result<(), ApiError> {
    overseer.ready().await;
    let layout = overseer.cx.layout.clone();
    let id = request.id.clone();
    // Once its FIFO is open it must stay so, or its shim's write would fail: not begun unless that is certain.
    let seats = (overseer.cx.seat(Rank::Sole), overseer.cx.seat(Rank::Pidfd));
    if seats.0.is_none() || seats.1.is_none() {
        let text = format!(
            "{id} cannot be watched: sextond has no descriptors left for it; raise LimitNOFILE in sextond.service and restart it, or try again when other containers have ended"
        );
        return Err(ApiError::new(ErrorCode::Busy, text));
    }
    let name = format!("register {id}");
    let generation = overseer.cx.tools.blocking.run(name, move || register(&layout, request)).await?;
    drop(seats);
    // As if its shim had said so: inotify may have told of it first.
    overseer.announced(id, generation, None).await
}

/// Which generation it has.
fn register(layout: &Layout, request: WatchRequest) -> Result<u64, ApiError> {
    let invalid = |text: String| Err(ApiError::new(ErrorCode::Invalid, text));
    if !request.fifo.is_absolute() {
        return invalid(format!("the FIFO {} must be an absolute path", request.fifo.display()));
    }
    for (what, pid) in [("pid", request.pid), ("shim's pid", request.shim_pid)] {
        if pid == 0 || i32::try_from(pid).is_err() {
            return invalid(format!("{pid} cannot be a {what}"));
        }
    }
    match fs::symlink_metadata(&request.fifo) {
        Ok(meta) if meta.file_type().is_fifo() => {}
        Ok(_) => return invalid(format!("{} is not a FIFO", request.fifo.display())),
        Err(e) => return invalid(format!("look at the exit FIFO {}: {e}", request.fifo.display())),
    }
    let runtime = match request.runtime.clone().resolve() {
        Ok(runtime) => runtime,
        Err(e) => {
            return invalid(format!(
                "runtime {}: {e}: install it or name it with --runtime",
                request.runtime.program.display()
            ));
        }
    };
    let id = request.id.clone();
    write(layout, request, runtime).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => ApiError::new(
            ErrorCode::AlreadyExists,
            format!("container {id} exists already: remove it with `sexton rm {id}`, or choose another id"),
        ),
        _ => ApiError::new(ErrorCode::Internal, format!("write the facts of {id}: {e}")),
    })
}

/// None, if the process is gone: whoever has its pid by now has cgroups of its own.
fn cgroups(process: ProcessIdentity, of_pid: impl Fn(u32) -> io::Result<Vec<CgroupDir>>) -> Vec<CgroupDir> {
    let found = of_pid(process.pid).unwrap_or_default();
    if matches!(process.open(), Ok(Some(_))) { found } else { Vec::new() }
}

fn write(layout: &Layout, request: WatchRequest, runtime: sexton_common::runtime::Runtime) -> io::Result<u64> {
    let identity = |pid| match ProcessIdentity::of(pid) {
        // It may have died already; what its shim wrote is in the FIFO all the same.
        Err(e) if e.kind() == io::ErrorKind::NotFound => ProcessIdentity::gone(pid),
        other => other,
    };
    let created = Stamp::now();
    let generation = created.boot_ns / 1000;
    let process = identity(request.pid)?;
    let init = Init {
        id: request.id.clone(),
        generation,
        process,
        cgroups: cgroups(process, cgroup::of_process),
        ready: created,
        executable: None,
        shim: identity(request.shim_pid)?,
        workload: Workload::Oci { bundle: request.bundle.clone(), runtime: runtime.clone() },
    };
    let launch = Launch {
        id: request.id.clone(),
        generation,
        workload: Workload::Oci { bundle: request.bundle, runtime },
        stdio: Stdio::Inherit,
        mode: Mode::Run,
        auto_remove: false,
        on_shim_death: OnShimDeath::Adopt,
        shim: init.shim,
        origin: Origin::Foreign { fifo: request.fifo },
        cgroups: Vec::new(),
        created,
        cleanup: Cleanup::default(),
        restart: RestartPolicy::No,
        timeout_ms: Launch::TIMEOUT_MS,
    };
    static ATTEMPTS: AtomicU32 = AtomicU32::new(0);
    // What a failing disk has kept of an attempt is in no other one's way.
    let unborn = layout.unborn_of(std::process::id(), ATTEMPTS.fetch_add(1, Ordering::Relaxed), &request.id);
    let dir = layout.container(&request.id);
    let placed = fs::DirBuilder::new()
        .mode(0o700)
        .create(unborn.path())
        .and_then(|()| durable::write(&unborn.launch(), &launch))
        .and_then(|()| durable::write(&unborn.init(), &init))
        .and_then(|()| durable::appear(unborn.path(), dir.path()));
    if placed.is_err() {
        let _ = crate::gc::bury(&unborn, &unborn);
    }
    placed.map(|()| generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_s_cgroups_are_not_the_container_s() {
        let own = ProcessIdentity::of(std::process::id()).unwrap();
        let found = vec![CgroupDir { hierarchy: "pids".into(), dir: "/c".into() }];
        assert_eq!(cgroups(own, |_| Ok(found.clone())), found);
        assert_eq!(cgroups(ProcessIdentity::gone(own.pid).unwrap(), |_| Ok(found.clone())), []);
    }
}
