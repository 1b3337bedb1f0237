//! Launching: the collector execs a shim, as any engine would.

use crate::{node, overseer::Overseer, sys};
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::Rlimit;
use sexton_common::{
    cleanup::Cleanup,
    launch::{Mode, OnShimDeath, Stdio},
    restart::RestartPolicy,
    wire::{ApiError, ErrorCode, LaunchRequest, Launched, Reply},
    workload::Program,
};
use std::{os::fd::OwnedFd, process, sync::Arc, time::Duration};
use tokio::{process::Command, time::timeout};

/// Where a launched container's own streams are passed to the shim.
const STREAMS: [i32; 3] = [3, 4, 5];
/// How long a launch waits for others.
const TURN_WITHIN: Duration = Duration::from_secs(10);
/// What the shim needs besides its runtime's steps.
const SLACK: Duration = Duration::from_secs(20);

/// Launches, if this node takes containers.
///
/// # Errors
/// As [`launch`], and why the node does not.
pub async fn admitted(
    overseer: &Arc<Overseer>,
    request: LaunchRequest,
    streams: Vec<OwnedFd>,
    nofile: Rlimit,
) -> Result<Reply, ApiError> {
    let place = node::admit(&overseer.cx, &request.id).await?;
    let reply = launch(overseer, request, streams, nofile).await?;
    if let Reply::Launched(launched) = &reply {
        node::seen(overseer, &launched.id, launched.generation).await;
    }
    drop(place);
    Ok(reply)
}

/// Runs a shim and waits for its word.
///
/// # Errors
/// The shim's own message and exit code, or that there is no shim.
async fn launch(
    overseer: &Overseer,
    request: LaunchRequest,
    streams: Vec<OwnedFd>,
    nofile: Rlimit,
) -> Result<Reply, ApiError> {
    let cx = &overseer.cx;
    let step = request.timeout_ms.map_or(cx.launch_timeout, Duration::from_millis);
    if step.is_zero() || step > Duration::from_secs(24 * 3600) {
        return Err(ApiError::new(ErrorCode::Invalid, "timeout_ms must be more than 0 and at most a day"));
    }
    sensible(&request).map_err(|text| ApiError::new(ErrorCode::Invalid, text))?;
    if let Stdio::File(path) = &request.stdio
        && !path.is_absolute()
    {
        let text = format!("the output file {} must be an absolute path", path.display());
        return Err(ApiError::new(ErrorCode::Invalid, text));
    }
    if !request.cleanup.is_empty() {
        let (cleanup, layout) = (request.cleanup.clone(), cx.layout.clone());
        let check = move || cleanup.checked(&layout);
        // The shim looks again, and keeps what it has seen; here it is only told who is to blame.
        let checked = cx.tools.blocking.run(format!("look at what {} registers", request.id), check);
        if let Ok(Err(refused)) = timeout(TURN_WITHIN, checked).await {
            return Err(ApiError::new(ErrorCode::Invalid, refused.to_string()));
        }
    }
    // Each is a few descriptors: a storm of launches must not take those of everything else.
    let Ok(Ok(_place)) = timeout(TURN_WITHIN, cx.launches.acquire()).await else {
        let text =
            format!("{} launches are under way, more than sextond has descriptors for: try again", cx.budget.launches);
        return Err(ApiError::new(ErrorCode::Busy, text));
    };
    let mut command = Command::new(&cx.shim);
    command.arg(match request.mode {
        Mode::Create => "create",
        Mode::Run => "run",
    });
    // `--id=ID`, since an id may begin with a dash.
    command.arg(format!("--id={}", request.id)).arg("--state-dir").arg(cx.layout.state());
    command.arg("--data-dir").arg(cx.layout.data());
    command.arg("--create-timeout").arg(format!("{}ms", step.as_millis()));
    let Cleanup { paths, mounts, netns, exec } = &request.cleanup;
    for (option, all) in [("--cleanup-path", paths), ("--cleanup-mount", mounts), ("--cleanup-netns", netns)] {
        command.args(all.iter().map(|path| format!("{option}={}", path.display())));
    }
    command.args(exec.iter().map(|text| format!("--cleanup-exec={text}")));
    if request.on_shim_death == OnShimDeath::Kill {
        command.args(["--on-shim-death", "kill"]);
    }
    if request.auto_remove {
        command.arg("--rm");
    }
    match &request.stdio {
        Stdio::Null => {}
        Stdio::File(path) => {
            command.arg("--stdio").arg(format!("file:{}", path.display()));
        }
        Stdio::Inherit => pass_streams(&mut command, streams)?,
    }
    if request.restart != RestartPolicy::No {
        command.arg("--restart").arg(request.restart.to_string());
    }
    // Last, since whatever follows a program is the program's.
    say_what(&mut command, &request);
    command.stdin(process::Stdio::null()).stdout(process::Stdio::piped()).stderr(process::Stdio::piped());
    command.current_dir("/");
    sys::prepare_child(&mut command, nofile);
    let shim = cx.shim.display();
    let failed = |e: &dyn std::fmt::Display| ApiError {
        exit_code: 125,
        ..ApiError::new(ErrorCode::RuntimeFailed, format!("run {shim}: {e}"))
    };
    let child = command.spawn().map_err(|e| failed(&e))?;
    let Ok(ended) = timeout(step * 3 + SLACK, child.wait_with_output()).await else {
        return Err(ApiError::new(
            ErrorCode::TimedOut,
            format!("launching {} took longer than {:?}", request.id, step * 3 + SLACK),
        ));
    };
    let output = ended.map_err(|e| failed(&e))?;
    if !output.status.success() {
        overseer.undone(&request.id).await;
        let words = String::from_utf8_lossy(&output.stderr);
        let words = words.trim();
        let text = if words.is_empty() { format!("{shim}: {}", output.status) } else { words.to_owned() };
        let code = match () {
            () if text.contains("exists already") => ErrorCode::AlreadyExists,
            () if text.contains(&format!("container {} is in GC", request.id)) => ErrorCode::InGc,
            () => ErrorCode::RuntimeFailed,
        };
        let exit_code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(125);
        return Err(ApiError { exit_code, ..ApiError::new(code, text) });
    }
    serde_json::from_slice::<Launched>(&output.stdout).map(Reply::Launched).map_err(|e| failed(&e))
}

