//! The same for every container that there is: `--all`, evacuation, reset.

use super::ps;
use crate::{
    daemon::Daemon,
    failure::{Failure, system},
    fanout::{self, Codes, naming},
    output,
    progress::Progress,
};
use nix::poll::poll;
use serde::Serialize;
use sexton_common::{
    ContainerId,
    wire::{ContainerInfo, ErrorCode, Request, State},
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// When one that is busy is asked again.
const AGAIN_MS: u16 = 100;

/// What is done to each.
#[derive(Clone, Copy, Debug)]
pub struct Each<'a> {
    /// Who does it.
    pub daemon: &'a Daemon,
    /// In a word.
    pub what: &'static str,
    /// How long it may take.
    pub within: Duration,
    /// Errors that say that it is as it should be: others are at work too.
    pub forgiven: &'static [ErrorCode],
    /// One JSON object for each on standard output.
    pub json: bool,
}

/// What came of one, for programs.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    id: &'a ContainerId,
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Reason>,
}

#[derive(Debug, Serialize)]
struct Reason {
    code: Option<ErrorCode>,
    message: String,
    exit_code: u8,
}

impl Each<'_> {
    /// Asks for each, and says at once what came of it. Returns the exit code of each that failed.
    ///
    /// # Errors
    /// If sextond cannot be reached at all, or standard output is closed.
    pub fn run(
        &self,
        ids: &[ContainerId],
        request: impl Fn(&ContainerId) -> Request + Sync,
    ) -> Result<BTreeMap<ContainerId, u8>, Failure> {
        let mut failed = BTreeMap::new();
        let progress = Progress::new(self.what, ids.len());
        let ask = |id: &ContainerId| self.ask(&request(id));
        fanout::as_they_end(ids, ask, |index, answer| {
            let id = &ids[index];
            let answer = match answer {
                Err(Failure::Api(error)) if self.forgiven.contains(&error.code) => Ok(()),
                Err(failure @ (Failure::NotRunning(_) | Failure::Denied(_))) => return Err(failure),
                answer => answer,
            };
            if let Err(failure) = &answer {
                failed.insert(id.clone(), failure.exit_code(false));
            }
            progress.step(|| self.tell(id, &answer))
        })?;
        Ok(failed)
    }

    /// One that is busy, since the runtime is at work on it, is asked again until the time is up.
    fn ask(&self, request: &Request) -> Result<(), Failure> {
        let deadline = Instant::now() + self.within;
        loop {
            match fanout::one(self.daemon, request, self.within) {
                Err(Failure::Api(error)) if error.code == ErrorCode::Busy && Instant::now() < deadline => {
                    poll(&mut [], AGAIN_MS).map_err(system("wait"))?;
                }
                answer => return answer,
            }
        }
    }

    fn tell(&self, id: &ContainerId, answer: &Result<(), Failure>) -> Result<(), Failure> {
        if let Err(failure) = answer {
            output::complain(naming(id, failure));
        }
        let error = answer.as_ref().err().map(|failure| Reason {
            code: if let Failure::Api(error) = failure { Some(error.code) } else { None },
            message: failure.to_string(),
            exit_code: failure.exit_code(false),
        });
        match answer {
            _ if self.json => output::json(&Outcome { id, done: error.is_none(), error }),
            Ok(()) => output::line(id),
            Err(_) => Ok(()),
        }
    }
}

/// Whatever was to be stopped has stopped.
pub const STOPPED: &[ErrorCode] = &[ErrorCode::AlreadyStopped, ErrorCode::NotRunning, ErrorCode::NoSuchContainer];

/// The exit code of those that failed.
pub fn code(failed: &BTreeMap<ContainerId, u8>) -> u8 {
    let mut codes = Codes::default();
    failed.values().for_each(|code| codes.add(*code));
    codes.code()
}

/// Whether it lives, or is about to.
pub fn is_alive(container: &ContainerInfo) -> bool {
    // Also what is in GC: it is started as soon as it is clean.
    container.status.is_none() || container.state == State::Restarting || container.may_come_back()
}

