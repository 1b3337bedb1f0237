//! What clients ask for, in every state: each gets one answer, or a place to wait.

use super::{Job, Machine, Phase};
use crate::container::event::{Action, Event, Refusal};

impl Machine {
    pub(super) fn wished(&mut self, wish: Event, phase: Phase) -> Vec<Action> {
        use Action as A;
        use Phase as P;
        match (wish, phase) {
            (Event::Start, P::Created | P::Running | P::Orphaned) if self.stuck => vec![A::Refuse(Refusal::InGc)],
            (Event::Start, phase) => match phase {
                P::Created if self.job.is_none() => self.begin(Job::Start),
                P::Creating | P::Created => vec![A::Refuse(Refusal::Busy)],
                P::Gc => vec![A::Refuse(Refusal::InGc)],
                P::Gone => vec![A::Refuse(Refusal::NoSuchContainer)],
                P::Running | P::Orphaned | P::Stopping | P::Stopped => vec![A::Refuse(Refusal::AlreadyStarted)],
            },
            (Event::Signal, phase) => match phase {
                P::Created | P::Running | P::Orphaned => vec![A::Signal],
                P::Creating => vec![A::Refuse(Refusal::Busy)],
                P::Stopping | P::Gc | P::Stopped => vec![A::Refuse(Refusal::NotRunning)],
                P::Gone => vec![A::Refuse(Refusal::NoSuchContainer)],
            },
            (Event::Stop, phase) => match phase {
                // Nothing of the user's runs yet that could end by itself.
                P::Created => vec![A::SignalKill, A::AwaitExit],
                P::Running | P::Orphaned => {
                    self.ending = true;
                    let mut actions = vec![A::SignalThenKill, A::AwaitExit];
                    // What is frozen takes no signal.
                    if self.paused {
                        actions.extend(self.begin(Job::ThawToEnd));
                    }
                    actions
                }
                P::Creating => vec![A::Refuse(Refusal::Busy)],
                P::Stopping => vec![A::Accept],
                P::Gc | P::Stopped => vec![A::Refuse(Refusal::AlreadyStopped)],
                P::Gone => vec![A::Refuse(Refusal::NoSuchContainer)],
            },
            (Event::Pause | Event::Resume, P::Created | P::Running | P::Orphaned) if self.stuck => {
                vec![A::Refuse(Refusal::InGc)]
            }
            (Event::Pause | Event::Resume, phase) => match phase {
                P::Running | P::Orphaned if self.job.is_some() || self.ending => vec![A::Refuse(Refusal::Busy)],
                P::Running | P::Orphaned => match (wish, self.paused) {
                    (Event::Pause, false) => self.begin(Job::Freeze),
                    (Event::Pause, true) => vec![A::Refuse(Refusal::Paused)],
                    (_, true) => self.begin(Job::Thaw),
                    (_, false) => vec![A::Refuse(Refusal::NotPaused)],
                },
                P::Creating => vec![A::Refuse(Refusal::Busy)],
                P::Created | P::Stopping | P::Gc | P::Stopped => vec![A::Refuse(Refusal::NotRunning)],
                P::Gone => vec![A::Refuse(Refusal::NoSuchContainer)],
            },
            (Event::MakeRoom, phase) => match phase {
                P::Stopped => {
                    // Somebody who removes it is told that it is gone.
                    self.silent = self.job != Some(Job::Bury);
                    let mut actions = self.remove_after([A::AwaitRemoval]);
                    actions.extend(self.begin(Job::Bury));
                    actions
                }
                P::Creating | P::Stopping => vec![A::Refuse(Refusal::Busy)],
                P::Created | P::Running | P::Orphaned => vec![A::Refuse(Refusal::AlreadyStarted)],
                P::Gc => vec![A::Refuse(Refusal::InGc)],
                P::Gone => vec![A::Refuse(Refusal::NoSuchContainer)],
            },
            (Event::Remove { force }, phase) => match phase {
                P::Creating => vec![A::Refuse(Refusal::Busy)],
                P::Created | P::Running | P::Orphaned if !force && self.stuck => vec![A::Refuse(Refusal::InGc)],
                P::Created | P::Running | P::Orphaned if !force => vec![A::Refuse(Refusal::Running)],
                P::Created | P::Running | P::Orphaned => {
                    self.ending = phase != P::Created;
                    let mut actions = self.remove_after([A::SignalKill, A::AwaitRemoval]);
                    // Its entry has it too, and is tried now.
                    actions.extend(self.stuck.then_some(A::Retry));
                    actions
                }
                P::Stopping => self.remove_after([A::AwaitRemoval]),
                P::Gc if !force => vec![A::Refuse(Refusal::InGc)],
                P::Gc => self.remove_after([A::AwaitRemoval, A::Retry]),
                P::Stopped => {
                    self.silent = false;
                    let mut actions = self.remove_after([A::AwaitRemoval]);
                    actions.extend(self.begin(Job::Bury));
                    actions
                }
                P::Gone => vec![A::Refuse(Refusal::NoSuchContainer)],
            },
            // Nobody wishes these.
            (_, _) => Vec::new(),
        }
    }

    fn remove_after<const N: usize>(&mut self, actions: [Action; N]) -> Vec<Action> {
        self.remove = true;
        actions.into()
    }
}
