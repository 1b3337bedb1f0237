//! `wait`.

use super::launch::code_of;
use crate::{
    args,
    daemon::{Daemon, SIMPLE},
    failure::Failure,
    follow::{self, Ended, Follow},
    output,
};
use clap::Args;
use sexton_common::{
    ContainerId,
    wire::{Reply, Request},
};
use std::time::{Duration, Instant};

/// `sexton wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// The containers
    #[arg(required = true, value_name = "ID")]
    ids: Vec<ContainerId>,
    /// Give up after this long, and end with 124
    #[arg(long, value_name = "TIME", value_parser = args::duration)]
    timeout: Option<Duration>,
    /// Print each container as JSON, one a line
    #[arg(long)]
    json: bool,
}

impl Wait {
    /// Prints one line for each, in the order given, and returns the last one's code, 125 if it is unknown; 1 if
    /// there is no such container, after the others.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let deadline = follow::deadline(self.timeout);
        // All at once: one that is removed when it ends must not be gone before its turn comes.
        let begun: Vec<_> = self.ids.iter().map(|id| Follow::present(daemon, id)).collect();
        let (mut last, mut missing) = (Ok(0), None);
        for (id, follow) in self.ids.iter().zip(begun) {
            let ended = match follow.and_then(|follow| end_of(daemon, id, follow, deadline)) {
                Ok(Some(ended)) => ended,
                Ok(None) => return Err(self.too_late(id)),
                Err(failure) if failure.is_no_such_container() => {
                    if let Some(earlier) = missing.replace(failure) {
                        output::complain(earlier);
                    }
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            if let Err(failure) = std::mem::replace(&mut last, code_of(id, &ended)) {
                output::complain(failure);
            }
            match (&ended, &last) {
                (Ended::Told(container), _) if self.json => output::json(container)?,
                (_, Ok(code)) => output::line(code)?,
                (_, Err(_)) => output::line("unknown")?,
            }
        }
        match (missing, last) {
            (Some(missing), Err(unknown)) => {
                output::complain(unknown);
                Err(missing)
            }
            (Some(missing), Ok(_)) => Err(missing),
            (None, last) => last,
        }
    }

    fn too_late(&self, id: &ContainerId) -> Failure {
        let patience = humantime::format_duration(self.timeout.unwrap_or_default());
        Failure::TimedOut(format!("{id} has not ended within {patience}"))
    }
}

/// How it ended; `None` if it has not by the deadline.
fn end_of(
    daemon: &Daemon,
    id: &ContainerId,
    follow: Follow,
    deadline: Option<Instant>,
) -> Result<Option<Ended>, Failure> {
    if let Some(ended) = follow.wait(deadline)? {
        return Ok(Some(ended));
    }
    // The deadline may have been too short even for the answer on one that ended long ago.
    match daemon.ask(&Request::Inspect { id: id.clone() }, SIMPLE) {
        Ok(Reply::Container(container)) if container.status.is_some() => Ok(Some(Ended::Told(container))),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, running, stopped};
    use sexton_common::{
        ExitStatus, UnknownReason,
        wire::{ApiError, ErrorCode},
    };

    fn wait(fake: &Fake, ids: &[&str], timeout: Option<Duration>) -> Result<u8, Failure> {
        let ids = ids.iter().map(|id| id.parse().unwrap()).collect();
        Wait { ids, timeout, json: false }.execute(&fake.daemon())
    }

    fn fake() -> Fake {
        Fake::start(|request| {
            let (Request::Wait { id, .. } | Request::Inspect { id }) = request else { return vec![] };
            let status = match id.as_str() {
                "seven" => ExitStatus::Code(7),
                "killed" => ExitStatus::Signal { number: 9, core_dumped: false },
                "lost" => ExitStatus::Unknown { reason: UnknownReason::ShimKilled },
                "runs" => return vec![Reply::Container(Box::new(running("runs")))],
                _ => return vec![Reply::Error(ApiError::new(ErrorCode::NoSuchContainer, "there is no such"))],
            };
            vec![Reply::Container(Box::new(stopped(id.as_str(), status)))]
        })
    }

    #[test]
    fn the_last_status_counts() {
        let fake = fake();
        assert_eq!(wait(&fake, &["killed", "seven"], None).unwrap(), 7);
        assert_eq!(wait(&fake, &["lost", "killed"], None).unwrap(), 137);
        assert_eq!(wait(&fake, &["seven", "lost"], None).unwrap_err().exit_code(false), 125);
        assert_eq!(wait(&fake, &["nobody", "seven"], None).unwrap_err().exit_code(false), 3);
    }

    #[test]
    fn too_short_a_time_still_finds_one_that_has_ended() {
        let fake = fake();
        assert_eq!(wait(&fake, &["seven"], Some(Duration::ZERO)).unwrap(), 7);
        let late = wait(&fake, &["runs"], Some(Duration::ZERO)).unwrap_err();
        assert_eq!(late.to_string(), "runs has not ended within 0s");
        assert_eq!(late.exit_code(false), 124);
    }
}
