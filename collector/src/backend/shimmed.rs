//! `oci` and `process`: whatever runs below a shim. What is done to a run is done by its task ([`crate::container`]), one
//! thing after the other; what differs between the two, the shim and that task know from the launch.

use super::{Backend, Doing, Seen};
use crate::{
    api,
    container::{WishKind, no_such, shutting_down},
    instance::Backends,
    launch,
    overseer::Overseer,
    stats::{self, Sampler},
};
use sexton_common::{
    ContainerId, durable,
    launch::{Launch, Mode, Stdio},
    wire::{ApiError, ContainerInfo, ContainerStats, ErrorCode, LaunchRequest, Launched, Reply, State},
    workload::Workload,
};
use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::watch;

/// See the module.
#[derive(Clone)]
pub struct Shimmed {
    name: &'static str,
    overseer: Weak<Overseer>,
}

impl fmt::Debug for Shimmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Shimmed {
    fn overseer(&self) -> Result<Arc<Overseer>, ApiError> {
        self.overseer.upgrade().ok_or_else(shutting_down)
    }

    fn wish<'a>(&'a self, id: &'a ContainerId, kind: WishKind) -> Doing<'a, ()> {
        Box::pin(async move {
            let overseer = self.overseer()?;
            match overseer.wish(id, kind).await {
                // Its last run's record made room for a run that never came to be.
                Err(e) if e.code == ErrorCode::NoSuchContainer && overseer.cx.board.get(id).is_some() => {
                    let code = match kind {
                        WishKind::Stop { .. } => ErrorCode::AlreadyStopped,
                        WishKind::Remove { .. } => return Err(e),
                        _ => ErrorCode::NotRunning,
                    };
                    Err(ApiError::new(code, format!("container {id} is not running: its last start failed")))
                }
                done => done.map(drop),
            }
        })
    }
}

/// The same again: it runs at once, and streams that were somebody's are nobody's by now.
fn again(launch: &Launch) -> LaunchRequest {
    let (bundle, runtime, program) = match &launch.workload {
        Workload::Oci { bundle, runtime } => (bundle.clone(), runtime.clone(), None),
        Workload::Process(program) => (Default::default(), Default::default(), Some(program.clone())),
    };
    LaunchRequest {
        id: launch.id.clone(),
        bundle,
        runtime,
        stdio: match &launch.stdio {
            Stdio::Inherit => Stdio::Null,
            stdio => stdio.clone(),
        },
        mode: Mode::Run,
        auto_remove: false,
        on_shim_death: launch.on_shim_death,
        timeout_ms: Some(launch.timeout_ms),
        cleanup: launch.cleanup.clone(),
        restart: launch.restart,
        program,
    }
}

impl Backend for Shimmed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn create<'a>(&'a self, launch: &'a Launch) -> Doing<'a, Launched> {
        Box::pin(async move {
            let overseer = self.overseer()?;
            match overseer.wish(&launch.id, WishKind::MakeRoom).await {
                // A collector that was killed had made room already.
                Err(e) if e.code != ErrorCode::NoSuchContainer => return Err(e),
                _ => {}
            }
            api::gate(&overseer, &launch.id)?;
            let nofile = overseer.cx.tools.runtimes.nofile();
            match launch::admitted(&overseer, again(launch), Vec::new(), nofile).await? {
                Reply::Launched(launched) => Ok(launched),
                _ => Err(ApiError::new(ErrorCode::Internal, "a launch was answered with something else")),
            }
        })
    }

    fn start<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        self.wish(id, WishKind::Start)
    }

    fn state(&self, id: &ContainerId) -> Option<State> {
        Some(self.overseer.upgrade()?.cx.board.get(id)?.state)
    }

    fn kill<'a>(&'a self, id: &'a ContainerId, signal: i32) -> Doing<'a, ()> {
        self.wish(id, WishKind::Signal(signal))
    }

    fn stop<'a>(&'a self, id: &'a ContainerId, signal: i32, timeout: Duration) -> Doing<'a, ()> {
        self.wish(id, WishKind::Stop { signal, timeout })
    }

    fn pause<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        self.wish(id, WishKind::Pause)
    }

    fn resume<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        self.wish(id, WishKind::Resume)
    }

    fn delete<'a>(&'a self, id: &'a ContainerId, force: bool) -> Doing<'a, ()> {
        self.wish(id, WishKind::Remove { force })
    }

    fn stats<'a>(
        &'a self,
        containers: Vec<Arc<ContainerInfo>>,
        before: Sampler,
    ) -> Doing<'a, (Vec<ContainerStats>, Sampler)> {
        Box::pin(async move { Ok(stats::sample(&*self.overseer()?, before, containers).await) })
    }

    fn watch(&self, id: &ContainerId) -> watch::Receiver<Seen> {
        match self.overseer.upgrade() {
            Some(overseer) => overseer.cx.board.watch(id),
            None => watch::channel(Seen::default()).1,
        }
    }
}

/// The two of them, for whatever is launched.
#[derive(Debug)]
pub struct Shims {
    oci: Arc<Shimmed>,
    process: Arc<Shimmed>,
    overseer: Weak<Overseer>,
}

impl Shims {
    /// Of this collector.
    #[must_use]
    pub fn new(overseer: Weak<Overseer>) -> Self {
        Self {
            oci: Arc::new(Shimmed { name: "oci", overseer: overseer.clone() }),
            process: Arc::new(Shimmed { name: "process", overseer: overseer.clone() }),
            overseer,
        }
    }
}

impl Backends for Shims {
    fn of(&self, workload: &Workload) -> Arc<dyn Backend> {
        match workload {
            Workload::Oci { .. } => self.oci.clone(),
            Workload::Process(_) => self.process.clone(),
        }
    }

    fn of_container(&self, id: &ContainerId) -> Arc<dyn Backend> {
        let info = self.overseer.upgrade().and_then(|overseer| overseer.cx.board.get(id));
        if info.is_some_and(|info| !info.command.is_empty()) { self.process.clone() } else { self.oci.clone() }
    }

    fn launch<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, Launch> {
        Box::pin(async move {
            let overseer = self.oci.overseer()?;
            let path = overseer.cx.layout.container(id).launch();
            let read = move || durable::read::<Launch>(&path);
            let read = overseer.cx.tools.blocking.run(format!("read the launch of {id}"), read).await;
            let launch = read.map_err(|e| ApiError::new(ErrorCode::Internal, e.to_string()))?;
            launch.ok_or_else(|| no_such(id.as_str()))
        })
    }
}