/// What a person has to change.
fn sensible(request: &LaunchRequest) -> Result<(), String> {
    let bundle = &request.bundle;
    match &request.program {
        Some(_) if !bundle.as_os_str().is_empty() => return Err("bundle and program exclude each other".into()),
        Some(program) => program.check().map_err(|e| e.to_string())?,
        None if bundle.as_os_str().is_empty() => {
            return Err("what to run is missing: a bundle, or a program".into());
        }
        None if !bundle.is_absolute() => {
            return Err(format!("the bundle {} must be an absolute path", bundle.display()));
        }
        None => {}
    }
    if request.auto_remove && request.restart != RestartPolicy::No {
        return Err("restart and auto_remove exclude each other: one that is removed cannot come back".into());
    }
    Ok(())
}

fn say_what(command: &mut Command, request: &LaunchRequest) {
    let Some(program) = &request.program else {
        command.arg("--bundle").arg(&request.bundle).arg("--runtime").arg(&request.runtime.program);
        if let Some(root) = &request.runtime.root {
            command.arg("--runtime-root").arg(root);
        }
        command.args(request.runtime.args.iter().map(|arg| format!("--runtime-arg={arg}")));
        return;
    };
    let Program { command: words, env, cwd, user, cgroup } = program;
    command.args(env.iter().map(|variable| format!("--env={variable}")));
    if let Some(cwd) = cwd {
        command.arg("--cwd").arg(cwd);
    }
    if let Some(user) = user {
        command.arg(format!("--user={user}"));
    }
    if let Some(cgroup) = cgroup {
        command.arg("--cgroup").arg(cgroup);
    }
    command.arg("--").args(words);
}

fn pass_streams(command: &mut Command, streams: Vec<OwnedFd>) -> Result<(), ApiError> {
    if streams.len() != STREAMS.len() {
        let text = format!("stdio \"inherit\" takes three descriptors along with the request, {} came", streams.len());
        return Err(ApiError::new(ErrorCode::Invalid, text));
    }
    let maps = streams.into_iter().zip(STREAMS).map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(maps.collect()).map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))?;
    let [i, o, e] = STREAMS;
    command.arg("--stdio").arg(format!("fds:{i},{o},{e}"));
    Ok(())
}
