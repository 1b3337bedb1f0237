//! What the collector tells of its containers, as soon as it tells it, without looking again and again.

use crate::guest::now;
use sexton_common::{
    ContainerId,
    wire::{EventKind, Reply, Request},
};
use sexton_tests::{LONG, Node};
use std::{
    collections::HashMap,
    os::fd::{AsFd, OwnedFd},
    sync::mpsc::{Receiver, channel},
    thread::JoinHandle,
};

/// One subscriber; a thread of its own notes when each event came.
#[derive(Debug)]
pub struct Listener {
    heard: Receiver<(ContainerId, EventKind, u64)>,
    known: HashMap<(ContainerId, EventKind), u64>,
    socket: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Of everything that happens from now on.
    pub fn new(node: &Node) -> Self {
        let mut client = node.client();
        client.send(&Request::Subscribe { since: None }, &[]).unwrap();
        while !matches!(client.receive().unwrap(), Reply::Snapshot { last: true, .. }) {}
        client.set_timeout(None).unwrap();
        let socket = client.as_fd().try_clone_to_owned().unwrap();
        let (tell, heard) = channel();
        let thread = std::thread::spawn(move || {
            while let Ok(reply) = client.receive() {
                let at = now();
                match reply {
                    Reply::Event(event) => drop(tell.send((event.container.id.clone(), event.kind, at))),
                    other => panic!("{other:?}"),
                }
            }
        });
        Self { heard, known: HashMap::new(), socket, thread: Some(thread) }
    }

    /// The instant of that event, once.
    pub fn wait(&mut self, id: &ContainerId, kind: EventKind) -> u64 {
        let wanted = (id.clone(), kind);
        loop {
            if let Some(at) = self.known.remove(&wanted) {
                return at;
            }
            let heard = self.heard.recv_timeout(LONG);
            let (id, kind, at) = heard.unwrap_or_else(|e| panic!("{:?} of {}: {e}", wanted.1, wanted.0));
            self.known.insert((id, kind), at);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
