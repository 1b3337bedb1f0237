//! A blocking client of the collector.

use crate::{
    Layout,
    wire::{self, MAX_FRAME, Reply, Request},
};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, sendmsg, socket,
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

    /// Asks, with descriptors that the collector gets copies of. A collector that hangs up before it has read all of it
    /// may have said why: that is the reply then.
    ///
    /// # Errors
    /// If the request is too long or the connection broke.
    pub fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = wire::encode(request)?;
        let raw: Vec<_> = fds.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[] } else { &rights[..] };
        let whole = [IoSlice::new(&frame)];
        let sent = sendmsg::<()>(self.stream.as_raw_fd(), &whole, control, MsgFlags::MSG_NOSIGNAL, None);
        let sent = sent.map_err(io::Error::from).and_then(|sent| self.stream.write_all(&frame[sent..]));
        match sent {
            Err(e) if self.has_reply(&e) => Ok(()),
            sent => sent,
        }
    }

    /// Whether something can be read although nothing can be written any more.
    fn has_reply(&self, error: &io::Error) -> bool {
        let hung_up = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        let mut byte = [0];
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        hung_up && recv(self.stream.as_raw_fd(), &mut byte, flags).is_ok_and(|read| read > 0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ApiError, ErrorCode};
    use std::os::unix::net::UnixListener;

    fn served(answer: Option<&Reply>) -> (tempfile::TempDir, Client) {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().into(), root.path().join("data"));
        let listener = UnixListener::bind(layout.socket()).unwrap();
        let client = Client::connect(&layout).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        if let Some(answer) = answer {
            server.write_all(&wire::encode(answer).unwrap()).unwrap();
        }
        (root, client)
    }

    #[test]
    fn who_is_turned_away_hears_why() {
        let busy = Reply::Error(ApiError::new(ErrorCode::Busy, "too many"));
        let (_root, mut client) = served(Some(&busy));
        assert_eq!(client.send(&Request::Version {}, &[]).err().map(|e| e.kind()), None);
        assert_eq!(client.receive().unwrap(), busy);
        assert!(client.call(&Request::Version {}).is_err(), "nothing more is said");
    }

    #[test]
    fn who_hears_nothing_is_told_of_the_hang_up() {
        let (_root, mut client) = served(None);
        assert_eq!(client.call(&Request::Version {}).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
