//! The life of a collector whose disk fails for a while: recovery, an orphan whose record nobody else can write, a
//! launch, a creation and a start, exits, clean-up, removal. It is not restarted: what failed is made good by itself,
//! or by asking again.

use super::{
    collector::connect,
    containers::{Rest, again, heard_by_now, judge, judge_events, nothing_left_but, settle},
    fault::Fault,
    killer::{Blow, Killer, Order, Report},
    site::Party,
    sweep::Life,
    tally::{Outcome, Violation},
};
use crate::{
    daemon::Daemon,
    node::{Node, Options},
    subscriber::Subscriber,
    wait::{LONG, wait_for, wait_until},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sexton_common::{
    ContainerId,
    client::Client,
    launch::Mode,
    wire::{Reply, Request},
};
use std::time::Duration;

/// After as many failures, or after this time, a disk that does not heal by itself is healed.
const ENOUGH: u64 = 6;
const TRIES: Duration = Duration::from_millis(500);
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct BadDisk {
    fault: Fault,
    node: Option<Node>,
    /// One that has exited, one that runs, one that is orphaned, one that is launched, one that is created and started.
    parties: Vec<Party>,
    /// What was found while it ran.
    found: Option<Result<(), Violation>>,
}

impl BadDisk {
    /// A disk that fails like this.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { fault, node: None, parties: Vec::new(), found: None }
    }

    /// The shim of the one that is to be orphaned.
    fn prepare(&mut self, code: u8) -> Option<u32> {
        if self.node.is_none() {
            let config = "[exit]\nbackoff_first = \"50ms\"\nbackoff_max = \"100ms\"\n".to_owned();
            let node = Node::with(Options { daemon: false, config });
            self.parties = ["e", "r", "o", "l", "c"].map(|name| Party::new(&node, name)).into();
            self.node = Some(node);
        }
        let node = self.node.as_ref()?;
        let [exited, running, orphaned, launched, created] = &mut self.parties[..] else { return None };
        exited.exits(code);
        running.waits(!code);
        orphaned.waits(code ^ 0x55);
        launched.exits(code.wrapping_add(100));
        created.exits(code.wrapping_add(101));
        node.shim("run", &exited.id, exited.bundle());
        node.shim("run", &running.id, running.bundle());
        let shim = node.shim("run", &orphaned.id, orphaned.bundle()).shim_pid;
        wait_for("a record", LONG, || node.record(&exited.id).is_some());
        Some(shim)
    }

    fn let_go(&self, killer: &Killer) {
        if killer.has_killed() {
            let enough = self.fault.times.map_or(ENOUGH, |times| times.min(ENOUGH));
            wait_until(TRIES, || killer.is_over() || killer.failed() >= enough);
            killer.heal();
        }
    }

    /// What does not succeed while the disk is bad succeeds once it is whole.
    fn ask(&self, killer: &Killer, client: &mut Client, request: &Request) -> Result<(), Violation> {
        for attempt in 0..2 {
            match client.call(request) {
                Ok(Reply::Error(e)) if attempt == 0 && killer.has_killed() => {
                    let _ = e;
                    self.let_go(killer);
                }
                Ok(Reply::Error(e)) => return Err(Violation::wrong(format!("{request:?}: {e}"))),
                Ok(_) => return Ok(()),
                Err(e) => return Err(Violation::wrong(format!("{request:?}: {e}"))),
            }
        }
        Ok(())
    }

    fn live(&mut self, killer: &Killer, client: &mut Client, shim: u32) -> Result<(), Violation> {
        let subscribed = self.node.as_ref().and_then(|node| Client::connect(node.layout()).ok());
        let events = subscribed.map(|client| Subscriber::start(client, None));
        let wait = |id: &ContainerId| Request::Wait { id: id.clone(), generation: None };
        let launch =
            |node: &Node, party: &Party, mode| Request::Launch(node.launch_request(&party.id, party.bundle(), mode));
        let Some(node) = &self.node else { return Ok(()) };
        let [_, running, orphaned, launched, created] = &self.parties[..] else { return Ok(()) };
        let _ = kill(Pid::from_raw(shim.cast_signed()), Signal::SIGKILL);
        let opened = [running.id.clone(), orphaned.id.clone()];
        self.ask(killer, client, &launch(node, launched, Mode::Run))?;
        self.ask(killer, client, &launch(node, created, Mode::Create))?;
        self.ask(killer, client, &Request::Start { id: created.id.clone() })?;
        let all: Vec<_> = [&launched.id, &created.id].into_iter().chain(&opened).cloned().collect();
        self.parties.iter_mut().for_each(Party::open);
        for id in &all {
            self.ask(killer, client, &wait(id))?;
        }
        self.let_go(killer);
        let Some(node) = &self.node else { return Ok(()) };
        settled(node, &self.parties)?;
        for (n, party) in self.parties.iter().enumerate() {
            self.ask(killer, client, &Request::Remove { id: party.id.clone(), force: true })?;
            if let Some(events) = &events {
                judge_events(&heard_by_now(node, events), &party.id, Some(usize::from(n > 0)))?;
            }
        }
        killer.heal();
        nothing_left_but(node, Some(killer.pid()))?;
        let Some(party) = self.parties.last_mut() else { return Ok(()) };
        again(node, party, 7)?;
        nothing_left_but(node, Some(killer.pid()))
    }
}

