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
    let cx = overseer.cx.clone();
    overseer.tasks.spawn(async move {
        let mut zombies = Zombies::default();
        loop {
            let (awaited, shims) = cx.board.processes();
            // It may be the init of one that is still being looked at.
            let unknown = if cx.board.pending().is_empty() { Fate::Later } else { Fate::Never };
            let begin = Instant::now();
            // In `/proc`, for every child: not on the event loop.
            let look = move || {
                let fate = |pid, stat: &Stat| match () {
                    // An init first: it may call itself what it likes.
                    () if awaited.contains(&pid) => Fate::Never,
                    // A runtime, or the first process of a launch: somebody here waits for it, and soon has it. Or what a
                    // runtime left behind.
                    () if zombies::is_of_our_session(stat) => Fate::Later,
                    () if shims.contains(&pid) || zombies::is_done_shim(pid, stat) => Fate::Now,
                    () => unknown,
                };
                let next = zombies.reap(PATIENCE, fate);
                (zombies, next)
            };
            let next;
            (zombies, next) = cx.tools.blocking.run("reap orphans", look).await;
            let next = next.map(Instant::from_std);
            // The more children there are to look at, the less often.
            let pause = PAUSE.max(begin.elapsed() * 20);
            tokio::select! {
                () = cx.cancel.cancelled() => return,
                _ = died.recv() => sleep(pause).await,
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    });
    Ok(())
}
