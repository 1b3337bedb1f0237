//! What each request does.

use super::{connection::Connection, gc, stats, subscribe};
use crate::{
    budget,
    container::{WishKind, no_such, shutting_down},
    foreign, launch, node,
    overseer::Overseer,
};
use rustix::process::Rlimit;
use sexton_common::wire::{ApiError, ContainerInfo, ErrorCode, GcInfo, Node, PROTOCOL, Reply, Request, State};
use std::{fs, io, os::fd::OwnedFd, sync::Arc, time::Duration};

/// Answers one request.
///
/// # Errors
/// If the client is gone; what it asked for goes on.
pub async fn answer(
    overseer: &Arc<Overseer>,
    connection: &mut Connection,
    request: Request,
    fds: Vec<OwnedFd>,
    nofile: Rlimit,
) -> io::Result<()> {
    match request {
        Request::Subscribe { since } => subscribe::subscribe(overseer, connection, since).await,
        Request::Stats { ids, period_ms } => stats::serve(overseer, connection, ids, period_ms).await,
        Request::List { all } => {
            overseer.listed().await;
            overseer.look_around(None).await;
            overseer.look_for_killed(None).await;
            let (_, containers) = overseer.cx.board.snapshot(|state| all || state != State::Stopped);
            subscribe::send_list(connection, containers, |containers, last| Reply::Containers { containers, last })
                .await
        }
        Request::GcList {} => {
            overseer.ready().await;
            overseer.look_for_killed(None).await;
            send_entries(connection, gc::list(overseer)).await
        }
        Request::GcRetry { id } => match gc::retry(overseer, id.as_ref()).await {
            Ok(entries) => send_entries(connection, entries).await,
            Err(e) => connection.send(&Reply::Error(e)).await,
        },
        Request::GcScan { adopt } => match gc::scan(overseer, adopt).await {
            Ok(findings) => {
                subscribe::send_list(connection, findings, |findings, last| Reply::Findings { findings, last }).await
            }
            Err(e) => connection.send(&Reply::Error(e)).await,
        },
        request => {
            // A task of its own: what was begun is finished even if the client goes.
            let work = overseer.tasks.spawn(one(overseer.clone(), request, fds, nofile));
            let reply = tokio::select! {
                reply = work => reply.unwrap_or_else(|_| Err(ApiError::new(ErrorCode::Internal, "sextond failed in this request; its log says where"))),
                () = connection.gone() => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            connection.send(&reply.unwrap_or_else(Reply::Error)).await
        }
    }
}

async fn send_entries(connection: &mut Connection, entries: Vec<GcInfo>) -> io::Result<()> {
    subscribe::send_list(connection, entries, |entries, last| Reply::GcEntries { entries, last }).await
}

async fn one(
    overseer: Arc<Overseer>,
    request: Request,
    mut fds: Vec<OwnedFd>,
    nofile: Rlimit,
) -> Result<Reply, ApiError> {
    let cancel = overseer.cx.cancel.clone();
    let work = async {
        match request {
            Request::Version {} => Ok(version()),
            Request::Announce { id, generation } => {
                overseer.announced(id, generation, fds.pop()).await.map(|()| Reply::Done {})
            }
            Request::Launch(request) => {
                // Its shim would wait for the disk that we wait for.
                overseer.known(&request.id).await?;
                if overseer.cx.gc.is_pending(&request.id) {
                    overseer.ready().await;
                }
                gc::gate(&overseer, &request.id)?;
                // One without a run: no shim would find its name taken.
                if overseer.instances.has(&request.id) && overseer.cx.board.get(&request.id).is_some() {
                    let text = format!(
                        "container {0} exists already, and may come back: remove it with `sexton rm -f {0}`, or start it",
                        request.id
                    );
                    let taken = ApiError::new(ErrorCode::AlreadyExists, text);
                    return Err(ApiError { exit_code: 125, ..taken });
                }
                let launched = launch::admitted(&overseer, request, fds, nofile).await;
                // As `docker run`: what is not 126 or 127 is 125.
                launched.map_err(|e| ApiError { exit_code: e.exit_code.max(125), ..e })
            }
            Request::Start { id } => {
                overseer.found(&id).await?;
                // What cannot be started anyway hears why not from its own task.
                let startable =
                    |info: &ContainerInfo| matches!(info.state, State::Created | State::Stopped | State::Restarting);
                let known = overseer.cx.board.get(&id).is_some_and(|info| startable(&info));
                let _place = if known { Some(node::admit(&overseer.cx, &id).await?) } else { None };
                overseer.instances.start(&id).await.map(|_| Reply::Done {})
            }
            Request::Restart { id, signal, timeout_ms } => {
                overseer.found(&id).await?;
                let timeout = Duration::from_millis(timeout_ms);
                // Before it is stopped: what cannot be started again is better left running.
                let _place = node::admit(&overseer.cx, &id).await?;
                overseer.instances.restart(&id, known(signal)?, timeout).await.map(Reply::Launched)
            }
            Request::Kill { id, signal } => {
                overseer.found(&id).await?;
                overseer.instances.kill(&id, known(signal)?).await.map(|()| Reply::Done {})
            }
            Request::Stop { id, signal, timeout_ms } => {
                let timeout = Duration::from_millis(timeout_ms);
                stop(&overseer, id, known(signal)?, timeout).await
            }
            Request::Remove { id, force } => {
                overseer.found(&id).await?;
                overseer.instances.remove(&id, force).await.map(|()| Reply::Done {})
            }
            Request::Pause { id } => {
                overseer.found(&id).await?;
                overseer.instances.backend(&id).pause(&id).await.map(|()| Reply::Done {})
            }
            Request::Resume { id } => {
                overseer.found(&id).await?;
                overseer.instances.backend(&id).resume(&id).await.map(|()| Reply::Done {})
            }
            Request::Wait { id, generation } => wait(&overseer, id, generation).await,
            Request::Inspect { id } => {
                overseer.listed().await;
                overseer.look_around(Some(&id)).await;
                overseer.look_for_killed(Some(&id)).await;
                let info = overseer.cx.board.get(&id).ok_or_else(|| no_such(id.as_str()))?;
                Ok(Reply::Container(Box::new(info)))
            }
            Request::Watch(request) => {
                let id = request.id.clone();
                foreign::watch(&overseer, request).await?;
                let info = overseer.cx.board.get(&id).ok_or_else(|| no_such(id.as_str()))?;
                Ok(Reply::Container(Box::new(info)))
            }
            Request::Node {} => Ok(Reply::Node(node(&overseer).await)),
            Request::NodeStats {} => Ok(Reply::NodeStats(Box::new(stats::node(&overseer).await))),
            Request::GcWhy { id } => gc::why(&overseer, &id).await.map(|why| Reply::GcWhy(Box::new(why))),
            Request::GcForget { id } => gc::forget(&overseer, &id).await.map(|()| Reply::Done {}),
            Request::GcAdd(request) => gc::add(&overseer, request).await.map(|()| Reply::Done {}),
            Request::Maintenance { on } => {
                overseer.ready().await;
                node::maintain(&overseer, on).await?;
                Ok(Reply::NodeStats(Box::new(stats::node(&overseer).await)))
            }
            Request::GcList {}
            | Request::GcRetry { .. }
            | Request::GcScan { .. }
            | Request::List { .. }
            | Request::Stats { .. }
            | Request::Subscribe { .. } => {
                Err(ApiError::new(ErrorCode::Internal, "a list was asked for as a single reply"))
            }
        }
    };
    tokio::select! {
        done = work => done,
        () = cancel.cancelled() => Err(shutting_down()),
    }
}

async fn stop(
    overseer: &Arc<Overseer>,
    id: sexton_common::ContainerId,
    signal: i32,
    timeout: Duration,
) -> Result<Reply, ApiError> {
    overseer.found(&id).await?;
    let before = overseer.cx.board.get(&id).ok_or_else(|| no_such(id.as_str()))?;
    overseer.instances.stop(&id, signal, timeout).await?;
    let now = overseer.cx.board.get(&id).filter(|info| info.generation == before.generation);
    // It may have removed itself.
    let info = now.or_else(|| overseer.cx.board.exited_lately(&id, before.generation));
    Ok(Reply::Container(Box::new(info.unwrap_or(before))))
}

async fn wait(
    overseer: &Arc<Overseer>,
    id: sexton_common::ContainerId,
    generation: Option<u64>,
) -> Result<Reply, ApiError> {
    overseer.known(&id).await?;
    let now = overseer.cx.board.get(&id);
    if let Some(generation) = generation
        && now.as_ref().is_none_or(|info| info.generation != generation)
    {
        // Removed since, perhaps; its exit is remembered for a while.
        let info = overseer.cx.board.exited_lately(&id, generation).ok_or_else(|| no_such(id.as_str()))?;
        return Ok(Reply::Container(Box::new(info)));
    }
    if let Some(info) = now.as_ref().filter(|info| generation.is_some() && info.status.is_some()) {
        // The task of that name may be its next run's by now, which is not on the board yet.
        return Ok(Reply::Container(Box::new(info.clone())));
    }
    match (overseer.wish(&id, WishKind::Wait).await, now) {
        // It has no run any more, and how the last one ended is known all the same.
        (Err(e), Some(info)) if e.code == ErrorCode::NoSuchContainer && info.status.is_some() => {
            Ok(Reply::Container(Box::new(info)))
        }
        (answer, _) => answer,
    }
}

fn known(signal: i32) -> Result<i32, ApiError> {
    if (1..=64).contains(&signal) {
        Ok(signal)
    } else {
        Err(ApiError::new(ErrorCode::Invalid, format!("there is no signal {signal}: they go from 1 to 64")))
    }
}

fn version() -> Reply {
    Reply::Version { version: env!("CARGO_PKG_VERSION").into(), protocol: PROTOCOL, pid: std::process::id() }
}

async fn node(overseer: &Overseer) -> Node {
    let (containers, seq) = overseer.cx.board.figures();
    let quarantine = overseer.cx.layout.quarantine();
    let count = |path: &std::path::Path| fs::read_dir(path).map_or(0, Iterator::count);
    let counted = move || (count(&quarantine), budget::open());
    let (quarantined, descriptors) = overseer.cx.tools.blocking.run("count files", counted).await;
    let (seats, taken) = overseer.cx.surplus.seats.figures();
    Node {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        since: overseer.cx.since,
        containers: u32::try_from(containers).unwrap_or(u32::MAX),
        descriptors,
        descriptor_limit: budget::limit(),
        quarantined: u32::try_from(quarantined).unwrap_or(u32::MAX),
        seq,
        seats: seats as u64,
        seats_taken: taken as u64,
        surplus: u32::try_from(overseer.cx.surplus.count()).unwrap_or(u32::MAX),
        stored: overseer.cx.store.len().map(|held| held as u64),
        gc: overseer.cx.gc.shown(),
    }
}
