//! The runtime's own clean-up.

use super::{Attempt, Done};
use crate::{gc::Obstacle, runtimes::Outcome};
use sexton_common::{gc::Step, runtime::Runtime};
use std::time::Duration;
use tokio::time::Instant;

impl Attempt<'_> {
    /// Half of what is left: a delete that hangs leaves time for the one with force.
    fn share(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now()) / 2
    }

    pub(super) async fn runtime(&mut self) -> Done {
        let Some(runtime) = self.estate.runtime.clone() else { return Ok(false) };
        // Where nothing was noted down there may be more than can be looked at: the runtime is asked anyway.
        let known = !self.estate.processes.is_empty();
        let left = self.known_to(&runtime).await?;
        if left.is_none() && (known || self.dead.is_none()) {
            return Ok(false);
        }
        let mut words = left.unwrap_or_default();
        for options in [&[][..], &["--force"]] {
            if self.is_anothers().await? {
                return Ok(false);
            }
            let outcome = self.ask(&runtime, "delete", options).await?;
            match self.known_to(&runtime).await? {
                None => return Ok(true),
                Some(left) if outcome.ok => words = left,
                Some(left) => words = format!("{left}; {}", outcome.words),
            }
        }
        Err(Obstacle::new(Step::Runtime, words))
    }

    /// Runs it, if none is there of an earlier attempt.
    async fn ask(&mut self, runtime: &Runtime, verb: &str, options: &[&str]) -> Result<Outcome, Obstacle> {
        let (id, lingering) = (&self.estate.id, &self.cx.gc.lingering);
        lingering.are_gone(id, Step::Runtime)?;
        let queued = Instant::now();
        let mut place = self.lanes.enter().await;
        self.end += queued.elapsed();
        let run = self.cx.tools.runtimes.run(runtime, verb, options, id, self.share());
        let outcome = place.during(run).await;
        outcome.left.iter().for_each(|process| lingering.add(id, *process));
        Ok(outcome)
    }

    /// Another run may have the name by now: the runtime knows names only.
    async fn is_anothers(&self) -> Result<bool, Obstacle> {
        let Some(dir) = self.dead.as_ref().map(|dead| dead.dir.clone()) else { return Ok(false) };
        let generation = self.estate.generation;
        let look = move || crate::container::is_anothers(&dir, generation);
        self.block(Step::Runtime, "look at the launch", look).await
    }

    /// What the runtime still has of it, for people.
    async fn known_to(&mut self, runtime: &Runtime) -> Result<Option<String>, Obstacle> {
        let id = &self.estate.id;
        if let Some(dir) = runtime.state_dir(id) {
            let there = move || dir.symlink_metadata().is_ok().then(|| dir.display().to_string());
            let there = self.block(Step::Runtime, "look at the runtime's state", there).await?;
            return Ok(there.map(|dir| format!("the runtime still has {dir}")));
        }
        let outcome = self.ask(runtime, "state", &[]).await?;
        // No answer is not a no: what cannot be asked has not been seen to be gone.
        if !outcome.answered {
            return Err(Obstacle::new(Step::Runtime, outcome.words));
        }
        Ok(outcome.ok.then(|| format!("{} still knows the container", runtime.program.display())))
    }
}
