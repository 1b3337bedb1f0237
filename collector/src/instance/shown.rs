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
        generation: instance.launch.generation,
        state: State::Stopped,
        status: instance.last.map(|last| last.status),
        created_at: created.wall,
        exited_at: instance.last.and_then(|last| last.exited),
        ran_ns: instance.last.and_then(|last| last.ran_ns),
        bundle: workload.bundle().map(Into::into).unwrap_or_default(),
        runtime: workload.runtime().map(|runtime| runtime.program.clone()).unwrap_or_default(),
        command: workload.program().map(|program| program.command.clone()).unwrap_or_default(),
        ..ContainerInfo::pending(instance.id.clone())
    }
}
