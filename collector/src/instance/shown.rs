//! An instance as clients see it.

use sexton_common::{
    instance::{Instance, Next},
    launch::Launch,
    wire::{ContainerInfo, LastRun, RestartInfo, State},
};

/// Whether and when it comes back.
#[must_use]
pub fn restart(instance: &Instance) -> RestartInfo {
    RestartInfo {
        policy: instance.launch.restart,
        count: instance.count,
        next_start: match instance.next {
            Next::Start { due, .. } => Some(due.wall),
            Next::Run | Next::Nothing { .. } => None,
        },
        stopped_by_user: instance.stopped_by_user,
        last: instance.last.map(|last| LastRun {
            generation: last.generation,
            status: last.status,
            exited_at: last.exited,
        }),
        failure: instance.failure.clone(),
    }
}

/// One without a run: its last run's record is gone, or was of an earlier boot.
#[must_use]
pub fn info(instance: &Instance) -> ContainerInfo {
    let Launch { workload, created, .. } = &instance.launch;
    ContainerInfo {
        id: instance.id.clone(),
        generation: instance.launch.generation,
        state: State::Stopped,
        pid: None,
        shim_pid: None,
        status: instance.last.map(|last| last.status),
        source: None,
        oom_killed: None,
        created_at: created.wall,
        started_at: None,
        exited_at: instance.last.and_then(|last| last.exited),
        ran_ns: instance.last.and_then(|last| last.ran_ns),
        bundle: workload.bundle().map(Into::into).unwrap_or_default(),
        runtime: workload.runtime().map(|runtime| runtime.program.clone()).unwrap_or_default(),
        auto_remove: false,
        foreign: false,
        attempts: 0,
        in_the_way: None,
        usage: None,
        memory_peak: None,
        cpu_ns: None,
        started_ns: None,
        command: workload.program().map(|program| program.command.clone()).unwrap_or_default(),
        restart: None,
    }
}
