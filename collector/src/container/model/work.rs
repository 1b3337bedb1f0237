//! What a task does step by step: looks at the files, writes the record, cleans up.

use super::{
    config::{Config, Mutant},
    task::happen,
    world::{Broken, G, Init, Op, Rec, Shim, Work, World, status},
};
use crate::container::{event::Event, rules};
use sexton_common::Source;

impl World {
    /// The next step of what it is at.
    pub fn goes_on(&mut self, cx: &Config, g: G) {
        let Some(task) = self.node.tasks[g] else { return };
        self.change(g, |task| task.op = Op::Idle);
        match task.op {
            Op::Idle => {}
            Op::Conclude(reason) => self.write(cx, g, Rec::unknown(g, reason)),
            Op::RingLearns => {
                self.learns(cx, g, None, false);
                self.change(g, |task| task.op = Op::RingLooks);
            }
            Op::RingLooks => {
                if self.looks(cx, g, true) {
                    happen(self, cx, g, Event::Exit);
                }
            }
            Op::ShimDeath(step) => self.on_shim_death(cx, g, step),
            Op::Look => {
                if self.looks(cx, g, false) {
                    happen(self, cx, g, Event::Exit);
                }
            }
            Op::Write(record) => self.write(cx, g, record),
            Op::Sync(record, whose) => {
                self.runs[whose].dir.exit_named = true;
                self.has(cx, g, record, true);
            }
        }
    }

    fn on_shim_death(&mut self, cx: &Config, g: G, step: u8) {
        match step {
            0 | 3 => {
                self.change(g, |task| task.op = Op::ShimDeath(step + 1));
                self.learns(cx, g, None, false);
            }
            1 | 4 => {
                self.change(g, |task| task.op = Op::ShimDeath(step + 1));
                if self.looks(cx, g, false) {
                    self.change(g, |task| task.op = Op::Idle);
                    happen(self, cx, g, Event::Exit);
                }
            }
            2 if self.shim_dead(g) => self.change(g, |task| task.op = Op::ShimDeath(3)),
            2 => self.change(g, |task| task.shim_watched = true),
            _ => {
                let event = if self.lies_there(cx, g) { Event::ShimGone } else { Event::Vanished };
                happen(self, cx, g, event);
            }
        }
    }

    /// `Task::learn_init`, or an announcement.
    pub fn learns(&mut self, cx: &Config, g: G, announced: Option<G>, passed: bool) {
        let Some(task) = self.node.tasks[g].filter(|task| task.init.is_none() && task.verdict.is_none()) else {
            return;
        };
        let Some(init) = announced.or_else(|| self.read_init(cx, g)) else { return };
        self.change(g, |task| task.init = Some(init));
        super::task::open_pidfd(self, cx, g, passed);
        let op = task.op;
        happen(self, cx, g, Event::InitKnown { run: !cx.create });
        debug_assert!(self.node.tasks[g].is_none_or(|now| now.op == op || op == Op::RingLearns));
    }

    /// `Task::look`: what the file says, else what the shim said.
    fn looks(&mut self, cx: &Config, g: G, said: bool) -> bool {
        let Some(task) = self.node.tasks[g] else { return false };
        if task.verdict.is_some() {
            return true;
        }
        let said = said.then_some(Rec { of: g, status: status(g), source: Source::Waited });
        let verdict = match self.read_record(cx, g) {
            Some(record) => Some((record, true)),
            None => said
                .filter(|said| rules::said_counts(task.init.as_ref(), Some(&said.of), !self.init_dead(g)))
                .map(|said| (said, false)),
        };
        self.change(g, |task| task.verdict = verdict);
        verdict.is_some()
    }

    /// `of_death`.
    fn write(&mut self, cx: &Config, g: G, record: Rec) {
        self.judge(cx, g, record);
        match self.write_record(cx, record) {
            Some((whose, true)) => self.change(g, |task| task.op = Op::Sync(record, whose)),
            Some((_, false)) => match self.read_record(cx, g) {
                Some(theirs) => self.has(cx, g, theirs, true),
                None => self.has(cx, g, record, false),
            },
            None => {
                let theirs = self.read_record(cx, g);
                self.has(cx, g, theirs.unwrap_or(record), theirs.is_some());
            }
        }
    }

    /// It has its verdict: a task that was about to begin begins, another goes on.
    fn has(&mut self, cx: &Config, g: G, record: Rec, durable: bool) {
        let Some(task) = self.node.tasks[g] else { return };
        self.change(g, |task| task.verdict = Some((record, durable)));
        let begins = task.machine.phase == crate::container::machine::Phase::Stopping;
        if begins { self.begin(cx, g, false) } else { happen(self, cx, g, Event::Exit) }
    }

    /// The next step of its job: `act.rs::start`, `Cleaner::attempt`, `gc::bury`.
    pub fn works(&mut self, cx: &Config, g: G) {
        let Some(task) = self.node.tasks[g] else { return };
        let next = match task.work {
            Work::No | Work::Over(_) => return,
            Work::Start => {
                let ok = task.init.is_some_and(|p| self.starts(p));
                Work::Over(Event::StartDone { ok })
            }
            Work::Ensure => match task.verdict {
                Some((_, true)) | None => Work::Look,
                Some(_) if self.full => Work::Over(Event::InTheWay),
                Some((record, false)) => {
                    if let Some((whose, _)) = self.write_record(cx, record) {
                        self.runs[whose].dir.exit_named = true;
                    }
                    Work::Look
                }
            },
            Work::Look if task.init.is_some() && self.runtime.is_none() => Work::Remember,
            Work::Look => Work::Delete,
            Work::Delete => {
                // The look at the launch and the delete are one step here.
                let anothers = self.place.is_some_and(|p| p != g) && !cx.is(Mutant::AnyLaunchWillDo);
                if anothers {
                    return self.change(g, |task| task.work = Work::Over(Event::Cleaned));
                }
                self.delete(g);
                if self.runtime.is_none() { Work::Remember } else { Work::Over(Event::InTheWay) }
            }
            Work::Remember => {
                if let Some(p) = self.place.filter(|p| *p == g && !self.full) {
                    self.runs[p].dir.clean = true;
                }
                Work::Over(Event::Cleaned)
            }
            Work::Bury => {
                let own = self.place.filter(|p| *p == g || cx.is(Mutant::AnyLaunchWillDo));
                if let Some(p) = own {
                    self.place = None;
                    self.runs[p].dir.removed = true;
                    if p != g {
                        self.breaks(Broken::I4("one run buried another"));
                    }
                }
                Work::Over(Event::Buried { ok: true })
            }
        };
        self.change(g, |task| task.work = next);
    }

    /// The runtime's delete knows names only.
    fn delete(&mut self, g: G) {
        let Some(p) = self.runtime.take() else { return };
        if p != g && !matches!(self.runs[p].shim, Shim::Dead) {
            self.breaks(Broken::I4("one run's clean-up deleted another"));
        }
        if matches!(self.runs[p].init, Init::Created | Init::Running) {
            self.runs[p].init = Init::Zombie;
        }
    }
}
