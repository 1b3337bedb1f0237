//! Whole lives of instances on simulated containers, in time that stands still: thousands at once, races, and collectors that die.

mod busy;
mod crashes;
mod many;
mod races;

use super::{
    Around, Backends, Instances, Rules,
    book::{Book, Found},
};
use crate::{
    backend::{
        Backend, Doing, Seen,
        simulated::{Simulated, launch},
    },
    board::Board,
    stats::Sampler,
};
use sexton_common::{
    ContainerId, Stamp, WallTime,
    identity::BootId,
    instance::Instance,
    launch::Launch,
    restart::RestartPolicy,
    wire::{ContainerInfo, ContainerStats, Launched, State},
    workload::Workload,
};
use std::{
    cell::OnceCell,
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The clock of this thread's test.
fn clock() -> Stamp {
    thread_local!(static BEGAN: OnceCell<Instant> = const { OnceCell::new() });
    let began = BEGAN.with(|began| *began.get_or_init(Instant::now));
    let boot_ns = u64::try_from(began.elapsed().as_nanos()).unwrap();
    Stamp { wall: WallTime(1_767_225_600_000_000_000 + boot_ns), boot_ns }
}

/// What outlives a collector.
#[derive(Clone, Debug)]
struct Machine {
    world: Arc<Simulated>,
    disk: Arc<Mutex<HashMap<ContainerId, Instance>>>,
    restart: RestartPolicy,
    /// How long the disk takes, before and after it is done.
    slow: fn(&ContainerId) -> Duration,
}

impl Machine {
    fn new(world: Simulated, restart: RestartPolicy) -> Self {
        Self { world: Arc::new(world), disk: Arc::default(), restart, slow: |_| Duration::ZERO }
    }

    fn instance(&self, id: &ContainerId) -> Option<Instance> {
        self.disk.lock().unwrap().get(id).cloned()
    }

    /// The first run, as a launch makes it.
    async fn launch(&self, collector: &Collector, id: &ContainerId) {
        let mut launch = launch(id.clone(), self.restart);
        launch.generation = self.world.create(&launch).await.unwrap().generation;
        collector.instances.adopt(&launch);
        collector.instances.saved(id).await;
    }

    /// A collector that finds what lies there.
    fn collector(&self) -> Collector {
        let cancel = CancellationToken::new();
        let part = Mortal { machine: self.clone(), life: cancel.clone() };
        let (_, changed) = watch::channel(None);
        let (_, cleaned) = watch::channel(0);
        let around = Around {
            board: Arc::new(Board::default()),
            book: Arc::new(part.clone()),
            backends: Arc::new(part),
            rules: Rules::default(),
            boot: BootId::current().unwrap(),
            tasks: TaskTracker::new(),
            cancel: cancel.clone(),
            changed,
            cleaned,
            clock,
        };
        let instances = self.disk.lock().unwrap().values().cloned().collect();
        let found = Found { instances, spoilt: Vec::new() };
        let instances = Instances::new(around, found);
        instances.take_up(|_| true);
        Collector { instances, cancel }
    }

    /// It is killed: whatever it was at goes no further.
    fn kill(&self, collector: Collector) {
        collector.cancel.cancel();
        self.world.collector_dies();
    }
}

/// A life of the collector's.
struct Collector {
    instances: Instances,
    cancel: CancellationToken,
}

/// What a collector works with, as long as it lives: after that its work is done by nobody.
#[derive(Clone, Debug)]
struct Mortal {
    machine: Machine,
    life: CancellationToken,
}

impl Mortal {
    /// Does it, but not as a dead one.
    fn doing<'a, T: Send + 'a>(&'a self, work: Doing<'a, T>) -> Doing<'a, T> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.life.cancelled() => pending().await,
                done = work => done,
            }
        })
    }
}

impl Book for Mortal {
    fn write<'a>(&'a self, instance: &'a Instance) -> Doing<'a, ()> {
        self.doing(Box::pin(async move {
            let time = (self.machine.slow)(&instance.id);
            if !time.is_zero() {
                sleep(time).await;
            }
            self.machine.disk.lock().unwrap().insert(instance.id.clone(), instance.clone());
            if !time.is_zero() {
                sleep(time).await;
            }
            Ok(())
        }))
    }

    fn remove<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        self.doing(Box::pin(async move {
            self.machine.disk.lock().unwrap().remove(id);
            Ok(())
        }))
    }
}

impl Backends for Mortal {
    fn of(&self, _: &Workload) -> Arc<dyn Backend> {
        Arc::new(self.clone())
    }

    fn of_container(&self, _: &ContainerId) -> Arc<dyn Backend> {
        Arc::new(self.clone())
    }

    fn launch<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, Launch> {
        Box::pin(async move { Ok(launch(id.clone(), self.machine.restart)) })
    }
}

impl Backend for Mortal {
    fn name(&self) -> &'static str {
        self.machine.world.name()
    }
    fn create<'a>(&'a self, launch: &'a Launch) -> Doing<'a, Launched> {
        self.doing(self.machine.world.create(launch))
    }
    fn start<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        self.doing(self.machine.world.start(id))
    }
    fn state(&self, id: &ContainerId) -> Option<State> {
        self.machine.world.state(id)
    }
    fn kill<'a>(&'a self, id: &'a ContainerId, signal: i32) -> Doing<'a, ()> {
        self.doing(self.machine.world.kill(id, signal))
    }
    fn stop<'a>(&'a self, id: &'a ContainerId, signal: i32, timeout: Duration) -> Doing<'a, ()> {
        self.doing(self.machine.world.stop(id, signal, timeout))
    }
    fn pause<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        self.doing(self.machine.world.pause(id))
    }
    fn resume<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        self.doing(self.machine.world.resume(id))
    }
    fn delete<'a>(&'a self, id: &'a ContainerId, force: bool) -> Doing<'a, ()> {
        self.doing(self.machine.world.delete(id, force))
    }
    fn stats<'a>(
        &'a self,
        containers: Vec<Arc<ContainerInfo>>,
        before: Sampler,
    ) -> Doing<'a, (Vec<ContainerStats>, Sampler)> {
        self.doing(self.machine.world.stats(containers, before))
    }
    fn watch(&self, id: &ContainerId) -> watch::Receiver<Seen> {
        self.machine.world.watch(id)
    }
}
