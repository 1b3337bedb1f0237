//! What the files say, and what the kernel does.

use super::{
    super::rules,
    config::{Config, Mutant},
    world::{Broken, G, Init, Rec, Task, World, status},
};
use sexton_common::{ExitStatus, Source};

impl World {
    /// `write_new` of a record by its path: in whose directory, and whether it is there now.
    pub fn write_record(&mut self, cx: &Config, record: Rec) -> Option<(G, bool)> {
        let own = |g: &G| *g == record.of || cx.is(Mutant::GenerationIgnored);
        let g = self.place.filter(own).filter(|_| !self.full)?;
        let over = cx.is(Mutant::PlainRename);
        let dir = &mut self.runs[g].dir;
        if dir.exit.is_some() && !over {
            return Some((g, false));
        }
        self.put_record(g, record, !cx.is(Mutant::NoFsyncOfFile));
        Some((g, true))
    }

    /// The rename; `synced`: whether what is renamed is durable.
    pub fn put_record(&mut self, g: G, record: Rec, synced: bool) {
        let dir = &mut self.runs[g].dir;
        let before = dir.exit.replace(record);
        (dir.exit_synced, dir.exit_named) = (synced, false);
        if before.is_some_and(|before| before != record) {
            self.breaks(Broken::I1("a record was overwritten"));
        }
        if record.of != g {
            self.breaks(Broken::I1("a record lies in another run's directory"));
        }
    }

    /// The record that lies at the id, if it is of run `g`; its reader makes its name durable.
    pub fn read_record(&mut self, cx: &Config, g: G) -> Option<Rec> {
        let there = self.place?;
        let record = self.runs[there].dir.exit?;
        if record.of != g && !cx.is(Mutant::GenerationIgnored) {
            return None;
        }
        if !cx.is(Mutant::ToldBeforeSynced) {
            self.runs[there].dir.exit_named = true;
        }
        Some(record)
    }

    /// Whose `init` lies at the id, if a reader that looks for run `g` takes it.
    pub fn read_init(&self, cx: &Config, g: G) -> Option<G> {
        let there = self.place.filter(|there| self.runs[*there].dir.init)?;
        (there == g || cx.is(Mutant::GenerationIgnored)).then_some(there)
    }

    /// Whether the launch of run `g` lies at the id.
    pub fn lies_there(&self, cx: &Config, g: G) -> bool {
        if cx.is(Mutant::AnyLaunchWillDo) { self.place.is_some() } else { self.place == Some(g) }
    }

    /// How a task learns from the kernel how its init ended.
    pub fn death(&self, cx: &Config, task: &Task) -> (ExitStatus, Source) {
        let told = task.pidfd.filter(|p| cx.info_exit && self.runs[*p].init == Init::Reaped);
        let zombie = task.init.filter(|p| self.runs[*p].init == Init::Zombie);
        let asked = !cx.is(Mutant::KernelNotAsked);
        let told = told.filter(|_| asked).map(|p| (status(p), Source::Pidfd));
        rules::how_it_ended(told, || zombie.filter(|_| asked).map(|p| (status(p), Source::Zombie)), false, false)
    }
}
