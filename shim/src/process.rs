//! A plain program: no runtime creates it, it is our own child.

use crate::{
    announce, cgroups,
    lifecycle::{Birth, Trouble},
    program::Child,
    report::Failure,
};
use rustix::time::Timespec;
use sexton_common::{
    Init, Stamp,
    gate::{Gate, Opened},
    launch::Mode,
    workload::Program,
};
use std::{
    io,
    os::fd::AsFd,
    time::{Duration, Instant},
};

impl Birth {
    /// Makes its process, and starts it if we are to.
    pub fn give_itself(&mut self, program: &Program) -> Result<(Init, Option<Stamp>), Trouble> {
        let id = self.plan.id.clone();
        let failed = |what: &str, e: io::Error| Failure::ours(format!("create {id}: {what}: {e}"));
        let child =
            Child::make(&self.plan, program, &self.home, &self.place).map_err(|e| failed("make its process", e))?;
        cgroups::enter(program, &self.own, &id, child.pid, &mut self.cgroups)?;
        let (init, pidfd) = self.known(child.pid)?;
        // Whatever becomes of us, it is known by now (I4).
        child.go_on().map_err(|e| failed("tell its process to go on", e))?;
        announce::announce(&self.plan.layout, &id, self.generation, &pidfd);
        if self.plan.mode == Mode::Create {
            return Ok((init, None));
        }
        self.open_gate(&pidfd)?;
        let started = init.ready;
        Ok((init, Some(started)))
    }

    fn open_gate(&self, pidfd: &impl AsFd) -> Result<(), Failure> {
        let id = &self.plan.id;
        let ours = |why: &dyn std::fmt::Display| Failure::ours(format!("start {id}: {why}"));
        let gate = Gate::open(&self.place.files).map_err(|e| ours(&format!("open its gate: {e}")))?;
        // So far ahead that the clock cannot tell it: as long as it takes.
        let deadline = Instant::now().checked_add(self.plan.timeout);
        loop {
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            let part = left.min(Duration::from_secs(3600));
            let time = Timespec::try_from(part).map_err(|e| ours(&e))?;
            match gate.look(pidfd, &time).map_err(|e| ours(&e))? {
                Some(Opened::Begun) => return Ok(()),
                Some(Opened::Refused(refusal)) => {
                    return Err(Failure { code: refusal.code, message: format!("run {id}: {}", refusal.text) });
                }
                Some(Opened::Dead) => return Err(ours(&"its process was killed before it was the program")),
                None if left.is_zero() => {
                    let time = humantime::format_duration(self.plan.timeout);
                    return Err(ours(&format!("its process did not become the program within {time}: is it stopped?")));
                }
                None => {}
            }
        }
    }
}
