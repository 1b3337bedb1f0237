//! Mounts, and what becomes of their file systems.

use super::{Attempt, Done};
use crate::gc::{Obstacle, mounts, rootfs};
use sexton_common::{ContainerId, gc::Step};
use std::path::{Path, PathBuf};

fn points<'a>(rootfs: Option<&'a Path>, at: &'a [PathBuf]) -> mounts::Points<'a> {
    mounts::Points { rootfs, at: at.iter().map(PathBuf::as_path).collect() }
}

impl Attempt<'_> {
    pub(super) async fn mounts(&self) -> Done {
        let cleanup = &self.estate.cleanup;
        let at = [cleanup.mounts.clone(), cleanup.paths.clone()].concat();
        let (rootfs, registered) = (self.estate.rootfs.clone(), at.clone());
        let look = move || mounts::look(&points(rootfs.as_deref(), &registered));
        let found = self.block_on(None, Step::Mounts, "look at its mounts", look).await?;
        let found = found.map_err(|e| Obstacle::new(Step::Mounts, format!("read /proc/self/mountinfo: {e}")))?;
        let fresh = !found.mounts.is_empty();
        let earlier = self.ward.lock().entry.devices.clone();
        if !fresh && earlier.is_empty() {
            return Ok(false);
        }
        if fresh {
            self.spare_others(Step::Mounts, at.clone()).await?;
            self.ward.remember(found.devices);
            // Once unmounted it cannot be seen any more what it was (I4). On a full disk it is known as long as we live: what
            // is unmounted may be what fills it. Nothing is written that is there already.
            if !self.ward.lock().entry.devices.is_empty()
                && let Err(e) = self.cx.gc.persist(self.cx, self.ward).await
            {
                tracing::warn!(id = %self.estate.id, error = %e, "what was mounted cannot be noted: unmounted all the same");
            }
            let (rootfs, until) = (self.unshared_rootfs().await?, self.until());
            let clear = move || mounts::clear(&points(rootfs.as_deref(), &at), until);
            self.block(Step::Mounts, "unmount", clear).await??;
        }
        let (devices, until) = (self.ward.lock().entry.devices.clone(), self.until());
        let held = self.block(Step::Mounts, "look who holds its mounts", move || mounts::held(&devices, until)).await?;
        held.map_or(Ok(true), Err)
    }

    /// `None` if another container that lives has the same root file system: its mounts are not only this one's.
    async fn unshared_rootfs(&self) -> Result<Option<PathBuf>, Obstacle> {
        let Some(own) = self.estate.rootfs.clone() else { return Ok(None) };
        let (others, layout) = (self.others(), self.cx.layout.clone());
        let work = move || {
            let has = |bundle: &PathBuf| rootfs::rootfs(bundle, &layout).as_ref() == Some(&own);
            (!others.iter().any(|(_, bundle)| has(bundle))).then_some(own)
        };
        self.block(Step::Mounts, "look at the root file systems of others", work).await
    }

    /// The bundles of other containers that live.
    fn others(&self) -> Vec<(ContainerId, PathBuf)> {
        let (_, containers) = self.cx.board.snapshot(|_| true);
        // One whose end is known may be waiting for this one just so.
        let others = containers.filter(|info| info.id != self.estate.id && info.status.is_none());
        others.map(|info| (info.id, info.bundle)).collect()
    }

    /// What another container runs from is not taken from under it, whatever was registered here.
    pub(super) async fn spare_others(&self, step: Step, registered: Vec<PathBuf>) -> Result<(), Obstacle> {
        if registered.is_empty() {
            return Ok(());
        }
        let (others, layout) = (self.others(), self.cx.layout.clone());
        let work = move || {
            others.into_iter().find_map(|(other, bundle)| {
                let rootfs = rootfs::rootfs(&bundle, &layout);
                let places = [bundle.canonicalize().ok(), rootfs];
                let has = |path: &&PathBuf| places.iter().flatten().any(|place| place.starts_with(path));
                registered.iter().find(has).map(|path| (other, path.clone()))
            })
        };
        let Some((other, path)) = self.block(step, "look at the bundles of others", work).await? else { return Ok(()) };
        let path = path.display();
        let what = format!("{path} has what container {other} runs from: it is left alone as long as that lives");
        Err(Obstacle::new(step, what))
    }
}
