//! `sexton run -d`: the client asks `sextond`, which runs the shim.

use super::{Engine, Exit, Exits, Home, Listening, Running, command::call};
use crate::{
    guest::{Guest, now},
    plan::Plan,
};
use rustix::net::Shutdown;
use sexton_common::{
    ContainerId,
    client::Client,
    wire::{EventKind, Reply, Request},
};
use sexton_tests::{Node, binaries};
use std::os::fd::AsFd;

/// See the module.
pub struct Sexton(Home);

impl Sexton {
    /// With a collector of its own.
    pub fn new(plan: &Plan) -> Self {
        Self(Home::new(plan, true))
    }
}

impl Engine for Sexton {
    fn home(&self) -> &Home {
        &self.0
    }

    fn run(&self, guest: &Guest) -> Running {
        let node = self.node();
        let mut command = node.sexton_command(&["run", "-d", "--stdio", "null", "--runtime-root"]);
        command
            .arg(node.runtime_root())
            .arg("--runtime")
            .arg(binaries::runc())
            .arg("--bundle")
            .arg(&guest.bundle)
            .arg(guest.id.as_str());
        let asked = now();
        call(&mut command);
        self.0.born(guest, asked, Some("sexton-shim"), || node.inspect(&guest.id).pid.unwrap())
    }

    fn daemon(&self) -> Option<u32> {
        Some(daemon(self.node()))
    }

    fn listen(&self) -> Option<Exits> {
        Some(subscribe(self.node()))
    }

    fn remove(&self, id: &ContainerId) {
        self.node().remove(id, true).unwrap();
        self.0.forget(id);
    }
}

impl Drop for Sexton {
    fn drop(&mut self) {
        self.0.node_mut().kill_daemon();
    }
}

/// The collector's pid.
pub fn daemon(node: &Node) -> u32 {
    match node.ask(&Request::Version {}) {
        Ok(Reply::Version { pid, .. }) => pid,
        other => panic!("version: {other:?}"),
    }
}

/// Every exit from now on, by the API.
pub fn subscribe(node: &Node) -> Exits {
    let mut client: Client = node.client();
    client.send(&Request::Subscribe { since: None }, &[]).unwrap();
    // What ends after the snapshot is an event.
    while !matches!(client.receive().unwrap(), Reply::Snapshot { last: true, .. }) {}
    client.set_timeout(None).unwrap();
    let socket = client.as_fd().try_clone_to_owned().unwrap();
    let stop = move || {
        let _ = rustix::net::shutdown(socket, Shutdown::Both);
    };
    Listening::start(stop, move |sender| {
        while let Ok(reply) = client.receive() {
            let at = now();
            let Reply::Event(event) = reply else { continue };
            if event.kind == EventKind::Exited {
                let code = event.container.status.and_then(|status| status.shell_code()).map(i32::from);
                let _ = sender.send(Exit { id: event.container.id.to_string(), at, code });
            }
        }
    })
}