/// Every run has ended, and every exit is exact.
fn settled(node: &Node, parties: &[Party]) -> Result<(), Violation> {
    for party in parties {
        let rest = settle(node, &party.id)?;
        match judge(node, party, &rest, true, false)? {
            Outcome::Exact => {}
            other => return Err(Violation::lost(format!("{}: {other:?}: {rest:?}", party.id))),
        }
    }
    Ok(())
}

impl Life for BadDisk {
    fn crash(&mut self, at: Option<u64>, code: u8) -> Result<Report, String> {
        self.found = None;
        let shim = self.prepare(code);
        let (Some(node), Some(shim)) = (&self.node, shim) else { return Err("no node".into()) };
        let mut command = Daemon::command(node.layout(), &node.config());
        command.env("SEXTON_TEST_NODE", node.prefix());
        let blow = Blow::BadDisk(self.fault, node.layout().state().into());
        let killer = Killer::start(Order { blow, ..Order::new(command, node.log(), 0, at) });
        // It may say that it cannot begin on such a disk, and end.
        if let Ok(mut client) = connect(node, &killer) {
            let found = self.live(&killer, &mut client, shim);
            self.found = Some(found);
        }
        killer.heal();
        killer.signal(Signal::SIGTERM);
        killer.join(ENDS_WITHIN)
    }

    fn check(&mut self, report: &Report) -> Result<Outcome, Violation> {
        let Some(node) = &mut self.node else { return Err(Violation::wrong("no node")) };
        match self.found.take() {
            Some(found) => {
                found?;
                if !report.ended.is_some_and(|status| status.success()) {
                    return Err(Violation::wrong(format!("it ended with {:?}", report.ended)));
                }
                node.start_daemon();
                if let Some(back) = node.list(true).first() {
                    return Err(Violation::leaked(format!("it is back: {back:?}")));
                }
            }
            // It refused, and that costs nobody anything.
            None if report.failed > 0 && report.ended.and_then(|status| status.code()) == Some(1) => {
                node.start_daemon();
                self.parties.iter_mut().for_each(Party::open);
                for party in &self.parties[..3] {
                    let rest = settle(node, &party.id)?;
                    judge(node, party, &rest, true, false)?;
                    if !matches!(rest, Rest::Nothing) {
                        super::containers::remove(node, &party.id)?;
                    }
                }
            }
            None => return Err(Violation::wrong(format!("it did not begin: {report:?}"))),
        }
        nothing_left_but(node, None)?;
        node.terminate_daemon();
        nothing_left_but(node, None)?;
        Ok(Outcome::Exact)
    }

    fn start_afresh(&mut self) {
        self.parties.clear();
        self.node = None;
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
