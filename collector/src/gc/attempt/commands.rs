//! Clean-up commands.

use super::{Attempt, Done};
use crate::gc::{FOR, Obstacle};
use sexton_common::{ExitStatus, gc::Step};

impl Attempt<'_> {
    pub(super) async fn commands(&self) -> Done {
        let done = self.ward.lock().entry.commands_done as usize;
        let commands = self.estate.cleanup.exec.clone();
        for (index, command) in commands.iter().enumerate().skip(done) {
            self.cx.gc.lingering.are_gone(&self.estate.id, Step::Commands)?;
            let outcome = self.cx.tools.runtimes.shell(command, &self.surroundings(), self.cx.gc.command_timeout).await;
            outcome.left.iter().for_each(|process| self.cx.gc.lingering.add(&self.estate.id, *process));
            tracing::info!(id = %self.estate.id, command, ok = outcome.ok, output = outcome.words, "clean-up command");
            self.ward.lock().output = Some(outcome.said.clone()).filter(|said| !said.is_empty());
            if !outcome.ok {
                let what =
                    format!("clean-up command {} of {}, `{command}`: {}", index + 1, commands.len(), outcome.words);
                return Err(Obstacle::new(Step::Commands, what));
            }
            let durable = {
                let mut inner = self.ward.lock();
                inner.entry.commands_done = u32::try_from(index + 1).unwrap_or(u32::MAX);
                inner.written.is_some()
            };
            if durable && let Err(e) = self.cx.gc.persist(self.cx, self.ward).await {
                tracing::warn!(id = %self.estate.id, error = %e, "a clean-up command is done, but that cannot be noted: it may run again");
            }
        }
        Ok(true)
    }

    fn surroundings(&self) -> [(&'static str, String); 4] {
        let estate = &self.estate;
        let status = self.dead.as_ref().map(|dead| dead.verdict.record.status);
        let code = status.as_ref().and_then(ExitStatus::shell_code);
        [
            (FOR, estate.id.to_string()),
            ("SEXTON_GENERATION", estate.generation.to_string()),
            ("SEXTON_BUNDLE", estate.bundle.as_ref().map(|bundle| bundle.display().to_string()).unwrap_or_default()),
            ("SEXTON_STATUS", code.map(|code| code.to_string()).unwrap_or_default()),
        ]
    }
}
