//! What every task shares.

use crate::{
    blocking::Blocking,
    board::Board,
    budget::Budget,
    config::{Config, ScanConfig},
    container::Both,
    gc::Gc,
    keeper,
    node::Node,
    packed::Packer,
    runtimes::{Lanes, Runtimes},
    seats::{Rank, Seat},
    stats::Stats,
    store::Store,
    surplus::Surplus,
};
use sexton_common::{Layout, WallTime};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What work is done with.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Runs the runtimes.
    pub runtimes: Runtimes,
    /// How many at once.
    pub lanes: Lanes,
    /// For what may block.
    pub blocking: Blocking,
}

/// What every task shares. Nothing in it waits for a container.
#[derive(Debug)]
pub struct Context {
    /// Where everything lies.
    pub layout: Layout,
    /// Since when the collector runs.
    pub since: WallTime,
    /// What everybody may know.
    pub board: Arc<Board>,
    /// What work is done with.
    pub tools: Tools,
    /// Packs what the tasks know of their containers.
    pub packer: Packer<Both>,
    /// Cleans up.
    pub gc: Gc,
    /// What our limits allow.
    pub budget: Budget,
    /// Watches what there is no descriptor for, and knows who has one.
    pub surplus: Arc<Surplus>,
    /// Whether there is room for more.
    pub node: Node,
    /// A permit for each launch that is under way.
    pub launches: Semaphore,
    /// What those who sample share.
    pub stats: Stats,
    /// Cancelled when the collector stops.
    pub cancel: CancellationToken,
    /// Where pidfds outlive us.
    pub store: Store,
    /// The process that restarts us and reaps nobody before we let it, if there is one.
    pub keeper: Option<u32>,
    /// Whether the kernel tells how a process ended that somebody else reaped.
    pub info_exit: bool,
    /// What an attempt to clean up may take.
    pub deadline: Duration,
    /// What a step of the runtime's may take.
    pub launch_timeout: Duration,
    /// The first and the longest delay between attempts.
    pub backoff: (Duration, Duration),
    /// Where what nobody owns any more is looked for.
    pub scan: ScanConfig,
    /// `sexton-shim`.
    pub shim: std::path::PathBuf,
}

impl Context {
    /// From the configuration.
    #[must_use]
    pub fn new(
        config: &Config,
        tools: Tools,
        gc: Gc,
        cancel: CancellationToken,
        store: Store,
        info_exit: bool,
        budget: Budget,
    ) -> Self {
        Self {
            layout: config.layout.clone(),
            since: WallTime::now(),
            board: Arc::default(),
            tools,
            packer: Packer::default(),
            gc,
            budget,
            surplus: Surplus::new(budget),
            node: Node::new(&config.layout, config.node),
            launches: Semaphore::new(budget.launches),
            stats: Stats::new(budget.threads, config.disk_timeout, cancel.clone()),
            cancel,
            store,
            keeper: keeper::of_this_process(),
            info_exit,
            deadline: config.deadline,
            launch_timeout: config.launch_timeout,
            backoff: (config.backoff_first, config.backoff_max),
            scan: config.scan.clone(),
            shim: config.shim.clone(),
        }
    }

    /// A seat for a descriptor that watches, if there is one at once.
    #[must_use]
    pub fn seat(&self, rank: Rank) -> Option<Seat> {
        self.surplus.take_seat(rank)
    }
}
