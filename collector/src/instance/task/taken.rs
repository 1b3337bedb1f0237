//! Instances that an earlier collector has left, and runs that nobody here has heard of.

use super::{Task, tally};
use crate::instance::{
    order::STOP,
    policy::{self, Came},
    reconcile::{Step, reconcile},
    shown,
};
use sexton_common::{
    ExitStatus, Launch, UnknownReason,
    instance::{Ended, Next},
    restart::RestartPolicy,
    wire::EventKind,
};

impl Task {
    /// An instance that an earlier collector has left, once it is known whether its run is there.
    pub fn take_up(&mut self) {
        let there = self.is_there();
        let instance = &mut self.instance;
        let boot = self.around.boot;
        let came = if instance.boot == boot {
            Came::CollectorRestarted
        } else {
            // Generations are counted from the machine's start, and no run is left of an earlier one.
            let run = instance.launch.generation;
            let was_running = instance.next == Next::Run && instance.last.is_none_or(|last| last.generation != run);
            // Its record may be there, where the state directory outlives a reboot.
            let after = if there { self.seen.borrow().generation } else { 0 };
            (instance.boot, instance.launch.generation, self.dirty) = (boot, after, true);
            instance.next = match instance.next {
                Next::Start { .. } => Next::Start { after, due: self.around.now() },
                Next::Run | Next::Nothing { .. } => Next::Nothing { after },
            };
            if was_running {
                let status = ExitStatus::Unknown { reason: UnknownReason::ShimAndCollectorKilled };
                instance.last = Some(Ended { generation: run, status, exited: None, ran_ns: None });
            }
            if instance.launch.restart == RestartPolicy::No {
                // Nothing of it is left that one might want to see.
                instance.failure = None;
            }
            Came::MachineRebooted { was_running }
        };
        // A run that ended while no collector was there is decided upon first.
        let undecided = reconcile(&self.instance, &self.seen.borrow(), 0);
        if let Step::Decide(ended) = undecided {
            self.decide(ended);
        }
        let instance = &mut self.instance;
        // Somebody stopped it while its next run was being created.
        let mut stopping = false;
        if let (Next::Start { after, .. }, true) = (instance.next, instance.stopped_by_user) {
            (instance.next, self.dirty) = (Next::Nothing { after }, true);
            stopping = instance.launch.restart != RestartPolicy::Always;
        }
        if let (Next::Nothing { after }, false) = (instance.next, instance.removing) {
            let last = instance.last.map(|last| last.status);
            let policy = instance.launch.restart;
            let lost = came == Came::MachineRebooted { was_running: true };
            if policy::at_start(
                policy,
                tally(instance),
                instance.stopped_by_user,
                came,
                last.as_ref(),
                &self.around.rules,
            ) {
                instance.stopped_by_user = false;
                instance.next = Next::Start { after, due: self.around.now() };
                if lost && matches!(policy, RestartPolicy::OnFailure { .. }) {
                    instance.count = instance.count.saturating_add(1);
                }
                (self.dirty, self.tell) = (true, Some(EventKind::Restarting));
            }
            if lost {
                // Nobody knows how that run ended.
                instance.unknowns = instance.unknowns.saturating_add(1);
            }
        }
        if !there {
            self.around.board.hollow(shown::info(&self.instance));
        } else if self.instance.removing
            || (stopping && self.alive())
            || matches!(self.instance.next, Next::Start { after, .. } if self.runs(after))
        {
            self.finish_what_was_begun();
        }
    }

    /// The collector was killed while somebody stopped or removed it.
    pub(super) fn finish_what_was_begun(&self) {
        let (backend, id, removing) = (self.backend.clone(), self.instance.id.clone(), self.instance.removing);
        self.around.tasks.spawn(async move {
            let ended = match removing {
                true => backend.delete(&id, true).await,
                false => backend.stop(&id, STOP.0, STOP.1).await,
            };
            if let Err(e) = ended {
                tracing::warn!(%id, error = %e, "what an earlier sextond had begun is not done");
            }
        });
    }

    /// A run that is there and that nobody here has heard of: of a collector that was killed, or of whoever has called a
    /// shim by this name.
    pub(super) async fn take_over(&mut self, generation: u64) {
        let instance = &mut self.instance;
        if let Next::Nothing { .. } = instance.next {
            // Whoever has called that shim begins anew.
            (instance.count, instance.delay_ms, instance.unknowns, instance.stopped_by_user) = (0, 0, 0, false);
        }
        instance.launch.generation = generation;
        match self.around.backends.launch(&instance.id).await {
            Ok(launch) if launch.generation == generation => {
                instance.launch = Launch { cgroups: Vec::new(), ..launch };
            }
            Ok(_) => {}
            Err(e) => {
                tracing::warn!(id = %instance.id, error = %e, "its launch cannot be read: taken for the earlier one")
            }
        }
        (instance.next, instance.failure, self.dirty) = (Next::Run, None, true);
    }
}
