//! A subscriber that notes everything it hears.

use rustix::net::Shutdown;
use sexton_common::{
    ContainerId, Layout,
    client::Client,
    wire::{ContainerInfo, Event, EventKind, Reply, Request},
};
use std::{
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Instant,
};

/// What one subscriber heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// The containers of the last whole snapshot.
    pub snapshot: Vec<ContainerInfo>,
    /// The snapshot's number.
    pub snapshot_seq: u64,
    /// Whole snapshots.
    pub snapshots: usize,
    /// Times that it was told that it lags.
    pub lagged: usize,
    /// Events in their order, and when they arrived.
    pub events: Vec<(Instant, Event)>,
    /// Why it ended, if it did.
    pub ended: Option<String>,
}

/// Reads in a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Subscriber {
    heard: Arc<Mutex<Heard>>,
    socket: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Subscribes on that connection; returns once it has heard the first word.
    ///
    /// # Panics
    /// If the collector does not answer.
    #[track_caller]
    #[must_use]
    pub fn start(mut client: Client, since: Option<u64>) -> Self {
        client.send(&Request::Subscribe { since }, &[]).unwrap();
        client.set_timeout(None).unwrap();
        let socket = client.as_fd().try_clone_to_owned().unwrap();
        Self::listen(socket, since, move || client.receive())
    }

    /// The same in JSON, a line each.
    ///
    /// # Panics
    /// If the collector does not answer.
    #[track_caller]
    #[must_use]
    pub fn in_json(layout: &Layout) -> Self {
        let mut stream = UnixStream::connect(layout.socket()).unwrap();
        stream.write_all(b"{\"subscribe\":{}}\n").unwrap();
        let socket = stream.try_clone().unwrap().into();
        let mut lines = BufReader::new(stream).lines();
        Self::listen(socket, None, move || {
            let line = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
            serde_json::from_str(&line).map_err(|e| io::Error::other(format!("{e}: {line}")))
        })
    }

    #[track_caller]
    fn listen(
        socket: OwnedFd,
        since: Option<u64>,
        mut receive: impl FnMut() -> io::Result<Reply> + Send + 'static,
    ) -> Self {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let note = Arc::clone(&heard);
        let thread = std::thread::spawn(move || {
            let mut part = Vec::new();
            loop {
                let reply = receive();
                let now = Instant::now();
                let mut heard = note.lock().unwrap();
                match reply {
                    Ok(Reply::Event(event)) => heard.events.push((now, *event)),
                    Ok(Reply::Lagged { .. }) => heard.lagged += 1,
                    Ok(Reply::Snapshot { seq, containers, last }) => {
                        part.extend(containers);
                        if last {
                            heard.snapshot = std::mem::take(&mut part);
                            heard.snapshot_seq = seq;
                            heard.snapshots += 1;
                        }
                    }
                    Ok(other) => heard.ended = Some(format!("{other:?}")),
                    Err(e) => heard.ended = Some(e.to_string()),
                }
                if heard.ended.is_some() {
                    return;
                }
            }
        });
        let subscriber = Self { heard, socket, thread: Some(thread) };
        if since.is_none() {
            crate::wait_for("the snapshot", crate::LONG, || subscriber.heard().snapshots > 0);
        }
        subscriber
    }

    /// What it has heard so far.
    ///
    /// # Panics
    /// If its thread panicked.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.heard.lock().unwrap().clone()
    }

    /// The kinds of event it heard about one container, in their order.
    #[must_use]
    pub fn kinds(&self, id: &ContainerId) -> Vec<EventKind> {
        let heard = self.heard();
        heard.events.iter().filter(|(_, event)| event.container.id == *id).map(|(_, event)| event.kind).collect()
    }

    /// Waits for an event of that kind about that container.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn wait(&self, id: &ContainerId, kind: EventKind) -> (Instant, Event) {
        let find = || {
            let events = self.heard().events;
            events.into_iter().find(|(_, event)| event.container.id == *id && event.kind == kind)
        };
        crate::wait::wait_some(&format!("{kind:?} of {id}"), crate::LONG, find)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
