//! The life of a collector that finds a container which cannot be cleaned: a frozen process sits in its cgroups, and
//! another one in a mount that it registered. It goes into GC, what is in the way goes, it is cleaned and removed.

use super::{
    collector::{connect, traced},
    containers::{Rest, again, heard_by_now, judge, judge_events, nothing_left, remove, settle},
    killer::{Killer, Report},
    site::Party,
    sweep::Life,
    tally::{Outcome, Violation},
};
use crate::{
    command::run,
    gc::Freezer,
    node::{Node, Options},
    registered::Registered,
    wait::{LONG, wait_for, wait_until},
};
use nix::sys::signal::Signal;
use sexton_common::{
    ExitRecord, Init,
    client::Client,
    durable,
    wire::{Reply, Request, State},
};
use std::{
    fs,
    path::Path,
    process::{Child, Command},
};

/// See the module.
#[derive(Debug, Default)]
pub struct Gc {
    node: Option<Node>,
    party: Option<Party>,
    registered: Option<Registered>,
    record: Option<ExitRecord>,
    removed: bool,
    in_the_way: Vec<Child>,
    freezer: Option<Freezer>,
    trouble: Option<String>,
}

impl Gc {
    fn prepare(&mut self, code: u8) {
        if self.node.is_none() {
            let config = "[exit]\nbackoff_first = \"50ms\"\nbackoff_max = \"100ms\"\n".to_owned();
            let node = Node::with(Options { daemon: false, config });
            let path = format!("/{}/{}", above(&node), node.id("g"));
            let below = |config: &mut serde_json::Value| config["linux"]["cgroupsPath"] = path.into();
            self.party = Some(Party::with(&node, "g", |bundle| bundle.with(below)));
            self.registered = Some(Registered::new(node.dir().join("registered")));
            self.node = Some(node);
        }
        let (Some(node), Some(party), Some(registered)) = (&self.node, &mut self.party, &self.registered) else {
            return;
        };
        self.freezer = Freezer::new(&above(node));
        registered.make();
        party.waits(code);
        let mut shim = node.shim_command("run", party.id.as_str(), party.bundle());
        let _ = run(shim.args(registered.words())).ok();
        let init: Init = durable::read(&node.layout().container(&party.id).init()).unwrap().unwrap();
        let frozen = sleeper(Path::new("/"));
        for cgroup in init.cgroups {
            fs::write(cgroup.dir.join("cgroup.procs"), frozen.id().to_string()).unwrap();
        }
        self.in_the_way = vec![frozen, sleeper(&registered.mount())];
        party.open();
        wait_for("a record", LONG, || node.record(&party.id).is_some());
        if let Some(freezer) = &self.freezer {
            freezer.freeze(true);
        }
        (self.record, self.removed) = (node.record(&party.id), false);
    }

    fn thaw(&self) {
        if let Some(freezer) = &self.freezer {
            freezer.freeze(false);
        }
    }

    fn clear_the_way(&mut self) {
        self.thaw();
        for mut child in self.in_the_way.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn drive(&mut self, killer: &Killer) -> Result<(), String> {
        let Some(node) = &self.node else { return Ok(()) };
        let mut client = connect(node, killer)?;
        self.wait_stuck(&mut client, 1)?;
        self.thaw();
        let held = if self.freezer.is_some() { 2 } else { 1 };
        self.wait_stuck(&mut client, held)?;
        self.clear_the_way();
        let Some(party) = &self.party else { return Ok(()) };
        match client.call(&Request::Remove { id: party.id.clone(), force: true }) {
            Ok(Reply::Done {}) => self.removed = true,
            other => return Err(format!("remove: {other:?}")),
        }
        Ok(())
    }

    /// It is in GC, and that after so many attempts.
    fn wait_stuck(&self, client: &mut Client, attempts: u32) -> Result<(), String> {
        let Some(party) = &self.party else { return Ok(()) };
        let mut failed = None;
        wait_until(LONG, || match client.call(&Request::Inspect { id: party.id.clone() }) {
            Ok(Reply::Container(info)) => info.state == State::Gc && info.attempts >= attempts,
            other => {
                failed = Some(format!("inspect: {other:?}"));
                true
            }
        });
        failed.map_or(Ok(()), Err)
    }
}

fn sleeper(cwd: &Path) -> Child {
    Command::new("/bin/sleep").arg("1000").current_dir(cwd).spawn().unwrap()
}

/// The cgroup that is frozen.
fn above(node: &Node) -> String {
    format!("{}par", node.prefix())
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
        // What was in the way goes before the next one comes, or while that waits for it.
        let before = self.record.as_ref().is_some_and(|record| record.generation.is_multiple_of(2));
        if before {
            self.clear_the_way();
        }
        if let Some(node) = &mut self.node {
            node.start_daemon();
        }
        self.clear_the_way();
        self.freezer = None;
        let (Some(node), Some(party), Some(registered)) = (&mut self.node, &mut self.party, &self.registered) else {
            unreachable!()
        };
        let events = node.subscribe();
        let rest = settle(node, &party.id)?;
        registered.is_clean(Some(&party.code.to_string())).map_err(Violation::leaked)?;
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
        let above = above(node);
        Freezer::remove(&above);
        nothing_left(node)?;
        again(node, party, 7)?;
        Freezer::remove(&above);
        nothing_left(node)?;
        drop(events);
        node.terminate_daemon();
        nothing_left(node)?;
        Ok(Outcome::Exact)
    }

    fn start_afresh(&mut self) {
        self.clear_the_way();
        (self.freezer, self.registered, self.party, self.node) = (None, None, None, None);
    }

    fn words(&self) -> String {
        self.node.as_ref().map(Node::words).unwrap_or_default()
    }

    fn finish(&mut self) {
        self.clear_the_way();
        (self.freezer, self.registered) = (None, None);
        if let Some(node) = self.node.take() {
            node.finish();
        }
    }
}

impl Drop for Gc {
    fn drop(&mut self) {
        self.start_afresh();
    }
}
