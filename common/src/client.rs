//! A blocking client of the collector.

use crate::{
    Layout,
    wire::{self, MAX_FRAME, Reply, Request},
};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use std::{
    io::{self, IoSlice, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

/// A connection. One request at a time.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
}

impl Client {
    /// Connects. Fails at once if nobody listens; if the collector's queue of connections is full it waits.
    ///
    /// # Errors
    /// `NotFound` or `ConnectionRefused` if no collector runs; else what `connect(2)` says.
    pub fn connect(layout: &Layout) -> io::Result<Self> {
        Ok(Self { stream: UnixStream::connect(layout.socket())? })
    }

    /// As [`Client::connect`], but waits at most this long, and then as long for each message that is sent.
    ///
    /// # Errors
    /// As [`Client::connect`], and `WouldBlock` if it takes too long; a timeout of zero is invalid.
    pub fn connect_within(layout: &Layout, timeout: Duration) -> io::Result<Self> {
        let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let stream = UnixStream::from(socket);
        // connect(2) heeds the time for sending.
        stream.set_write_timeout(Some(timeout))?;
        connect(stream.as_raw_fd(), &UnixAddr::new(&layout.socket())?)?;
        Ok(Self { stream })
    }

    /// How long [`Client::receive`] waits for each reply; for ever if `None`.
    ///
    /// # Errors
    /// As `setsockopt(2)`; a timeout of zero is invalid.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_read_timeout(timeout)?;
        self.stream.set_write_timeout(timeout)
    }

    /// Asks and waits for the first reply. An error of the collector's is a [`Reply::Error`].
    ///
    /// # Errors
    /// If the connection broke, the reply took too long (`WouldBlock`) or makes no sense.
    pub fn call(&mut self, request: &Request) -> io::Result<Reply> {
        self.send(request, &[])?;
        self.receive()
    }

    /// Asks, with descriptors that the collector gets copies of.
    ///
    /// # Errors
    /// If the request is too long or the connection broke.
    pub fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = wire::encode(request)?;
        let raw: Vec<_> = fds.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[] } else { &rights[..] };
        let sent =
            sendmsg::<()>(self.stream.as_raw_fd(), &[IoSlice::new(&frame)], control, MsgFlags::MSG_NOSIGNAL, None)?;
        self.stream.write_all(&frame[sent..])
    }

    /// Waits for a reply.
    ///
    /// # Errors
    /// If the connection broke, the reply took too long (`WouldBlock`) or makes no sense.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the reply is longer than 64 KiB"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        wire::decode(&body)
    }

    /// As [`Client::receive`], but gives up at `deadline`.
    ///
    /// # Errors
    /// `TimedOut` past the deadline, else as [`Client::receive`].
    pub fn receive_until(&mut self, deadline: Instant) -> io::Result<Reply> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.set_timeout(Some(left))?;
        self.receive()
            .map_err(|e| if e.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { e })
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
