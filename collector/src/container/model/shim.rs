//! A shim's life, as in `shim/src/lifecycle.rs` and `watch.rs`.

use super::{
    config::{Act, Config, Mutant},
    world::{G, Init, Rec, Shim, World, status},
};
use sexton_common::Source;

impl World {
    /// What the shim of run `g` may do next.
    pub fn shim_steps(&self, cx: &Config, g: G, out: &mut Vec<(&'static str, Self)>) {
        let mut go = |name, act: &dyn Fn(&mut Self)| {
            let mut next = *self;
            act(&mut next);
            out.push((name, next));
        };
        match self.runs[g].shim {
            Shim::No | Shim::Dead => {}
            Shim::Looked => go("shim: place", &|w| w.place_dir(cx, g)),
            Shim::Placed => go("shim: fsync containers/", &|w| {
                w.place_synced |= w.place == Some(g);
                w.runs[g].shim = if w.runs[g].init == Init::No { Shim::Durable } else { Shim::Created };
            }),
            Shim::Durable => go("shim: create begins", &|w| w.create(cx, g)),
            Shim::Creating => {
                go("shim: created", &|w| {
                    w.runs[g].init = Init::Created;
                    w.runs[g].shim = Shim::Created;
                });
                if cx.fails {
                    go("shim: create fails", &|w| w.runs[g].shim = Shim::Undoes(0));
                }
            }
            Shim::Created => go("shim: note init", &|w| {
                let fails = w.full || w.runs[g].dir.removed;
                w.runs[g].dir.init |= !fails;
                w.runs[g].shim = if fails { Shim::Undoes(0) } else { Shim::Noted };
            }),
            Shim::Noted => go("shim: announce", &|w| {
                if w.node.listens && w.node.caller.stage == 0 {
                    (w.node.caller.stage, w.node.caller.g) = (1, g);
                }
                w.runs[g].shim = Shim::Announced;
            }),
            // Answered, or not within its time.
            Shim::Announced => go("shim: goes on", &|w| w.runs[g].shim = Shim::Starting),
            Shim::Starting if cx.create => go("shim: sleeps", &|w| w.runs[g].shim = Shim::Asleep),
            Shim::Starting => {
                go("shim: start", &|w| {
                    // One that was killed meanwhile cannot be started.
                    w.runs[g].shim = if w.starts(g) { Shim::Asleep } else { Shim::Undoes(0) };
                });
                if cx.fails {
                    go("shim: start fails", &|w| w.runs[g].shim = Shim::Undoes(0));
                }
            }
            Shim::Asleep if self.runs[g].init == Init::Zombie => go("shim: sees init dead", &|w| {
                w.runs[g].shim = Shim::Delivers { step: 0, failed: false, again: false };
            }),
            Shim::Asleep => {}
            Shim::Delivers { step, failed, again } => {
                let waits = step == 0 && again && self.full;
                if !waits {
                    go("shim: delivers", &|w| w.deliver(cx, g, step, failed, again));
                }
            }
            Shim::Undoes(step) => go("shim: undoes", &|w| w.undo(g, step)),
            Shim::Dying => go("shim: is dead", &|w| w.runs[g].shim = Shim::Dead),
        }
    }

    fn place_dir(&mut self, cx: &Config, g: G) {
        if self.place.is_some() || self.full {
            self.runs[g].undone = true;
            return self.shim_dies(g);
        }
        self.place = Some(g);
        self.place_synced = false;
        self.node.births |= self.node.up != super::world::Up::Down && self.node.watching(cx);
        self.runs[g].dir.launch_synced = true;
        self.runs[g].shim = if cx.is(Mutant::CreatesBeforeDurable) { Shim::Durable } else { Shim::Placed };
    }

    fn create(&mut self, cx: &Config, g: G) {
        if self.runtime.is_some() {
            // Not ours to delete.
            self.runs[g].shim = Shim::Undoes(2);
            return;
        }
        self.runtime = Some(g);
        self.runs[g].shim = Shim::Creating;
        if cx.is(Mutant::CreatesBeforeDurable) {
            self.runs[g].init = Init::Created;
            self.runs[g].shim = Shim::Placed;
        }
    }

    fn deliver(&mut self, cx: &Config, g: G, step: u8, mut failed: bool, again: bool) {
        let acts = cx.delivery();
        let (full, record) = (self.full, Rec { of: g, status: status(g), source: Source::Waited });
        let run = &mut self.runs[g];
        match acts[usize::from(step)] {
            Act::Write if run.dir.removed => failed = false,
            Act::Write => (run.dir.temporary, failed) = ((!full).then_some(false), full),
            Act::SyncFile => run.dir.temporary = run.dir.temporary.map(|_| true),
            Act::Rename => {
                let theirs = run.dir.exit.is_some() && !cx.is(Mutant::PlainRename);
                if let Some(synced) = run.dir.temporary.take().filter(|_| !theirs && !run.dir.removed) {
                    self.put_record(g, record, synced);
                }
            }
            // Theirs too.
            Act::SyncDir => run.dir.exit_named |= !failed && run.dir.exit.is_some(),
            Act::Reap if !again => run.init = Init::Reaped,
            Act::Ring if !again => {
                run.bytes = 2.min(run.bytes + 1);
                run.rung |= !failed && !run.dir.removed;
            }
            Act::Reap | Act::Ring => {}
        }
        let next = step + 1;
        if usize::from(next) < acts.len() {
            self.runs[g].shim = Shim::Delivers { step: next, failed, again };
        } else if failed {
            self.runs[g].shim = Shim::Delivers { step: 0, failed: false, again: true };
        } else {
            self.shim_dies(g);
        }
    }

    /// 0: the runtime's delete. 1: the children. 2: the directory.
    fn undo(&mut self, g: G, step: u8) {
        match step {
            0 => {
                if self.runtime == Some(g) {
                    self.runtime = None;
                }
                if matches!(self.runs[g].init, Init::Created | Init::Running) {
                    self.runs[g].init = Init::Zombie;
                }
            }
            1 if self.runs[g].init == Init::Zombie => self.runs[g].init = Init::Reaped,
            1 => {}
            _ => {
                if self.place == Some(g) {
                    self.place = None;
                }
                (self.runs[g].dir.removed, self.runs[g].undone) = (true, true);
                return self.shim_dies(g);
            }
        }
        self.runs[g].shim = Shim::Undoes(step + 1);
    }

    /// It closes its files: killed, or of itself.
    pub fn shim_dies(&mut self, g: G) {
        self.runs[g].shim = Shim::Dying;
        self.fifo_closes(g);
    }

    /// What nobody has read goes with the last who has it open.
    pub fn fifo_closes(&mut self, g: G) {
        let read = self.node.tasks.iter().flatten().any(|task| task.fifo.is_some_and(|(p, _)| p == g));
        if !read && matches!(self.runs[g].shim, Shim::Dying | Shim::Dead) {
            self.runs[g].bytes = 0;
        }
    }

    /// SIGKILL; the runtime that it may have called dies with it.
    pub fn kill_shim(&mut self, g: G) {
        self.left.shim_kills -= 1;
        // Nobody will know that it was to be.
        self.runs[g].undone |= self.runs[g].shim == Shim::Looked;
        self.shim_dies(g);
    }
}
