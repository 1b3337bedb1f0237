//! `gc forget`.

use super::{list, obstacle};
use crate::{
    daemon::{Daemon, SIMPLE},
    failure::Failure,
    output,
};
use clap::Args;
use sexton_common::{
    ContainerId,
    gc::Step,
    wire::{ApiError, ErrorCode, GcInfo, Request},
};

/// `sexton gc forget`.
#[derive(Debug, Args)]
pub struct Forget {
    /// The container
    id: ContainerId,
    /// That what is not clean stays behind, and that nobody will clean it
    #[arg(long)]
    i_know: bool,
}

impl Forget {
    /// Prints its name once it is forgotten; without `--i-know` says what would be left behind.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        if !self.i_know {
            return Err(self.refused(daemon)?);
        }
        daemon.done(&Request::GcForget { id: self.id.clone() }, SIMPLE)?;
        output::line(&self.id)?;
        Ok(0)
    }

    fn refused(&self, daemon: &Daemon) -> Result<Failure, Failure> {
        let id = &self.id;
        let entry = list(daemon)?.into_iter().find(|entry| entry.id == *id).ok_or_else(|| {
            let message = format!("{id} is not in GC: `sexton gc ls` lists what is");
            Failure::from(ApiError::new(ErrorCode::NoSuchContainer, message))
        })?;
        Ok(Failure::Unconfirmed(format!(
            "{id} is not clean, and sextond would stop trying. In the way now: {}. What may be left behind for good: {}. \
             If that is what you want: `sexton gc forget {id} --i-know`",
            obstacle(&entry),
            left_behind(&entry)
        )))
    }
}

/// What the steps are for that are not done.
fn left_behind(entry: &GcInfo) -> String {
    let lasting = |step: Step| !entry.earlier_boot || matches!(step, Step::Files | Step::Commands);
    let left = Step::ALL.into_iter().filter(|step| *step >= entry.step && lasting(*step)).map(|step| match step {
        Step::Record => "no exit record on disk",
        Step::Processes => "processes",
        Step::Runtime => "the runtime's state",
        Step::Cgroups => "cgroups",
        Step::Mounts => "mounts",
        Step::Netns => "network namespaces",
        Step::Files => "registered files",
        Step::Commands => "clean-up commands that have not run",
    });
    left.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, execute};
    use super::*;
    use crate::fake::Fake;
    use sexton_common::wire::Reply;
    use std::sync::{Arc, Mutex};

    fn fake() -> (Fake, Arc<Mutex<Vec<String>>>) {
        let forgotten = Arc::new(Mutex::new(Vec::new()));
        let seen = forgotten.clone();
        let fake = Fake::start(move |request| match request {
            Request::GcList {} => vec![Reply::GcEntries { entries: vec![entry("c1")], last: true }],
            Request::GcForget { id } => {
                seen.lock().unwrap().push(id.to_string());
                vec![Reply::Done {}]
            }
            _ => vec![],
        });
        (fake, forgotten)
    }

    #[test]
    fn only_by_somebody_who_knows() {
        let (fake, forgotten) = fake();
        let failure = execute(&fake, "forget c1").unwrap_err();
        assert_eq!(failure.exit_code(false), 2);
        assert_eq!(
            failure.to_string(),
            "c1 is not clean, and sextond would stop trying. In the way now: processes: pid 42 (dd) does not die. \
             What may be left behind for good: processes, the runtime's state, cgroups, mounts, network namespaces, \
             registered files, clean-up commands that have not run. \
             If that is what you want: `sexton gc forget c1 --i-know`"
        );
        assert!(forgotten.lock().unwrap().is_empty(), "nothing was asked for");
        assert_eq!(execute(&fake, "forget c1 --i-know").unwrap(), 0);
        assert_eq!(*forgotten.lock().unwrap(), ["c1"]);
    }

    #[test]
    fn what_is_not_there_cannot_be_forgotten() {
        let failure = execute(&fake().0, "forget c2").unwrap_err();
        assert_eq!(failure.to_string(), "c2 is not in GC: `sexton gc ls` lists what is");
        assert_eq!(failure.exit_code(false), 3);
    }

    #[test]
    fn what_stays_is_what_was_not_reached() {
        let at = |step, earlier_boot| left_behind(&GcInfo { step, earlier_boot, ..entry("c1") });
        assert_eq!(at(Step::Netns, false), "network namespaces, registered files, clean-up commands that have not run");
        assert_eq!(at(Step::Processes, true), "registered files, clean-up commands that have not run");
        assert_eq!(at(Step::Commands, true), "clean-up commands that have not run");
    }
}
