//! A container's init, watched through its pidfd.

use super::fifo::poll_wanted;
use crate::{
    seats::{Rank, Seat},
    sys,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use sexton_common::{
    ExitStatus, ProcessIdentity, Source,
    identity::{Presence, Stat},
};
use std::{
    future::poll_fn,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    task::{Context, Poll},
};
use tokio::io::unix::AsyncFd;

/// The pidfd of a process whose identity was checked (I6).
#[derive(Debug)]
pub struct InitWatch {
    identity: ProcessIdentity,
    fd: AsyncFd<OwnedFd>,
    /// Gone with the descriptor, and after it.
    seat: Option<Seat>,
}

/// What a process that is watched did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// It is dead, and a zombie.
    Zombie,
    /// It has been reaped.
    Reaped,
    /// Nothing, but its descriptor is needed elsewhere.
    Wanted,
}

/// What is known of a process' end.
pub type Death = Option<(ExitStatus, Source)>;

impl InitWatch {
    /// Opens the process; with a pidfd that somebody passed on, if the process is gone by now but that is
    /// its pidfd. `None` if the process is gone.
    ///
    /// # Errors
    /// Anything else, e.g. no free descriptor.
    pub fn open(identity: ProcessIdentity, passed: Option<OwnedFd>) -> io::Result<Option<Self>> {
        let fd = match identity.open()? {
            Some(fd) => fd,
            None => match passed {
                Some(fd) if identity.is(&fd) => fd,
                _ => return Ok(None),
            },
        };
        Ok(Some(Self { identity, fd: sys::watch_reading(fd)?, seat: None }))
    }

    /// Kept open on that seat.
    #[must_use]
    pub fn on(self, seat: Seat) -> Self {
        Self { seat: Some(seat), ..self }
    }

    /// Nobody else can tell any more what it tells.
    pub fn is_all_there_is(&mut self) {
        if let Some(seat) = &mut self.seat {
            seat.raise(Rank::Sole);
        }
    }

    /// Waits for its next step towards the grave. Cancel-safe. Only whoever polled it last is woken.
    ///
    /// # Errors
    /// If the reactor is gone.
    pub async fn step(&self) -> io::Result<Watched> {
        poll_fn(|cx| self.poll_step(cx)).await
    }

    fn poll_step(&self, cx: &mut Context<'_>) -> Poll<io::Result<Watched>> {
        while let Poll::Ready(mut ready) = self.fd.poll_read_ready(cx)? {
            // Linux wakes with IN when the whole process is dead, and with HUP when it has been reaped.
            let reaped = ready.ready().is_read_closed();
            let readable = ready.ready().is_readable();
            // Only for the edge: the next one is the reaping.
            ready.clear_ready();
            if reaped {
                return Poll::Ready(Ok(Watched::Reaped));
            }
            if readable {
                return Poll::Ready(Ok(Watched::Zombie));
            }
        }
        poll_wanted(self.seat.as_ref(), cx).map(|()| Ok(Watched::Wanted))
    }

    /// How it ended, if the kernel still says so; with `info_exit` it is asked about the reaped, too. Does not wait.
    #[must_use]
    pub fn death(&self, info_exit: bool) -> Death {
        let told = || {
            let raw = if info_exit { sys::pidfd_exit_status(self.fd.get_ref().as_fd()) } else { None };
            raw.map(|raw| (ExitStatus::from_raw(raw), Source::Pidfd))
        };
        // Asked again at the end: it may be reaped while the others are asked.
        told().or_else(|| self.waited()).or_else(|| zombie(&self.identity)).or_else(told)
    }

