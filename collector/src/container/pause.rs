//! Freezing and thawing: by its runtime, or by the freezer of its own cgroup; done when that freezer shows it (I5).

use super::{
    Answer, Wish, WishKind,
    act::answer,
    event::{Event, Refusal},
    job::JobEnd,
    machine::Phase,
    task::Task,
    wish::refuse,
};
use crate::{context::Context, gc};
use sexton_common::{
    Init, Launch,
    wire::{ApiError, ErrorCode, Reply},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

/// What the kernel may take until all processes stand still: one in the middle of a write to a slow disk is not yet.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);

/// It is being frozen or thawed.
#[derive(Debug)]
pub(super) struct Freeze {
    on: bool,
    reply: Option<oneshot::Sender<Answer>>,
    since: Instant,
    /// Why it is not done.
    pub(super) words: Option<String>,
}

impl Task {
    pub(super) async fn on_freeze_wish(&mut self, wish: Wish) {
        let alive = matches!(self.machine.phase, Phase::Running | Phase::Orphaned);
        if alive && !self.both().1.is_some_and(|init| gc::has_freezer(&init.cgroups)) {
            if self.init_is_dead() {
                // Its cgroups went before we heard of its exit.
                let _ = wish.reply.send(Err(refuse(Refusal::NotRunning, &self.info())));
                return;
            }
            let text = format!(
                "container {} shares its cgroups with others, and so has no freezer: give it a cgroup of its own",
                self.held.id
            );
            let _ = wish.reply.send(Err(ApiError::new(ErrorCode::Invalid, text)));
            return;
        }
        // Somebody else may have been at it.
        self.look_at_freezer().await;
        let event = if matches!(wish.kind, WishKind::Pause) { Event::Pause } else { Event::Resume };
        self.wished(event, wish).await;
    }

    pub(super) async fn look_at_freezer(&mut self) {
        if let (_, Some(init)) = self.both() {
            let frozen = gc::is_frozen(&init.cgroups);
            self.happen(Event::SeenFrozen { frozen }).await;
        }
    }

    pub(super) fn freeze(&mut self, on: bool, reply: Option<oneshot::Sender<Answer>>) {
        self.freeze = Some(Box::new(Freeze { on, reply, since: Instant::now(), words: None }));
        let (cx, (launch, init)) = (self.cx.clone(), self.both());
        self.job = Some(Box::pin(async move {
            let Some(init) = init.map(Arc::new) else { return JobEnd::done(Event::FreezeDone { frozen: false }) };
            let words = ask(&cx, &launch, &init, on).await;
            // What failed has done its worst by now.
            let within = if words.is_none() { SETTLES_WITHIN } else { Duration::ZERO };
            let mut frozen = settled(&cx, &init, on, within).await;
            if frozen != on && on {
                // Half frozen is neither.
                let _ = set(&cx, &init, false).await;
                frozen = settled(&cx, &init, false, SETTLES_WITHIN).await;
            }
            let other = if on { "is not frozen" } else { "is frozen still" };
            let words = words.unwrap_or_else(|| format!("{} {other}, though nothing failed", launch.id));
            JobEnd::new(Event::FreezeDone { frozen }, (frozen != on).then_some(words))
        }));
    }

    /// It has been sent a signal, and is to take it.
    pub(super) fn thaw_to_end(&mut self) {
        let (cx, (_, init)) = (self.cx.clone(), self.both());
        self.job = Some(Box::pin(async move {
            let Some(init) = init.map(Arc::new) else { return JobEnd::done(Event::FreezeDone { frozen: false }) };
            let words = set(&cx, &init, false).await.err();
            JobEnd::new(Event::FreezeDone { frozen: settled(&cx, &init, false, SETTLES_WITHIN).await }, words)
        }));
    }

    pub(super) fn answer_freeze(&mut self) {
        let Some(freeze) = self.freeze.take() else { return };
        let (id, verb) = (&self.held.id, if freeze.on { "pause" } else { "resume" });
        let alive = matches!(self.machine.phase, Phase::Running | Phase::Orphaned);
        let done = if !alive && !freeze.on {
            // It was thawed, and took what had been waiting for it.
            Ok(Reply::Done {})
        } else if !alive {
            Err(refuse(Refusal::NotRunning, &self.info()))
        } else if freeze.on == self.machine.paused {
            Ok(Reply::Done {})
        } else {
            let late = freeze.since.elapsed() >= self.cx.deadline;
            let code = if late { ErrorCode::TimedOut } else { ErrorCode::RuntimeFailed };
            let words = freeze.words.unwrap_or_else(|| "it is not known why".into());
            Err(ApiError::new(code, format!("{verb} container {id}: {words}")))
        };
        answer(freeze.reply, || done);
    }
}

/// Has it frozen, or thawed. Why that failed, if it did.
async fn ask(cx: &Arc<Context>, launch: &Launch, init: &Arc<Init>, on: bool) -> Option<String> {
    let Some(runtime) = launch.workload.runtime() else { return set(cx, init, on).await.err() };
    let verb = if on { "pause" } else { "resume" };
    let mut place = cx.tools.lanes.enter().await;
    let run = cx.tools.runtimes.run(runtime, verb, &[], &launch.id, cx.deadline);
    let outcome = place.during(run).await;
    (!outcome.ok).then_some(outcome.words)
}

async fn set(cx: &Arc<Context>, init: &Arc<Init>, on: bool) -> Result<(), String> {
    let (name, init) = (format!("freeze or thaw {}", init.id), init.clone());
    cx.tools.blocking.run(name, move || gc::set_frozen(&init.cgroups, on)).await
}

/// Whether it is frozen, once that is as wanted, or the time is up.
async fn settled(cx: &Arc<Context>, init: &Arc<Init>, on: bool, within: Duration) -> bool {
    let look = || {
        let (name, init) = (format!("look at the freezer of {}", init.id), init.clone());
        cx.tools.blocking.run(name, move || gc::is_frozen(&init.cgroups))
    };
    let until = async {
        let mut pause = Duration::from_millis(1);
        while look().await != on {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    };
    if timeout(within, until).await.is_ok() { on } else { look().await }
}
