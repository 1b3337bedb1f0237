//! The keeper, as the sextond below it sees it.

use super::VARIABLE;
use crate::{context::Context, watch::InitWatch};
use sexton_common::ProcessIdentity;
use std::sync::Arc;

/// Our keeper's pid, if we have one.
#[must_use]
pub fn of_this_process() -> Option<u32> {
    let named = std::env::var(VARIABLE).ok()?.parse().ok()?;
    (u32::try_from(nix::unistd::getppid().as_raw()) == Ok(named)).then_some(named)
}

/// Waits for our keeper's end: what it held is gone with it. sextond goes on.
pub async fn miss(keeper: u32, cx: Arc<Context>) {
    let watch = ProcessIdentity::of(keeper).and_then(|identity| InitWatch::open(identity, None));
    if let Ok(Some(watch)) = watch {
        tokio::select! {
            () = cx.cancel.cancelled() => return,
            _ = watch.step() => {}
        }
    }
    cx.store.is_lost();
    tracing::error!(
        keeper,
        "the keeper is dead, and so is its descriptor store: exits are exact as long as shim or sextond lives. \
         Stop this sextond and start `sextond --keeper`; containers do not mind"
    );
}
