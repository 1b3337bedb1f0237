//! What is known of what lies on disk, after a restart.

use super::Overseer;
use sexton_common::{
    ContainerId,
    wire::{ApiError, ErrorCode},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How far the first look at what lies on disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Looked {
    Nowhere,
    /// All names are on the board.
    AtNames,
    /// So is everything that could be read.
    AtAll,
    /// What has no run has been taken up too.
    AtRest,
}

/// How long a client waits until it is known what its container is.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

impl Overseer {
    /// Waits until the name of everything that lay on disk at start is on the board. No container is waited for.
    pub async fn listed(&self) {
        self.looked(Looked::AtNames).await;
    }

    /// Waits until everything that lay on disk at start has been looked at; what could not be read in time is still
    /// pending then.
    pub async fn ready(&self) {
        self.looked(Looked::AtAll).await;
    }

    async fn looked(&self, far: Looked) {
        // The sender is ours: it cannot be gone.
        let _ = self.looked.subscribe().wait_for(|looked| *looked >= far).await;
    }

    pub(super) fn is_ready(&self) -> bool {
        *self.looked.borrow() >= Looked::AtAll
    }

    /// Whether what has no run was taken up too.
    pub(super) fn is_at_rest(&self) -> bool {
        *self.looked.borrow() >= Looked::AtRest
    }

    /// Whether something of this name lies on disk, and nobody knows yet what: an earlier run may live. See
    /// [`crate::board::Board::decided`].
    #[must_use]
    pub fn is_pending(&self, id: &ContainerId) -> bool {
        self.cx.board.is_pending(id)
    }

    /// Takes up the instances that have no run, once the GC has taken up what is left of their earlier ones.
    pub fn take_up(&self) {
        self.instances.take_up(|id| !self.is_pending(id));
        self.reached(Looked::AtRest);
    }

    /// Waits until it is known whether there is such a container, be it without a run, and what it is; not for long if its
    /// files cannot be read.
    ///
    /// # Errors
    /// "Busy", if that takes longer.
    pub async fn found(self: &Arc<Self>, id: &ContainerId) -> Result<(), ApiError> {
        self.known(id).await?;
        if self.cx.board.get(id).is_none() {
            self.looked(Looked::AtRest).await;
        }
        Ok(())
    }

    /// Waits until it is known what a container is, but not for long.
    ///
    /// # Errors
    /// "Busy", if that takes longer.
    pub async fn known(self: &Arc<Self>, id: &ContainerId) -> Result<(), ApiError> {
        let known = async {
            self.listed().await;
            self.cx.board.decided(id).await;
            self.look_for_newborn(Some(id)).await;
        };
        timeout(KNOWN_WITHIN, known).await.map_err(|_late| {
            let text = format!(
                "container {id} is still being looked at: its files in {} could not be read yet; try again",
                self.cx.layout.container(id).path().display()
            );
            ApiError::new(ErrorCode::Busy, text)
        })
    }
}
