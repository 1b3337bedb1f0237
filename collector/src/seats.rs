//! Seats: descriptors that may be kept open for watching containers.
//!
//! There are as many as the budget says. Who keeps a descriptor open has a seat beside it, and gives it back by
//! dropping both. Some are worth more than others: when none is free, one of less worth is asked back. Who gets
//! none waits in line; those whose descriptor is worth most come first.

use rustix::io::Errno;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};
use tokio::sync::oneshot;

/// What a descriptor is worth, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A doorbell, for which inotify is nearly as good.
    Bell,
    /// The pidfd of an init whose shim lives: it has the status should the shim be killed.
    Pidfd,
    /// Nothing else has what it tells: the pidfd of an init without a shim, a foreign shim's FIFO. Never asked back.
    Sole,
}

const RANKS: usize = 3;

/// See the module.
#[derive(Clone, Debug)]
pub struct Seats(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    total: usize,
    overdraft: usize,
    next: u64,
    /// Those that may be asked back, the eldest first; and whom to wake then.
    taken: [BTreeMap<u64, Option<Waker>>; RANKS],
    /// Those that have been asked back, and are not free yet.
    asked: usize,
    line: [BTreeMap<u64, oneshot::Sender<Seat>>; RANKS],
}

impl Inner {
    fn used(&self) -> usize {
        self.taken.iter().map(BTreeMap::len).sum::<usize>() + self.asked
    }

    fn key(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Asks one back that is worth less than `rank`.
    fn ask_back(&mut self, rank: Rank) -> bool {
        let Some((_, waker)) = self.taken[..rank as usize].iter_mut().find_map(BTreeMap::pop_first) else {
            return false;
        };
        self.asked += 1;
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// More are taken than there are: as many are asked back.
    fn balance(&mut self) {
        while self.used() - self.asked > self.total && self.ask_back(Rank::Sole) {}
    }

    /// The first in line, if there is a seat for it.
    fn first_in_line(&mut self) -> Option<(Rank, oneshot::Sender<Seat>)> {
        if self.used() >= self.total {
            return None;
        }
        let ranks = [Rank::Sole, Rank::Pidfd, Rank::Bell];
        ranks.into_iter().find_map(|rank| Some((rank, self.line[rank as usize].pop_first()?.1)))
    }
}

impl Seats {
    /// So many, and so many more for a moment.
    #[must_use]
    pub fn new(total: usize, overdraft: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner { total, overdraft, ..Inner::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat at once, or none. May overdraw by a few until one that was asked back is free, or for what nothing
    /// else can tell.
    #[must_use]
    pub fn take(&self, rank: Rank) -> Option<Seat> {
        let mut inner = self.lock();
        if inner.used() >= inner.total {
            let may = rank != Rank::Bell && inner.used() < inner.total + inner.overdraft;
            if !may || !(inner.ask_back(rank) || rank == Rank::Sole) {
                return None;
            }
        }
        Some(self.seat(&mut inner, rank))
    }

    fn seat(&self, inner: &mut Inner, rank: Rank) -> Seat {
        let key = inner.key();
        inner.taken[rank as usize].insert(key, None);
        Seat { seats: self.clone(), rank, key }
    }

    /// A place in line for a seat.
    #[must_use]
    pub fn wait(&self, rank: Rank) -> Place {
        let (sender, seat) = oneshot::channel();
        let mut inner = self.lock();
        let key = inner.key();
        inner.line[rank as usize].insert(key, sender);
        drop(inner);
        // One may have come free since it was asked for.
        self.serve();
        Place { seats: self.clone(), rank, key, seat }
    }

    /// The limit may have changed, or the kernel may have enough again.
    pub fn resize(&self, total: usize, overdraft: usize) {
        let mut inner = self.lock();
        (inner.total, inner.overdraft) = (total, overdraft);
        inner.balance();
        drop(inner);
        self.serve();
    }

    fn serve(&self) {
        loop {
            let mut inner = self.lock();
            let Some((rank, place)) = inner.first_in_line() else { return };
            let seat = self.seat(&mut inner, rank);
            drop(inner);
            // Who has gone meanwhile gives it back by dropping it.
            drop(place.send(seat));
        }
    }

    /// How many there are, and how many are taken.
    #[must_use]
    pub fn figures(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.total, inner.used())
    }
}

/// Lets its owner keep one descriptor open.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    rank: Rank,
    key: u64,
}

impl Seat {
    /// Ready once somebody needs it more. Only whoever polled it last is woken.
    pub fn poll_wanted(&self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        let mut inner = self.seats.lock();
        let Some(waker) = inner.taken[self.rank as usize].get_mut(&self.key) else { return Poll::Ready(()) };
        match waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// What it is kept for is worth more now.
    pub fn raise(&mut self, rank: Rank) {
        let mut inner = self.seats.lock();
        match inner.taken[self.rank as usize].remove(&self.key) {
            Some(waker) => drop(inner.taken[rank as usize].insert(self.key, waker)),
            // It has been asked back: it stays, and another one goes if need be.
            None => {
                inner.asked -= 1;
                inner.taken[rank as usize].insert(self.key, None);
                inner.balance();
            }
        }
        self.rank = rank;
    }

    /// The kernel gives no descriptor, whatever the limit says: there are no more seats than are taken without
    /// this one, until the next [`Seats::resize`].
    pub fn refused(self) {
        let mut inner = self.seats.lock();
        inner.total = inner.total.min(inner.used() - 1);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.seats.lock();
        if inner.taken[self.rank as usize].remove(&self.key).is_none() {
            inner.asked -= 1;
        }
        drop(inner);
        self.seats.serve();
    }
}

/// A place in line; given up by dropping it.
#[derive(Debug)]
pub struct Place {
    seats: Seats,
    rank: Rank,
    key: u64,
    seat: oneshot::Receiver<Seat>,
}

impl Place {
    /// For what.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Waits for the seat. Cancel-safe.
    pub async fn seat(&mut self) -> Seat {
        match (&mut self.seat).await {
            Ok(seat) => seat,
            // It has been handed out already.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats.lock().line[self.rank as usize].remove(&self.key);
    }
}

/// Whether this is a want of descriptors, or of memory for one, rather than anything about the file.
#[must_use]
pub fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    // ENOSPC: the event loop may watch no more (fs.epoll.max_user_watches).
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOSPC))
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
