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
    wire::{Event, EventKind, Reply, Request},
};
use sexton_tests::{Node, binaries};
use std::{
    io::{BufRead, BufReader},
    os::fd::AsFd,
    process::Stdio,
};

/// See the module.
pub struct Sexton {
    home: Home,
    /// Heard through the command line's program, not through the socket.
    events: bool,
}

impl Sexton {
    /// With a collector of its own.
    pub fn new(plan: &Plan) -> Self {
        Self { home: Home::new(plan, true), events: false }
    }

    /// The same, heard through `sexton events`.
    pub fn with_events(plan: &Plan) -> Self {
        Self { home: Home::new(plan, true), events: true }
    }
}

impl Engine for Sexton {
    fn home(&self) -> &Home {
        &self.home
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
        self.home.born(guest, asked, Some("sexton-shim"), || node.inspect(&guest.id).pid.unwrap())
    }

    fn daemon(&self) -> Option<u32> {
        Some(daemon(self.node()))
    }

    fn listen(&self) -> Option<Exits> {
        Some(if self.events { events(self.node()) } else { subscribe(self.node()) })
    }

    fn remove(&self, id: &ContainerId) {
        self.node().remove(id, true).unwrap();
        self.home.forget(id);
    }
}

impl Drop for Sexton {
    fn drop(&mut self) {
        self.home.node_mut().kill_daemon();
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
                let _ = sender.send(exit(&event, at));
            }
        }
    })
}

/// Every exit from now on, as `sexton events --json` prints it.
fn events(node: &Node) -> Exits {
    let mut command = node.sexton_command(&["events", "--json"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let reply = |line: String| serde_json::from_str(&line).unwrap();
    while !matches!(reply(lines.next().unwrap()), Reply::Snapshot { last: true, .. }) {}
    let stop = move || {
        let _ = child.kill();
        let _ = child.wait();
    };
    Listening::start(stop, move |sender| {
        for line in lines {
            let at = now();
            if let Reply::Event(event) = reply(line)
                && event.kind == EventKind::Exited
            {
                let _ = sender.send(exit(&event, at));
            }
        }
    })
}

fn exit(event: &Event, at: u64) -> Exit {
    let code = event.container.status.and_then(|status| status.shell_code()).map(i32::from);
    Exit { id: event.container.id.to_string(), at, code }
}
