//! What follows from a ring at the door.

use super::{
    event::Event,
    facts::is_of,
    machine::Phase,
    rules::{self, Again, Then},
    task::{LOOK_AGAIN, REAPED_WITHIN, STARTED_WITHIN, Task},
};
use crate::{
    exit::{Verdict, read_exit, read_exit_at_once},
    watch::{self, InitWatch, Ring},
};
use sexton_common::{
    ExitRecord, ExitStatus, Init, Source, Stamp, UnknownReason,
    durable::{self, ReadError},
    identity::Presence,
};
use std::io;
use tokio::time::Instant;

impl Task {
    pub(super) fn is_foreign(&self) -> bool {
        self.held.is_foreign
    }

    pub(super) async fn on_ring(&mut self, ring: io::Result<Ring>) {
        match ring {
            Ok(Ring::Bytes(bytes)) if self.is_foreign() => self.on_foreign_code(&bytes).await,
            Ok(Ring::Bytes(bytes)) => {
                self.learn_init().await;
                // The bytes only say "look" (I2). Only where the disk has no record yet, because it is full or
                // broken, does what the shim said count.
                let said = watch::own(&bytes)
                    .ok()
                    .filter(|record| record.id == self.held.id && record.generation == self.held.generation);
                if self.look(said).await {
                    self.happen(Event::Exit).await;
                }
            }
            Ok(Ring::HangUp) => {
                self.fifo = None;
                self.hung_up = true;
                self.on_shim_death().await;
            }
            Ok(Ring::Wanted) => {
                // Watched by the other way first, so that nothing falls between the two.
                self.want_bell(true);
                self.fifo = None;
                self.slow.iter().for_each(|slow| slow.look_soon());
            }
            Err(e) => {
                tracing::error!(id = %self.held.id, error = %e, "the exit FIFO cannot be read: watching the shim itself");
                self.fifo = None;
                self.watch_shim_process();
            }
        }
    }

    async fn on_foreign_code(&mut self, bytes: &[u8]) {
        let death = match watch::foreign(bytes) {
            Some(code) => (ExitStatus::Code(code), Source::Reported),
            None => (ExitStatus::Unknown { reason: UnknownReason::ForeignMalformed }, Source::None),
        };
        self.conclude(death).await;
    }

    async fn conclude(&mut self, death: (ExitStatus, Source)) {
        if self.verdict.is_some() {
            return;
        }
        self.died.get_or_insert_with(Stamp::now);
        if let Some(event) = self.record(death).await {
            self.happen(event).await;
        }
    }

    /// The shim's announcement may have been lost, or may never have come: what it wrote counts.
    pub(super) async fn learn_init(&mut self) {
        if self.held.process.is_some() {
            return;
        }
        let path = self.dir().init();
        let name = format!("read what was created for {}", self.held.id);
        let read = self.cx.tools.blocking.run(name, move || durable::read::<Init>(&path)).await;
        match read {
            Ok(Some(init)) => self.on_announcement(init, None).await,
            Ok(None) => {}
            Err(ReadError::Damaged { path, damage }) => {
                tracing::error!(id = %self.held.id, file = %path.display(), %damage, "a state file does not decode");
                super::quarantine(&self.cx.layout, &path, &format!("{}.init", self.held.id));
            }
            Err(e) => tracing::error!(id = %self.held.id, error = %e, "what was created cannot be read now"),
        }
    }

    /// The shim hung up, or died.
    pub(super) async fn on_shim_death(&mut self) {
        self.learn_init().await;
        if self.look(None).await {
            return self.happen(Event::Exit).await;
        }
        match self.held.shim.look() {
            Ok(Presence::Alive(_)) if self.is_foreign() => {
                // It closed its FIFO on purpose, and said nothing.
                self.conclude((ExitStatus::Unknown { reason: UnknownReason::ForeignHangUp }, Source::None)).await;
            }
            Ok(Presence::Alive(_)) => self.watch_shim_process(),
            Ok(Presence::Zombie(..) | Presence::Gone) => {
                // Its last acts may have come between our look at the files and our look at it.
                self.learn_init().await;
                if self.look(None).await {
                    return self.happen(Event::Exit).await;
                }
                // It may have undone its launch, and its name may be another run's by now.
                let (dir, generation) = (self.dir(), self.held.generation);
                let lies = self.cx.tools.blocking.run("look at the launch", move || is_of(&dir, generation)).await;
                self.happen(if lies { Event::ShimGone } else { Event::Vanished }).await;
            }
            Err(e) => {
                tracing::warn!(id = %self.held.id, error = %e, "the shim cannot be looked at now");
                self.look_at = Some(Instant::now() + LOOK_AGAIN);
            }
        }
    }

