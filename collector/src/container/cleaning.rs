//! What a task has to do with the GC.

use super::{event::Event, machine::Phase, task::Task};
use crate::gc::{self, Ask, Dead, Progress};
use sexton_common::gc::{Estate, GcOrigin};

impl Task {
    /// Has it cleaned; as far as that goes, while it is `alive`.
    pub(super) fn clean(&mut self, alive: bool) {
        let (launch, init) = self.both();
        let estate = Estate::of(&launch, init.as_ref());
        let verdict = self.verdict.as_deref().filter(|_| !alive).cloned();
        let shim = launch.workload.program().map(|_| launch.shim);
        let ask = Ask {
            estate,
            above: launch.cgroups,
            origin: GcOrigin::Container,
            dead: verdict.map(|verdict| Dead { verdict, dir: self.dir(), ends_leftovers: shim }),
            alive,
            remove: self.machine.remove,
            patient: !alive && self.cx.gc.calm.disturb(),
        };
        self.gc = Some(gc::tend(&self.cx, ask));
    }

    /// Somebody waits for it.
    pub(super) fn clean_now(&mut self) {
        if let Some(ward) = self.cx.gc.of_run(&self.held.run()) {
            ward.lock().entry.remove |= self.machine.remove;
            ward.wake.notify_one();
        }
    }

    /// It ends without an exit: there is nothing to wait for.
    pub(super) fn forget_gc(&mut self) {
        if let Some(ward) = self.gc.take().and_then(|_| self.cx.gc.of_run(&self.held.run())) {
            ward.lock().forgotten = true;
            ward.wake.notify_one();
        }
    }

    pub(super) async fn on_progress(&mut self, progress: Progress) {
        let event = match progress {
            Progress::Begun => return,
            Progress::InTheWay { attempts, what } => {
                (self.attempts, self.in_the_way) = (attempts, Some(what));
                Event::InTheWay
            }
            Progress::Clean => {
                self.in_the_way = None;
                Event::Cleaned
            }
            Progress::Forgotten => {
                self.in_the_way = None;
                Event::Forgotten
            }
        };
        if event != Event::InTheWay {
            self.gc = None;
        }
        self.happen(event).await;
    }

    /// An earlier collector found that it does not die.
    pub(super) fn was_stuck(&self) -> bool {
        self.cx.gc.pending().contains_key(&self.held.run())
            && matches!(self.machine.phase, Phase::Created | Phase::Running | Phase::Orphaned)
    }
}
