//! What may happen to a container, waited for in as little room as there can be: nearly all of them are idle.

use super::{Message, job::JobEnd, task::Task};
use crate::{
    gc::Progress,
    surplus::{Member, Tidings},
    watch::{Fifo, InitWatch, Ring, Watched},
};
use std::io;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// What a task waits for.
pub(super) enum Happened {
    JobEnd(JobEnd),
    Ring(io::Result<Ring>),
    Init(io::Result<Watched>),
    ShimDied,
    Slow(Tidings),
    Gc(Progress),
    Message(Message),
    Timer,
    Nothing,
}

impl Task {
    /// The next thing that happens. Cancel-safe.
    pub(super) async fn next(&mut self) -> Happened {
        let timer = [self.kill_at, self.give_up_at, self.look_at, self.stuck_at].into_iter().flatten().min();
        tokio::select! {
            biased;
            end = async { self.job.as_mut()?.await.into() }, if self.job.is_some() => match end {
                Some(end) => Happened::JobEnd(end),
                None => Happened::Nothing,
            },
            Some(ring) = ring(self.fifo.as_ref()) => Happened::Ring(ring),
            Some(step) = step(self.watch.as_ref()), if !self.reaped => Happened::Init(step),
            Some(happened) = seldom(self.shim.as_deref(), self.slow.as_deref_mut(), self.gc.as_mut()) => happened,
            message = self.inbox.recv() => Happened::Message(message),
            Some(()) = due(timer) => Happened::Timer,
        }
    }
}

async fn ring(fifo: Option<&Fifo>) -> Option<io::Result<Ring>> {
    Some(fifo?.ring().await)
}

/// What an idle container has none of, and room only for what it has.
async fn seldom(
    shim: Option<&InitWatch>,
    slow: Option<&mut Member>,
    gc: Option<&mut watch::Receiver<Progress>>,
) -> Option<Happened> {
    let any = shim.is_some() || slow.is_some() || gc.is_some();
    let wait = any.then(|| {
        Box::pin(async {
            tokio::select! {
                biased;
                Some(_) = step(shim) => Some(Happened::ShimDied),
                Some(tidings) = tidings(slow) => Some(Happened::Slow(tidings)),
                Some(progress) = progress(gc) => Some(Happened::Gc(progress)),
                else => None,
            }
        })
    });
    wait?.await
}

async fn due(timer: Option<Instant>) -> Option<()> {
    Box::pin(sleep_until(timer?)).await;
    Some(())
}

async fn progress(gc: Option<&mut watch::Receiver<Progress>>) -> Option<Progress> {
    let gc = gc?;
    // Its sender goes only after its last word, or with the collector.
    gc.changed().await.ok()?;
    Some(gc.borrow_and_update().clone())
}

async fn tidings(slow: Option<&mut Member>) -> Option<Tidings> {
    Some(slow?.next().await)
}

async fn step(watch: Option<&InitWatch>) -> Option<io::Result<Watched>> {
    Some(watch?.step().await)
}
