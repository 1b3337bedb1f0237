//! Looking at what no bell rings for, when somebody asks.

use super::Overseer;
use crate::{container::Message, gc};
use sexton_common::{
    ContainerId, Init, durable,
    wire::{ContainerInfo, State},
};
use std::{sync::PoisonError, time::Duration};
use tokio::time::Instant;

/// What a client asks for all the time is not looked for all the time.
const LOOK_FOR_KILLED: Duration = Duration::from_secs(1);
/// Nor for more than this part of the time: thousands of containers are thousands of files.
const PART: u32 = 50;

/// When what was killed is looked for again.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    fn due(&mut self) -> bool {
        let due = self.0.is_none_or(|next| next <= Instant::now());
        if due {
            self.0 = Some(Instant::now() + LOOK_FOR_KILLED);
        }
        due
    }

    fn took(&mut self, time: Duration) {
        self.0 = self.0.max(Some(Instant::now() + time * PART));
    }
}

impl Overseer {
    /// Looks at what no bell rings for, when somebody asks: created containers that somebody else has
    /// started, and those whose shim could not announce them. All of them, or `only` one.
    pub async fn look_around(&self, only: Option<&ContainerId>) {
        let asked = match only {
            Some(id) => self.cx.board.get(id).into_iter().collect(),
            None => self.cx.board.snapshot().1,
        };
        for info in asked.into_iter().filter(|info| matches!(info.state, State::Created | State::Creating)) {
            let message = match info.state {
                State::Creating => Some(Message::LookForInit),
                _ => (self.waits_for_start(&info.id).await == Some(false)).then_some(Message::SeenStarted),
            };
            // A full mailbox has it looked at soon enough.
            if let (Some(message), Some(mailbox)) = (message, self.mailbox(&info.id)) {
                let _ = mailbox.try_send(message);
            }
        }
        // The tasks come first; what they find is on the board then.
        tokio::task::yield_now().await;
    }

    /// Finds containers that somebody else has killed and that do not die, or has frozen or thawed: nothing tells of a signal
    /// that is pending, nor of a freezer.
    /// All of them, or `only` one; at most once a second.
    pub async fn look_for_killed(&self, only: Option<&ContainerId>) {
        if only.is_none() && !self.killed.lock().unwrap_or_else(PoisonError::into_inner).due() {
            return;
        }
        let asked = match only {
            Some(id) => self.cx.board.get(id).into_iter().collect(),
            None => self.cx.board.snapshot().1,
        };
        let alive = |info: &ContainerInfo| {
            matches!(info.state, State::Created | State::Running | State::Orphaned | State::Paused)
        };
        let alive: Vec<_> = asked.into_iter().filter(|info| alive(info)).collect();
        let layout = self.cx.layout.clone();
        let look = move || {
            let news = |info: &ContainerInfo| {
                if gc::is_doomed(info.pid?) {
                    return Some(Message::SeenKilled);
                }
                let init: Init = durable::read(&layout.container(&info.id).init()).ok().flatten()?;
                let paused = info.state == State::Paused;
                (info.state != State::Created && gc::is_frozen(&init.cgroups) != paused)
                    .then_some(Message::LookAtFreezer)
            };
            alive.iter().filter_map(|info| Some((info.id.clone(), news(info)?))).collect::<Vec<_>>()
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
