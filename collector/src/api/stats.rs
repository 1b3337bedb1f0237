//! Statistics: one sample, or one in each period for as long as the client stays.

use super::{connection::Connection, subscribe};
use crate::{
    backend::Backend,
    board::Board,
    container::no_such,
    overseer::Overseer,
    stats::{self, Sampler},
};
use sexton_common::{
    ContainerId,
    wire::{ApiError, ContainerInfo, ContainerStats, ErrorCode, NodeStats, Reply},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// More often than this, looking costs more than what is looked at.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(86_400);

/// Serves one who wants statistics of these containers; of all that run if there are none.
///
/// # Errors
/// If the client is gone.
pub async fn serve(
    overseer: &Arc<Overseer>,
    connection: &mut Connection,
    ids: Vec<ContainerId>,
    period_ms: Option<u64>,
) -> io::Result<()> {
    let mut ticks = match period_ms.map(ticks).transpose() {
        Ok(ticks) => ticks,
        Err(e) => return connection.send(&Reply::Error(e)).await,
    };
    overseer.ready().await;
    overseer.look_around(None).await;
    let mut samplers = BTreeMap::new();
    let mut first = true;
    loop {
        let next = async {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let wanted = wanted(&overseer.cx.board, &ids, first)?;
            sample(overseer, &mut samplers, wanted).await
        };
        let sampled: Result<Vec<ContainerStats>, ApiError> = tokio::select! {
            sampled = next => sampled,
            () = connection.gone() => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        let rows = match sampled {
            Ok(rows) => rows,
            Err(e) => return connection.send(&Reply::Error(e)).await,
        };
        // Nothing is sampled while the client takes its time.
        subscribe::send_list(connection, rows, |containers, last| Reply::Stats { containers, last }).await?;
        if ticks.is_none() {
            return Ok(());
        }
        first = false;
    }
}

/// By each backend at once, since none knows the others' containers.
async fn sample(
    overseer: &Overseer,
    samplers: &mut BTreeMap<&'static str, Sampler>,
    wanted: Vec<Arc<ContainerInfo>>,
) -> Result<Vec<ContainerStats>, ApiError> {
    let places: HashMap<ContainerId, usize> =
        wanted.iter().enumerate().map(|(place, info)| (info.id.clone(), place)).collect();
    let mut groups: BTreeMap<&'static str, (Arc<dyn Backend>, Vec<_>)> = BTreeMap::new();
    for info in wanted {
        let backend = overseer.instances.backend(&info.id);
        groups.entry(backend.name()).or_insert_with(|| (backend, Vec::new())).1.push(info);
    }
    let mut rows = Vec::new();
    for (name, (backend, containers)) in groups {
        let (some, sampler) = backend.stats(containers, samplers.remove(name).unwrap_or_default()).await?;
        rows.extend(some);
        samplers.insert(name, sampler);
    }
    // In the order in which they were asked for.
    rows.sort_by_key(|row| places.get(&row.id).copied());
    Ok(rows)
}

fn ticks(period_ms: u64) -> Result<Interval, ApiError> {
    let period = Duration::from_millis(period_ms);
    if !(SHORTEST..=LONGEST).contains(&period) {
        let text = format!("statistics every {period_ms} ms: a period is from 100 ms to a day");
        return Err(ApiError::new(ErrorCode::Invalid, text));
    }
    let mut ticks = interval(period);
    // For one who was too slow, or a sample that was, some are left out.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    Ok(ticks)
}

/// The containers of the next sample. Whoever is named must be there at first; later on those that are.
fn wanted(board: &Board, ids: &[ContainerId], first: bool) -> Result<Vec<Arc<ContainerInfo>>, ApiError> {
    if ids.is_empty() {
        return Ok(board.snapshot(stats::runs).1.map(Arc::new).collect());
    }
    let mut seen = HashSet::new();
    let (mut found, mut missing) = (Vec::new(), None);
    for id in ids.iter().filter(|id| seen.insert(*id)) {
        match board.get(id) {
            Some(info) => found.push(Arc::new(info)),
            None => missing = missing.or(Some(id)),
        }
    }
    match missing {
        Some(id) if first || found.is_empty() => Err(no_such(id.as_str())),
        _ => Ok(found),
    }
}

/// How the machine is.
pub async fn node(overseer: &Overseer) -> NodeStats {
    overseer.ready().await;
    let mut sample = stats::node(overseer).await;
    crate::node::fill(&overseer.cx, &mut sample).await;
    sample
}
