//! The exit FIFO.

use crate::{seats::Seat, sys};
use sexton_common::{
    ExitRecord,
    durable::{self, Damage},
};
use std::{
    fs::OpenOptions,
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::Path,
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

    /// Waits until it says something. Cancel-safe.
    ///
    /// # Errors
    /// If reading fails in another way than "not yet".
    pub async fn ring(&self) -> io::Result<Ring> {
        loop {
            let mut ready = tokio::select! {
                biased;
                ready = self.fd.readable() => ready?,
                () = wanted(self.seat.as_ref()) => return Ok(Ring::Wanted),
            };
            let mut bytes = [0; ExitRecord::MAX];
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut bytes)?)) {
                Ok(Ok(0)) => return Ok(Ring::HangUp),
                Ok(Ok(length)) => return Ok(Ring::Bytes(bytes.get(..length).unwrap_or_default().to_vec())),
                Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(e)) => return Err(e),
                Err(_would_block) => {}
            }
        }
    }

    /// What it has to say right now, if anything.
    #[must_use]
    pub fn try_ring(&self) -> Option<Ring> {
        let mut bytes = [0; ExitRecord::MAX];
        let length = rustix::io::read(self.fd.get_ref(), &mut bytes).ok().filter(|&length| length > 0)?;
        bytes.get(..length).map(|said| Ring::Bytes(said.to_vec()))
    }
}

/// Waits until the seat is wanted back.
pub(super) async fn wanted(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.wanted().await,
        None => std::future::pending().await,
    }
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
