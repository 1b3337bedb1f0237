//! What one subscriber knows, in the sense of list-then-watch: a snapshot, and what came after it.

use sexton_common::{
    ContainerId, ExitStatus,
    wire::{ContainerInfo, ErrorCode, Event, EventKind, Reply, State},
};
use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

/// A container and which run of it.
pub type Key = (ContainerId, u64);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Every exit that it knows.
    pub exits: HashMap<Key, ExitStatus>,
    /// Every container that it knows to be clean.
    pub clean: HashSet<Key>,
    /// Exits that it was told of by an event though it knew them.
    pub doubled: u64,
    /// What cannot be true.
    pub nonsense: Vec<String>,
    /// Connections that got as far as a first answer.
    pub connections: u64,
    /// Times that it was told that it lags.
    pub lagged: u64,
    /// The last event's number, or the snapshot's.
    pub seq: Option<u64>,
    /// When it learnt of the last exit.
    pub last_exit: Option<Instant>,
    /// When it learnt of the last one that is clean.
    pub last_clean: Option<Instant>,
}

impl Ledger {
    /// Notes an answer.
    pub fn note(&mut self, reply: Reply) {
        match reply {
            Reply::Event(event) => self.event(&event),
            Reply::Lagged { .. } => self.lagged += 1,
            Reply::Snapshot { seq, containers, last } => {
                for info in &containers {
                    self.shown(info);
                }
                // Half a snapshot is none.
                self.seq = if last { Some(seq) } else { self.seq };
            }
            Reply::Error(error) if error.code == ErrorCode::ShuttingDown => {}
            other => self.nonsense.push(format!("{other:?}")),
        }
    }

    fn event(&mut self, event: &Event) {
        if let Some(before) = self.seq
            && event.seq != before + 1
        {
            self.nonsense.push(format!("event {} follows {before}", event.seq));
        }
        self.seq = Some(event.seq);
        let key = (event.container.id.clone(), event.container.generation);
        match (event.kind, event.container.status) {
            (EventKind::Exited, Some(status)) => {
                self.doubled += u64::from(self.exits.contains_key(&key));
                self.exited(key, status);
            }
            (EventKind::Exited, None) => self.nonsense.push(format!("{} has exited, nobody says how", key.0)),
            (EventKind::Stopped, _) => self.cleaned(key),
            _ => {}
        }
    }

    fn shown(&mut self, info: &ContainerInfo) {
        let key = (info.id.clone(), info.generation);
        match info.status {
            Some(status) => self.exited(key.clone(), status),
            None if self.exits.contains_key(&key) => {
                self.nonsense.push(format!("{} has exited, and is shown as {:?}", info.id, info.state));
            }
            None => {}
        }
        if info.state == State::Stopped {
            self.cleaned(key);
        }
    }

    fn exited(&mut self, key: Key, status: ExitStatus) {
        match self.exits.get(&key) {
            Some(before) if *before != status => {
                self.nonsense.push(format!("{} was said to be {before}, and is {status}", key.0));
            }
            Some(_) => {}
            None => {
                self.last_exit = Some(Instant::now());
                self.exits.insert(key, status);
            }
        }
    }

    fn cleaned(&mut self, key: Key) {
        if self.clean.insert(key) {
            self.last_clean = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton_common::WallTime;

    fn info(status: Option<ExitStatus>, state: State) -> ContainerInfo {
        let text = format!(
            r#"{{"id":"a","generation":1,"state":"{}","created_at":"1970-01-01T00:00:00Z","bundle":"/b","runtime":"/r","auto_remove":false,
                "foreign":false,"attempts":0}}"#,
            state.name()
        );
        ContainerInfo { status, ..serde_json::from_str(&text).unwrap() }
    }

    fn event(seq: u64, kind: EventKind, code: u8) -> Reply {
        let container = info(Some(ExitStatus::Code(code)), State::Stopping);
        Reply::Event(Box::new(Event { seq, at: WallTime(0), kind, container }))
    }

    fn snapshot(seq: u64, containers: Vec<ContainerInfo>) -> Reply {
        Reply::Snapshot { seq, containers, last: true }
    }

    #[test]
    fn one_exit_is_one_exit_however_it_is_learnt() {
        let mut ledger = Ledger::default();
        for reply in [
            snapshot(4, vec![info(None, State::Running)]),
            event(5, EventKind::Exited, 7),
            snapshot(9, vec![info(Some(ExitStatus::Code(7)), State::Stopped)]),
        ] {
            ledger.note(reply);
        }
        assert_eq!((ledger.exits.len(), ledger.clean.len(), ledger.doubled), (1, 1, 0));
        assert_eq!(ledger.nonsense, [] as [&str; 0]);
    }

    #[test]
    fn what_must_not_be_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.note(snapshot(1, vec![info(Some(ExitStatus::Code(7)), State::Stopping)]));
        ledger.note(event(2, EventKind::Exited, 7));
        assert_eq!((ledger.doubled, ledger.nonsense.len()), (1, 0), "told twice");
        ledger.note(event(3, EventKind::Exited, 8));
        assert_eq!(ledger.nonsense.len(), 1, "told otherwise");
        ledger.note(event(5, EventKind::Stopped, 7));
        assert_eq!(ledger.nonsense.len(), 2, "an event is missing");
        ledger.note(snapshot(6, vec![info(None, State::Running)]));
        assert_eq!(ledger.nonsense.len(), 3, "forgotten");
        ledger.note(Reply::Done {});
        assert_eq!(ledger.nonsense.len(), 4, "no answer to a subscription");
    }
}
