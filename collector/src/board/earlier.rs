//! What is left of a container without its present run.

use super::{Board, Inner};
use sexton_common::{
    ContainerId,
    wire::{ContainerInfo, EventKind, State},
};

impl Inner {
    /// A container that comes back as it is without that run: as the last one that ended has left it.
    fn without(&self, run: &ContainerInfo) -> Option<ContainerInfo> {
        let last = self.restarts.get(&run.id)?.last.as_ref()?;
        Some(self.complete(ContainerInfo {
            generation: last.generation,
            state: State::Stopped,
            status: Some(last.status),
            created_at: run.created_at,
            exited_at: last.exited_at,
            bundle: run.bundle.clone(),
            runtime: run.runtime.clone(),
            command: run.command.clone(),
            ..ContainerInfo::pending(run.id.clone())
        }))
    }
}

impl Board {
    /// A run of which nobody was told.
    pub fn forget(&self, id: &ContainerId, generation: u64) {
        let mut inner = self.lock();
        if let Some(run) = inner.get(id).filter(|shown| shown.generation == generation) {
            match inner.without(&run) {
                Some(last) => inner.put(&last),
                None => drop(inner.containers.remove(id)),
            }
            inner.tell(&run, true);
        }
    }

    /// A run that was told of, and whose launch came to nothing: its container is still there if it had others.
    pub fn undone(&self, run: ContainerInfo) {
        if self.lock().without(&run).is_some() {
            self.forget(&run.id, run.generation);
        } else {
            self.publish(EventKind::Removed, run);
        }
    }

    /// The exit of a run that has been removed since, if that was not long ago, or that was the one before the present one.
    pub fn exited_lately(&self, id: &ContainerId, generation: u64) -> Option<ContainerInfo> {
        let inner = self.lock();
        let told = inner.ring.exit(id, generation).and_then(|told| inner.packer.unpack(told));
        // Told by an earlier collector, perhaps; how it ended is durable.
        let before = || inner.without(&inner.get(id)?).filter(|last| last.generation == generation);
        told.or_else(|| Some(ContainerInfo { state: State::Stopped, ..before()? }))
    }
}