    /// As its parent knows it, if we have become that (waitid(2) with `P_PIDFD`, Linux 5.4).
    fn waited(&self) -> Death {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::PidFd(self.fd.get_ref().as_fd()), how).ok()??;
        let byte = |number: Option<i32>| number.and_then(|number| u8::try_from(number & 0xff).ok());
        let signal = |number| ExitStatus::Signal { number, core_dumped: status.dumped() };
        let code = byte(status.exit_status()).map(ExitStatus::Code);
        Some((code.or_else(|| byte(status.terminating_signal()).map(signal))?, Source::Waited))
    }

    /// If we have become its parent, reaps it. Does not wait.
    pub fn reap(&self) {
        // Somebody else's child is somebody else's to reap.
        let _ = waitid(WaitId::PidFd(self.fd.get_ref().as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    }

    /// The descriptor; it stays ours.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }

    /// Whose child it is now.
    #[must_use]
    pub fn parent(&self) -> Option<u32> {
        Stat::of(self.identity.pid).ok().flatten().map(|stat| stat.ppid)
    }

    /// Signals it.
    ///
    /// # Errors
    /// `ESRCH` if it has been reaped, `EINVAL` if there is no such signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        sys::pidfd_send_signal(self.fd.get_ref().as_fd(), signal)
    }

    /// Whether it is dead, reaped or not.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        !matches!(self.identity.look(), Ok(Presence::Alive(_)) | Err(_))
    }
}

/// How an unreaped process ended.
#[must_use]
pub fn zombie(identity: &ProcessIdentity) -> Death {
    match identity.look() {
        Ok(Presence::Zombie(_, raw)) => Some((ExitStatus::from_raw(raw), Source::Zombie)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[tokio::test]
    async fn both_steps_are_seen_and_the_status_is_exact() {
        let mut child =
            Command::new("sh").args(["-c", "read x; exit 7"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let watch = InitWatch::open(ProcessIdentity::of(child.id()).unwrap(), None).unwrap().unwrap();
        drop(child.stdin.take());
        assert_eq!(watch.step().await.unwrap(), Watched::Zombie);
        assert!(watch.is_dead());
        assert_eq!(watch.death(true), Some((ExitStatus::Code(7), Source::Waited)), "our own child");
        assert_eq!(zombie(&watch.identity), Some((ExitStatus::Code(7), Source::Zombie)));
        child.wait().unwrap();
        if crate::probe::Probe::run().pidfd_info_exit {
            assert_eq!(watch.step().await.unwrap(), Watched::Reaped);
            assert_eq!(watch.death(true), Some((ExitStatus::Code(7), Source::Pidfd)));
        }
        assert_eq!(watch.death(false), None, "as on an older kernel");
    }

    #[tokio::test]
    async fn a_child_of_ours_is_waited_for_and_reaped() {
        for (script, expected) in
            [("exit 255", ExitStatus::Code(255)), ("kill -9 $$", ExitStatus::Signal { number: 9, core_dumped: false })]
        {
            #[expect(clippy::zombie_processes, reason = "the watch reaps it")]
            let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
            let watch = InitWatch::open(ProcessIdentity::of(child.id()).unwrap(), None).unwrap().unwrap();
            assert_eq!(watch.parent(), Some(std::process::id()));
            assert_eq!(watch.step().await.unwrap(), Watched::Zombie);
            for _ in 0..2 {
                assert_eq!(watch.death(false), Some((expected, Source::Waited)));
            }
            watch.reap();
            assert_eq!((watch.death(false), watch.parent()), (None, None));
        }
    }

    #[tokio::test]
    async fn a_passed_pidfd_counts_only_if_it_is_that_process() {
        let mut child = Command::new("true").spawn().unwrap();
        let (identity, fd) = ProcessIdentity::open_pid(child.id()).unwrap();
        let (_, own) = ProcessIdentity::open_pid(std::process::id()).unwrap();
        child.wait().unwrap();
        assert!(InitWatch::open(identity, None).unwrap().is_none());
        assert!(InitWatch::open(identity, Some(own)).unwrap().is_none());
        assert_eq!(InitWatch::open(identity, Some(fd)).unwrap().is_some(), identity.pidfs_inode.is_some());
    }
}
