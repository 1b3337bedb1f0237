//! What is neither shim nor collector: processes, disk, engine, and whoever kills.

use super::{
    config::{Config, Mutant},
    task::happen,
    world::{Broken, G, Init, Node, Op, Rec, Shim, Up, World},
};
use crate::container::event::Event;
use sexton_common::{ExitStatus, Source};

impl World {
    /// The runtime starts it, if it waits for that.
    pub fn starts(&mut self, g: G) -> bool {
        let run = &mut self.runs[g];
        let waits = run.init == Init::Created;
        if waits {
            (run.init, run.ran) = (Init::Running, true);
        }
        waits
    }

    /// What happens by itself, sooner or later.
    pub fn kernel_steps(&self, cx: &Config, out: &mut Vec<(&'static str, Self)>) {
        let mut go = |name, act: &dyn Fn(&mut Self)| {
            let mut next = *self;
            act(&mut next);
            out.push((name, next));
        };
        for g in 0..cx.runs {
            let run = &self.runs[g];
            if run.init == Init::Running {
                go("init ends", &|w| w.runs[g].init = Init::Zombie);
            }
            // The collector that adopts has its look before it reaps.
            if run.init == Init::Zombie && run.shim == Shim::Dead && (!cx.adopts || run.dir.exit.is_some()) {
                go("init is reaped by its new parent", &|w| w.runs[g].init = Init::Reaped);
            }
            if cx.create && run.init == Init::Created && run.shim == Shim::Asleep {
                go("the engine starts it by the runtime", &|w| {
                    w.starts(g);
                });
            }
        }
        if self.runs[0].shim == Shim::No {
            go("the engine launches", &|w| w.runs[0].shim = Shim::Looked);
        }
        if self.full {
            go("the disk has space again", &|w| w.full = false);
        }
        if self.node.up == Up::Down {
            go("collector: starts", &|w| w.node.up = Up::Begun);
        }
    }

    /// What may happen, or not.
    pub fn faults(&self, cx: &Config, out: &mut Vec<(&'static str, Self)>) {
        let mut go = |name, act: &dyn Fn(&mut Self)| {
            let mut next = *self;
            act(&mut next);
            out.push((name, next));
        };
        for g in 0..cx.runs {
            let run = self.runs[g];
            if self.left.shim_kills > 0 && !matches!(run.shim, Shim::No | Shim::Dying | Shim::Dead) {
                go("the shim is killed", &|w| w.kill_shim(g));
            }
            if self.left.bells > 0 && run.bytes > 0 {
                go("a bell is lost", &|w| (w.runs[g].bytes, w.left.bells) = (run.bytes - 1, w.left.bells - 1));
                go("a bell rings twice", &|w| (w.runs[g].bytes, w.left.bells) = (2, w.left.bells - 1));
            }
            if self.left.bells > 0 && self.node.caller.stage > 0 && self.node.caller.g == g {
                go("an announcement is lost", &|w| (w.node.caller.stage, w.left.bells) = (0, w.left.bells - 1));
            }
            if self.left.bells > 0 && run.init == Init::Running {
                go("bytes come while init lives", &|w| w.forged(cx, g));
            }
            let idle = self.node.tasks[g].is_some_and(|task| task.op == Op::Idle);
            if cx.removes && idle && !run.unwanted {
                go("the engine removes by force", &|w| {
                    w.runs[g].unwanted = true;
                    happen(w, cx, g, Event::Remove { force: true });
                });
            }
            if cx.create && idle && run.init == Init::Created {
                go("the engine starts it", &|w| happen(w, cx, g, Event::Start));
            }
            if g > 0 && run.shim == Shim::No && self.runs[g - 1].shim != Shim::No && self.place.is_none() {
                go("the engine launches again", &|w| {
                    w.runs[g].shim = if w.runtime.is_none() { Shim::Looked } else { Shim::No };
                });
            }
        }
        if self.left.node_kills > 0 && self.node.up != Up::Down {
            go("the collector is killed", &|w| w.kill_node(cx));
        }
        if self.left.fulls > 0 && !self.full {
            go("the disk is full", &|w| (w.full, w.spoilt, w.left.fulls) = (true, true, w.left.fulls - 1));
        }
    }

    fn kill_node(&mut self, cx: &Config) {
        let tasks = self.node.tasks;
        self.left.node_kills -= 1;
        self.node = Node::DOWN;
        for (g, task) in tasks.into_iter().enumerate() {
            let run = &mut self.runs[g];
            run.stored |= cx.store && task.is_some_and(|task| task.pidfd == Some(g) && task.verdict.is_none());
            run.heard = 0;
            // What it had from the FIFO alone, because the disk was full, went with it.
            if run.told.is_some() && run.dir.exit.is_none() && self.spoilt {
                run.told = None;
            }
            self.fifo_closes(g);
        }
    }

    /// Somebody else's bytes, well-formed, of this run, and not true.
    fn forged(&mut self, cx: &Config, g: G) {
        self.left.bells -= 1;
        let said = Rec { of: g, status: ExitStatus::Code(99), source: Source::Waited };
        let Some(task) = self.node.tasks[g].filter(|task| task.op == Op::Idle && task.fifo == Some((g, true))) else {
            return;
        };
        let believed = cx.is(Mutant::BytesBelievedOfTheLiving)
            || super::super::rules::said_counts(task.init.as_ref(), Some(&g), !self.init_dead(g));
        if believed && task.verdict.is_none() {
            self.breaks(Broken::I3("bytes were believed of one that lives"));
            self.node.tasks[g] = Some(super::world::Task { verdict: Some((said, false)), ..task });
        }
    }
}
