//! The same for every container that there is: `--all`, evacuation, reset.

use super::ps;
use crate::{
    daemon::Daemon,
    failure::Failure,
    fanout::{self, Codes, naming},
    output,
    progress::Progress,
};
use serde::Serialize;
use sexton_common::{
    ContainerId,
    wire::{ContainerInfo, ErrorCode, Request, State},
};
use std::{collections::BTreeMap, time::Duration};

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
        let ask = |id: &ContainerId| fanout::one(self.daemon, &request(id), self.within);
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
    container.status.is_none() || container.state == State::Restarting
}

/// Those that live.
///
/// # Errors
/// If sextond does not say.
pub fn alive(daemon: &Daemon) -> Result<Vec<ContainerInfo>, Failure> {
    let mut found = ps::list(daemon, false)?;
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
    fn what_lives() {
        assert!(is_alive(&running("c")));
        let ended = stopped("c", ExitStatus::Code(0));
        assert!(!is_alive(&ended) && !is_alive(&ContainerInfo { state: State::Gc, ..ended.clone() }));
        assert!(is_alive(&ContainerInfo { state: State::Restarting, ..ended }));
    }
}
