//! The exit FIFO.

use crate::{seats::Seat, sys};
use sexton_common::{
    ExitRecord,
    durable::{self, Damage},
};
use std::{
    fs::OpenOptions,
    future::poll_fn,
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::Path,
    task::{Context, Poll},
};
use tokio::io::unix::AsyncFd;

/// The reading end. The shim holds its own end open for reading and writing, so what it wrote survives our
/// restarts, and its death is a hang-up.
#[derive(Debug)]
pub struct Fifo {
    fd: AsyncFd<OwnedFd>,
    /// Gone with the descriptor, and after it.
    seat: Option<Seat>,
}

/// What the FIFO said.
#[derive(Debug, PartialEq, Eq)]
pub enum Ring {
    /// Bytes, at most as many as a record can have.
    Bytes(Vec<u8>),
    /// Nobody has it open for writing any more.
    HangUp,
    /// Its descriptor is needed elsewhere.
    Wanted,
}

impl Fifo {
    /// Opens it. Does not block.
    ///
    /// # Errors
    /// If it cannot be opened, is not a FIFO, or no descriptor is free.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
        let custom = i32::try_from(flags.bits()).unwrap_or_default();
        let file = OpenOptions::new().read(true).custom_flags(custom).open(path)?;
        if !file.metadata()?.file_type().is_fifo() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not a FIFO", path.display())));
        }
        Ok(Self { fd: sys::watch_reading(file.into())?, seat: None })
    }

    /// Kept open on that seat.
    #[must_use]
    pub fn on(self, seat: Seat) -> Self {
        Self { seat: Some(seat), ..self }
    }

    /// Waits until it says something. Cancel-safe. Only whoever polled it last is woken.
    ///
    /// # Errors
    /// If reading fails in another way than "not yet".
    pub async fn ring(&self) -> io::Result<Ring> {
        // Polled, since a future of the event loop's own takes ten times the room, and there is one for each container.
        poll_fn(|cx| self.poll_ring(cx)).await
    }

    fn poll_ring(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ring>> {
        while let Poll::Ready(ready) = self.fd.poll_read_ready(cx)? {
            let (mut ready, mut bytes) = (ready, [0; ExitRecord::MAX]);
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut bytes)?)) {
                Ok(Ok(0)) => return Poll::Ready(Ok(Ring::HangUp)),
                Ok(Ok(length)) => {
                    return Poll::Ready(Ok(Ring::Bytes(bytes.get(..length).unwrap_or_default().to_vec())));
                }
                Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(e)) => return Poll::Ready(Err(e)),
                Err(_would_block) => {}
            }
        }
        poll_wanted(self.seat.as_ref(), cx).map(|()| Ok(Ring::Wanted))
    }

    /// What it has to say right now, if anything.
    #[must_use]
    pub fn try_ring(&self) -> Option<Ring> {
        let mut bytes = [0; ExitRecord::MAX];
        let length = rustix::io::read(self.fd.get_ref(), &mut bytes).ok().filter(|&length| length > 0)?;
        bytes.get(..length).map(|said| Ring::Bytes(said.to_vec()))
    }
}

/// Ready once the seat is wanted back.
pub(super) fn poll_wanted(seat: Option<&Seat>, cx: &mut Context<'_>) -> Poll<()> {
    seat.map_or(Poll::Pending, |seat| seat.poll_wanted(cx))
}

/// What a doorbell of our own shim says.
///
/// # Errors
/// What is wrong with the bytes.
pub fn own(bytes: &[u8]) -> Result<ExitRecord, Damage> {
    durable::decode(bytes)
}

/// The exit code that a foreign shim wrote: four bytes in native order. iSulad's shim writes an `int`.
#[must_use]
pub fn foreign(bytes: &[u8]) -> Option<u8> {
    u8::try_from(i32::from_ne_bytes(bytes.try_into().ok()?)).ok()
}
