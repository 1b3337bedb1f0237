//! What clients ask of the GC.

use crate::{
    board::Shown,
    container::no_such,
    gc::{self, Ask, Progress, Ward},
    overseer::Overseer,
};
use sexton_common::{
    ContainerId,
    gc::GcOrigin,
    wire::{ApiError, ErrorCode, Finding, GcAddRequest, GcInfo, GcWhy, State},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// What an attempt takes beyond its deadline, waiting for its turn included.
const SLACK: Duration = Duration::from_secs(5);

/// Every entry, the eldest name first.
pub fn list(overseer: &Overseer) -> Vec<GcInfo> {
    overseer.cx.gc.waiting().iter().map(|ward| ward.info()).collect()
}

fn find(overseer: &Overseer, id: &ContainerId) -> Result<Arc<Ward>, ApiError> {
    if let Some(ward) = overseer.cx.gc.of(id).filter(|ward| ward.waits()) {
        return Ok(ward);
    }
    let Some(info) = overseer.cx.board.get(id) else { return Err(no_such(id.as_str())) };
    let state = info.state.name();
    Err(ApiError::new(
        ErrorCode::Invalid,
        format!("container {id} is not in GC: it is {state}, and nothing is in the way"),
    ))
}

/// What is in its way, looked at now.
pub async fn why(overseer: &Arc<Overseer>, id: &ContainerId) -> Result<GcWhy, ApiError> {
    overseer.ready().await;
    overseer.look_for_killed(Some(id)).await;
    let ward = find(overseer, id)?;
    let mut progress = ward.progress.subscribe();
    let looked_at = ward.lock().obstacle.is_some();
    if !looked_at {
        // An earlier collector's entry: its first attempt will tell.
        let _ = timeout(overseer.cx.deadline + SLACK, progress.changed()).await;
    }
    let look = move || {
        let (obstacle, output) = {
            let inner = ward.lock();
            (inner.obstacle.clone(), inner.output.clone())
        };
        let obstacles = obstacle.iter().map(|(obstacle, since)| gc::shown(obstacle, *since)).collect();
        GcWhy { entry: ward.info(), obstacles, output }
    };
    Ok(overseer.cx.tools.blocking.run(format!("look what is in the way of {id}"), look).await)
}

/// Tries one, or all, at once, and waits for that attempt. Those that are still there.
pub async fn retry(overseer: &Overseer, id: Option<&ContainerId>) -> Result<Vec<GcInfo>, ApiError> {
    overseer.ready().await;
    let wards = match id {
        Some(id) => vec![find(overseer, id)?],
        None => overseer.cx.gc.waiting(),
    };
    let ask = |ward: &Arc<Ward>| {
        let (progress, before) = (ward.progress.subscribe(), ward.lock().entry.attempts);
        ward.wake.notify_one();
        (progress, before)
    };
    let attempts: Vec<_> = wards.iter().map(ask).collect();
    let deadline = overseer.cx.deadline + SLACK;
    let all = async {
        for (mut progress, before) in attempts {
            // One that had begun when it was asked says nothing about now.
            let is_new = |progress: &Progress| match progress {
                Progress::Begun => false,
                Progress::InTheWay { attempts, .. } => *attempts > before,
                Progress::Clean | Progress::Forgotten => true,
            };
            // Its sender is ours.
            let _ = progress.wait_for(is_new).await;
        }
    };
    // What takes longer is in the list that is answered.
    let _ = timeout(deadline, all).await;
    let left = |ward: &&Arc<Ward>| !matches!(*ward.progress.borrow(), Progress::Clean | Progress::Forgotten);
    Ok(wards.iter().filter(left).map(|ward| ward.info()).collect())
}

/// Gives one up.
pub async fn forget(overseer: &Overseer, id: &ContainerId) -> Result<(), ApiError> {
    overseer.ready().await;
    let ward = find(overseer, id)?;
    let info = ward.info();
    tracing::warn!(%id, generation = info.generation, attempts = info.attempts, step = %info.step, why = info.in_the_way, estate = ?ward.lock().entry.estate, "forgotten by request: what is left stays");
    let mut progress = ward.progress.subscribe();
    ward.lock().forgotten = true;
    ward.wake.notify_one();
    let ended = progress.wait_for(|progress| matches!(progress, Progress::Clean | Progress::Forgotten));
    match timeout(overseer.cx.deadline + SLACK, ended).await {
        Ok(_) => Ok(()),
        Err(_late) => {
            let text = format!("an attempt to clean {id} is under way and hangs; it is forgotten when that ends");
            Err(ApiError::new(ErrorCode::TimedOut, text))
        }
    }
}

/// An entry of this name, to which something can be added: of an earlier boot's only files and commands are cleaned.
fn of_today(overseer: &Overseer, id: &ContainerId) -> Option<GcInfo> {
    overseer.cx.gc.of(id).map(|ward| ward.info()).filter(|entry| !entry.earlier_boot)
}

/// What belongs to a container that is still being looked at is not nobody's.
fn all_known(overseer: &Overseer) -> Result<(), ApiError> {
    match overseer.cx.board.pending().as_slice() {
        [] => Ok(()),
        [id, ..] => {
            let text =
                format!("container {id} is still being looked at, and nobody knows what belongs to it: try again");
            Err(ApiError::new(ErrorCode::Busy, text))
        }
    }
}

/// Takes over what some other engine left behind.
pub async fn add(overseer: &Overseer, request: GcAddRequest) -> Result<(), ApiError> {
    overseer.ready().await;
    let cx = &overseer.cx;
    let id = request.id.clone();
    if let Some(info) = cx.board.get(&id) {
        let way = if info.state == State::Gc { "is in GC already" } else { "is removed with `sexton rm -f`" };
        return Err(ApiError::new(ErrorCode::AlreadyExists, format!("container {id} is Sexton's own, and {way}")));
    }
    all_known(overseer)?;
    let (inits, shims) = cx.board.processes();
    let is_ours = |pid: &&u32| inits.contains(pid) || shims.contains(pid) || cx.keeper == Some(**pid);
    if let Some(pid) = request.pids.iter().find(is_ours) {
        let is_of = |shown: &Shown| shown.pid == Some(*pid) || shown.shim_pid == Some(*pid);
        let own =
            cx.board.read(|all| all.iter().find(|(_, shown)| is_of(shown)).map(|(id, _)| format!("container {id}")));
        let whose = own.unwrap_or_else(|| "keeper".into());
        return Err(ApiError::new(ErrorCode::Invalid, format!("process {pid} belongs to Sexton's own {whose}")));
    }
    let _adding = cx.gc.adding.lock().await;
    let layout = cx.layout.clone();
    let work = move || gc::estate_of_stranger(&layout, request);
    let mut estate = cx.tools.blocking.run(format!("look what is left of {id}"), work).await?;
    // Added before: what is new is added to it.
    if let Some(entry) = of_today(overseer, &id) {
        estate.generation = entry.generation;
    }
    gc::tend_durably(cx, Ask::of(estate, GcOrigin::Added)).await
}

/// Looks for what nobody owns any more; with `adopt` each gets an entry.
pub async fn scan(overseer: &Overseer, adopt: bool) -> Result<Vec<Finding>, ApiError> {
    overseer.ready().await;
    all_known(overseer)?;
    let cx = overseer.cx.clone();
    let failed = |e: std::io::Error| ApiError::new(ErrorCode::Internal, format!("look for what nobody owns: {e}"));
    let look = {
        let cx = cx.clone();
        move || {
            let known = gc::Known::of(&cx.layout, &cx.board, &cx.gc)?;
            gc::scan(&cx.layout, &cx.scan, &known)
        }
    };
    let _adding = if adopt { Some(overseer.cx.gc.adding.lock().await) } else { None };
    let mut findings = Vec::new();
    for mut left in cx.tools.blocking.run("look for what nobody owns", look).await.map_err(failed)? {
        if adopt {
            let (id, mut estate) = (left.estate.id.clone(), left.estate);
            // What bears one name is one container's.
            if let Some(entry) = of_today(overseer, &id) {
                estate.generation = entry.generation;
            }
            gc::tend_durably(&cx, Ask::of(estate, GcOrigin::Adopted)).await?;
            left.finding.adopted = Some(id);
        }
        findings.push(left.finding);
    }
    Ok(findings)
}

/// Why nobody may launch a container of this name now.
pub fn gate(overseer: &Overseer, id: &ContainerId) -> Result<(), ApiError> {
    let Some(ward) = overseer.cx.gc.of(id) else { return Ok(()) };
    let info = ward.info();
    let why = if info.in_the_way.is_empty() { "it is being cleaned up" } else { &info.in_the_way };
    let text = format!("container {id} is in GC: {why}; see `sexton gc why {id}`");
    Err(ApiError { exit_code: 125, ..ApiError::new(ErrorCode::InGc, text) })
}
