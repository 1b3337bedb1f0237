//! Whether this node takes new containers: watermarks, admission, maintenance.

mod gauge;
mod lasting;
mod marks;
mod rules;

pub use marks::{NodeFile, Watermarks};

use crate::{board::Shown, context::Context, overseer::Overseer, stats};
use gauge::Gauge;
use rules::Figures;
use sexton_common::{
    ContainerId, Layout, WallTime,
    wire::{ApiError, ErrorCode, NodeStats, Room, State},
};
use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// The descriptors that watch one container.
const SEATS: u64 = 2;
/// How long the disk may take to keep in mind that maintenance has begun or ended.
const SET_WITHIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Node {
    marks: Watermarks,
    disk: Gauge,
    under_way: Arc<UnderWay>,
    /// Since when there is maintenance. Changed only while what is under way is locked: who is let in before it begins is
    /// counted when it has.
    maintenance: watch::Sender<Option<WallTime>>,
    setting: Arc<tokio::sync::Mutex<()>>,
}

/// Who was let in and is not on the board yet, perhaps; how often each.
#[derive(Debug, Default)]
struct UnderWay(Mutex<HashMap<ContainerId, u32>>);

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for one container, until it is dropped: by then it is on the board, or will not be.
#[derive(Debug)]
#[must_use = "dropped, it makes room for the next one"]
pub struct Permit {
    under_way: Arc<UnderWay>,
    id: ContainerId,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        if let Some(count) = under_way.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.id);
            }
        }
    }
}

impl Node {
    /// With these watermarks, and without maintenance until [`Node::load`].
    #[must_use]
    pub fn new(layout: &Layout, marks: Watermarks) -> Self {
        Self {
            marks,
            disk: Gauge::of(layout.data()),
            under_way: Arc::default(),
            maintenance: watch::channel(None).0,
            setting: Arc::default(),
        }
    }

    /// Reads whether there is maintenance. Blocks on the disk.
    pub fn load(&self, layout: &Layout) {
        self.put(lasting::load(layout));
    }

    fn put(&self, since: Option<WallTime>) {
        let _nobody_comes_in = self.under_way.lock();
        self.maintenance.send_replace(since);
    }

    /// Since when there is maintenance, and every change of it: what is held back meanwhile goes on when it ends.
    #[must_use]
    pub fn changed(&self) -> watch::Receiver<Option<WallTime>> {
        self.maintenance.subscribe()
    }
}

/// Whether it takes a place: it runs, or is about to.
fn counts(shown: &Shown) -> bool {
    // Also what is in GC: it is started as soon as it is clean.
    !shown.ended || shown.state == State::Restarting || shown.comes_back
}

/// A place for a container that is to be started: ask before each start, and keep it until the container is on the
/// board. One that is on it already has its place.
///
/// # Errors
/// [`ErrorCode::Maintenance`], or [`ErrorCode::Full`] with the figure and its watermark.
pub async fn admit(cx: &Context, id: &ContainerId) -> Result<Permit, ApiError> {
    let node = &cx.node;
    let memory = if node.marks.memory.low > 0 { stats::memory().left } else { None };
    let disk = if node.marks.disk.low > 0 { node.disk.read(&cx.tools.blocking).await } else { None };
    let disk = disk.and_then(|room| room.left);
    let mut under_way = node.under_way.lock();
    if let Some(since) = *node.maintenance.borrow() {
        let text = format!(
            "{id} is not started: this node is in maintenance since {since}; `sexton node maintenance off` ends that"
        );
        return Err(ApiError::new(ErrorCode::Maintenance, text));
    }
    let (figures, known) = figures(cx, &under_way, Some(id), memory, disk);
    match rules::refusal(&figures, &node.marks, if known { 0 } else { SEATS }) {
        Some(why) => {
            let text = format!(
                "{id} is not started: this node is full: {why}; make room, start it elsewhere, or change the watermark in \
                 sextond's configuration"
            );
            Err(ApiError::new(ErrorCode::Full, text))
        }
        None => {
            *under_way.entry(id.clone()).or_default() += 1;
            Ok(Permit { under_way: node.under_way.clone(), id: id.clone() })
        }
    }
}

