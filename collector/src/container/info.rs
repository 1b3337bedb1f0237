//! A container as clients see it.

use super::task::Task;
use sexton_common::{launch::Origin, wire::ContainerInfo};

/// The longest text on what is in the way; a container's entry stays small.
const REASON: usize = 1024;

impl Task {
    /// Everything about it.
    pub fn info(&self) -> ContainerInfo {
        let launch = &self.launch;
        let record = self.verdict.as_ref().map(|verdict| &verdict.record);
        let ran = record.and_then(|r| Some(r.exited?.boot_ns.saturating_sub(r.started?.boot_ns)));
        let started_at = match record {
            Some(record) => record.started,
            None => self.started,
        };
        ContainerInfo {
            id: launch.id.clone(),
            generation: launch.generation,
            state: self.machine.shown(),
            pid: self.init.as_ref().map(|init| init.process.pid),
            shim_pid: Some(launch.shim.pid),
            status: record.map(|record| record.status),
            source: record.map(|record| record.source),
            oom_killed: record.and_then(|record| record.oom_killed),
            created_at: launch.created.wall,
            started_at: started_at.map(|stamp| stamp.wall),
            exited_at: record.and_then(|record| record.exited).map(|stamp| stamp.wall),
            ran_ns: ran,
            bundle: launch.workload.bundle().map(Into::into).unwrap_or_default(),
            runtime: launch.workload.runtime().map(|runtime| runtime.program.clone()).unwrap_or_default(),
            auto_remove: launch.auto_remove,
            foreign: matches!(launch.origin, Origin::Foreign { .. }),
            attempts: self.attempts,
            in_the_way: self.in_the_way.as_deref().map(shorten),
            usage: record.and_then(|record| record.usage),
            memory_peak: record.and_then(|record| record.memory_peak),
            cpu_ns: record.and_then(|record| record.cpu_ns),
            started_ns: started_at.map(|stamp| stamp.boot_ns),
            command: launch.workload.program().map(|program| program.command.clone()).unwrap_or_default(),
            restart: None,
        }
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(REASON).collect()
}
