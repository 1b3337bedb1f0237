//! Setting up what tells of a container: descriptors where there are seats for them, else the slower way.

use super::{
    event::Event,
    machine::Phase,
    task::{FOREIGN_TELLS_WITHIN, LOOK_AGAIN, Task},
};
use crate::{
    seats::{Rank, Seat, is_shortage},
    store::Name,
    surplus::{Subject, Tidings},
    sys,
    watch::{Fifo, InitWatch, Ring, Watched},
};
use sexton_common::{Stamp, identity::Presence, launch::Origin};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};
use tokio::time::Instant;

impl Task {
    /// Its init's name in the descriptor store.
    pub(super) fn name(&self) -> Option<Name> {
        self.held.process.as_ref().map(Name::of)
    }

    /// Watches init. If it is gone already there is nothing to watch: its shim will tell, or has told.
    pub(super) fn watch_init(&mut self, pidfd: Option<OwnedFd>) {
        if self.held.process.is_some() {
            let rank = self.rank_of_pidfd();
            match self.cx.seat(rank) {
                Some(seat) => self.watch_init_on(seat, pidfd),
                None => {
                    self.store_unwatched(pidfd);
                    self.want_pidfd(Some(rank));
                }
            }
        }
    }

    /// The service manager may have a descriptor to spare where we have none.
    fn store_unwatched(&self, pidfd: Option<OwnedFd>) {
        let Some(process) = self.held.process.filter(|_| self.cx.store.len().is_some()) else { return };
        let passed = pidfd.filter(|fd| process.is(fd));
        if let Some(fd) = passed.or_else(|| process.open().ok().flatten()) {
            self.cx.store.keep(&Name::of(&process), fd.as_fd());
        }
    }

    /// Without a shim only the kernel has the status, and only for who has the pidfd.
    fn rank_of_pidfd(&self) -> Rank {
        if self.machine.phase == Phase::Orphaned || self.died.is_some() { Rank::Sole } else { Rank::Pidfd }
    }

    fn watch_init_on(&mut self, seat: Seat, pidfd: Option<OwnedFd>) {
        let Some(process) = self.held.process else { return };
        match InitWatch::open(process, pidfd) {
            Ok(watch) => {
                if let Some(watch) = &watch {
                    self.cx.store.keep(&Name::of(&process), watch.fd());
                }
                self.watch = watch.map(|watch| watch.on(seat));
                self.want_pidfd(None);
            }
            Err(e) if is_shortage(&e) => self.refused(&e, seat, |task| task.want_pidfd(Some(task.rank_of_pidfd()))),
            Err(e) => {
                tracing::warn!(id = %self.held.id, error = %e, "init cannot be watched now; looking again every second");
                self.look_at = Some(Instant::now() + LOOK_AGAIN);
            }
        }
    }

    fn refused(&mut self, error: &io::Error, seat: Seat, wait: impl FnOnce(&mut Self)) {
        tracing::debug!(id = %self.held.id, error = %error, "no descriptor");
        seat.refused();
        wait(self);
    }

    /// Watches the shim through its FIFO; where that cannot tell, through its pidfd.
    pub(super) fn watch_shim(&mut self) {
        match self.cx.seat(self.rank_of_bell()) {
            Some(seat) => self.watch_shim_on(seat),
            None => self.want_bell(true),
        }
    }

    /// A foreign shim writes its container's code into its FIFO and nowhere else, and dies if nobody has it open.
    fn rank_of_bell(&self) -> Rank {
        if self.is_foreign() { Rank::Sole } else { Rank::Bell }
    }

    fn watch_shim_on(&mut self, seat: Seat) {
        let path = match self.both().0.origin {
            Origin::Sexton => self.dir().exit_fifo(),
            Origin::Foreign { fifo } => fifo,
        };
        match Fifo::open(&path) {
            Ok(fifo) => {
                self.fifo = Some(fifo.on(seat));
                self.want_bell(false);
                // A writer that was gone before we opened it will never hang up on us.
                match self.held.shim.look() {
                    // It may be dying: a killed process closes its files a moment before it is a zombie.
                    Ok(Presence::Alive(_)) if !self.is_foreign() => self.look_at = Some(Instant::now() + LOOK_AGAIN),
                    Ok(Presence::Alive(_)) => {}
                    _ if self.is_foreign() && self.watch.is_some() => {}
                    _ if self.is_foreign() => self.look_at = Some(Instant::now() + FOREIGN_TELLS_WITHIN),
                    _ => self.look_at = Some(Instant::now()),
                }
            }
            Err(e) if is_shortage(&e) => self.refused(&e, seat, |task| task.want_bell(true)),
            Err(e) => {
                tracing::warn!(id = %self.held.id, fifo = %path.display(), error = %e, "the exit FIFO cannot be opened: watching the shim itself");
                drop(seat);
                self.watch_shim_process();
            }
        }
    }

