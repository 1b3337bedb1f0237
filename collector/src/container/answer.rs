//! What waiting clients hear.

use super::{
    Answer, Wish, WishKind,
    event::Event,
    machine::Phase,
    task::{Task, WAITERS},
    wish::no_such,
};
use sexton_common::wire::{ApiError, ErrorCode, Reply};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a process may live on after SIGKILL before a client that waits hears of it.
pub(super) const DIES_WITHIN: Duration = Duration::from_secs(10);

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// Its exit.
    Exit,
    /// Its exit, having asked for it.
    Stop,
    /// Its start.
    Start,
    /// Its removal.
    Removal,
}

impl Task {
    /// Those who waited for one of these.
    fn waited(&mut self, of: &[Awaited]) -> impl Iterator<Item = oneshot::Sender<Answer>> {
        self.waiting.extract_if(.., |(awaited, _)| of.contains(awaited)).map(|(_, reply)| reply)
    }

    pub(super) async fn on_wish(&mut self, wish: Wish) {
        let event = match wish.kind {
            WishKind::Start => Event::Start,
            WishKind::Signal(_) => Event::Signal,
            WishKind::Stop { .. } => Event::Stop,
            WishKind::Pause | WishKind::Resume => return self.on_freeze_wish(wish).await,
            WishKind::Remove { force } => Event::Remove { force },
            WishKind::MakeRoom => Event::MakeRoom,
            WishKind::Wait => return self.wait_for_exit(wish.reply),
        };
        self.wished(event, wish).await;
    }

    pub(super) fn give_up_stopping(&mut self) {
        let pid = self.held.process.map_or(0, |process| process.pid);
        let why = self.in_the_way.clone().unwrap_or_else(|| format!("process {pid} does not die"));
        let id = &self.held.id;
        let text = format!(
            "container {id} is still there {DIES_WITHIN:?} after SIGKILL: {why}; it is delivered and cleaned when it dies, \
             see `sexton gc why {id}`"
        );
        for reply in self.waited(&[Awaited::Stop, Awaited::Removal]) {
            let _ = reply.send(Err(ApiError::new(ErrorCode::TimedOut, text.clone())));
        }
    }

    pub(super) fn wait_for_exit(&mut self, reply: oneshot::Sender<Answer>) {
        if self.verdict.is_some() {
            let _ = reply.send(Ok(Reply::Container(Box::new(self.info()))));
            return;
        }
        self.waiting.retain(|(awaited, waiting)| *awaited != Awaited::Exit || !waiting.is_closed());
        if self.waiting.iter().filter(|(awaited, _)| *awaited == Awaited::Exit).count() < WAITERS {
            self.waiting.push((Awaited::Exit, reply));
        } else {
            let text = format!("{WAITERS} clients wait for container {} already", self.held.id);
            let _ = reply.send(Err(ApiError::new(ErrorCode::Busy, text)));
        }
    }

    pub(super) fn answer_exit(&mut self) {
        let answer = match &self.verdict {
            Some(_) => Ok(Reply::Container(Box::new(self.info()))),
            None => Err(no_such(self.held.id.as_str())),
        };
        for reply in self.waited(&[Awaited::Exit, Awaited::Stop]) {
            let _ = reply.send(answer.clone());
        }
    }

    pub(super) fn answer_start(&mut self) {
        let (failed, exit_code) = (self.in_the_way.take(), self.exit_code.take());
        for reply in self.waited(&[Awaited::Start]) {
            let error = |words: &String| {
                let error = ApiError::new(ErrorCode::RuntimeFailed, words.clone());
                ApiError { exit_code: exit_code.unwrap_or(error.exit_code), ..error }
            };
            let _ = reply.send(failed.as_ref().map_or(Ok(Reply::Done {}), |words| Err(error(words))));
        }
        if failed.is_some() {
            self.started = None;
        }
    }

    pub(super) fn answer_removal(&mut self) {
        let id = self.held.id.clone();
        let answer = match (self.machine.phase, &self.in_the_way) {
            (Phase::Gone, _) => Ok(Reply::Done {}),
            (Phase::Gc, Some(why)) => Err(ApiError::new(
                ErrorCode::InGc,
                format!("container {id} is in GC and will be removed once it is clean: {why}"),
            )),
            (_, why) => {
                let why = why.clone().unwrap_or_else(|| "it is not known why".to_owned());
                Err(ApiError::new(ErrorCode::Internal, format!("remove container {id}: {why}")))
            }
        };
        for reply in self.waited(&[Awaited::Removal]) {
            let _ = reply.send(answer.clone());
        }
    }
}
