//! `node reset`.

use super::{
    drain::{LATE, drain},
    stats,
};
use crate::{
    commands::{
        all::{self, Each},
        gc, ps,
    },
    daemon::Daemon,
    failure::{Failure, system},
    output,
};
use clap::Args;
use nix::poll::poll;
use sexton_common::wire::{ErrorCode, GcInfo, NodeState, Request};
use std::time::{Duration, Instant};

/// How long the removal of one may take: the kill and the first clean-up are in it.
const REMOVE: Duration = Duration::from_secs(60);
/// How long what is clean may take until it is off the list.
const SETTLED: Duration = Duration::from_secs(10);

/// `sexton node reset`.
#[derive(Debug, Args)]
pub struct Reset {
    /// That everything is killed and every record and exit status is forgotten
    #[arg(long)]
    i_know: bool,
    /// Print what came of each as JSON, one a line
    #[arg(long)]
    json: bool,
}

impl Reset {
    /// Prints the name of each that was removed, and at the end what could not go; may be repeated. Nothing is started
    /// meanwhile.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        if !self.i_know {
            return Err(refused(daemon)?);
        }
        let maintenance = stats(daemon, &Request::NodeStats {})?.state == NodeState::Maintenance;
        stats(daemon, &Request::Maintenance { on: true })?;
        let done = self.everything(daemon);
        if !maintenance && let Err(failure) = stats(daemon, &Request::Maintenance { on: false }) {
            output::complain("the node is still in maintenance: `sexton node maintenance off` ends that");
            return done.and(Err(failure));
        }
        done
    }

    fn everything(&self, daemon: &Daemon) -> Result<u8, Failure> {
        let each =
            Each { daemon, what: "removing", within: REMOVE, forgiven: &[ErrorCode::NoSuchContainer], json: self.json };
        let mut failed =
            drain(&each, LATE, |daemon| ps::list(daemon, true), |id| Request::Remove { id: id.clone(), force: true })?;
        let in_gc = if gc::list(daemon)?.is_empty() { Vec::new() } else { gc::retry_all(daemon)? };
        let left = settled(daemon)?;
        failed.retain(|id, _| left.contains(id));
        for id in &left {
            failed.entry(id.clone()).or_insert(1);
        }
        for entry in &in_gc {
            output::complain(cannot_go(entry));
            failed.insert(entry.id.clone(), ErrorCode::InGc.exit_code());
        }
        for id in left.iter().filter(|id| in_gc.iter().all(|entry| entry.id != **id)) {
            output::complain(format_args!("{id} could not be removed: see `sexton inspect {id}`"));
        }
        Ok(all::code(&failed))
    }
}

/// The containers that are still there when those that are clean by now have gone.
fn settled(daemon: &Daemon) -> Result<Vec<sexton_common::ContainerId>, Failure> {
    let deadline = Instant::now() + SETTLED;
    loop {
        let left = all::ids(&ps::list(daemon, true)?);
        let stuck = gc::list(daemon)?;
        if left.iter().all(|id| stuck.iter().any(|entry| entry.id == *id)) || Instant::now() > deadline {
            return Ok(left);
        }
        poll(&mut [], 50u16).map_err(system("wait"))?;
    }
}

fn cannot_go(entry: &GcInfo) -> String {
    format!(
        "{} cannot go: {}; sextond goes on trying, `sexton gc why {}` says more",
        entry.id,
        gc::obstacle(entry),
        entry.id
    )
}

fn refused(daemon: &Daemon) -> Result<Failure, Failure> {
    let containers = ps::list(daemon, true)?;
    let alive = containers.iter().filter(|container| all::is_alive(container)).count();
    Ok(Failure::Unconfirmed(format!(
        "nothing was done. This would kill {alive} containers, remove all {}, their exit statuses too, and try to clean the {} \
         that are in GC; starts are refused meanwhile. If that is what you want: `sexton node reset --i-know`",
        containers.len(),
        gc::list(daemon)?.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{self, Fake};
    use sexton_common::wire::{ApiError, Reply};
    use std::sync::{Arc, Mutex};

    /// One container that cannot be removed, on a node in this state; and the changes of maintenance that were asked for.
    fn fake(state: NodeState) -> (Fake, Arc<Mutex<Vec<bool>>>) {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let seen = changes.clone();
        let fake = Fake::start(move |request| match request {
            Request::NodeStats {} => vec![Reply::NodeStats(Box::new(fake::node(state, 1)))],
            Request::Maintenance { on } => {
                seen.lock().unwrap().push(on);
                vec![Reply::NodeStats(Box::new(fake::node(NodeState::Maintenance, 1)))]
            }
            Request::List { .. } => vec![Reply::Containers { containers: vec![fake::running("c")], last: true }],
            Request::Remove { .. } => vec![Reply::Error(ApiError::new(ErrorCode::InGc, "no"))],
            // It hangs up: the reset fails half way.
            _ => vec![],
        });
        (fake, changes)
    }

    #[test]
    fn maintenance_is_as_it_was_even_if_it_fails_half_way() {
        for (state, expected) in [(NodeState::Full, &[true, false][..]), (NodeState::Maintenance, &[true])] {
            let (fake, changes) = fake(state);
            let reset = Reset { i_know: true, json: false };
            assert!(matches!(reset.execute(&fake.daemon()), Err(Failure::Lost { .. })));
            assert_eq!(*changes.lock().unwrap(), expected);
        }
    }

    #[test]
    fn nothing_is_asked_for_without_knowing() {
        let (fake, changes) = fake(NodeState::Ready);
        assert!(Reset { i_know: false, json: false }.execute(&fake.daemon()).is_err());
        assert!(changes.lock().unwrap().is_empty());
    }
}
