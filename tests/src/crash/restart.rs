//! The life of a collector that finds a container which has ended and comes back: it is restarted as often as its policy
//! wants, and given up. Killed anywhere, the one after it goes on: as many runs as there may be, and never two at once.

use super::{
    collector::{connect, traced},
    containers::{nothing_left, remove},
    killer::{Killer, Report},
    sweep::Life,
    tally::{Outcome, Violation},
};
use crate::{
    command::run,
    node::{Node, Options},
    restarts::{Comer, QUICK},
    wait::{LONG, wait_for, wait_until},
};
use nix::sys::signal::Signal;
use sexton_common::{
    instance::Next,
    wire::{ContainerInfo, Reply, Request, State},
};
use std::fs;

/// How often it is started again.
const AGAIN: u32 = 2;

/// See the module.
#[derive(Debug, Default)]
pub struct Restart {
    node: Option<Node>,
    comer: Option<Comer>,
    trouble: Option<String>,
}

fn is_over(info: &ContainerInfo) -> bool {
    let used_up = |count: u32, next: bool| count == AGAIN && !next;
    info.state == State::Stopped
        && info.restart.as_ref().is_some_and(|restart| used_up(restart.count, restart.next_start.is_some()))
}

impl Restart {
    fn prepare(&mut self, code: u8) {
        if self.node.is_none() {
            let node = Node::with(Options { daemon: false, config: QUICK.into() });
            self.comer = Some(Comer::new(&node, "r", "read code < /gate/code; exit $code"));
            self.node = Some(node);
        }
        let (Some(node), Some(comer)) = (&self.node, &self.comer) else { return };
        for name in ["runs", "pid"] {
            let _ = fs::remove_file(comer.share().join(name));
        }
        comer.put("code", &format!("{}\n", code.max(1)));
        let mut shim = node.shim_command("run", comer.id.as_str(), &comer.bundle);
        let _ = run(shim.args(["--restart", &format!("on-failure:{AGAIN}")])).ok();
        wait_for("a record", LONG, || node.record(&comer.id).is_some());
    }

    /// Until it is given up.
    fn drive(&self, killer: &Killer) -> Result<(), String> {
        let (Some(node), Some(comer)) = (&self.node, &self.comer) else { return Ok(()) };
        let mut client = connect(node, killer)?;
        let mut failed = None;
        let over = wait_until(LONG, || match client.call(&Request::Inspect { id: comer.id.clone() }) {
            Ok(Reply::Container(info)) => is_over(&info),
            other => {
                failed = Some(format!("inspect: {other:?}"));
                true
            }
        });
        failed.map_or(if over { Ok(()) } else { Err("it does not give up".into()) }, Err)
    }

    fn judge(node: &Node, comer: &Comer) -> Result<Outcome, Violation> {
        let mut last = None;
        let rests = wait_until(LONG, || {
            last = node.list(true).into_iter().find(|info| info.id == comer.id);
            // Its last end may not have been decided upon yet.
            let decided = node.instance(&comer.id).is_some_and(|is| matches!(is.next, Next::Nothing { .. }));
            decided && last.as_ref().is_some_and(is_over)
        });
        if !rests {
            let left = node.leftovers().join("\n    ");
            return Err(Violation::lost(format!("{} does not come to rest: {last:?}; left:\n    {left}", comer.id)));
        }
        let instance = node.instance(&comer.id);
        if instance.as_ref().is_none_or(|is| is.count != AGAIN) {
            return Err(Violation::wrong(format!("shown and durable count differ: {instance:?}, {last:?}")));
        }
        match comer.runs() {
            runs if runs > AGAIN as usize + 1 => Err(Violation::wrong(format!("{runs} runs: {last:?}"))),
            runs if runs == AGAIN as usize + 1 => Ok(Outcome::Exact),
            // What was killed before it began is counted all the same.
            _ if node.words().contains("never started") => Ok(Outcome::NeverStarted),
            runs => Err(Violation::lost(format!("only {runs} runs: {last:?}"))),
        }
    }
}

impl Life for Restart {
    fn crash(&mut self, at: Option<u64>, code: u8) -> Result<Report, String> {
        self.prepare(code);
        let Some(node) = &self.node else { return Err("no node".into()) };
        let killer = Killer::start(traced(node, at));
        let lived = self.drive(&killer);
        killer.signal(Signal::SIGTERM);
        let report = killer.join(LONG)?;
        self.trouble = lived.err().filter(|_| report.kill.is_none());
        Ok(report)
    }

    fn check(&mut self, _: &Report) -> Result<Outcome, Violation> {
        if let Some(trouble) = self.trouble.take() {
            return Err(Violation::wrong(format!("nobody killed it, but: {trouble}")));
        }
        let (Some(node), Some(comer)) = (&mut self.node, &self.comer) else { unreachable!() };
        let _ = fs::remove_file(node.log());
        node.start_daemon();
        let outcome = Self::judge(node, comer)?;
        let runs = comer.runs();
        remove(node, &comer.id)?;
        nothing_left(node)?;
        node.terminate_daemon();
        nothing_left(node)?;
        if comer.runs() != runs {
            return Err(Violation::wrong("it was started again after it had been given up"));
        }
        Ok(outcome)
    }

    fn start_afresh(&mut self) {
        (self.comer, self.node) = (None, None);
    }

    fn words(&self) -> String {
        self.node.as_ref().map(Node::words).unwrap_or_default()
    }

    fn finish(&mut self) {
        if let Some(node) = self.node.take() {
            node.finish();
        }
    }
}
