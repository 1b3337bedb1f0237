//! Doing it to all until nothing is left to do it to: launches that were under way before maintenance come late.

use super::stats;
use crate::{
    commands::all::{Each, is_alive},
    daemon::Daemon,
    failure::{Failure, system},
};
use nix::poll::poll;
use sexton_common::{
    ContainerId,
    wire::{ApiError, ContainerInfo, ErrorCode, Request},
};
use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

/// How long launches that were under way before maintenance may take: their runtime has 120 s.
pub const LATE: Duration = Duration::from_secs(150);
/// When it is looked again whether they have come.
const STEP_MS: u16 = 100;

/// Does it once to each run that `list` shows, until there are no others and nothing is being launched.
///
/// # Errors
/// If sextond cannot be reached at all, or standard output is closed; if something is still being launched after `late`.
pub fn drain(
    each: &Each<'_>,
    late: Duration,
    list: impl Fn(&Daemon) -> Result<Vec<ContainerInfo>, Failure>,
    request: impl Fn(&ContainerId) -> Request + Sync,
) -> Result<BTreeMap<ContainerId, u8>, Failure> {
    let mut tried = HashSet::new();
    let mut failed = BTreeMap::new();
    let mut deadline = None;
    loop {
        // In this order: what is launched in between is in the list.
        let counted = stats(each.daemon, &Request::NodeStats {})?.running.used;
        let found = list(each.daemon)?;
        let new: Vec<_> = found
            .iter()
            .filter(|container| tried.insert((container.id.clone(), container.generation)))
            .map(|container| container.id.clone())
            .collect();
        if !new.is_empty() {
            failed.extend(each.run(&new, &request)?);
            continue;
        }
        if counted <= found.iter().filter(|container| is_alive(container)).count() as u64 {
            return Ok(failed);
        }
        if Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + late) {
            let text = "launches that were begun before maintenance are still under way: try again";
            return Err(ApiError::new(ErrorCode::Busy, text).into());
        }
        poll(&mut [], STEP_MS).map_err(system("wait"))?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::all,
        fake::{self, Fake},
    };
    use sexton_common::wire::{NodeState, Reply};
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    };

    /// Lists `first`, then `first` and `second`; as many run as `running` says.
    fn fake(running: Arc<AtomicU64>) -> (Fake, Arc<Mutex<Vec<String>>>) {
        let stopped = Arc::new(Mutex::new(Vec::new()));
        let seen = stopped.clone();
        let fake = Fake::start(move |request| match request {
            Request::NodeStats {} => {
                let stats = fake::node(NodeState::Maintenance, running.load(Ordering::Relaxed));
                vec![Reply::NodeStats(Box::new(stats))]
            }
            Request::List { .. } => {
                let mut containers = vec![fake::running("first")];
                if seen.lock().unwrap().contains(&"first".to_owned()) {
                    containers.push(fake::running("second"));
                }
                vec![Reply::Containers { containers, last: true }]
            }
            Request::Stop { id, .. } => {
                seen.lock().unwrap().push(id.to_string());
                vec![Reply::Done {}]
            }
            _ => vec![],
        });
        (fake, stopped)
    }

    fn drained(fake: &Fake, late: Duration) -> Result<BTreeMap<ContainerId, u8>, Failure> {
        let daemon = fake.daemon();
        let within = Duration::from_secs(10);
        let each = Each { daemon: &daemon, what: "", within, forgiven: &[], json: false };
        drain(&each, late, all::alive, |id| Request::Stop { id: id.clone(), signal: 15, timeout_ms: 0 })
    }

    #[test]
    fn what_comes_late_is_done_too_and_each_once() {
        let (fake, stopped) = fake(Arc::new(AtomicU64::new(2)));
        assert!(drained(&fake, Duration::from_secs(10)).unwrap().is_empty());
        assert_eq!(*stopped.lock().unwrap(), ["first", "second"]);
    }

    #[test]
    fn what_never_comes_is_said() {
        let (fake, _) = fake(Arc::new(AtomicU64::new(3)));
        assert_eq!(drained(&fake, Duration::ZERO).unwrap_err().exit_code(false), 14);
    }
}
