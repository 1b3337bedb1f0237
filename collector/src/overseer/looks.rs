//! Looking at what no bell rings for, when somebody asks.

use super::Overseer;
use crate::{board::Shown, container::Message, gc};
use sexton_common::{ContainerId, Init, durable, wire::State};
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

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
    /// started, and those whose shim could not announce them. All of them, or `only` one.
    pub async fn look_around(&self, only: Option<&ContainerId>) {
        let unstarted = |shown: &Shown| matches!(shown.state, State::Created | State::Creating);
        let board = &self.cx.board;
        for (id, state) in board.all_or(only, |id, shown| unstarted(shown).then(|| (id.clone(), shown.state))) {
            let message = match state {
                State::Creating => Some(Message::LookForInit),
                _ => (self.waits_for_start(&id).await == Some(false)).then_some(Message::SeenStarted),
            };
            // A full mailbox has it looked at soon enough.
            if let (Some(message), Some(mailbox)) = (message, self.mailbox(&id)) {
                let _ = mailbox.try_send(message);
            }
        }
        // The tasks come first; what they find is on the board then.
        tokio::task::yield_now().await;
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

    async fn look_later(&self, mut next: Instant) {
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

    async fn look(&self, only: Option<&ContainerId>) {
        let alive = self.cx.board.all_or(only, |id, shown| {
            let alive = matches!(shown.state, State::Created | State::Running | State::Orphaned | State::Paused);
            Some((id.clone(), shown.state, shown.pid.filter(|_| alive)?))
        });
        let layout = self.cx.layout.clone();
        let look = move || {
            let news = |id: &ContainerId, state, pid| {
                if gc::is_doomed(pid) {
                    return Some(Message::SeenKilled);
                }
                let init: Init = durable::read(&layout.container(id).init()).ok().flatten()?;
                let paused = state == State::Paused;
                (state != State::Created && gc::is_frozen(&init.cgroups) != paused).then_some(Message::LookAtFreezer)
            };
            alive
                .into_iter()
                .filter_map(|(id, state, pid)| news(&id, state, pid).map(|news| (id, news)))
                .collect::<Vec<_>>()
        };
        let begun = Instant::now();
        let news = self.cx.tools.blocking.run("look for what was killed or frozen", look).await;
        if only.is_none() {
            self.killed.lock().unwrap_or_else(PoisonError::into_inner).took(begun.elapsed());
        }
        for (id, message) in news {
            if let Some(mailbox) = self.mailbox(&id) {
                let _ = mailbox.try_send(message);
            }
        }
        // The tasks come first; what they find is on the board then.
        tokio::task::yield_now().await;
    }

    async fn waits_for_start(&self, id: &ContainerId) -> Option<bool> {
        let dir = self.cx.layout.container(id);
        let waits = move || {
            let launch = durable::read(&dir.launch()).ok().flatten()?;
            crate::container::waits_for_start(&launch, &dir)
        };
        self.cx.tools.blocking.run(format!("look at {id}"), waits).await
    }
}
