//! Containers that exist in a test only: what each run does is a `script::Script`'s, time is tokio's, which may stand still.
//!
//! It watches its caller, too: [`Simulated::violations`] says what was done that a real backend could not bear. What was begun goes on
//! when its caller is gone, as it does with a real shim; of an unfinished `stop` only the collector's part is lost
//! ([`Simulated::collector_dies`]).

mod run;
mod script;
#[cfg(test)]
mod tests;
mod world;

use crate::stats::Sampler;
pub use script::{Creation, Plan, chance, launch};
pub use world::Figures;

use super::{Backend, Doing, Seen};
use run::{Phase, Run};
use sexton_common::{
    ContainerId,
    launch::Launch,
    wire::{ApiError, ContainerInfo, ContainerStats, ErrorCode, Launched, State},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, timeout},
};
use world::{Inner, World, live};

/// What SIGKILL may take before a `stop` says that it took too long.
const DIES_WITHIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Simulated(Arc<World>);

impl Simulated {
    /// Runs do as this says.
    #[must_use]
    pub fn new(script: impl Fn(&ContainerId, u32) -> Plan + Send + Sync + 'static) -> Self {
        Self(World::new(Box::new(script)))
    }

    /// What was done that must not be, in words; the first of them, if there are many.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.0.inner().violations.clone()
    }

    /// What went on.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.0.inner().figures
    }

    /// How often a container was created.
    #[must_use]
    pub fn created(&self, id: &ContainerId) -> u32 {
        self.0.inner().containers.get(id).map_or(0, |container| container.created)
    }

    /// What the collector alone would still have done is not done any more. Runs live on, creations go on.
    pub fn collector_dies(&self) {
        let now = Instant::now();
        for container in self.0.inner().containers.values_mut() {
            container.call = None;
            if let Some(run) = &mut container.run {
                run.kill_at = run.kill_at.filter(|at| *at <= now);
            }
        }
    }

    /// Notes that something is being done. What is done to a run waits for its turn there, as in a mailbox; but nothing that
    /// changes it may be under way while its next one is created, nor begin then.
    fn call(&self, id: &ContainerId, what: &'static str) -> Call<'_> {
        let mut inner = self.0.inner();
        let container = inner.container(id);
        let other = container.call;
        let first = other.is_none();
        container.call = other.or(Some(what));
        let apart = |what| matches!(what, "create" | "delete" | "stop" | "start");
        // A stop that has had its way may not have been told yet.
        let late = what == "create" && other == Some("stop");
        if let Some(other) =
            other.filter(|other| (what == "create" || *other == "create") && apart(what) && apart(other))
            && !late
        {
            inner.violate(format!("{what} of {id} while its {other} is under way"));
        }
        Call { world: &self.0, id: id.clone(), first }
    }

    /// The newest run, for who wants to do something to what lives.
    fn living<T>(&self, id: &ContainerId, act: impl FnOnce(&mut Run) -> Result<T, ApiError>) -> Result<T, ApiError> {
        let mut inner = self.0.inner();
        let run = inner.containers.get_mut(id).and_then(|container| container.run.as_mut());
        match run.filter(|run| run.phase != Phase::Hidden) {
            None => Err(error(ErrorCode::NoSuchContainer, id)),
            Some(run) if run.phase == Phase::Creating => Err(error(ErrorCode::Busy, id)),
            Some(run) if !run.alive() => Err(error(ErrorCode::NotRunning, id)),
            Some(run) => act(run),
        }
    }

    /// Waits until the run is so, or another has taken its place.
    async fn until(&self, id: &ContainerId, generation: u64, so: impl Fn(&Seen) -> bool) {
        let mut seen = self.watch(id);
        // Its sender is in the world, which we have.
        let _ = seen.wait_for(|seen| seen.generation != generation || seen.gone || so(seen)).await;
    }
}

/// Something that is being done.
struct Call<'a> {
    world: &'a World,
    id: ContainerId,
    first: bool,
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.first {
            self.world.inner().container(&self.id).call = None;
        }
    }
}

fn error(code: ErrorCode, id: &ContainerId) -> ApiError {
    ApiError::new(code, format!("simulated container {id}: {code:?}"))
}

/// Whether a new run may be created, and what is wrong with asking, if that is so.
fn room(inner: &Inner, id: &ContainerId) -> Result<(), Option<String>> {
    let run = inner.containers.get(id).and_then(|container| container.run.as_ref());
    match run.map(|run| (run.phase, run.generation)) {
        None | Some((Phase::Clean, _)) => Ok(()),
        // Nobody could have seen that.
        Some((Phase::Hidden, _)) => Err(None),
        Some((phase, generation)) => Err(Some(format!("create of {id} while its run {generation} is {phase:?}"))),
    }
}

