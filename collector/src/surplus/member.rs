//! One container of the surplus, as its task has it.

use super::{Subject, Surplus};
use crate::seats::{Place, Rank, Seat};
use std::sync::Arc;
use tokio::sync::Notify;

/// A container's membership.
#[derive(Debug)]
pub struct Member {
    surplus: Arc<Surplus>,
    key: u64,
    look: Arc<Notify>,
    pidfd: Option<Place>,
    bell: Option<Place>,
}

/// What a member hears.
#[derive(Debug)]
pub enum Tidings {
    /// Something may have happened: look.
    Look,
    /// A seat for init's pidfd.
    Pidfd(Seat),
    /// A seat for the doorbell.
    Bell(Seat),
}

impl Member {
    pub(super) fn new(surplus: Arc<Surplus>, key: u64, look: Arc<Notify>) -> Self {
        Self { surplus, key, look, pidfd: None, bell: None }
    }

    /// Waits for something. Cancel-safe.
    pub async fn next(&mut self) -> Tidings {
        let (pidfd, bell) = (self.pidfd.as_mut(), self.bell.as_mut());
        let tidings = tokio::select! {
            biased;
            Some(seat) = seat(pidfd) => Tidings::Pidfd(seat),
            () = self.look.notified() => Tidings::Look,
            Some(seat) = seat(bell) => Tidings::Bell(seat),
        };
        match &tidings {
            Tidings::Pidfd(_) => self.pidfd = None,
            Tidings::Bell(_) => self.bell = None,
            Tidings::Look => {}
        }
        tidings
    }

    /// Wants a seat for init's pidfd, or none.
    pub fn want_pidfd(&mut self, rank: Option<Rank>) {
        self.surplus.line_up(&mut self.pidfd, rank);
    }

    /// Wants a seat for a doorbell, or none.
    pub fn want_bell(&mut self, rank: Option<Rank>) {
        self.surplus.line_up(&mut self.bell, rank);
    }

    /// Has itself told to look.
    pub fn look_soon(&self) {
        self.look.notify_one();
    }

    /// Whether it wants any.
    #[must_use]
    pub fn wants(&self) -> bool {
        self.pidfd.is_some() || self.bell.is_some()
    }

    /// Whom to look at from now on.
    pub fn look_at(&self, subject: Subject) {
        if let Some(entry) = self.surplus.lock().all.get_mut(&self.key) {
            entry.subject = subject;
        }
    }
}

async fn seat(place: Option<&mut Place>) -> Option<Seat> {
    Some(place?.seat().await)
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut members = self.surplus.lock();
        let Some(entry) = members.all.remove(&self.key) else { return };
        if let (Some(directory), Some(directories)) = (entry.directory, &self.surplus.directories)
            && members.by_directory.remove(&directory).is_some()
        {
            directories.forget(directory);
        }
    }
}
