//! `sexton-shim`, executed by an engine as conmon is.

use super::{Engine, Exit, Exits, Home, Listening, Running, command::call, sexton};
use crate::{
    guest::{Guest, now},
    plan::Plan,
};
use rustix::event::epoll;
use sexton_common::{ContainerId, ExitRecord, durable, wire::Launched};
use sexton_tests::binaries;
use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    sync::{Arc, Mutex},
};

/// See the module.
pub struct Shim {
    home: Home,
    collector: bool,
    doorbells: Arc<Doorbells>,
}

/// The containers' FIFOs, where no collector reads them.
struct Doorbells {
    epoll: OwnedFd,
    fifos: Mutex<HashMap<u64, (String, File)>>,
}

/// Of whoever tells the listener to stop.
const STOP: u64 = 0;

impl Shim {
    /// Nobody listens but the engine, to the FIFO of each container.
    pub fn alone(plan: &Plan) -> Self {
        Self::new(plan, false)
    }

    /// The shims announce themselves to `sextond`, and the engine listens there.
    pub fn with_collector(plan: &Plan) -> Self {
        Self::new(plan, true)
    }

    fn new(plan: &Plan, collector: bool) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let doorbells = Arc::new(Doorbells { epoll, fifos: Mutex::default() });
        Self { home: Home::new(plan, collector), collector, doorbells }
    }
}

impl Engine for Shim {
    fn home(&self) -> &Home {
        &self.home
    }

    fn run(&self, guest: &Guest) -> Running {
        let mut command = self.node().shim_command("run", guest.id.as_str(), &guest.bundle);
        command.arg("--runtime").arg(binaries::runc());
        let asked = now();
        let said = call(&mut command);
        self.home.born(guest, asked, Some("sexton-shim"), || {
            let launched: Launched = serde_json::from_str(&said).unwrap();
            if !self.collector {
                self.doorbells.add(&launched);
            }
            launched.pid
        })
    }

    fn daemon(&self) -> Option<u32> {
        self.collector.then(|| sexton::daemon(self.node()))
    }

    fn listen(&self) -> Option<Exits> {
        if self.collector {
            return Some(sexton::subscribe(self.node()));
        }
        let doorbells = Arc::clone(&self.doorbells);
        Some(Listening::until_told(move |stop, sender| {
            let on = epoll::EventData::new_u64(STOP);
            epoll::add(&doorbells.epoll, &stop, on, epoll::EventFlags::IN).unwrap();
            let mut events = Vec::with_capacity(64);
            'listening: loop {
                events.clear();
                match epoll::wait(&doorbells.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                    Ok(_) => {}
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(e) => panic!("epoll: {e}"),
                }
                let at = now();
                for event in &events {
                    match event.data.u64() {
                        STOP => break 'listening,
                        key => {
                            let exit = doorbells.take(key).map(|(id, code)| Exit { id, at, code });
                            exit.map(|exit| sender.send(exit));
                        }
                    }
                }
            }
            epoll::delete(&doorbells.epoll, &stop).unwrap();
        }))
    }

    fn clean(&self, id: &ContainerId) {
        // With a collector that is its business.
        if !self.collector {
            self.home.call_runc("delete", &[id.as_str()]);
        }
    }

    fn remove(&self, id: &ContainerId) {
        if self.collector {
            self.node().remove(id, true).unwrap();
        } else {
            self.home.kill(id);
            let dir = self.node().layout().container(id);
            let has_ended = || dir.exit().exists();
            assert!(sexton_tests::wait_until(sexton_tests::LONG, has_ended), "{id} leaves no record");
            self.home.call_runc("delete", &["--force", id.as_str()]);
            let _ = fs::remove_dir_all(dir.path());
        }
        self.doorbells.remove(id);
        self.home.forget(id);
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        if self.collector {
            self.home.node_mut().kill_daemon();
        }
    }
}

impl Doorbells {
    fn add(&self, launched: &Launched) {
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let fifo = File::options().read(true).custom_flags(flags).open(&launched.exit_fifo).unwrap();
        let key = u64::from(launched.pid);
        let mut fifos = self.fifos.lock().unwrap();
        epoll::add(&self.epoll, fifo.as_fd(), epoll::EventData::new_u64(key), epoll::EventFlags::IN).unwrap();
        fifos.insert(key, (launched.id.to_string(), fifo));
    }

    /// What is closed rings no more.
    fn remove(&self, id: &ContainerId) {
        self.fifos.lock().unwrap().retain(|_, (known, _)| known != id.as_str());
    }

    /// Reads one that rang, for the last time. Nothing if the shim hung up without a word.
    fn take(&self, key: u64) -> Option<(String, Option<i32>)> {
        let (id, mut fifo) = self.fifos.lock().unwrap().remove(&key)?;
        let mut bytes = [0; ExitRecord::MAX];
        let length = fifo.read(&mut bytes).ok().filter(|&length| length > 0)?;
        let record: ExitRecord = durable::decode(&bytes[..length]).unwrap();
        Some((id, record.status.shell_code().map(i32::from)))
    }
}
