//! What every task shares.

use crate::{
    board::Board,
    budget::Budget,
    config::Config,
    exit::Retries,
    gc::Cleaner,
    keeper,
    seats::{Rank, Seat},
    store::Store,
    surplus::Surplus,
};
use sexton_common::{Layout, WallTime};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// What every task shares. Nothing in it waits for a container.
#[derive(Debug)]
pub struct Context {
    /// Where everything lies.
    pub layout: Layout,
    /// Since when the collector runs.
    pub since: WallTime,
    /// What everybody may know.
    pub board: Board,
    /// Wakes tasks later.
    pub retries: Retries,
    /// Cleans up.
    pub cleaner: Cleaner,
    /// What our limits allow.
    pub budget: Budget,
    /// Watches what there is no descriptor for, and knows who has one.
    pub surplus: Arc<Surplus>,
    /// A permit for each launch that is under way.
    pub launches: Semaphore,
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
    /// `sexton-shim`.
    pub shim: std::path::PathBuf,
}

impl Context {
    /// From the configuration.
    #[must_use]
    pub fn new(
        config: &Config,
        retries: Retries,
        cleaner: Cleaner,
        cancel: CancellationToken,
        store: Store,
        info_exit: bool,
        budget: Budget,
    ) -> Self {
        Self {
            layout: config.layout.clone(),
            since: WallTime::now(),
            board: Board::default(),
            retries,
            cleaner,
            budget,
            surplus: Surplus::new(budget),
            launches: Semaphore::new(budget.launches),
            cancel,
            store,
            keeper: keeper::of_this_process(),
            info_exit,
            deadline: config.deadline,
            launch_timeout: config.launch_timeout,
            backoff: (config.backoff_first, config.backoff_max),
            shim: config.shim.clone(),
        }
    }

    /// A seat for a descriptor that watches, if there is one at once.
    #[must_use]
    pub fn seat(&self, rank: Rank) -> Option<Seat> {
        self.surplus.take_seat(rank)
    }
}
