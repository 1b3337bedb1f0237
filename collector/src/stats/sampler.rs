//! Samples of many containers, one after the other, and what lies between two of them.

use super::figures::{Reader, Used};
use sexton_common::{
    ContainerId, Init, Launch, Layout, ProcessIdentity,
    cgroup::CgroupDir,
    durable,
    time::boot_ns,
    wire::{ContainerInfo, ContainerStats, State},
};
use std::{collections::HashMap, path::PathBuf, sync::Arc};

/// Takes samples for one client, and keeps what the next one needs. Of a thousand containers that is some 300 KB.
#[derive(Debug, Default)]
pub struct Sampler {
    known: HashMap<ContainerId, Known>,
    reader: Reader,
}

/// What is known of one run.
#[derive(Debug)]
struct Known {
    generation: u64,
    cgroups: Vec<CgroupDir>,
    process: ProcessIdentity,
    paths: Vec<PathBuf>,
    last: Option<Reading>,
}

/// CPU time at some moment.
#[derive(Clone, Copy, Debug)]
struct Reading {
    at_ns: u64,
    cpu_ns: u64,
}

/// One container's, and where its files are.
#[derive(Debug)]
pub struct Sample {
    /// All but its disk.
    pub stats: ContainerStats,
    /// What it has registered.
    pub paths: Vec<PathBuf>,
}

impl Sampler {
    /// A sample of all of these, on a machine with so many CPUs. Whoever is not among them is forgotten. Blocks.
    pub fn sample(&mut self, layout: &Layout, containers: &[Arc<ContainerInfo>], cpus: u32) -> Vec<Sample> {
        let mut before = std::mem::take(&mut self.known);
        let mut samples = Vec::with_capacity(containers.len());
        for info in containers {
            let known = before.remove(&info.id).filter(|known| known.generation == info.generation);
            let mut known = known.or_else(|| if has_figures(info.state) { Known::read(layout, info) } else { None });
            samples.push(self.one(info, known.as_mut(), cpus));
            if let Some(known) = known {
                self.known.insert(info.id.clone(), known);
            }
        }
        samples
    }

    fn one(&mut self, info: &ContainerInfo, known: Option<&mut Known>, cpus: u32) -> Sample {
        let mut sample = Sample { stats: ContainerStats::none(info), paths: Vec::new() };
        let Some(known) = known.filter(|_| has_figures(info.state)) else { return sample };
        let used = self.reader.used(&known.cgroups, &known.process);
        let now = used.cpu_ns.map(|cpu_ns| Reading { at_ns: boot_ns(), cpu_ns });
        let share = known.last.zip(now).and_then(|(last, now)| last.until(now));
        known.last = now;
        let Used { memory, memory_limit, cpu_ns, pids, oom_kills, io } = used;
        let cpu_of_core = share.map(clamp);
        let cpu_of_all = share.map(|share| clamp(share / f64::from(cpus.max(1))));
        let stats = &mut sample.stats;
        *stats = ContainerStats { memory, memory_limit, cpu_ns, pids, oom_kills, io, ..stats.clone() };
        (stats.cpu_of_core, stats.cpu_of_all) = (cpu_of_core, cpu_of_all);
        sample.paths.clone_from(&known.paths);
        sample
    }
}

impl Reading {
    /// Hundredths of a percent of one core. `None` for a counter that goes backwards: that is another run's.
    fn until(self, now: Self) -> Option<f64> {
        let (time, used) = (now.at_ns.checked_sub(self.at_ns)?, now.cpu_ns.checked_sub(self.cpu_ns)?);
        (time > 0).then(|| used as f64 / time as f64 * 10_000.0)
    }
}

fn clamp(share: f64) -> u32 {
    // Saturates.
    share.round() as u32
}

impl Known {
    /// From the facts: the board does not know of cgroups. `None` until there is an init.
    fn read(layout: &Layout, info: &ContainerInfo) -> Option<Self> {
        let dir = layout.container(&info.id);
        let init: Init = durable::read(&dir.init()).ok()??;
        let launch: Option<Launch> = durable::read(&dir.launch()).ok().flatten();
        let paths = launch.filter(|launch| launch.generation == info.generation).map(|launch| launch.cleanup.paths);
        let generation = info.generation;
        (init.generation == generation).then(|| Self {
            generation,
            cgroups: init.cgroups,
            process: init.process,
            paths: paths.unwrap_or_default(),
            last: None,
        })
    }
}

/// Whether something of it may be alive. What bears the name of its cgroup later is somebody else's.
fn has_figures(state: State) -> bool {
    match state {
        State::Created | State::Running | State::Orphaned | State::Paused | State::Stopping | State::Gc => true,
        State::Creating | State::Stopped | State::Restarting | State::Pending => false,
    }
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
