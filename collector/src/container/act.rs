//! What the machine decided is done here.

use super::{
    Answer, Wish, WishKind,
    answer::{Awaited, DIES_WITHIN},
    event::{Action, Event},
    facts::is_anothers,
    gate,
    job::JobEnd,
    machine::Phase,
    rules,
    task::{DIES_SOON, Task},
    wish::refuse,
};
use crate::{exit::of_death, gc, watch};
use sexton_common::{
    ExitStatus, Source, Stamp, UnknownReason, durable,
    gate::Refusal,
    launch::Started,
    wire::{ApiError, ErrorCode, EventKind, Reply, State},
};
use tokio::{sync::oneshot, task::yield_now, time::Instant};

impl Task {
    /// Something happened.
    pub(super) async fn happen(&mut self, event: Event) {
        self.drive(event, None).await;
    }

    /// A client wishes something.
    pub(super) async fn wished(&mut self, event: Event, wish: Wish) {
        self.drive(event, Some(wish)).await;
    }

    async fn drive(&mut self, event: Event, mut wish: Option<Wish>) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let (before, shown) = (self.machine.phase, self.machine.shown());
            let (machine, actions) = self.machine.step(event);
            self.machine = machine;
            let mut told = false;
            for action in actions {
                told |= matches!(action, Action::Publish(_));
                if let Some(follows) = self.perform(action, &mut wish).await {
                    next = Some(follows);
                }
            }
            if before != self.machine.phase {
                match self.machine.phase {
                    Phase::Orphaned => self.on_orphaned(),
                    Phase::Stopped | Phase::Gone => self.let_go(),
                    _ => {}
                }
            }
            // In GC, or not any more, without another phase.
            let changed = before != self.machine.phase || shown != self.machine.shown();
            if changed && !told && self.machine.phase != Phase::Gone {
                self.cx.board.update(self.info());
            }
        }
    }

    async fn perform(&mut self, action: Action, wish: &mut Option<Wish>) -> Option<Event> {
        match action {
            Action::Publish(kind) => self.publish(kind),
            Action::Look => return self.look(None).await.then_some(Event::Exit),
            Action::RecordFromKernel => {
                let death = self.death();
                if !self.is_foreign() && rules::shim_knows_better(self.machine.phase, &death) {
                    return self.look(None).await.then_some(Event::Exit);
                }
                return self.record(death).await;
            }
            Action::RecordNeverStarted => {
                return self.record((ExitStatus::Unknown { reason: UnknownReason::NeverStarted }, Source::None)).await;
            }
            Action::RuntimeStart => {
                self.await_it(Awaited::Start, wish);
                self.start();
            }
            Action::Freeze => self.freeze(true, take_reply(wish)),
            Action::Thaw => self.freeze(false, take_reply(wish)),
            Action::ThawToEnd => self.thaw_to_end(),
            Action::AnswerFreeze => self.answer_freeze(),
            Action::Clean => self.clean(false),
            Action::CleanAlive => self.clean(true),
            Action::Retry => self.clean_now(),
            Action::Bury => self.bury(),
            Action::Signal => {
                if let Some(Wish { kind: WishKind::Signal(signal), reply }) = wish.take() {
                    let sent = self.signal(signal);
                    if signal == nix::libc::SIGKILL && sent.is_ok() {
                        self.is_to_die();
                    }
                    let _ = reply.send(sent.map(|()| Reply::Done {}));
                }
            }
            Action::SignalKill => self.kill(),
            Action::SignalThenKill => self.signal_then_kill(wish),
            Action::AwaitExit => {
                self.await_it(Awaited::Stop, wish);
                if self.kill_at.is_none() {
                    self.give_up_at = Some(Instant::now() + DIES_WITHIN);
                }
            }
            Action::AwaitRemoval => self.await_it(Awaited::Removal, wish),
            Action::Accept => answer(take_reply(wish), || Ok(Reply::Container(Box::new(self.info())))),
            Action::Refuse(refusal) => answer(take_reply(wish), || Err(refuse(refusal, &self.info()))),
            Action::AnswerExit => {
                self.answer_exit();
                if self.machine.phase == Phase::Stopping {
                    // Whoever has just been told hears it before anything else is done.
                    yield_now().await;
                    self.after_exit();
                }
            }
            Action::AnswerStart => self.answer_start(),
            Action::AnswerRemoval => self.answer_removal(),
            Action::Forget => self.cx.board.forget(&self.held.id, self.held.generation),
            Action::Hollow => self.cx.board.hollow(self.info()),
            Action::End => self.forget_gc(),
        }
        None
    }

    fn await_it(&mut self, awaited: Awaited, wish: &mut Option<Wish>) {
        self.waiting.extend(take_reply(wish).map(|reply| (awaited, reply)));
    }

    fn publish(&mut self, kind: EventKind) {
        let id = &self.held.id;
        match kind {
            EventKind::Exited => {}
            EventKind::Orphaned => tracing::warn!(%id, "its shim is dead; watching its init"),
            _ => tracing::debug!(%id, event = kind.name(), "changed"),
        }
        let mut info = self.info();
        // As it was at that moment, whatever follows at once.
        match kind {
            EventKind::Created => info.state = State::Created,
            EventKind::Started => info.state = State::Running,
            _ => {}
        }
        match (kind, &self.verdict) {
            // Its launch was undone.
            (EventKind::Removed, None) => self.cx.board.undone(info),
            _ => self.cx.board.publish(kind, info),
        }
    }

    /// Its exit has been told.
    fn after_exit(&mut self) {
        let Some(verdict) = &self.verdict else { return };
        let (status, source) = (verdict.record.status, verdict.record.source);
        tracing::info!(id = %self.held.id, %status, %source, "exited");
        if verdict.durable {
            self.let_go();
        }
        // Nothing rings any more, and two descriptors are free for somebody who lives.
        (self.fifo, self.shim, self.watch, self.slow) = (None, None, None, None);
        (self.kill_at, self.give_up_at, self.look_at, self.stuck_at) = (None, None, None, None);
    }

    /// Its status is on disk: nobody needs to hold its pidfd, or its zombie.
    pub(super) fn let_go(&self) {
        if let Some(name) = self.name() {
            self.cx.store.release(&name);
        }
        if let Some(watch) = &self.watch {
            watch.reap();
        }
    }

    fn death(&self) -> (ExitStatus, Source) {
        if self.never_began {
            return (ExitStatus::Unknown { reason: UnknownReason::NeverStarted }, Source::None);
        }
        let watched = self.watch.as_ref().and_then(|watch| watch.death(self.cx.info_exit));
        let zombie = || self.held.process.as_ref().and_then(watch::zombie);
        rules::how_it_ended(watched, zombie, self.is_foreign(), self.hung_up)
    }

    /// Makes the record that nobody else will make.
    pub(super) async fn record(&mut self, death: (ExitStatus, Source)) -> Option<Event> {
        let exited = self.died.or_else(|| (death.1 != Source::None).then(Stamp::now));
        let ((launch, init), dir) = (self.both(), self.dir());
        let name = format!("write the exit record of {}", launch.id);
        let work = move || of_death(&launch, init.as_ref(), &dir, death, exited);
        self.verdict = Some(Box::new(self.cx.tools.blocking.run(name, work).await));
        Some(Event::Exit)
    }

    fn start(&mut self) {
        let (cx, (launch, init), dir) = (self.cx.clone(), self.both(), self.dir());
        let started = Started { generation: launch.generation, at: Stamp::now() };
        self.started = Some(started.at);
        self.job = Some(Box::pin(async move {
            let path = dir.start();
            let name = format!("note the start of {}", launch.id);
            let noted = cx.tools.blocking.run(name, move || durable::write(&path, &started)).await;
            if let Err(e) = noted {
                return JobEnd::failed(Event::StartDone { ok: false }, format!("write {}: {e}", dir.start().display()));
            }
            let Some(runtime) = launch.workload.runtime() else {
                // What was noted stays: its process ends by itself, and its record says when that was.
                return match gate::start(&cx, &launch.id, init.as_ref(), dir).await {
                    Ok(()) => JobEnd::done(Event::StartDone { ok: true }),
                    Err(Refusal { code, text }) => {
                        JobEnd { exit_code: Some(code), ..JobEnd::failed(Event::StartDone { ok: false }, text) }
                    }
                };
            };
            let mut place = cx.tools.lanes.enter().await;
            let run = cx.tools.runtimes.run(runtime, "start", &[], &launch.id, cx.launch_timeout);
            let outcome = place.during(run).await;
            if !outcome.ok {
                let path = dir.start();
                let forget = move || std::fs::remove_file(path);
                let _ = cx.tools.blocking.run("forget a failed start", forget).await;
            }
            JobEnd::new(Event::StartDone { ok: outcome.ok }, (!outcome.ok).then_some(outcome.words))
        }));
    }

    fn bury(&mut self) {
        let grave = self.cx.layout.buried(&self.held.id, self.held.generation);
        let (cx, dir, id) = (self.cx.clone(), self.dir(), self.held.id.clone());
        let generation = self.held.generation;
        self.job = Some(Box::pin(async move {
            let remove = move || gc::bury(if is_anothers(&dir, generation) { &grave } else { &dir }, &grave);
            let removed = cx.tools.blocking.run(format!("remove {id}"), remove).await;
            let words = removed.as_ref().err().map(|e| format!("remove the files of {id}: {e}"));
            JobEnd::new(Event::Buried { ok: removed.is_ok() }, words)
        }));
    }

    fn signal(&mut self, signal: i32) -> Result<(), ApiError> {
        let id = self.held.id.clone();
        let gone = || ApiError::new(ErrorCode::NotRunning, format!("container {id} is not running: its init is gone"));
        self.signal_init(signal).map_err(|e| match e.raw_os_error() {
            Some(nix::libc::ESRCH) => gone(),
            Some(nix::libc::EINVAL) => ApiError::new(ErrorCode::Invalid, format!("there is no signal {signal}")),
            _ => ApiError::new(ErrorCode::Internal, format!("send signal {signal} to {id}: {e}")),
        })
    }

    /// SIGKILL, as far as it goes: what cannot be killed is seen to be alive.
    pub(super) fn kill(&mut self) {
        if let Err(e) = self.signal(nix::libc::SIGKILL) {
            tracing::debug!(id = %self.held.id, error = %e, "SIGKILL");
        }
        self.is_to_die();
        self.kill_at = None;
        self.give_up_at = Some(Instant::now() + DIES_WITHIN);
    }

    /// It was sent SIGKILL; what of ours could keep it from dying is taken out of its way.
    fn is_to_die(&mut self) {
        // What is frozen by its own freezer takes no signal.
        let at_it = self.thawing.as_ref().is_some_and(|thawing| !thawing.is_finished());
        if let (_, Some(init)) = self.both()
            && !at_it
        {
            let blocking = self.cx.tools.blocking.clone();
            let name = format!("thaw {}", self.held.id);
            self.thawing = Some(tokio::spawn(async move { blocking.run(name, move || gc::thaw(&init.cgroups)).await }));
        }
        self.stuck_at.get_or_insert(Instant::now() + DIES_SOON);
    }

    fn signal_then_kill(&mut self, wish: &mut Option<Wish>) {
        let Some(Wish { kind: WishKind::Stop { signal, timeout }, .. }) = *wish else { return };
        if let Err(e) = self.signal(signal) {
            if e.code == ErrorCode::Invalid {
                answer(take_reply(wish), || Err(e));
                return;
            }
            tracing::debug!(id = %self.held.id, error = %e, "stop");
        }
        let at = Instant::now() + timeout;
        self.kill_at = Some(self.kill_at.map_or(at, |earlier| earlier.min(at)));
    }
}

pub(super) fn take_reply(wish: &mut Option<Wish>) -> Option<oneshot::Sender<Answer>> {
    wish.take().map(|wish| wish.reply)
}

pub(super) fn answer(reply: Option<oneshot::Sender<Answer>>, answer: impl FnOnce() -> Answer) {
    if let Some(reply) = reply {
        // A client that has gone away wants no answer.
        let _ = reply.send(answer());
    }
}
