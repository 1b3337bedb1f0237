//! Looking at what no bell rings for, when somebody asks.

use super::{Overseer, glance::WITHIN};
use crate::{
    container::{Message, waits_for_start},
    gc, recover,
};
use sexton_common::{ContainerId, Init, durable, wire::State};
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};

/// What a client asks for all the time is not looked for all the time.
const LOOK_FOR_KILLED: Duration = Duration::from_secs(1);
/// Nor for more than this part of the time: thousands of containers are thousands of files.
const PART: u32 = 50;

/// When what was killed is looked for again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    next: Option<Instant>,
    /// Somebody has asked too early, and it is looked at that time.
    awaited: bool,
}

/// Whether it is looked now.
enum Turn {
    Now,
    /// Then, by whoever is told this.
    At(Instant),
    /// By somebody else.
    Taken,
}

impl Pace {
    fn turn(&mut self) -> Turn {
        match self.next {
            Some(next) if next > Instant::now() => match std::mem::replace(&mut self.awaited, true) {
                true => Turn::Taken,
                false => Turn::At(next),
            },
            _ => {
                *self = Self { next: Some(Instant::now() + LOOK_FOR_KILLED), awaited: false };
                Turn::Now
            }
        }
    }

    fn took(&mut self, time: Duration) {
        self.next = self.next.max(Some(Instant::now() + time * PART));
    }
}

impl Overseer {
    /// Looks at what no bell rings for, when somebody asks: created containers that somebody else has
    /// started, those whose shim could not announce them, and those that we have not heard of yet. All of them, or `only`
    /// one.
    pub async fn look_around(self: &Arc<Self>, only: Option<&ContainerId>) {
        let _ = timeout(WITHIN, self.look_for_newborn(only)).await;
        let in_state = |wanted| {
            let board = &self.cx.board;
            board.all_or(only, move |id, shown| (shown.state == wanted).then(|| (id.clone(), ())))
        };
        for (id, ()) in in_state(State::Creating) {
            self.pass_on(&id, Some(Message::LookForInit));
        }
        self.glance("look whether somebody has started", in_state(State::Created), |(), dir| {
            let launch = durable::read(&dir.launch()).ok().flatten()?;
            (waits_for_start(&launch, dir) == Some(false)).then_some(Message::SeenStarted)
        })
        .await;
        // The tasks come first; what they find is on the board then.
        tokio::task::yield_now().await;
    }

    /// Whoever was told that a launch has left something may ask for it before we have heard of its directory.
    pub(super) async fn look_for_newborn(self: &Arc<Self>, only: Option<&ContainerId>) {
        if only.is_some_and(|id| self.cx.board.read(|all| all.contains_key(id))) {
            return;
        }
        // None is left where as many hang as there may be.
        let Some(permit) = self.readers.permit() else { return };
        let (cx, only) = (self.cx.clone(), only.cloned());
        let look = move || {
            let _permit = permit;
            match only {
                Some(id) if cx.layout.container(&id).path().symlink_metadata().is_ok() => vec![id],
                Some(_) => Vec::new(),
                None => {
                    let mut ids = recover::list(&cx.layout).unwrap_or_default().ids;
                    cx.board.read(|all| ids.retain(|id| !all.contains_key(id)));
                    ids
                }
            }
        };
        let newborn = self.cx.tools.blocking.run("look for new containers", look).await;
        if !newborn.is_empty() {
            self.look_at(newborn.clone()).await;
            // Somebody else may have come to it first, and not be done. The sender is ours: it cannot be gone.
            let _ = self.taking.subscribe().wait_for(|taken| newborn.iter().all(|id| !taken.contains(id))).await;
        }
    }

    /// Finds containers that somebody else has killed and that do not die, or has frozen or thawed: nothing tells of a signal
    /// that is pending, nor of a freezer.
    /// All of them, or `only` one; at most once a second: who asks for all too early has it looked a little later.
    pub async fn look_for_killed(self: &Arc<Self>, only: Option<&ContainerId>) {
        if only.is_none() {
            let turn = self.killed.lock().unwrap_or_else(PoisonError::into_inner).turn();
            match turn {
                Turn::Now => {}
                Turn::Taken => return,
                Turn::At(next) => {
                    let overseer = self.clone();
                    self.tasks.spawn(async move { overseer.look_later(next).await });
                    return;
                }
            }
        }
        self.look(only).await;
    }

    async fn look_later(self: &Arc<Self>, mut next: Instant) {
        loop {
            tokio::select! {
                () = self.cx.cancel.cancelled() => return,
                () = sleep_until(next) => {}
            }
            {
                let mut pace = self.killed.lock().unwrap_or_else(PoisonError::into_inner);
                match pace.next {
                    // It was looked meanwhile.
                    _ if !pace.awaited => return,
                    // The look before took long.
                    Some(later) if later > Instant::now() => {
                        next = later;
                        continue;
                    }
                    _ => drop(pace.turn()),
                }
            }
            return self.look(None).await;
        }
    }

    async fn look(self: &Arc<Self>, only: Option<&ContainerId>) {
        let alive = self.cx.board.all_or(only, |id, shown| {
            let alive = matches!(shown.state, State::Created | State::Running | State::Orphaned | State::Paused);
            Some((id.clone(), (shown.state, shown.pid.filter(|_| alive)?)))
        });
        let begun = Instant::now();
        self.glance("look what was done to", alive, |(state, pid), dir| {
            if gc::is_doomed(pid) {
                return Some(Message::SeenKilled);
            }
            let init: Init = durable::read(&dir.init()).ok().flatten()?;
            let paused = state == State::Paused;
            (state != State::Created && gc::is_frozen(&init.cgroups) != paused).then_some(Message::LookAtFreezer)
        })
        .await;
        if only.is_none() {
            self.killed.lock().unwrap_or_else(PoisonError::into_inner).took(begun.elapsed());
        }
        // The tasks come first; what they find is on the board then.
        tokio::task::yield_now().await;
    }
}
