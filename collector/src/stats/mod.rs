//! What containers and the machine use: looked at when somebody asks, and never else.
//!
//! No runtime is executed. A container's figures come from its cgroups' files, all containers' of a sample in one thread;
//! its registered files are counted in the background (`counts.rs`), and no sample waits for that.

mod counts;
mod figures;
mod files;
mod host;
mod parse;
mod sampler;

pub use host::{disk, memory};
pub use sampler::Sampler;

use crate::overseer::Overseer;
use counts::Counts;
use host::Host;
use sexton_common::{
    WallTime,
    time::boot_ns,
    wire::{ContainerInfo, ContainerStats, NodeState, NodeStats, Room, State},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

/// What a look at the data directory's file system may take.
const DISK_WITHIN: Duration = Duration::from_secs(2);

/// What those who sample share.
#[derive(Debug)]
pub struct Stats {
    counts: Counts,
    /// Samples at once: whatever clients ask, threads are left for what matters.
    samples: Arc<Semaphore>,
    /// Looks at the data directory's file system at once: one that hangs is not asked again.
    disk: Arc<Semaphore>,
}

impl Stats {
    /// With so many threads in the pool, and this long for counting one container's files.
    #[must_use]
    pub fn new(threads: usize, disk_timeout: Duration, cancel: CancellationToken) -> Self {
        let counts = Counts::new(disk_timeout, (threads / 4).max(1), cancel);
        Self { counts, samples: Arc::new(Semaphore::new(2)), disk: Arc::new(Semaphore::new(1)) }
    }
}

/// A sample of these containers, and the sampler for the next one.
pub async fn sample(
    overseer: &Overseer,
    mut sampler: Sampler,
    containers: Vec<Arc<ContainerInfo>>,
) -> (Vec<ContainerStats>, Sampler) {
    let cx = &overseer.cx;
    let place = cx.stats.samples.clone().acquire_owned().await;
    let layout = cx.layout.clone();
    let work = move || {
        let _place = place;
        let samples = sampler.sample(&layout, &containers, host::cpus());
        (samples, sampler)
    };
    let (samples, sampler) = cx.tools.blocking.run("sample containers", work).await;
    cx.stats.counts.prune(&cx.board);
    let with_disk = |sample: sampler::Sample| {
        let mut stats = sample.stats;
        if !sample.paths.is_empty() {
            let run = (stats.id.clone(), stats.generation);
            stats.disk = cx.stats.counts.of(&run, &sample.paths, &cx.tools.blocking, &overseer.tasks);
        }
        stats
    };
    (samples.into_iter().map(with_disk).collect(), sampler)
}

/// How the machine is. Whether it takes containers, and how many run of how many that may, is for [`crate::node::fill`] to
/// say.
pub async fn node(overseer: &Overseer) -> NodeStats {
    let cx = &overseer.cx;
    let host = cx.tools.blocking.run("look at the machine", Host::look).await;
    let disk = timeout(DISK_WITHIN, data_disk(overseer)).await.ok().flatten();
    let mut containers: BTreeMap<u32, (State, u32)> = BTreeMap::new();
    cx.board.read(|all| {
        for shown in all.values() {
            containers.entry(shown.state as u32).or_insert((shown.state, 0)).1 += 1;
        }
    });
    NodeStats {
        state: NodeState::Ready,
        why: Vec::new(),
        at: WallTime::now(),
        hostname: host.hostname,
        addresses: host.addresses,
        cpus: host::cpus(),
        load: host.load,
        memory: host.memory,
        disk: disk.unwrap_or_default(),
        disk_path: cx.layout.data().into(),
        descriptors: host.descriptors,
        running: Room::default(),
        containers: containers.into_values().collect(),
        gc_entries: u32::try_from(cx.gc.waiting().len()).unwrap_or(u32::MAX),
        uptime_ms: boot_ns() / 1_000_000,
    }
}

async fn data_disk(overseer: &Overseer) -> Option<Room> {
    let place = overseer.cx.stats.disk.clone().acquire_owned().await;
    let data = overseer.cx.layout.data().to_owned();
    let work = move || {
        let _place = place;
        host::disk(&data).ok()
    };
    overseer.cx.tools.blocking.run("look at the data directory's file system", work).await
}

/// Whether a container is one of those that use something: what a client means who names none.
#[must_use]
pub fn runs(state: State) -> bool {
    matches!(state, State::Running | State::Orphaned | State::Paused)
}
