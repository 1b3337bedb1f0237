//! One entry, from its first attempt until all of it is seen to be gone, or somebody gives up.

use super::{
    Attempt, Gc, Obstacle,
    wake::{Sign, Wake},
    ward::{Dead, News, Progress, Ward},
};
use crate::{context::Context, exit::Backoff};
use sexton_common::{
    Stamp, WallTime, durable,
    gc::{Entry, Step},
    launch::Clean,
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// How soon after an attempt the first sign leads to another; what gives signs but does not go gives way to the back-off.
const FIRST_GAP: Duration = Duration::from_millis(5);

/// How many signs lead to an attempt in each delay, where they never cease.
const HEEDED: u32 = 3;

/// Until it is clean, or given up.
pub(super) async fn work(cx: &Arc<Context>, ward: &Arc<Ward>) {
    let backoff = Backoff::new(cx.backoff.0, cx.backoff.1);
    let id = ward.lock().entry.estate.id.clone();
    let (mut failures, mut fruitless, mut furthest) = (1, 0, Step::Record);
    let mut wake = None;
    loop {
        let (revision, forgotten) = {
            let mut inner = ward.lock();
            inner.next_try = None;
            (inner.revision, inner.forgotten)
        };
        if forgotten {
            if forget(cx, ward, revision).await {
                return;
            }
            continue;
        }
        let done = attempt(cx, ward).await;
        let obstacle = match done {
            // What is to be cleaned has grown meanwhile.
            _ if ward.lock().revision != revision => {
                furthest = Step::Record;
                continue;
            }
            Ok(()) => match finish(cx, ward, revision).await {
                Ok(true) => return,
                Ok(false) => continue,
                Err(obstacle) => obstacle,
            },
            Err(obstacle) => obstacle,
        };
        let news = ward.delayed(obstacle.clone());
        match news {
            News::Less if obstacle.step >= furthest => (failures, fruitless) = (1, 0),
            // What nobody holds, and nothing tells of, may be going on, as the removal of a large tree.
            News::Other if obstacle.holders.is_empty() && !obstacle.mounts => failures = 1,
            _ => {}
        }
        furthest = furthest.max(obstacle.step);
        let delay = backoff.delay_of(&id, failures);
        tell(cx, ward, delay).await;
        // What is in the way as before is watched as before, during the attempt too: no sign of it is missed.
        if news != News::None {
            wake = None;
        }
        let fresh = wake.is_none();
        let wake = wake.get_or_insert_with(|| Wake::of(cx, &obstacle));
        let missed = wake.is_late || (fresh && wake.may_have_missed);
        match wait(ward, wake, missed, delay, fruitless).await {
            Woken::Due { restless } => {
                failures = failures.saturating_add(1);
                // A few signs are heeded in each delay, and after a quiet one each at once again.
                fruitless = if restless { fruitless.saturating_sub(HEEDED) } else { 0 };
            }
            Woken::Asked => {}
            Woken::Sign => fruitless += 1,
        }
    }
}

async fn attempt(cx: &Arc<Context>, ward: &Arc<Ward>) -> Result<(), Obstacle> {
    let again = ward.lock().entry.attempts > 0;
    cx.gc.figures.tried();
    ward.lock().entry.attempts += 1;
    Attempt::new(cx, ward, cx.deadline, again).run().await
}

/// Something was in the way: that is durable, then everybody is told.
async fn tell(cx: &Arc<Context>, ward: &Arc<Ward>, delay: Duration) {
    if let Err(e) = cx.gc.persist(cx, ward).await {
        tracing::error!(error = %e, "what is to be cleaned is known as long as sextond runs, and written when it is tried again");
    }
    let mut inner = ward.lock();
    let delay = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
    inner.next_try = Some(WallTime(WallTime::now().0.saturating_add(delay)));
    let Entry { estate, attempts, in_the_way, step, .. } = &inner.entry;
    tracing::warn!(id = %estate.id, attempts, %step, why = in_the_way, "not clean yet");
    let progress = Progress::InTheWay { attempts: *attempts, what: in_the_way.clone() };
    drop(inner);
    ward.progress.send_replace(progress);
}

/// Why it is tried again.
enum Woken {
    /// `restless`: signs were waiting for their gap.
    Due {
        restless: bool,
    },
    Asked,
    Sign,
}

/// Until it is time, somebody asks, or there is a sign. `fruitless`: how many signs in a row have led nowhere.
async fn wait(ward: &Ward, wake: &mut Wake, missed: bool, delay: Duration, fruitless: u32) -> Woken {
    let begun = Instant::now();
    let gap = FIRST_GAP.saturating_mul(1 << fruitless.min(20)).min(delay);
    let restless = AtomicBool::new(false);
    let sign = async {
        if missed || wake.sign().await == Sign::Changed || fruitless > 0 {
            restless.store(true, Ordering::Relaxed);
            // What changes all the time, and does not go, is not looked at all the time; nor is who is followed by others.
            sleep_until(begun + gap).await;
        }
    };
    tokio::select! {
        biased;
        () = sleep_until(begun + delay) => Woken::Due { restless: restless.load(Ordering::Relaxed) },
        () = ward.wake.notified() => Woken::Asked,
        () = sign => Woken::Sign,
    }
}

/// All is gone: that is noted, and the entry goes. Not, if there is more to be cleaned by now.
async fn finish(cx: &Arc<Context>, ward: &Arc<Ward>, revision: u64) -> Result<bool, Obstacle> {
    remember(cx, ward).await;
    if !remove(cx, ward, revision).await? {
        return Ok(false);
    }
    cx.gc.figures.cleaned();
    let (id, attempts) = {
        let inner = ward.lock();
        (inner.entry.estate.id.clone(), inner.entry.attempts)
    };
    if attempts > 1 {
        tracing::info!(%id, attempts, "clean");
    }
    ward.progress.send_replace(Progress::Clean);
    Ok(true)
}

/// Not, if somebody wants it cleaned by now.
async fn forget(cx: &Arc<Context>, ward: &Arc<Ward>, revision: u64) -> bool {
    remember(cx, ward).await;
    let over = match remove(cx, ward, revision).await {
        Ok(over) => over,
        Err(obstacle) => {
            tracing::error!(error = obstacle.what, "forgotten, but it comes back after a restart");
            cx.gc.drop_ward(ward, revision)
        }
    };
    if over {
        ward.progress.send_replace(Progress::Forgotten);
    }
    over
}

/// Removes its entry, then the ward; neither, if something was added since that revision.
async fn remove(cx: &Arc<Context>, ward: &Arc<Ward>, revision: u64) -> Result<bool, Obstacle> {
    // Held to the end: who writes it later finds the ward gone, or its own addition counted.
    let disk = ward.disk.clone().lock_owned().await;
    let (run, alive) = {
        let mut inner = ward.lock();
        if inner.revision != revision {
            return Ok(false);
        }
        inner.written = None;
        (inner.entry.estate.run(), inner.alive)
    };
    let (gc, name) = (cx.clone(), format!("remove the entry of {}", run.0));
    let work = move || {
        // What one that lives has registered is to be cleaned when it ends, after a reboot too.
        let removed = if alive { gc.gc.entries.remove_entry(&run) } else { gc.gc.entries.remove(&run) };
        (removed, disk)
    };
    let (removed, _disk) = cx.tools.blocking.run(name, work).await;
    removed
        .map_err(|e| Obstacle::new(Step::Record, format!("remove the entry in {}: {e}", cx.layout.gc().display())))?;
    Ok(cx.gc.drop_ward(ward, revision))
}

/// So that nobody cleans again what by then may be another's of the same name.
async fn remember(cx: &Arc<Context>, ward: &Arc<Ward>) {
    let (dead, generation) = {
        let inner = ward.lock();
        (inner.dead.clone(), inner.entry.estate.generation)
    };
    let Some(Dead { dir, verdict, .. }) = dead else { return };
    let path = dir.clean();
    let write = move || durable::write(&path, &Clean { generation, at: Stamp::now() });
    let written = cx.tools.blocking.run("note that it is clean", write).await;
    if let Err(e) = written.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
        tracing::warn!(id = %verdict.record.id, error = %e, "it is clean, but that cannot be noted: looked at again after a restart");
    }
}

impl Gc {
    /// Writes the ward's entry, if it has not come to its end.
    ///
    /// # Errors
    /// For people.
    pub async fn persist(&self, cx: &Arc<Context>, ward: &Arc<Ward>) -> Result<(), String> {
        let disk = ward.disk.clone().lock_owned().await;
        if !cx.gc.has(ward) {
            return Ok(());
        }
        let Some(entry) = ward.unwritten() else { return Ok(()) };
        let gc = cx.clone();
        let name = format!("note what is to be cleaned of {}", entry.estate.id);
        let work = move || {
            let _disk = disk;
            gc.gc.entries.write(&entry).map(|()| entry)
        };
        match cx.tools.blocking.run(name, work).await {
            Ok(entry) => {
                ward.lock().written = Some(Box::new(entry));
                Ok(())
            }
            Err(e) => Err(format!("write the entry in {}: {e}", cx.layout.gc().display())),
        }
    }
}