/// Those that live.
///
/// # Errors
/// If sextond does not say.
pub fn alive(daemon: &Daemon) -> Result<Vec<ContainerInfo>, Failure> {
    // What has stopped may be about to come back, before anybody says so.
    let mut found = ps::list(daemon, true)?;
    found.retain(is_alive);
    Ok(found)
}

/// Their names.
pub fn ids(containers: &[ContainerInfo]) -> Vec<ContainerId> {
    containers.iter().map(|container| container.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, running, stopped};
    use sexton_common::{
        ExitStatus,
        wire::{ApiError, Reply},
    };
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    #[test]
    fn races_that_others_won_are_no_failures() {
        let fake = Fake::start(|request| match request {
            Request::Stop { id, .. } => match id.as_str() {
                "gone" => vec![Reply::Error(ApiError::new(ErrorCode::NoSuchContainer, "no"))],
                "stuck" => vec![Reply::Error(ApiError::new(ErrorCode::InGc, "in the way"))],
                _ => vec![Reply::Done {}],
            },
            _ => vec![],
        });
        let daemon = fake.daemon();
        let within = Duration::from_secs(10);
        let each = Each { daemon: &daemon, what: "", within, forgiven: &[ErrorCode::NoSuchContainer], json: true };
        let all = ["fine", "gone", "stuck"].map(|id| id.parse().unwrap());
        let failed = each.run(&all, |id| Request::Stop { id: id.clone(), signal: 15, timeout_ms: 0 }).unwrap();
        assert_eq!(failed, BTreeMap::from([("stuck".parse().unwrap(), 9)]));
        assert_eq!((code(&failed), code(&BTreeMap::new())), (9, 0));
    }

    #[test]
    fn who_is_busy_is_asked_again() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = asked.clone();
        let fake = Fake::start(move |_| {
            if count.fetch_add(1, Ordering::Relaxed) < 2 {
                return vec![Reply::Error(ApiError::new(ErrorCode::Busy, "try again"))];
            }
            vec![Reply::Done {}]
        });
        let daemon = fake.daemon();
        let each = |within| Each { daemon: &daemon, what: "", within, forgiven: &[], json: false };
        let id: ContainerId = "c".parse().unwrap();
        let request = |id: &ContainerId| Request::Remove { id: id.clone(), force: true };
        assert!(each(Duration::from_secs(20)).run(std::slice::from_ref(&id), request).unwrap().is_empty());
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        let busy = Fake::start(|_| vec![Reply::Error(ApiError::new(ErrorCode::Busy, "try again"))]);
        let daemon = busy.daemon();
        let each = Each { daemon: &daemon, what: "", within: Duration::from_secs(2), forgiven: &[], json: false };
        assert_eq!(code(&each.run(&[id], request).unwrap()), 14);
    }

    #[test]
    fn what_lives() {
        assert!(is_alive(&running("c")));
        let ended = stopped("c", ExitStatus::Code(0));
        assert!(!is_alive(&ended) && !is_alive(&ContainerInfo { state: State::Gc, ..ended.clone() }));
        assert!(is_alive(&ContainerInfo { state: State::Restarting, ..ended.clone() }));
        let restart = |next_start| sexton_common::wire::RestartInfo {
            policy: sexton_common::restart::RestartPolicy::Always,
            count: 1,
            next_start,
            stopped_by_user: false,
            last: None,
            failure: None,
        };
        let in_gc = |next| ContainerInfo { state: State::Gc, restart: Some(Box::new(restart(next))), ..ended.clone() };
        assert!(is_alive(&in_gc(None)), "its policy has not come to that end");
        let last =
            sexton_common::wire::LastRun { generation: ended.generation, status: ExitStatus::Code(0), exited_at: None };
        let decided = |next| {
            let restart = sexton_common::wire::RestartInfo { last: Some(last), ..restart(next) };
            ContainerInfo { restart: Some(Box::new(restart)), ..in_gc(None) }
        };
        assert!(!is_alive(&decided(None)) && is_alive(&decided(Some(sexton_common::WallTime(1)))));
        assert!(!is_alive(&ContainerInfo { state: State::Stopped, ..decided(None) }));
    }
}
