//! `gc retry`.

use super::{entries, list, obstacle, retry_all};
use crate::{
    daemon::Daemon,
    failure::Failure,
    fanout::{self, Codes},
    output::{self, plain},
};
use clap::Args;
use sexton_common::{
    ContainerId,
    wire::{GcInfo, Request},
};
use std::time::Duration;

/// How long one attempt may take: its own deadline, 10 s by default, is in it.
const ONE: Duration = Duration::from_secs(60);

/// `sexton gc retry`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Retry {
    /// Everything that is in GC
    #[arg(long)]
    all: bool,
    /// The containers
    #[arg(value_name = "ID")]
    ids: Vec<ContainerId>,
}

impl Retry {
    /// Waits for one attempt on each, says what came of it, and returns 1 if something is left.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        if self.all {
            return everything(daemon);
        }
        let mut clean = true;
        let failed = fanout::each_of(
            daemon,
            &self.ids,
            ONE,
            |id| Request::GcRetry { id: Some(id.clone()) },
            |connection| entries(connection, ONE),
            |id, left| {
                let left = left.iter().find(|entry| entry.id == *id);
                clean &= left.is_none();
                output::line(outcome(id, left))
            },
        )?;
        let mut codes = Codes::default();
        codes.add(failed);
        codes.add((!clean).into());
        Ok(codes.code())
    }
}

fn everything(daemon: &Daemon) -> Result<u8, Failure> {
    let before = list(daemon)?;
    output::progress(format_args!("trying to clean {} containers", before.len()));
    let left = retry_all(daemon)?;
    for entry in &before {
        let left = left.iter().find(|left| left.id == entry.id);
        output::line(outcome(&entry.id, left))?;
    }
    let known = |entry: &GcInfo| before.iter().any(|known| known.id == entry.id);
    left.iter().filter(|entry| !known(entry)).try_for_each(|new| output::line(outcome(&new.id, Some(new))))?;
    Ok((!left.is_empty()).into())
}

fn outcome(id: &ContainerId, left: Option<&GcInfo>) -> String {
    match left {
        None => format!("{id} is clean"),
        Some(entry) => format!("{id} is not clean: {}", plain(&obstacle(entry))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, execute};
    use super::*;
    use crate::fake::Fake;
    use sexton_common::wire::{ApiError, ErrorCode, Reply};
    use std::sync::{Arc, Mutex};

    /// `good` goes, `bad` stays, others are not in GC; and what was asked.
    fn fake(names: &'static [&'static str]) -> (Fake, Arc<Mutex<Vec<Request>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let fake = Fake::start(move |request| {
            seen.lock().unwrap().push(request.clone());
            let those = |left: &dyn Fn(&str) -> bool| {
                let entries = names.iter().filter(|name| left(name)).map(|name| entry(name)).collect();
                vec![Reply::GcEntries { entries, last: true }]
            };
            match request {
                Request::GcList {} => those(&|_| true),
                Request::GcRetry { id: None } => those(&|name| name != "good"),
                Request::GcRetry { id: Some(id) } if names.contains(&id.as_str()) => {
                    those(&|name| name == id.as_str() && name != "good")
                }
                _ => vec![Reply::Error(ApiError::new(ErrorCode::NoSuchContainer, "it is not in GC"))],
            }
        });
        (fake, asked)
    }

    #[test]
    fn by_name() {
        let (fake, asked) = fake(&["good", "bad"]);
        assert_eq!(execute(&fake, "retry good").unwrap(), 0);
        assert_eq!(execute(&fake, "retry bad").unwrap(), 1);
        assert_eq!(execute(&fake, "retry bad good").unwrap(), 1);
        assert_eq!(execute(&fake, "retry nobody good").unwrap(), 3);
        assert_eq!(execute(&fake, "retry nobody bad").unwrap(), 1);
        let good = Request::GcRetry { id: Some("good".parse().unwrap()) };
        assert_eq!(asked.lock().unwrap().iter().filter(|request| **request == good).count(), 3, "each was tried");
    }

    #[test]
    fn everything_there_is() {
        let (stuck, asked) = fake(&["good", "bad"]);
        assert_eq!(execute(&stuck, "retry --all").unwrap(), 1);
        assert_eq!(*asked.lock().unwrap(), [Request::GcList {}, Request::GcRetry { id: None }]);
        assert_eq!(execute(&fake(&["good"]).0, "retry --all").unwrap(), 0);
        assert_eq!(execute(&fake(&[]).0, "retry --all").unwrap(), 0);
    }

    #[test]
    fn what_came_of_it() {
        let id = "c1".parse().unwrap();
        assert_eq!(outcome(&id, None), "c1 is clean");
        let left = entry("c1");
        assert_eq!(outcome(&id, Some(&left)), "c1 is not clean: processes: pid 42 (dd) does not die");
    }

    #[test]
    fn nobody_there() {
        let fake = Fake::start(|_| vec![]);
        std::fs::remove_file(fake.daemon().layout.socket()).unwrap();
        assert!(matches!(execute(&fake, "retry c1"), Err(Failure::NotRunning(_))));
        assert!(matches!(execute(&fake, "retry --all"), Err(Failure::NotRunning(_))));
    }
}
