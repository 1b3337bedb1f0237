//! For kernels that do not tell how a process ended which somebody else reaped (before Linux 6.15): what a killed shim
//! leaves becomes our child, so that its status is ours to wait for. Only of shims that this sextond started.

use crate::{
    overseer::Overseer,
    zombies::{self, Fate, Zombies},
};
use sexton_common::identity::Stat;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, sleep_until},
};

/// How long a dead orphan is left to a container that has not claimed it: its shim may have died in the middle of a launch.
const PATIENCE: Duration = Duration::from_secs(10);
/// Many die at once: one look for all of them.
const PAUSE: Duration = Duration::from_millis(50);

/// Becomes the subreaper of whatever is started from now on, and reaps what nobody asks for.
///
/// # Errors
/// As prctl(2), signal(7).
pub fn adopt(overseer: &Arc<Overseer>) -> io::Result<()> {
    prctl::set_child_subreaper(true).map_err(io::Error::from_raw_os_error)?;
    let mut died = signal(SignalKind::child())?;
    let overseer_of_task = overseer.clone();
    overseer.tasks.spawn(async move {
        let cx = &overseer_of_task.cx;
        let mut zombies = Zombies::default();
        loop {
            let fate = |pid, stat: &Stat| match () {
                // A runtime, or the first process of a launch: somebody here waits for it, and soon has it. Or what a runtime
                // left behind.
                () if zombies::is_of_our_session(stat) => Fate::Later,
                () if zombies::is_done_shim(pid, stat) || cx.board.has_shim(pid) => Fate::Now,
                () if cx.board.awaits(pid) => Fate::Never,
                () => Fate::Later,
            };
            let next = zombies.reap(PATIENCE, fate).map(Instant::from_std);
            tokio::select! {
                () = cx.cancel.cancelled() => return,
                _ = died.recv() => sleep(PAUSE).await,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    });
    Ok(())
}
