//! Talking to sextond.

use crate::failure::{Failure, system};
use sexton_common::{
    Layout,
    client::Client,
    wire::{Reply, Request},
};
use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

/// How long a simple request may take.
pub const SIMPLE: Duration = Duration::from_secs(30);

/// sextond, whether it runs or not.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// Where everything lies.
    pub layout: Layout,
}

impl Daemon {
    /// Connects. Blocks at most [`SIMPLE`].
    pub fn connect(&self) -> Result<Connection, Failure> {
        let client = Client::connect_within(&self.layout, SIMPLE).map_err(|error| self.refused(error))?;
        Ok(Connection { client })
    }

    fn refused(&self, source: io::Error) -> Failure {
        let socket = self.layout.socket();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Failure::NotRunning(socket),
            io::ErrorKind::PermissionDenied => Failure::Denied(socket),
            io::ErrorKind::WouldBlock => Failure::Late(SIMPLE),
            _ => Failure::Connect { socket, source },
        }
    }

    /// Asks on a connection of its own. Blocks at most `within`.
    pub fn ask(&self, request: &Request, within: Duration) -> Result<Reply, Failure> {
        let mut connection = self.connect()?;
        connection.send(request, &[], within)?;
        connection.receive(within)
    }

    /// Asks for something that is done, or not.
    pub fn done(&self, request: &Request, within: Duration) -> Result<(), Failure> {
        match self.ask(request, within)? {
            Reply::Done {} => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// One connection; one request at a time.
#[derive(Debug)]
pub struct Connection {
    client: Client,
}

impl Connection {
    /// Asks, with descriptors that sextond gets copies of. Blocks at most `within`.
    pub fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>], within: Duration) -> Result<(), Failure> {
        self.client.set_timeout(Some(within)).map_err(system("set a time-out"))?;
        match self.client.send(request, fds) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(system("send the request to sextond")(e)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(Failure::Late(within)),
            // A daemon that shows somebody the door says why before it closes.
            Err(e) => match self.client.receive() {
                Ok(Reply::Error(error)) => Err(error.into()),
                _ => Err(Failure::Lost { source: e }),
            },
        }
    }

    /// The next reply. Blocks at most `within`.
    pub fn receive(&mut self, within: Duration) -> Result<Reply, Failure> {
        answer(self.client.receive_until(Instant::now() + within), within)
    }

    /// The next reply, however long it takes, or `None` once `deadline` has passed.
    pub fn receive_by(&mut self, deadline: Option<Instant>) -> Result<Option<Reply>, Failure> {
        let reply = match deadline {
            Some(deadline) => self.client.receive_until(deadline),
            None => {
                self.client.set_timeout(None).map_err(system("clear a time-out"))?;
                self.client.receive()
            }
        };
        match reply {
            Err(e) if e.kind() == io::ErrorKind::TimedOut => Ok(None),
            other => answer(other, Duration::ZERO).map(Some),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}

fn answer(reply: io::Result<Reply>, within: Duration) -> Result<Reply, Failure> {
    match reply {
        Ok(Reply::Error(error)) => Err(error.into()),
        Ok(reply) => Ok(reply),
        Err(e) if e.kind() == io::ErrorKind::TimedOut => Err(Failure::Late(within)),
        Err(e) if e.kind() == io::ErrorKind::InvalidData => Err(Failure::Unexpected(e.to_string())),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Failure::Lost { source: io::Error::new(e.kind(), "it closed the connection") })
        }
        Err(source) => Err(Failure::Lost { source }),
    }
}

/// For a reply that does not fit the request.
pub fn unexpected(reply: &Reply) -> Failure {
    let kind = serde_json::to_value(reply).ok().and_then(|value| Some(value.as_object()?.keys().next()?.clone()));
    Failure::Unexpected(kind.unwrap_or_else(|| "of an unknown kind".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use sexton_common::wire::{ApiError, ErrorCode};

    #[test]
    fn nobody_there() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Daemon { layout: Layout::new(dir.path().into(), dir.path().into()) };
        assert!(matches!(daemon.ask(&Request::Version {}, SIMPLE), Err(Failure::NotRunning(_))));
        drop(std::os::unix::net::UnixListener::bind(daemon.layout.socket()).unwrap());
        assert!(matches!(daemon.connect(), Err(Failure::NotRunning(_))), "a stale socket");
    }

    #[test]
    fn errors_late_answers_and_hang_ups_are_told_apart() {
        let fake = Fake::start(|request| match request {
            Request::Version {} => vec![Reply::Error(ApiError::new(ErrorCode::Busy, "try again"))],
            Request::Node {} => vec![Reply::Done {}],
            _ => vec![],
        });
        let daemon = fake.daemon();
        let Err(Failure::Api(error)) = daemon.ask(&Request::Version {}, SIMPLE) else { panic!() };
        assert_eq!(error.message, "try again");
        daemon.done(&Request::Node {}, SIMPLE).unwrap();
        let inspect = Request::Inspect { id: "c1".parse().unwrap() };
        assert!(matches!(daemon.ask(&inspect, SIMPLE), Err(Failure::Lost { .. })));

        let silent = Fake::silent();
        let short = Duration::from_millis(20);
        assert!(matches!(silent.daemon().ask(&inspect, short), Err(Failure::Late(_))));
    }
}