/// What there is, not counting `but`, with so many bytes left of memory and disk; and whether that one is on the board.
fn figures(
    cx: &Context,
    under_way: &HashMap<ContainerId, u32>,
    but: Option<&ContainerId>,
    memory: Option<u64>,
    disk: Option<u64>,
) -> (Figures, bool) {
    let (mut on_board, mut unseen, mut known) = (0, under_way.len() as u64, false);
    cx.board.read(|all| {
        for (id, _) in all.iter().filter(|(_, shown)| counts(shown)) {
            on_board += 1;
            unseen -= u64::from(under_way.contains_key(id));
            known |= Some(id) == but;
        }
    });
    let (seats, taken) = cx.surplus.seats.figures();
    let own = known || but.is_some_and(|id| under_way.contains_key(id));
    let figures = Figures {
        memory,
        disk,
        descriptors: (seats.saturating_sub(taken) as u64).saturating_sub(SEATS * unseen),
        containers: on_board + unseen - u64::from(own),
    };
    (figures, known)
}

/// After a launch, before its permit is dropped: the container is on the board, whether its shim came to announce it or
/// not.
pub async fn seen(overseer: &Arc<Overseer>, id: &ContainerId, generation: u64) {
    if overseer.cx.board.get(id).is_none_or(|info| info.generation < generation) {
        overseer.look_at(vec![id.clone()]).await;
    }
}

/// Begins maintenance, or ends it. It is durable when this returns.
///
/// # Errors
/// If the disk fails, or hangs.
pub async fn maintain(overseer: &Arc<Overseer>, on: bool) -> Result<(), ApiError> {
    let word = if on { "on" } else { "off" };
    let what = format!("turn maintenance {word}");
    let late = |why: &str| {
        let text = format!("{what}: {why}; try again, and see `sexton node`");
        ApiError::new(ErrorCode::TimedOut, text)
    };
    let Ok(turn) = timeout(SET_WITHIN, overseer.cx.node.setting.clone().lock_owned()).await else {
        return Err(late("the data directory's disk has not done an earlier one yet"));
    };
    let (cx, name) = (overseer.cx.clone(), what.clone());
    // A task of its own: should the disk be late, what it does in the end is what holds.
    let set = overseer.tasks.spawn(async move {
        let before = *cx.node.maintenance.borrow();
        let layout = cx.layout.clone();
        let set = cx.tools.blocking.run(name, move || lasting::set(&layout, before, on)).await;
        if let Ok(since) = &set {
            cx.node.put(*since);
            tracing::info!(on, "maintenance");
        }
        drop(turn);
        set
    });
    let failed = |e: io::Error| {
        ApiError::new(ErrorCode::Internal, format!("{what}: write in {}: {e}", overseer.cx.layout.data().display()))
    };
    match timeout(SET_WITHIN, set).await {
        Ok(Ok(set)) => set.map(drop).map_err(failed),
        Ok(Err(e)) => Err(failed(io::Error::other(e))),
        Err(_) => Err(late("the data directory's disk hangs")),
    }
}

/// Says in `stats` whether the node takes new containers, why not, and how many it has.
pub async fn fill(cx: &Context, stats: &mut NodeStats) {
    let node = &cx.node;
    // The figure that decides who gets in, which may be older than the sample's: the two would disagree for a second.
    let disk = node.disk.read(&cx.tools.blocking).await.and_then(|room| room.left);
    let (figures, _) = figures(cx, &node.under_way.lock(), None, stats.memory.left, disk);
    (stats.state, stats.why) = rules::state(&figures, &node.marks, *node.changed().borrow());
    let total = Some(node.marks.containers_max).filter(|max| *max > 0);
    stats.running =
        Room { total, left: total.map(|total| total.saturating_sub(figures.containers)), used: figures.containers };
}