    pub(super) fn watch_shim_process(&mut self) {
        let Some(seat) = self.cx.seat(Rank::Bell) else { return self.want_bell(true) };
        match InitWatch::open(self.held.shim, None) {
            Ok(Some(shim)) => {
                self.shim = Some(Box::new(shim.on(seat)));
                self.want_bell(false);
            }
            // Gone: `look_again` sees that too, and acts on it.
            Ok(None) => self.look_at = Some(Instant::now()),
            Err(e) if is_shortage(&e) => self.refused(&e, seat, |task| task.want_bell(true)),
            Err(_) => self.look_at = Some(Instant::now() + LOOK_AGAIN),
        }
    }

    fn want_pidfd(&mut self, rank: Option<Rank>) {
        if rank.is_some() && self.slow.is_none() {
            self.slow = Some(Box::new(self.cx.surplus.join(self.dir())));
        }
        if let Some(slow) = &mut self.slow {
            slow.want_pidfd(rank);
        }
        self.tell_slow();
    }

    pub(super) fn want_bell(&mut self, wanted: bool) {
        let rank = wanted.then(|| self.rank_of_bell());
        if wanted && self.slow.is_none() {
            self.slow = Some(Box::new(self.cx.surplus.join(self.dir())));
        }
        if let Some(slow) = &mut self.slow {
            slow.want_bell(rank);
        }
        self.tell_slow();
    }

    /// What the slower way is to look at; nothing, where nothing is missing any more.
    fn tell_slow(&mut self) {
        let bell = self.fifo.is_some() || self.shim.is_some() || self.machine.phase == Phase::Orphaned;
        let subject = Subject {
            shim: (!bell).then_some(self.held.shim),
            init: self.held.process.filter(|_| self.watch.is_none()),
            unborn: self.held.process.is_none(),
        };
        match &self.slow {
            Some(slow) if slow.wants() => slow.look_at(subject),
            _ => self.slow = None,
        }
    }

    pub(super) async fn on_tidings(&mut self, tidings: Tidings) {
        match tidings {
            Tidings::Pidfd(seat) => self.watch_init_on(seat, None),
            Tidings::Bell(seat) => self.watch_shim_on(seat),
            Tidings::Look => {}
        }
        // Whatever happened before the new descriptor was there is found now.
        self.learn_init().await;
        if self.look(None).await {
            return self.happen(Event::Exit).await;
        }
        if self.init_is_dead() {
            self.on_death_unwatched().await;
        }
        self.look_again().await;
        self.tell_slow();
    }

    async fn on_death_unwatched(&mut self) {
        self.ask_unwatched_fifo().await;
        if self.watch.is_none() && self.died.is_none() && self.machine.phase != Phase::Orphaned {
            self.died = Some(Stamp::now());
            self.on_init_death(Watched::Zombie).await;
        }
    }

    /// Init is dead and there is no record: its shim may have found the disk full, and have told it by the FIFO
    /// alone, which is opened for a moment.
    async fn ask_unwatched_fifo(&mut self) {
        if self.fifo.is_some() || self.is_foreign() {
            return;
        }
        let said = Fifo::open(&self.dir().exit_fifo()).ok().and_then(|fifo| fifo.try_ring());
        if let Some(said @ Ring::Bytes(_)) = said {
            self.on_ring(Ok(said)).await;
        }
    }

    /// Whether init is known to be dead, reaped or not; `false` where it cannot be looked at.
    pub(super) fn init_is_dead(&self) -> bool {
        match (&self.watch, self.held.process) {
            (Some(watch), _) => watch.is_dead(),
            (None, Some(process)) => matches!(process.look(), Ok(Presence::Gone | Presence::Zombie(..))),
            (None, None) => false,
        }
    }

    /// Somebody needs the pidfd more.
    pub(super) fn yield_pidfd(&mut self) {
        self.watch = None;
        self.want_pidfd(Some(self.rank_of_pidfd()));
    }

    /// Signals init, with a pidfd for the moment where none is kept.
    pub(super) fn signal_init(&self, signal: i32) -> io::Result<()> {
        let gone = || io::Error::from(rustix::io::Errno::SRCH);
        match (&self.watch, self.held.process) {
            (Some(watch), _) => watch.signal(signal),
            (None, Some(process)) => {
                let pidfd = process.open()?.ok_or_else(gone)?;
                sys::pidfd_send_signal(pidfd.as_fd(), signal)
            }
            (None, None) => Err(gone()),
        }
    }
}
