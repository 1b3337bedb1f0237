//! The life of a collector that finds a container which cannot be cleaned: something sits in its cgroups. It goes
//! into GC, what is in the way goes, it is cleaned and removed.

use super::{
    collector::{connect, traced},
    containers::{Rest, again, heard_by_now, judge, judge_events, nothing_left, remove, settle},
    killer::{Killer, Report},
    site::Party,
    sweep::Life,
    tally::{Outcome, Violation},
};
use crate::{
    node::{Node, Options},
    wait::{LONG, wait_for, wait_until},
};
use nix::sys::signal::Signal;
use sexton_common::{
    ExitRecord, Init, durable,
    wire::{Reply, Request, State},
};
use std::{
    fs,
    process::{Child, Command},
};

/// See the module.
#[derive(Debug, Default)]
pub struct Gc {
    node: Option<Node>,
    party: Option<Party>,
    record: Option<ExitRecord>,
    removed: bool,
    in_the_way: Option<Child>,
    trouble: Option<String>,
}

impl Gc {
    fn prepare(&mut self, code: u8) {
        if self.node.is_none() {
            let config = "[exit]\nbackoff_first = \"50ms\"\nbackoff_max = \"100ms\"\n".to_owned();
            let node = Node::with(Options { daemon: false, config });
            self.party = Some(Party::new(&node, "g"));
            self.node = Some(node);
        }
        let (Some(node), Some(party)) = (&self.node, &mut self.party) else { return };
        party.waits(code);
        node.shim("run", &party.id, party.bundle());
        let init: Init = durable::read(&node.layout().container(&party.id).init()).unwrap().unwrap();
        let child = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        for cgroup in init.cgroups {
            fs::write(cgroup.dir.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        self.in_the_way = Some(child);
        party.open();
        wait_for("a record", LONG, || node.record(&party.id).is_some());
        (self.record, self.removed) = (node.record(&party.id), false);
    }

    fn clear_the_way(&mut self) {
        if let Some(mut child) = self.in_the_way.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn drive(&mut self, killer: &Killer) -> Result<(), String> {
        let (Some(node), Some(party)) = (&self.node, &self.party) else { return Ok(()) };
        let (id, mut client) = (party.id.clone(), connect(node, killer)?);
        let mut failed = None;
        let mut state = || match client.call(&Request::Inspect { id: id.clone() }) {
            Ok(Reply::Container(info)) => Some(info.state),
            other => {
                failed = Some(format!("inspect: {other:?}"));
                None
            }
        };
        wait_until(LONG, || state().is_none_or(|state| state == State::Gc));
        if let Some(failed) = failed {
            return Err(failed);
        }
        self.clear_the_way();
        match client.call(&Request::Remove { id, force: true }) {
            Ok(Reply::Done {}) => self.removed = true,
            other => return Err(format!("remove: {other:?}")),
        }
        Ok(())
    }
}

impl Life for Gc {
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
        self.clear_the_way();
        let (Some(node), Some(party)) = (&mut self.node, &mut self.party) else { unreachable!() };
        node.start_daemon();
        let events = node.subscribe();
        let rest = settle(node, &party.id)?;
        match (&rest, self.removed) {
            // It was asked for, and not answered any more.
            (Rest::Nothing, _) => {}
            (_, true) => return Err(Violation::wrong(format!("{} is back: {rest:?}", party.id))),
            _ if node.record(&party.id) != self.record => {
                return Err(Violation::lost(format!("the record has changed: {:?}, {rest:?}", self.record)));
            }
            _ => {
                judge(node, party, &rest, true, false)?;
                judge_events(&heard_by_now(node, &events), &party.id, Some(0))?;
                remove(node, &party.id)?;
            }
        }
        nothing_left(node)?;
        again(node, party, 7)?;
        nothing_left(node)?;
        drop(events);
        node.terminate_daemon();
        nothing_left(node)?;
        Ok(Outcome::Exact)
    }

    fn start_afresh(&mut self) {
        self.clear_the_way();
        (self.party, self.node) = (None, None);
    }

    fn words(&self) -> String {
        self.node.as_ref().map(Node::words).unwrap_or_default()
    }

    fn finish(&mut self) {
        self.clear_the_way();
        if let Some(node) = self.node.take() {
            node.finish();
        }
    }
}
