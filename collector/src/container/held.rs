//! What a task keeps of its container's files: what it looks at, and the rest packed.

use crate::packed::{Packed, Packer};
use sexton_common::{
    ContainerId, Init, Launch, ProcessIdentity, Stamp,
    launch::{Mode, Origin},
    workload::{Program, Workload},
};

/// Both files; what was created is not always known.
pub type Both = (Launch, Option<Init>);

/// See the module.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: ContainerId,
    pub(super) generation: u64,
    pub(super) shim: ProcessIdentity,
    pub(super) mode: Mode,
    pub(super) is_foreign: bool,
    /// Its init, once that is known.
    pub(super) process: Option<ProcessIdentity>,
    both: Packed<Both>,
}

impl Held {
    pub(super) fn new(packer: &Packer<Both>, both: Both) -> Self {
        let (launch, init) = &both;
        Self {
            id: launch.id.clone(),
            generation: launch.generation,
            shim: launch.shim,
            mode: launch.mode,
            is_foreign: matches!(launch.origin, Origin::Foreign { .. }),
            process: init.as_ref().map(|init| init.process),
            both: packer.pack(&both),
        }
    }

    /// Which run it is of.
    pub(super) fn run(&self) -> (ContainerId, u64) {
        (self.id.clone(), self.generation)
    }

    /// All of it.
    pub(super) fn both(&self, packer: &Packer<Both>) -> Both {
        packer.unpack(&self.both).unwrap_or_else(|| {
            tracing::error!(id = %self.id, "what is known of a container is damaged in memory: restart sextond");
            let process = self.process.unwrap_or(self.shim);
            let init = Init {
                id: self.id.clone(),
                generation: self.generation,
                process,
                cgroups: Vec::new(),
                ready: Stamp::now(),
                executable: None,
                shim: self.shim,
                workload: Workload::Process(Program::default()),
            };
            (init.to_launch(), self.process.map(|_| init))
        })
    }
}
