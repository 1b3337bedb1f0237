//! A run that sextond removes by itself: its end in the events, and the moment when it is gone.

use crate::{
    daemon::{Connection, Daemon, SIMPLE, unexpected},
    failure::Failure,
    follow::Ended,
};
use sexton_common::wire::{ContainerInfo, EventKind, Launched, Reply, Request};
use std::time::Instant;

/// One run, and everything that happened since before it was launched.
#[derive(Debug)]
pub struct Removal<'a> {
    daemon: &'a Daemon,
    launched: &'a Launched,
    since: u64,
}

/// The number of the last event.
pub fn last_event(daemon: &Daemon) -> Result<u64, Failure> {
    match daemon.ask(&Request::Node {}, SIMPLE)? {
        Reply::Node(node) => Ok(node.seq),
        other => Err(unexpected(&other)),
    }
}

impl<'a> Removal<'a> {
    /// Of what was launched after the event `since`.
    pub fn of(daemon: &'a Daemon, launched: &'a Launched, since: u64) -> Self {
        Self { daemon, launched, since }
    }

    fn subscribe(&self) -> Result<Connection, Failure> {
        let mut connection = self.daemon.connect()?;
        connection.send(&Request::Subscribe { since: Some(self.since) }, &[], SIMPLE)?;
        Ok(connection)
    }

    fn is(&self, container: &ContainerInfo) -> bool {
        container.id == self.launched.id && container.generation == self.launched.generation
    }

    /// How it ended, though it was removed before anybody could ask. Blocks at most [`SIMPLE`].
    pub fn recall(&self) -> Result<Ended, Failure> {
        let deadline = Instant::now() + SIMPLE;
        let mut connection = self.subscribe()?;
        while let Some(Reply::Event(event)) = connection.receive_by(Some(deadline))? {
            let over = matches!(event.kind, EventKind::Exited | EventKind::Removed);
            if over && self.is(&event.container) && event.container.status.is_some() {
                return Ok(Ended::Told(Box::new(event.container)));
            }
        }
        let id = &self.launched.id;
        Err(Failure::UnknownStatus(format!(
            "the status of {id} is unknown: it was removed before it could be asked for"
        )))
    }

    /// Blocks until it is gone and its name is free, at most [`SIMPLE`]; less if something is in the way.
    pub fn wait(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + SIMPLE;
        let mut connection = self.subscribe()?;
        let mut listed = false;
        loop {
            match connection.receive_by(Some(deadline))? {
                Some(Reply::Event(event)) if self.is(&event.container) => match event.kind {
                    EventKind::Removed => return Ok(()),
                    EventKind::Delayed => return Err(self.not_yet(event.container.in_the_way.as_deref())),
                    _ => {}
                },
                Some(Reply::Snapshot { containers, last, .. }) => {
                    listed |= containers.iter().any(|container| self.is(container));
                    if last && !std::mem::take(&mut listed) {
                        return Ok(());
                    }
                }
                Some(_) => {}
                None => return Err(self.not_yet(None)),
            }
        }
    }

    fn not_yet(&self, obstacle: Option<&str>) -> Failure {
        let why = obstacle.unwrap_or("it takes long");
        Failure::TimedOut(format!(
            "{} has ended, but cannot be removed yet: {why}. sextond goes on trying",
            self.launched.id
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, running, stopped};
    use sexton_common::{ExitStatus, WallTime, wire::Event};

    fn launched() -> Launched {
        Launched {
            id: "c1".parse().unwrap(),
            generation: 7,
            pid: 1,
            shim_pid: 2,
            exit_fifo: "/dev/null".into(),
            exit_file: "/nonexistent".into(),
        }
    }

    fn event(kind: EventKind, container: ContainerInfo) -> Reply {
        Reply::Event(Box::new(Event { seq: 1, at: WallTime(1), kind, container }))
    }

    fn subscribers_get(replies: Vec<Reply>) -> Fake {
        Fake::start(move |request| match request {
            Request::Subscribe { since: Some(3) } => replies.clone(),
            _ => vec![Reply::Lagged { seen: 0 }],
        })
    }

    #[test]
    fn the_end_is_found_among_the_events() {
        let fake = subscribers_get(vec![
            event(EventKind::Started, running("c1")),
            event(EventKind::Exited, stopped("c2", ExitStatus::Code(1))),
            event(EventKind::Exited, stopped("c1", ExitStatus::Code(5))),
        ]);
        let (daemon, launched) = (fake.daemon(), launched());
        let found = Removal::of(&daemon, &launched, 3).recall().unwrap();
        assert_eq!(found.status(), Some(ExitStatus::Code(5)));
        assert!(matches!(Removal::of(&daemon, &launched, 2).recall(), Err(Failure::UnknownStatus(_))));
    }

    #[test]
    fn it_is_gone_when_the_events_or_a_snapshot_say_so() {
        let wait = |replies| Removal::of(&subscribers_get(replies).daemon(), &launched(), 3).wait();
        let ended = || stopped("c1", ExitStatus::Code(5));
        let later = ContainerInfo { generation: 8, ..running("c1") };
        wait(vec![event(EventKind::Stopped, ended()), event(EventKind::Removed, ended())]).unwrap();
        let snapshot = |containers, last| Reply::Snapshot { seq: 9, containers, last };
        wait(vec![Reply::Lagged { seen: 3 }, snapshot(vec![later], true)]).unwrap();
        wait(vec![
            snapshot(vec![ended()], false),
            snapshot(vec![running("c2")], true),
            event(EventKind::Removed, running("c2")),
            event(EventKind::Removed, ended()),
        ])
        .unwrap();
        let stuck = ContainerInfo { in_the_way: Some("busy".into()), ..ended() };
        let failure = wait(vec![event(EventKind::Delayed, stuck)]).unwrap_err();
        assert_eq!(failure.to_string(), "c1 has ended, but cannot be removed yet: busy. sextond goes on trying");
    }
}
