//! What clients may do to a container, whether it has an instance or not.

use super::{Go, Instances, Order};
use crate::container::{no_such, shutting_down};
use sexton_common::{
    ContainerId,
    wire::{ApiError, ErrorCode, Launched, State},
};
use std::time::Duration;
use tokio::sync::oneshot;

/// How often a start looks again at what ends just then.
const ATTEMPTS: u32 = 3;

impl Instances {
    /// Starts a container that was created, or that has ended: as a new run then, whose launch is returned.
    ///
    /// # Errors
    /// What its run, or its launch, says.
    pub async fn start(&self, id: &ContainerId) -> Result<Option<Launched>, ApiError> {
        let ended = [State::Stopping, State::Stopped];
        for _ in 0..ATTEMPTS {
            let (outcome, created) = oneshot::channel();
            match self.order_anyhow(id, &ended, |go| Order::Start { go, outcome }).await?.transpose()? {
                Some(Go::Done) => return self.outcome(created).await.map(Some),
                // It had an instance, which came to its end meanwhile.
                None if self.backend(id).state(id).is_some_and(|state| ended.contains(&state)) => {}
                None | Some(Go::Run) => break,
            }
        }
        self.backend(id).start(id).await.map(|()| None)
    }

    /// Stops a container if it runs, and starts it as a new run.
    ///
    /// # Errors
    /// What its run, or its launch, says.
    pub async fn restart(&self, id: &ContainerId, signal: i32, timeout: Duration) -> Result<Launched, ApiError> {
        let states = [State::Created, State::Running, State::Paused, State::Orphaned, State::Stopping, State::Stopped];
        let (outcome, mut created) = oneshot::channel();
        match self.order_anyhow(id, &states, |go| Order::Restart { go, outcome }).await?.transpose()? {
            None => {
                let state = self.backend(id).state(id);
                let Some(state) = state else { return Err(no_such(id.as_str())) };
                let text = format!("container {id} is {} and cannot be restarted now: try again", state.name());
                let code = if state == State::Gc { ErrorCode::InGc } else { ErrorCode::Busy };
                Err(ApiError::new(code, text))
            }
            Some(Go::Done) => self.outcome(created).await,
            Some(Go::Run) => {
                let backend = self.backend(id);
                let stopped = backend.stop(id, signal, timeout);
                tokio::select! {
                    biased;
                    created = &mut created => created.unwrap_or_else(|_| Err(shutting_down())),
                    stopped = stopped => match stopped {
                        // It may have ended by itself, and that is as good.
                        Err(e) if !matches!(e.code, ErrorCode::AlreadyStopped | ErrorCode::NotRunning | ErrorCode::NoSuchContainer) => Err(e),
                        _ => self.outcome(created).await,
                    },
                }
            }
        }
    }

    async fn outcome(&self, created: oneshot::Receiver<Result<Launched, ApiError>>) -> Result<Launched, ApiError> {
        created.await.unwrap_or_else(|_| Err(shutting_down()))
    }

    /// A user's stop: nothing starts any more, and what runs is stopped.
    ///
    /// # Errors
    /// What its run says.
    pub async fn stop(&self, id: &ContainerId, signal: i32, timeout: Duration) -> Result<(), ApiError> {
        let was_over = matches!(self.backend(id).state(id), None | Some(State::Stopped | State::Gc));
        let go = self.order(id, |go| Order::Stop { go }).await?.transpose()?;
        if go != Some(Go::Done) {
            match self.backend(id).stop(id, signal, timeout).await {
                // It ended by itself after it was asked for: that is as good.
                Err(e) if e.code == ErrorCode::AlreadyStopped && (go.is_some() || !was_over) => {}
                stopped => stopped?,
            }
        }
        self.is_durable(id).await
    }

    /// Whether a stop outlives the collector.
    async fn is_durable(&self, id: &ContainerId) -> Result<(), ApiError> {
        if self.order(id, |done| Order::Saved { done }).await? == Some(false) {
            let text = format!(
                "container {id} is stopped, but that cannot be written in the data directory: should sextond be restarted \
                 before it can, the container comes back; is the disk full, or read-only?"
            );
            return Err(ApiError::new(ErrorCode::Internal, text));
        }
        Ok(())
    }

    /// A signal. Those that a user stops containers with count as a stop (moby's `kill`), others do not (moby#41302).
    ///
    /// # Errors
    /// What its run says.
    pub async fn kill(&self, id: &ContainerId, signal: i32) -> Result<(), ApiError> {
        let stops = matches!(signal, nix::libc::SIGKILL | nix::libc::SIGTERM);
        if stops {
            match self.order(id, |go| Order::Stop { go }).await?.transpose() {
                Ok(Some(Go::Done)) => return self.is_durable(id).await,
                Err(e) if e.code == ErrorCode::AlreadyStopped => {
                    return Err(ApiError {
                        code: ErrorCode::NotRunning,
                        exit_code: ErrorCode::NotRunning.exit_code(),
                        ..e
                    });
                }
                other => {
                    other?;
                }
            }
        }
        self.backend(id).kill(id, signal).await?;
        if stops { self.is_durable(id).await } else { Ok(()) }
    }

    /// Removes a container, and all that is known of it.
    ///
    /// # Errors
    /// What its run says.
    pub async fn remove(&self, id: &ContainerId, force: bool) -> Result<(), ApiError> {
        let go = self.order(id, |go| Order::Remove { force, go }).await?.transpose()?;
        match (self.backend(id).delete(id, force).await, &go) {
            (Err(e), Some(_)) if e.code == ErrorCode::NoSuchContainer => {}
            (Err(e), Some(_)) if !force || e.code == ErrorCode::Busy => {
                self.order(id, |done| Order::Keep { done }).await?;
                return Err(e);
            }
            (deleted, _) => deleted?,
        }
        if go.is_some() {
            self.order(id, |done| Order::Removed { done }).await?.transpose()?;
        }
        Ok(())
    }
}
