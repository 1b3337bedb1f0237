//! Idle containers of one contestant: neighbours for those that are measured, and victims for storms.

use crate::{
    guest::Guest,
    peers::{Engine, Kind, Running},
    plan::Plan,
};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are started at once: enough for two cores, and no crowd.
const AT_ONCE: usize = 2;

/// A contestant with its idle containers; all of it is gone once it is dropped.
pub struct Fleet {
    /// Whose.
    pub kind: Kind,
    /// They wait at their gates.
    pub members: Vec<Member>,
    engine: Box<dyn Engine>,
}

/// One of them.
#[derive(Debug)]
pub struct Member {
    /// What runs.
    pub guest: Guest,
    /// As what.
    pub running: Running,
}

impl Fleet {
    /// With nothing that runs but the daemon, where there is one. See [`Plan::fleet`] for one that is shared.
    pub fn new(kind: Kind, plan: &Plan) -> Self {
        Self { kind, members: Vec::new(), engine: kind.engine(plan) }
    }

    /// The contestant.
    pub fn engine(&self) -> &dyn Engine {
        &*self.engine
    }

    /// Starts what is missing to `size`; returns when the last one waits at its gate. Member `n` ends with the code
    /// `n` modulo 100.
    pub fn grow(&mut self, plan: &Plan, size: usize) {
        let (kind, engine, next) = (self.kind, &*self.engine, AtomicUsize::new(self.members.len()));
        let start = || {
            let mut started = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= size {
                    return started;
                }
                plan.say(format!("{}, container {} of {size}", kind.name(), number + 1));
                let guest = Guest::new(engine.node(), &format!("idle-{number}"), (number % 100) as u8);
                let running = engine.run(&guest);
                guest.wait_began();
                started.push((number, Member { guest, running }));
            }
        };
        let mut started: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(start)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        started.sort_by_key(|(number, _)| *number);
        self.members.extend(started.into_iter().map(|(_, member)| member));
    }
}
