//! One client's connection: frames or JSON lines, and descriptors that come along.

use rustix::{
    cmsg_space,
    event::{PollFd, PollFlags, poll},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    time::Timespec,
};
use serde::Serialize;
use sexton_common::wire::{self, ApiError, ErrorCode, MAX_FRAME, Reply, Request};
use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::UnixStream,
    time::{Instant, sleep, timeout, timeout_at},
};

/// A client that began a request must finish it within this.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// A client must take its reply within this.
const REPLY_WITHIN: Duration = Duration::from_secs(30);
/// How often a client that will not ask more is looked at, while it waits.
const HALF_OPEN: Duration = Duration::from_secs(1);
/// How long, and how many reads of 4 KiB, a client's last input is waited for that nobody will read.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
const DRAINED: u32 = 256;
/// The most descriptors that come along.
const FDS: usize = 4;

/// See the module.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
    fds: Vec<OwnedFd>,
    json: bool,
    begun: bool,
}

/// What a client did.
#[derive(Debug)]
pub enum Incoming {
    /// It asked, and sent these descriptors along.
    Request(Box<Request>, Vec<OwnedFd>),
    /// It sent something that is no request; it may try again.
    Nonsense(ApiError),
    /// It sent something after which its bytes cannot be told apart any more: answer and hang up.
    Broken(ApiError),
    /// It has gone.
    End,
}

impl Connection {
    /// For a client that has just connected.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new(), fds: Vec::new(), json: false, begun: false }
    }

    /// Whether nothing of a request has arrived.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next request. Cancel-safe.
    pub async fn next(&mut self) -> Incoming {
        let mut deadline = None;
        loop {
            if let Some(incoming) = self.parse() {
                return incoming;
            }
            if !self.buffer.is_empty() && deadline.is_none() {
                deadline = Some(Instant::now() + REQUEST_WITHIN);
            }
            let more = match deadline {
                None => self.fill().await,
                Some(deadline) => match timeout_at(deadline, self.fill()).await {
                    Ok(more) => more,
                    Err(_late) => {
                        return Incoming::Broken(invalid(format!(
                            "half a request, and no more for {REQUEST_WITHIN:?}"
                        )));
                    }
                },
            };
            match more {
                Ok(true) => {}
                Ok(false) if self.buffer.is_empty() => return Incoming::End,
                Ok(false) => {
                    return Incoming::Broken(invalid("the connection ended in the middle of a request".into()));
                }
                Err(e) => {
                    tracing::debug!(error = %e, "a client's connection broke");
                    return Incoming::End;
                }
            }
        }
    }

    /// Waits until the client is gone. One that has only said that it will not ask more (`shutdown(SHUT_WR)`,
    /// as `nc -N` and socat do) still wants its answers.
    pub async fn gone(&mut self) {
        // Whoever floods us is not heard until answered.
        while self.buffer.len() <= MAX_FRAME {
            match self.fill().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(_) => return,
            }
        }
        // The kernel signals the first half of a hang-up only once, so the second half has to be looked for.
        while !self.hung_up() {
            sleep(HALF_OPEN).await;
        }
    }

    fn hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::empty())];
        let _ = poll(&mut fds, Some(&Timespec::default()));
        fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
    }

    /// Ends the connection so that what was sent arrives: unread input would make the kernel throw it away.
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
        let drain = async {
            for _ in 0..DRAINED {
                self.buffer.clear();
                self.fds.clear();
                if !matches!(self.fill().await, Ok(true)) {
                    return;
                }
            }
        };
        let _ = timeout(CLOSE_WITHIN, drain).await;
    }

    fn parse(&mut self) -> Option<Incoming> {
        let first = *self.buffer.first()?;
        if !self.begun {
            self.begun = true;
            self.json = first == b'{';
        }
        if self.json { self.parse_line() } else { self.parse_frame() }
    }

    fn parse_line(&mut self) -> Option<Incoming> {
        let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else {
            let text = || format!("a line longer than {MAX_FRAME} bytes");
            return (self.buffer.len() > MAX_FRAME).then(|| Incoming::Broken(invalid(text())));
        };
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let fds = std::mem::take(&mut self.fds);
        if line.len() > MAX_FRAME {
            return Some(Incoming::Broken(invalid(format!("a line longer than {MAX_FRAME} bytes"))));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return self.parse();
        }
        Some(match serde_json::from_slice(&line) {
            Ok(request) => Incoming::Request(Box::new(request), fds),
            Err(e) => Incoming::Nonsense(invalid(format!("not a request: {e}"))),
        })
    }

    fn parse_frame(&mut self) -> Option<Incoming> {
        let (length, rest) = self.buffer.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_FRAME {
            let text = format!("a frame of {length} bytes; at most {MAX_FRAME} are allowed");
            return Some(Incoming::Broken(invalid(text)));
        }
        let body = rest.get(..length)?;
        let request = wire::decode(body);
        self.buffer.drain(..4 + length);
        let fds = std::mem::take(&mut self.fds);
        Some(match request {
            Ok(request) => Incoming::Request(Box::new(request), fds),
            Err(e) => Incoming::Nonsense(invalid(format!("not a request of protocol {}: {e}", wire::PROTOCOL))),
        })
    }

    /// Reads what is there; `false` at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        loop {
            self.stream.readable().await?;
            let mut bytes = [0; 4096];
            let socket = self.stream.as_fd();
            let received = self.stream.try_io(Interest::READABLE, || receive(socket, &mut bytes));
            match received {
                Ok((0, _)) => return Ok(false),
                Ok((length, fds)) => {
                    self.buffer.extend_from_slice(bytes.get(..length).unwrap_or_default());
                    self.fds.extend(fds);
                    // What is too much is closed.
                    self.fds.truncate(FDS);
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends a reply, in the client's language.
    ///
    /// # Errors
    /// If the client is gone or does not read.
    pub async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        match timeout(REPLY_WITHIN, self.send_patiently(reply)).await {
            Ok(sent) => sent,
            Err(_late) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The same, for as long as it takes.
    ///
    /// # Errors
    /// If the client is gone.
    pub async fn send_patiently(&mut self, reply: &Reply) -> io::Result<()> {
        let bytes = self.encode(reply)?;
        self.stream.write_all(&bytes).await
    }

    /// How many bytes this is in the client's language.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn size<T: Serialize>(&self, part: &T) -> io::Result<usize> {
        if self.json { Ok(serde_json::to_vec(part)?.len()) } else { Ok(wire::encode(part)?.len()) }
    }

    fn encode(&self, reply: &Reply) -> io::Result<Vec<u8>> {
        if !self.json {
            return wire::encode(reply);
        }
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        Ok(line)
    }
}

fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
    // More than fit have been closed by the kernel.
    let rights = control.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((message.bytes, rights.flatten().collect()))
}

fn invalid(text: String) -> ApiError {
    ApiError::new(ErrorCode::Invalid, text)
}