impl Backend for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn create<'a>(&'a self, launch: &'a Launch) -> Doing<'a, Launched> {
        Box::pin(async move {
            let id = &launch.id;
            let _call = self.call(id, "create");
            let (made, asked) = oneshot::channel();
            {
                let mut inner = self.0.inner();
                if let Err(wrong) = room(&inner, id) {
                    wrong.into_iter().for_each(|words| inner.violate(words));
                    return Err(error(ErrorCode::AlreadyExists, id));
                }
                inner.figures.creations += 1;
                let generation = inner.next_generation(self.0.epoch());
                let container = inner.container(id);
                let plan = (self.0.script)(id, container.created);
                container.created = container.created.saturating_add(1);
                container.run = Some(Run::new(generation, plan));
                tokio::spawn(live(self.0.clone(), (id.clone(), generation), made));
            }
            asked.await.unwrap_or_else(|_| Err(error(ErrorCode::ShuttingDown, id)))
        })
    }

    fn start<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        // Creating one starts it.
        Box::pin(async move {
            let _call = self.call(id, "start");
            self.living(id, |_| Err(error(ErrorCode::AlreadyStarted, id)))
        })
    }

    fn state(&self, id: &ContainerId) -> Option<State> {
        let inner = self.0.inner();
        let run = inner.containers.get(id)?.run.as_ref()?;
        (run.phase != Phase::Hidden).then(|| run.shown())
    }

    fn kill<'a>(&'a self, id: &'a ContainerId, signal: i32) -> Doing<'a, ()> {
        Box::pin(async move {
            let _call = self.call(id, "kill");
            self.living(id, |run| {
                run.signal(signal, Instant::now());
                Ok(())
            })
        })
    }

    fn stop<'a>(&'a self, id: &'a ContainerId, signal: i32, within: Duration) -> Doing<'a, ()> {
        Box::pin(async move {
            let _call = self.call(id, "stop");
            let on_its_way = self.0.inner().container(id).run.as_ref().map(|run| run.plan.hears);
            sleep(on_its_way.unwrap_or_default()).await;
            match self.state(id) {
                Some(State::Stopped | State::Gc) => return Err(error(ErrorCode::AlreadyStopped, id)),
                Some(State::Stopping) => return Ok(()),
                _ => {}
            }
            let now = Instant::now();
            let generation = self.living(id, |run| {
                run.signal(signal, now);
                run.resume();
                run.signal(9, now + within);
                Ok(run.generation)
            })?;
            let ended = self.until(id, generation, |seen| seen.ended.is_some());
            timeout(within + DIES_WITHIN, ended).await.map_err(|_| error(ErrorCode::TimedOut, id))
        })
    }

    fn pause<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        Box::pin(async move {
            let _call = self.call(id, "pause");
            self.living(id, |run| match run.phase {
                Phase::Paused => Err(error(ErrorCode::Paused, id)),
                _ => {
                    run.pause();
                    Ok(())
                }
            })
        })
    }

    fn resume<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        Box::pin(async move {
            let _call = self.call(id, "resume");
            self.living(id, |run| match run.phase {
                Phase::Paused => {
                    run.resume();
                    Ok(())
                }
                _ => Err(error(ErrorCode::NotPaused, id)),
            })
        })
    }

    fn delete<'a>(&'a self, id: &'a ContainerId, force: bool) -> Doing<'a, ()> {
        Box::pin(async move {
            let _call = self.call(id, "delete");
            let (generation, undeletable) = {
                let mut inner = self.0.inner();
                let run = inner.containers.get_mut(id).and_then(|container| container.run.as_mut());
                let run = run.filter(|run| run.phase != Phase::Hidden);
                let run = run.ok_or_else(|| error(ErrorCode::NoSuchContainer, id))?;
                match run.phase {
                    Phase::Creating => return Err(error(ErrorCode::Busy, id)),
                    Phase::Gc if !force => return Err(error(ErrorCode::InGc, id)),
                    _ if run.alive() && !force => return Err(error(ErrorCode::Running, id)),
                    _ if run.alive() => run.signal(9, Instant::now()),
                    _ => {}
                }
                run.remove = run.plan.undeletable.is_none();
                (run.generation, run.plan.undeletable)
            };
            let seen = self.until(id, generation, |seen| seen.clean || seen.in_gc);
            timeout(DIES_WITHIN, seen).await.map_err(|_| error(ErrorCode::TimedOut, id))?;
            match (self.state(id), undeletable) {
                (Some(State::Gc), _) => return Err(error(ErrorCode::InGc, id)),
                (_, Some(code)) => return Err(error(code, id)),
                _ => self.0.remove(id),
            }
            Ok(())
        })
    }

    fn stats<'a>(
        &'a self,
        containers: Vec<Arc<ContainerInfo>>,
        before: Sampler,
    ) -> Doing<'a, (Vec<ContainerStats>, Sampler)> {
        Box::pin(async move {
            let at = self.0.now();
            let row = |info: Arc<ContainerInfo>| {
                let _call = self.call(&info.id, "stats");
                self.living(&info.id, |run| {
                    Ok(ContainerStats {
                        generation: run.generation,
                        state: run.shown(),
                        at,
                        pids: Some(1),
                        ..ContainerStats::none(&info)
                    })
                })
            };
            let rows: Result<Vec<_>, ApiError> = containers.into_iter().map(row).collect();
            Ok((rows?, before))
        })
    }

    fn watch(&self, id: &ContainerId) -> watch::Receiver<Seen> {
        self.0.inner().container(id).seen.subscribe()
    }
}