    /// Whether an exit record is at hand: on disk, or else in what the shim said, if init is really dead.
    pub(super) async fn look(&mut self, said: Option<ExitRecord>) -> bool {
        if self.verdict.is_some() {
            return true;
        }
        let (dir, generation) = (self.dir(), self.held.generation);
        // Somebody waits for it: not for a thread too.
        if let Some(record) = read_exit_at_once(&dir, generation) {
            self.verdict = Some(Box::new(Verdict { record, durable: true }));
            return true;
        }
        let name = format!("read the exit record of {}", self.held.id);
        let read = self.cx.tools.blocking.run(name, move || read_exit(&dir, generation)).await;
        let durable = match read {
            Ok(record) => record,
            Err(ReadError::Damaged { path, damage }) => {
                tracing::error!(id = %self.held.id, file = %path.display(), %damage, "the exit record does not decode");
                super::quarantine(&self.cx.layout, &path, &format!("{}.exit", self.held.id));
                None
            }
            Err(e) => {
                tracing::error!(id = %self.held.id, error = %e, "the exit record cannot be read now");
                None
            }
        };
        let process = self.held.process;
        let dead = |record: &ExitRecord| {
            let alive = record.process.is_some_and(|p| matches!(p.look(), Ok(Presence::Alive(_))));
            rules::said_counts(process.as_ref(), record.process.as_ref(), alive)
        };
        self.verdict = match durable {
            Some(record) => Some(Verdict { record, durable: true }),
            None => said.filter(dead).map(|record| Verdict { record, durable: false }),
        }
        .map(Box::new);
        self.verdict.is_some()
    }

    /// Dead for long, and still not reaped by its own shim.
    fn lingers(&self) -> bool {
        let dead = match (&self.watch, &self.held.process) {
            (Some(watch), _) => watch.is_dead(),
            (None, Some(process)) => watch::zombie(process).is_some(),
            (None, None) => false,
        };
        // Its time is not over while there is a look to come.
        dead && !self.is_foreign() && !self.reaped && self.died.is_some() && self.look_at.is_none()
    }

    /// Whether its parent reaps it soon, after which the kernel tells us how it ended; neither we nor our keeper do
    /// before its status is on disk.
    pub(super) fn is_reaped_by_others(&self) -> bool {
        let parent = self.watch.as_ref().and_then(InitWatch::parent);
        self.cx.info_exit && parent != Some(std::process::id()) && (parent.is_none() || parent != self.cx.keeper)
    }

    /// Its shim is dead: from now on only the kernel can tell.
    pub(super) fn on_orphaned(&mut self) {
        self.want_bell(false);
        if self.watch.is_none() {
            self.watch_init(None);
        }
        self.watch.iter_mut().for_each(InitWatch::is_all_there_is);
        let reaped_by_others = self.is_reaped_by_others();
        match rules::on_orphaned(self.watch.as_ref().map(InitWatch::is_dead), self.reaped, reaped_by_others) {
            Then::Wait if self.may_wait_for_ever() => self.look_at = Some(Instant::now() + STARTED_WITHIN),
            Then::Wait => {}
            Then::GiveReaperTime | Then::GiveShimTime => self.look_at = Some(Instant::now() + REAPED_WITHIN),
            Then::Act => self.look_at = Some(Instant::now()),
        }
    }

    /// The slow way, for when a watch could not be set up, or has not told.
    pub(super) async fn look_again(&mut self) {
        if self.verdict.is_some() {
            return;
        }
        if self.watch.is_none() {
            self.watch_init(None);
        }
        if self.machine.phase == Phase::Orphaned {
            if self.init_is_dead() && self.look_at.is_none() {
                self.happen(Event::InitGone).await;
            } else {
                self.end_unless_begun().await;
            }
            return;
        }
        if let Some(bytes) = self.fifo.as_ref().and_then(watch::Fifo::try_ring) {
            return self.on_ring(Ok(bytes)).await;
        }
        let shim_dead = matches!(self.held.shim.look(), Ok(Presence::Gone | Presence::Zombie(..)));
        let listens = self.fifo.is_some() || self.shim.is_some();
        match rules::look_again(shim_dead, listens, self.lingers()) {
            Again::Wait => {}
            Again::ShimDied if self.is_foreign() => self.happen(Event::ShimGone).await,
            Again::ShimDied => {
                self.fifo = None;
                self.on_shim_death().await;
            }
            Again::WatchShim => self.watch_shim(),
            Again::Lingers => self.happen(Event::InitLingers).await,
        }
    }
}
