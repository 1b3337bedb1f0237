//! Mounts, and what becomes of their file systems.

use super::{Attempt, Done};
use crate::gc::{Obstacle, mounts, rootfs};
use sexton_common::{gc::Step, wire::State};
use std::path::PathBuf;

impl Attempt<'_> {
    pub(super) async fn mounts(&self) -> Done {
        let cleanup = &self.estate.cleanup;
        let at = [cleanup.mounts.clone(), cleanup.paths.clone()].concat();
        let rootfs = self.estate.rootfs.clone();
        let look = move || {
            mounts::look(&mounts::Points { rootfs: rootfs.as_deref(), at: at.iter().map(PathBuf::as_path).collect() })
        };
        let found = self.block(Step::Mounts, "look at its mounts", look).await?;
        let found = found.map_err(|e| Obstacle::new(Step::Mounts, format!("read /proc/self/mountinfo: {e}")))?;
        let fresh = !found.mounts.is_empty();
        let earlier = self.ward.lock().entry.devices.clone();
        if !fresh && earlier.is_empty() {
            return Ok(false);
        }
        if fresh {
            if self.ward.remember(found.devices) {
                // Once unmounted it cannot be seen any more what it was (I4).
                self.cx.gc.persist(self.cx, self.ward).await.map_err(|e| Obstacle::new(Step::Mounts, e))?;
            }
            let (rootfs, at) =
                (self.unshared_rootfs().await?, [cleanup.mounts.clone(), cleanup.paths.clone()].concat());
            let until = self.until();
            let clear = move || {
                mounts::clear(
                    &mounts::Points { rootfs: rootfs.as_deref(), at: at.iter().map(PathBuf::as_path).collect() },
                    until,
                )
            };
            self.block(Step::Mounts, "unmount", clear).await??;
        }
        let (devices, until) = (self.ward.lock().entry.devices.clone(), self.until());
        let held = self.block(Step::Mounts, "look who holds its mounts", move || mounts::held(&devices, until)).await?;
        held.map_or(Ok(true), Err)
    }

    /// `None` if another container that lives has the same root file system: its mounts are not only this one's.
    async fn unshared_rootfs(&self) -> Result<Option<PathBuf>, Obstacle> {
        let Some(own) = self.estate.rootfs.clone() else { return Ok(None) };
        let (_, containers) = self.cx.board.snapshot();
        let others: Vec<PathBuf> = containers
            .iter()
            .filter(|info| info.id != self.estate.id && info.state != State::Stopped)
            .map(|info| info.bundle.clone())
            .collect();
        let layout = self.cx.layout.clone();
        let work = move || {
            (!others.iter().any(|bundle| rootfs::rootfs(bundle, &layout).as_ref() == Some(&own))).then_some(own)
        };
        self.block(Step::Mounts, "look at the root file systems of others", work).await
    }
}
