//! A container's task: the same order of looks as in `doorbell.rs`, `act.rs` and `task.rs`, around the real machine
//! and the real rules.

use super::{
    config::Config,
    world::{Broken, G, Init, Op, Rec, Shim, Task, Work, World},
};
use crate::{
    container::{
        event::{Action, Event},
        machine::Phase,
        rules::{self, Again, Then},
    },
    watch::Watched,
};
use sexton_common::{ExitStatus, Source, UnknownReason, wire::EventKind};

/// `Task::drive`.
pub fn happen(w: &mut World, cx: &Config, g: G, event: Event) {
    let Some(mut task) = w.node.tasks[g] else { return };
    let before = task.machine.phase;
    let (machine, actions) = task.machine.step(event);
    task.machine = machine;
    w.node.tasks[g] = Some(task);
    for action in actions {
        let Some(task) = &mut w.node.tasks[g] else { return };
        match action {
            Action::Publish(EventKind::Exited) => {
                (task.fifo, task.shim_watched, task.pidfd, task.timer) = (None, false, None, false);
                let verdict = task.verdict;
                w.runs[g].stored = false;
                (0..cx.runs).for_each(|p| w.fifo_closes(p));
                if let Some((record, durable)) = verdict {
                    w.tell(cx, g, record, durable, true);
                }
            }
            Action::Look => task.op = Op::Look,
            Action::RecordFromKernel => {
                let task = *task;
                let (status, source) = w.death(cx, &task);
                let record = Op::Write(Rec { of: g, status, source });
                let other = rules::shim_knows_better(task.machine.phase, &(status, source));
                set_op(w, g, if other { Op::Look } else { record });
            }
            Action::RecordNeverStarted => task.op = Op::Write(Rec::unknown(g, UnknownReason::NeverStarted)),
            Action::RuntimeStart => task.work = Work::Start,
            Action::Clean => task.work = Work::Ensure,
            Action::Bury => task.work = Work::Bury,
            Action::SignalKill => {
                open_pidfd(w, cx, g, false);
                let target = w.node.tasks[g].and_then(|task| task.pidfd);
                if let Some(p) = target.filter(|p| matches!(w.runs[*p].init, Init::Created | Init::Running)) {
                    w.runs[p].init = Init::Zombie;
                }
            }
            _ => {}
        }
    }
    let phase = w.node.tasks[g].map(|task| task.machine.phase);
    if phase == Some(Phase::Orphaned) && before != Phase::Orphaned {
        on_orphaned(w, cx, g);
    }
    if phase == Some(Phase::Gone) {
        w.node.tasks[g] = None;
        if w.node.handle == Some(g) {
            w.node.handle = None;
        }
    }
}

fn set_op(w: &mut World, g: G, op: Op) {
    if let Some(task) = &mut w.node.tasks[g] {
        task.op = op;
    }
}

/// `Task::watch_init`; `passed`: a pidfd came along, or was kept.
pub fn open_pidfd(w: &mut World, cx: &Config, g: G, passed: bool) {
    let stored = cx.store && w.runs[g].stored;
    let Some(task) = &mut w.node.tasks[g] else { return };
    let Some(p) = task.init.filter(|_| task.pidfd.is_none()) else { return };
    if w.runs[p].init != Init::Reaped || passed || stored {
        task.pidfd = Some(p);
    }
}

/// `Task::watch_shim`.
pub fn watch_shim(w: &mut World, g: G) {
    let shim = w.runs[g].shim;
    let place = w.place;
    let Some(task) = &mut w.node.tasks[g] else { return };
    if let Some(p) = place {
        let writes = !matches!(w.runs[p].shim, Shim::Dying | Shim::Dead);
        task.fifo = Some((p, writes));
        // Otherwise it hangs up; but it may have been dying, or be dead, when it was opened.
        task.timer = true;
    } else if shim == Shim::Dead {
        task.timer = true;
    } else {
        task.shim_watched = true;
    }
}

/// `Task::on_orphaned`.
pub fn on_orphaned(w: &mut World, cx: &Config, g: G) {
    open_pidfd(w, cx, g, false);
    let Some(task) = w.node.tasks[g] else { return };
    let then = rules::on_orphaned(task.pidfd.map(|p| w.init_dead(p)), task.reaped, cx.info_exit);
    if let Some(task) = &mut w.node.tasks[g] {
        task.timer |= then != Then::Wait;
    }
}

impl World {
    /// The subscribers hear, by an event or by a snapshot.
    pub fn tell(&mut self, cx: &Config, g: G, record: Rec, durable: bool, event: bool) {
        let named = self.runs[g].dir.exit_named || self.runs[g].dir.removed;
        let run = &mut self.runs[g];
        run.heard += u8::from(event);
        let before = run.told.replace(record);
        let heard = run.heard;
        // With a full disk what is told may come from elsewhere than the record that is written later: the same end.
        let differs = |before: Rec| before != record && (!self.spoilt || before.status != record.status);
        if before.is_some_and(differs) || record.of != g {
            self.breaks(Broken::I1("two different ends were told of one run"));
        }
        if heard > 1 {
            self.breaks(Broken::I1("an exit was told twice"));
        }
        if durable && !named && self.place == Some(g) && !cx.adopts {
            self.breaks(Broken::I2("told, and a power cut would take it back"));
        }
    }

