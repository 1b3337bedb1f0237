//! What users order.

use super::Task;
use crate::{
    container::busy,
    instance::{Go, MAILBOX, order::Order},
};
use sexton_common::{
    instance::Next,
    wire::{ApiError, ErrorCode},
};

impl Task {
    pub(super) fn in_gc(&self) -> ApiError {
        let id = &self.instance.id;
        let why = self.around.board.get(id).and_then(|info| info.in_the_way.clone());
        let why = why.unwrap_or_else(|| "it is being cleaned up".into());
        let text = format!("container {id} is in GC: {why}; start it when it is clean, see `sexton gc why {id}`");
        ApiError::new(ErrorCode::InGc, text)
    }

    /// Nobody has asked for anything: what was to come by itself still comes.
    pub(super) fn refuse_in_gc(&mut self) {
        let refused = self.in_gc();
        if let Some(before) = self.before.take() {
            self.instance = *before;
        }
        (self.dirty, self.outcome) = (true, Some(Err(refused)));
    }

    /// Whatever was to come does not.
    pub(super) fn nothing(&mut self) {
        if let Next::Start { after, .. } = self.instance.next {
            self.instance.last = self.seen.borrow().ended.or(self.instance.last);
            self.instance.next = if self.runs(after) { Next::Run } else { Next::Nothing { after } };
            self.dirty = true;
        }
    }

    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Start { go, .. } | Order::Restart { go, .. } | Order::Stop { go } | Order::Remove { go, .. }
                if self.outcomes.len() + self.held.len() >= MAILBOX =>
            {
                let _ = go.send(Err(busy(&self.instance.id)));
            }
            Order::Start { go, outcome } | Order::Restart { go, outcome } if self.creating.is_some() => {
                let _ = go.send(Ok(Go::Done));
                self.outcomes.push(outcome);
            }
            Order::Start { go, .. } if self.instance.next == Next::Run && self.alive() => {
                // Its run says whether it waits to be started, or runs already.
                if std::mem::take(&mut self.instance.stopped_by_user) {
                    self.dirty = true;
                    self.save().await;
                }
                let _ = go.send(Ok(Go::Run));
            }
            Order::Start { go, outcome } | Order::Restart { go, outcome } => {
                let alive = self.alive();
                let seen = *self.seen.borrow();
                let instance = &mut self.instance;
                if instance.removing {
                    let text = format!("container {} is being removed", instance.id);
                    let _ = go.send(Err(ApiError::new(ErrorCode::Busy, text)));
                    return;
                }
                if self.before.is_none() {
                    self.before = Some(Box::new(instance.clone()));
                }
                let after = match instance.next {
                    Next::Start { after, .. } | Next::Nothing { after } => after.max(seen.generation),
                    Next::Run => seen.generation.max(instance.launch.generation),
                };
                (instance.count, instance.delay_ms, instance.unknowns) = (0, 0, 0);
                (instance.stopped_by_user, instance.failure) = (false, None);
                instance.next = Next::Start { after, due: self.around.now() };
                (self.dirty, self.not_before) = (true, 0);
                self.outcomes.push(outcome);
                self.save().await;
                let _ = go.send(Ok(if alive { Go::Run } else { Go::Done }));
            }
            Order::Stop { go } => {
                // An end that nobody has decided upon yet would have it back, perhaps.
                let lived = self.alive();
                let came = self.comes() || (self.instance.next == Next::Run && !lived);
                self.instance.stopped_by_user = true;
                self.end().await;
                let seen = *self.seen.borrow();
                let ending = self.is_there() && !seen.clean && !seen.in_gc;
                match () {
                    () if self.creating.is_some() => self.held.push(go),
                    () if self.alive() || (ending && !came) => drop(go.send(Ok(Go::Run))),
                    // It may have ended, and been cleaned, while this was written: that is as good.
                    () if came || lived => drop(go.send(Ok(Go::Done))),
                    () => {
                        let text = format!("container {} has stopped already", self.instance.id);
                        let _ = go.send(Err(ApiError::new(ErrorCode::AlreadyStopped, text)));
                    }
                }
            }
            Order::Remove { force: false, go } if self.alive() || self.creating.is_some() || self.comes() => {
                let id = &self.instance.id;
                let state = if self.alive() { "running" } else { "about to be started again" };
                let text = format!("container {id} is {state}: stop it first, or use `sexton rm -f {id}`");
                let _ = go.send(Err(ApiError::new(ErrorCode::Running, text)));
            }
            Order::Remove { go, .. } => {
                self.was_stopped = self.instance.stopped_by_user;
                (self.instance.stopped_by_user, self.instance.removing) = (true, true);
                self.end().await;
                match self.creating {
                    Some(_) => self.held.push(go),
                    None => drop(go.send(Ok(if self.is_there() { Go::Run } else { Go::Done }))),
                }
            }
            Order::Saved { done } => {
                if self.dirty {
                    self.save().await;
                }
                let _ = done.send(!self.dirty);
            }
            Order::Keep { done } => {
                self.instance.removing = false;
                self.instance.stopped_by_user &= self.was_stopped;
                self.dirty = true;
                self.save().await;
                let _ = done.send(());
            }
            Order::Removed { done } => self.done.push(done),
        }
    }

    /// Nothing starts any more, but what is being created.
    pub(super) async fn end(&mut self) {
        self.dirty = true;
        if self.creating.is_none() {
            self.before = None;
            self.nothing();
            let text = format!("container {} was stopped meanwhile", self.instance.id);
            for outcome in self.outcomes.drain(..) {
                let _ = outcome.send(Err(ApiError::new(ErrorCode::NotRunning, text.clone())));
            }
        }
        self.save().await;
    }

    /// Whether it will be started again.
    pub(super) fn comes(&self) -> bool {
        matches!(self.instance.next, Next::Start { .. })
    }
}
