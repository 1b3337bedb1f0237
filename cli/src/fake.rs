//! A sextond of the tests: answers from a closure.

use crate::daemon::Daemon;
use sexton_common::{
    ContainerId, ExitStatus, Layout, WallTime,
    wire::{self, ContainerInfo, MAX_FRAME, NodeState, NodeStats, Reply, Request, Room, State},
};
use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
};

/// A daemon in threads, with a state directory of its own.
pub struct Fake {
    dir: tempfile::TempDir,
}

impl Fake {
    /// Answers each request with what `answer` says; hangs up when it says nothing.
    pub fn start(answer: impl Fn(Request) -> Vec<Reply> + Clone + Send + 'static) -> Self {
        let fake = Self { dir: tempfile::tempdir().unwrap() };
        fake.again(answer);
        fake
    }

    /// Listens, and answers nothing.
    pub fn silent() -> Self {
        let fake = Self { dir: tempfile::tempdir().unwrap() };
        let listener = fake.bind();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            // Not `collect`, which believes that there will be usize::MAX of them.
            for stream in listener.incoming() {
                held.push(stream);
            }
        });
        fake
    }

    /// A second life in the same place.
    pub fn again(&self, answer: impl Fn(Request) -> Vec<Reply> + Clone + Send + 'static) {
        let listener = self.bind();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let answer = answer.clone();
                std::thread::spawn(move || serve(stream.unwrap(), answer));
            }
        });
    }

    fn bind(&self) -> UnixListener {
        let socket = self.daemon().layout.socket();
        let _ = std::fs::remove_file(&socket);
        UnixListener::bind(socket).unwrap()
    }

    /// How to reach it.
    pub fn daemon(&self) -> Daemon {
        Daemon { layout: Layout::new(self.dir.path().into(), self.dir.path().into()) }
    }
}

fn serve(mut stream: UnixStream, answer: impl Fn(Request) -> Vec<Reply>) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let length = u32::from_be_bytes(length) as usize;
        assert!(length <= MAX_FRAME);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let replies = answer(wire::decode(&body).unwrap());
        if replies.is_empty() {
            return;
        }
        for reply in replies {
            stream.write_all(&wire::encode(&reply).unwrap()).unwrap();
        }
    }
}

/// A running container.
pub fn running(id: &str) -> ContainerInfo {
    let id: ContainerId = id.parse().unwrap();
    ContainerInfo {
        id,
        generation: 7,
        state: State::Running,
        pid: Some(4242),
        shim_pid: Some(4241),
        status: None,
        source: None,
        oom_killed: None,
        created_at: WallTime(1_795_254_484_000_000_000),
        started_at: Some(WallTime(1_795_254_484_500_000_000)),
        exited_at: None,
        ran_ns: None,
        bundle: "/bundles/c1".into(),
        runtime: "/usr/sbin/runc".into(),
        auto_remove: false,
        foreign: false,
        attempts: 0,
        in_the_way: None,
        usage: None,
        memory_peak: None,
        cpu_ns: None,
        started_ns: Some(500_000_000),
        command: Vec::new(),
        restart: None,
    }
}

/// One that ended.
pub fn stopped(id: &str, status: ExitStatus) -> ContainerInfo {
    ContainerInfo {
        state: State::Stopped,
        status: Some(status),
        source: Some(sexton_common::Source::Waited),
        exited_at: Some(WallTime(1_795_254_544_500_000_000)),
        ran_ns: Some(60_000_000_000),
        ..running(id)
    }
}

/// A node in this state on which so many run.
pub fn node(state: NodeState, running: u64) -> NodeStats {
    NodeStats {
        state,
        why: Vec::new(),
        at: WallTime(0),
        hostname: "node".into(),
        addresses: Vec::new(),
        cpus: 1,
        load: [0; 3],
        memory: Room::default(),
        disk: Room::default(),
        disk_path: "/var/lib/sexton".into(),
        descriptors: Room::default(),
        running: Room { used: running, ..Room::default() },
        containers: Vec::new(),
        gc_entries: 0,
        uptime_ms: 0,
    }
}