    /// What the task of run `g` may do next.
    pub fn task_steps(&self, cx: &Config, g: G, out: &mut Vec<(&'static str, Self)>) {
        let Some(task) = self.node.tasks[g] else { return };
        let mut go = |name, act: &dyn Fn(&mut Self)| {
            let mut next = *self;
            act(&mut next);
            out.push((name, next));
        };
        if !matches!(task.work, Work::No | Work::Over(_)) {
            go("task: its job goes on", &|w| w.works(cx, g));
        }
        if task.op != Op::Idle {
            return go("task: goes on", &|w| w.goes_on(cx, g));
        }
        if let Work::Over(event) = task.work {
            go("task: its job is over", &|w| {
                w.change(g, |task| task.work = Work::No);
                happen(w, cx, g, event);
            });
        }
        if let Some((p, wrote)) = task.fifo {
            if self.runs[p].bytes > 0 {
                go("task: reads the FIFO", &|w| {
                    w.runs[p].bytes -= 1;
                    w.change(g, |task| task.op = Op::RingLearns);
                });
            } else if wrote && matches!(self.runs[p].shim, Shim::Dying | Shim::Dead) {
                go("task: the FIFO hangs up", &|w| {
                    w.change(g, |task| (task.fifo, task.op) = (None, Op::ShimDeath(0)));
                });
            }
        }
        if task.shim_watched && self.shim_dead(g) {
            go("task: the shim's pidfd", &|w| {
                w.change(g, |task| (task.shim_watched, task.op) = (false, Op::ShimDeath(0)));
            });
        }
        if let Some(p) = task.pidfd.filter(|_| !task.reaped) {
            // Old kernels do not tell of the reaping.
            let step = match self.runs[p].init {
                Init::Reaped if cx.info_exit => Some(Watched::Reaped),
                Init::Zombie | Init::Reaped if !task.died => Some(Watched::Zombie),
                _ => None,
            };
            if let Some(step) = step {
                go("task: the pidfd", &|w| w.on_init_death(cx, g, step));
            }
        }
        if let Some(init) = task.mail {
            go("task: hears the announcement", &|w| {
                w.change(g, |task| task.mail = None);
                w.learns(cx, g, Some(init), true);
            });
        }
        // A second is longer than dying takes.
        if task.timer && self.runs[g].shim != Shim::Dying {
            go("task: looks again", &|w| w.looks_again(cx, g));
        }
        if task.machine.phase == Phase::Gc && task.work == Work::No && !self.full {
            go("gc: tries again to clean", &|w| w.change(g, |task| task.work = Work::Ensure));
        }
        let started = task.init.is_some_and(|p| self.runs[p].ran);
        if task.machine.phase == Phase::Created && started {
            go("task: somebody saw it started", &|w| happen(w, cx, g, Event::SeenStarted));
        }
    }

    fn on_init_death(&mut self, cx: &Config, g: G, step: Watched) {
        self.change(g, |task| (task.died, task.reaped) = (true, task.reaped || step == Watched::Reaped));
        let Some(task) = self.node.tasks[g] else { return };
        match rules::on_init_death(step, task.machine.phase, cx.info_exit, false) {
            Then::Wait => {}
            Then::GiveReaperTime | Then::GiveShimTime => self.change(g, |task| task.timer = true),
            Then::Act => happen(self, cx, g, Event::InitGone),
        }
    }

    fn looks_again(&mut self, cx: &Config, g: G) {
        self.change(g, |task| task.timer = false);
        open_pidfd(self, cx, g, false);
        let Some(task) = self.node.tasks[g].filter(|task| task.verdict.is_none()) else { return };
        let dead = task.pidfd.is_none_or(|p| self.init_dead(p));
        if task.machine.phase == Phase::Orphaned {
            return if dead {
                happen(self, cx, g, Event::InitGone)
            };
        }
        if let Some((p, _)) = task.fifo.filter(|(p, _)| self.runs[*p].bytes > 0) {
            self.runs[p].bytes -= 1;
            return self.change(g, |task| task.op = Op::RingLearns);
        }
        let listens = task.fifo.is_some() || task.shim_watched;
        let lingers = !task.reaped && task.died && task.pidfd.is_some() && dead;
        match rules::look_again(self.shim_dead(g), listens, lingers) {
            Again::Wait => {}
            Again::ShimDied => self.change(g, |task| (task.fifo, task.op) = (None, Op::ShimDeath(0))),
            Again::WatchShim => watch_shim(self, g),
            Again::Lingers => happen(self, cx, g, Event::InitLingers),
        }
    }

    pub fn change(&mut self, g: G, change: impl FnOnce(&mut Task)) {
        if let Some(task) = &mut self.node.tasks[g] {
            change(task);
        }
    }

    /// I3: what is written down is what the kernel said, or nobody who knows is left.
    pub fn judge(&mut self, cx: &Config, g: G, record: Rec) {
        let (run, pidfd) = (self.runs[g], self.node.tasks[g].and_then(|task| task.pidfd));
        let ExitStatus::Unknown { reason } = record.status else {
            if record.status != super::world::status(g) || !self.init_dead(g) {
                self.breaks(Broken::I3("a status that the kernel did not give"));
            }
            return;
        };
        if record.source != Source::None || run.shim != Shim::Dead {
            self.breaks(Broken::I3("unknown, while the shim lives"));
        }
        if reason == UnknownReason::NeverStarted {
            return if run.ran {
                self.breaks(Broken::I3("never started, but it was"))
            };
        }
        if run.init != Init::Reaped || (cx.info_exit && (pidfd == Some(g) || run.stored)) {
            self.breaks(Broken::I3("unknown, while somebody could tell"));
        }
        let always_there = self.left.node_kills == cx.left.node_kills && self.left.bells == cx.left.bells;
        if cx.adopts && always_there {
            self.breaks(Broken::I3("unknown, though the collector was there and the reaper"));
        }
    }
}
