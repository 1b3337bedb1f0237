//! The collector but for its tasks: its start, who reads facts, who takes them.

use super::{
    config::{Config, Mutant},
    task::{happen, open_pidfd, watch_shim},
    world::{G, Node, Op, Reader, Task, Up, Work, World},
};
use crate::container::{
    decide::{Seen, decide},
    event::Event,
    machine::{Machine, Phase},
};

/// The stages of a reader.
const LAUNCH: u8 = 1;
const SHIM: u8 = 2;
const INIT: u8 = 3;
const EXIT: u8 = 4;
const DECIDE: u8 = 5;

impl Node {
    /// Whether it hears of births.
    pub fn watching(&self, cx: &Config) -> bool {
        match self.up {
            Up::Down | Up::Begun => false,
            Up::Listening => !cx.is(Mutant::ScansBeforeItListens),
            Up::Scanning => self.listens,
            Up::Ready => true,
        }
    }
}

impl World {
    pub fn node_steps(&self, cx: &Config, out: &mut Vec<(&'static str, Self)>) {
        let mut go = |name, act: &dyn Fn(&mut Self)| {
            let mut next = *self;
            act(&mut next);
            out.push((name, next));
        };
        let late = cx.is(Mutant::ScansBeforeItListens);
        match self.node.up {
            Up::Down => {}
            Up::Begun if late => go("collector: scans", &|w| (w.node.up, w.node.reader.stage) = (Up::Scanning, LAUNCH)),
            Up::Begun => go("collector: listens", &|w| (w.node.up, w.node.listens) = (Up::Listening, true)),
            Up::Listening => {
                go("collector: scans", &|w| (w.node.up, w.node.reader.stage) = (Up::Scanning, LAUNCH));
            }
            Up::Scanning if self.node.reader.stage == 0 => {
                go("collector: is ready", &|w| (w.node.up, w.node.listens) = (Up::Ready, true));
            }
            Up::Ready if self.node.births && self.node.reader.stage == 0 => go("collector: hears of a birth", &|w| {
                (w.node.births, w.node.reader.stage) = (false, LAUNCH);
            }),
            Up::Scanning | Up::Ready => {}
        }
        if self.node.reader.stage > 0 {
            go("collector: reads", &|w| w.reads(cx, false));
        }
        if self.node.caller.stage > 0 {
            go("collector: reads what is announced", &|w| w.reads(cx, true));
        }
    }

    fn reads(&mut self, cx: &Config, caller: bool) {
        let mut r = if caller { self.node.caller } else { self.node.reader };
        match r.stage {
            LAUNCH => match self.place {
                // Another run's than the one that is announced.
                Some(g) if caller && g != r.g => r = Reader::default(),
                Some(g) => r = Reader { stage: SHIM, g, ..Reader::default() },
                None => r = Reader::default(),
            },
            SHIM => (r.shim_dead, r.stage) = (self.shim_dead(r.g), INIT),
            INIT if r.shim_dead && !self.lies_there(cx, r.g) => r.stage = LAUNCH,
            INIT => (r.init, r.stage) = (self.read_init(cx, r.g), EXIT),
            EXIT => {
                r.exit = self.read_record(cx, r.g);
                r.clean = self.place == Some(r.g) && self.runs[r.g].dir.clean;
                r.stage = DECIDE;
            }
            _ => {
                self.put_reader(caller, Reader::default());
                return self.take(cx, r, caller);
            }
        }
        self.put_reader(caller, r);
    }

    fn put_reader(&mut self, caller: bool, r: Reader) {
        if caller {
            self.node.caller = r;
        } else {
            self.node.reader = r;
        }
    }

    /// `Facts::decide`, `Overseer::take`, `Task::new`, as far as they go without the disk.
    fn take(&mut self, cx: &Config, r: Reader, announced: bool) {
        let g = r.g;
        if self.node.handle.is_some_and(|handle| handle >= g) {
            if let (true, Some(init), Some(task)) = (announced, r.init, &mut self.node.tasks[g]) {
                task.mail = Some(init);
            }
            return;
        }
        // It has been removed since it was read, or its name is another's: seen once the handle is taken.
        if self.place != Some(g) && !cx.is(Mutant::AnyLaunchWillDo) {
            return;
        }
        let reaped = r.init.is_some_and(|p| self.runs[p].init == super::world::Init::Reaped);
        let seen = Seen {
            record: r.exit.is_some(),
            clean: r.clean,
            shim_dead: r.shim_dead,
            init: r.init.is_some(),
            gone: reaped && !(self.runs[g].stored && cx.info_exit),
            waits: cx.create && r.init.is_some_and(|p| self.runs[p].init == super::world::Init::Created),
            ..Seen::default()
        };
        let (phase, unknown) = decide(&seen);
        self.node.handle = Some(g);
        self.node.tasks[g] = Some(Task {
            machine: Machine::new(phase, false),
            init: r.init,
            verdict: r.exit.map(|exit| (exit, true)),
            fifo: None,
            shim_watched: false,
            pidfd: None,
            died: false,
            reaped: false,
            timer: false,
            op: unknown.map_or(Op::Idle, Op::Conclude),
            work: Work::No,
            mail: None,
        });
        if unknown.is_none() {
            self.begin(cx, g, announced);
        }
    }

    /// `Task::new` and the first thing that it does.
    pub fn begin(&mut self, cx: &Config, g: G, passed: bool) {
        let Some(task) = self.node.tasks[g] else { return };
        if task.verdict.is_none() {
            open_pidfd(self, cx, g, passed);
            match task.machine.phase {
                Phase::Orphaned => super::task::on_orphaned(self, cx, g),
                _ => watch_shim(self, g),
            }
        }
        // `Overseer::tell`, or the snapshot.
        if let Some((record, durable)) = task.verdict {
            self.tell(cx, g, record, durable, self.node.up == Up::Ready);
        }
        happen(self, cx, g, Event::Found);
    }
}
