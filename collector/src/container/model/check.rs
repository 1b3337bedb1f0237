//! What must hold in every state, and where nothing more happens.

use super::{
    config::Config,
    world::{Broken, G, Init, Op, Shim, Up, World},
};
use crate::container::machine::Phase;

impl World {
    /// I1 to I4, here and now.
    pub fn violated(&self, cx: &Config) -> Option<Broken> {
        self.broken.or_else(|| (0..cx.runs).find_map(|g| self.run_violated(g))).or_else(|| {
            let g = self.runtime?;
            let named = self.place == Some(g) && self.place_synced && self.runs[g].dir.launch_synced;
            (!named).then_some(Broken::I4("the runtime has what no durable launch names"))
        })
    }

    fn run_violated(&self, g: G) -> Option<Broken> {
        let run = &self.runs[g];
        let dir = &run.dir;
        let on_disk = dir.exit.is_some() && dir.exit_synced && dir.exit_named;
        if self.place == Some(g) && !dir.launch_synced {
            return Some(Broken::I4("a launch that a power cut would spoil"));
        }
        if dir.exit.is_some() && !dir.exit_synced {
            return Some(Broken::I2("a record that a power cut would spoil"));
        }
        if run.rung && !on_disk && !dir.removed {
            return Some(Broken::I2("it rang, and what it rang for is not on disk"));
        }
        if run.told.is_some() && run.told != dir.exit && !self.spoilt && !dir.removed {
            return Some(Broken::I1("told, and the disk says something else"));
        }
        None
    }

    /// Nothing happens any more by itself: is that as it should be?
    pub fn stuck(&self, cx: &Config) -> Option<Broken> {
        if self.node.up != Up::Ready || self.node.tasks.iter().flatten().any(|task| task.op != Op::Idle) {
            return Some(Broken::Stuck("the collector"));
        }
        (0..cx.runs).find_map(|g| self.run_stuck(g)).map(Broken::Stuck)
    }

    fn run_stuck(&self, g: G) -> Option<&'static str> {
        let (run, task) = (&self.runs[g], self.node.tasks[g]);
        if self.place != Some(g) {
            let gone = self.runtime != Some(g) && matches!(run.init, Init::No | Init::Reaped);
            return if !gone {
                Some("something is left of a run that is gone")
            } else if task.is_some_and(|task| task.machine.phase != Phase::Stopped) {
                Some("a task without a run")
            } else {
                (run.shim != Shim::No && !run.undone && !run.dir.removed).then_some("a run that was never there")
            };
        }
        let Some(task) = task else { return Some("nobody knows of a run") };
        // Whoever was to start it was killed, or has not come: it waits to be removed or started.
        if run.init == Init::Created {
            let waits = matches!(task.machine.phase, Phase::Created | Phase::Running | Phase::Orphaned);
            return (!waits).then_some("one that waits is not shown");
        }
        let clean = task.machine.phase == Phase::Stopped && (run.dir.clean || self.spoilt) && self.runtime.is_none();
        if !clean || run.init == Init::Running || run.init == Init::Zombie {
            return Some("a run is not clean");
        }
        if run.dir.exit.is_none() || run.told.map(|told| told.status) != run.dir.exit.map(|exit| exit.status) {
            return Some("an exit is not told, or not on disk");
        }
        None
    }

    /// How it ended for everybody who looks later.
    pub fn outcome(&self) -> Self {
        let mut end = *self;
        end.left = super::config::Left { shim_kills: 0, node_kills: 0, fulls: 0, bells: 0 };
        end.node = super::world::Node::DOWN;
        (end.spoilt, end.place_synced) = (false, false);
        for run in &mut end.runs {
            (run.bytes, run.heard, run.rung, run.stored) = (0, 0, false, false);
            (run.dir.temporary, run.dir.exit_named, run.dir.exit_synced) = (None, false, false);
        }
        end
    }
}
