//! The life of a collector: recovery of one container that has exited and one that runs, a launch, a creation and a
//! start, exits, clean-up, removal, stop. After the crash another one, which nobody kills, must find everything.

use super::{
    containers::{REST_WITHIN, Rest, again, heard_by_now, judge, judge_events, nothing_left, remove, settle},
    killer::{Killer, Order, Report},
    site::Party,
    sweep::Life,
    tally::{Outcome, Violation},
};
use crate::{
    command::run,
    daemon::Daemon,
    node::{Node, Options},
    subscriber::{Heard, Subscriber},
    wait::{LONG, wait_for, wait_until},
};
use nix::sys::signal::Signal;
use sexton_common::{
    ContainerId, ExitRecord,
    client::Client,
    launch::Mode,
    wire::{Reply, Request},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// A collector's life ends in this time.
const LIFE: Duration = Duration::from_secs(60);

/// It makes no system call for so long when it has nothing left to do; longer than a runtime needs for anything.
const RECOVERED: Duration = Duration::from_millis(300);
const RECOVERY: Duration = Duration::from_secs(10);

/// What was asked for one container, and answered.
#[derive(Debug, Default)]
struct Deeds {
    /// It is created and started in two steps.
    creation: bool,
    /// The collector removes it by itself.
    auto_remove: bool,
    launched: bool,
    created: bool,
    start_asked: bool,
    removal_asked: bool,
    removed: bool,
    record: Option<ExitRecord>,
}

impl Deeds {
    /// Whether it may have come to this, though its shim lives. `gone`: there is no such container.
    fn allow(&self, outcome: Outcome, gone: bool) -> bool {
        match outcome {
            Outcome::Exact => !self.creation || self.start_asked,
            Outcome::NeverStarted if gone => !self.created && !self.launched,
            // The runtime was killed, with its collector, while it started it.
            Outcome::NeverStarted => self.start_asked && !self.launched,
            Outcome::LeftWaiting => self.creation && !self.launched,
            Outcome::Unknown => false,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Collector {
    twice: bool,
    node: Option<Node>,
    /// One that has exited, one that runs, one that is launched, one that is created and started.
    parties: Vec<(Party, Deeds)>,
    before: Option<Heard>,
    trouble: Option<String>,
}

impl Collector {
    /// The one that recovers from the crash is killed, too, somewhere in the middle of it.
    #[must_use]
    pub fn twice() -> Self {
        Self { twice: true, ..Self::default() }
    }

    fn prepare(&mut self, code: u8) {
        if self.node.is_none() {
            let config = "[exit]\nbackoff_first = \"100ms\"\n".to_owned();
            let node = Node::with(Options { daemon: false, config });
            self.parties = ["e", "r", "l", "c"].map(|name| (Party::new(&node, name), Deeds::default())).into();
            self.node = Some(node);
        }
        let Some(node) = &self.node else { return };
        let [(exited, exited_deeds), (running, running_deeds), others @ ..] = &mut self.parties[..] else { return };
        exited.exits(code);
        running.waits(!code);
        for ((other, deeds), creation) in others.iter_mut().zip([false, true]) {
            other.exits(code.wrapping_add(100));
            *deeds = Deeds { creation, ..Deeds::default() };
        }
        let auto_remove = code.is_multiple_of(2);
        let mut command = node.shim_command("run", exited.id.as_str(), exited.bundle());
        let _ = run(command.args(auto_remove.then_some("--rm"))).ok();
        node.shim("run", &running.id, running.bundle());
        wait_for("a record", LONG, || node.record(&exited.id).is_some());
        *exited_deeds = Deeds { launched: true, auto_remove, record: node.record(&exited.id), ..Deeds::default() };
        *running_deeds = Deeds { launched: true, ..Deeds::default() };
    }

    /// The whole life, as far as it comes.
    fn drive(&mut self, killer: &Killer) -> Result<(), String> {
        let Some(node) = &self.node else { return Ok(()) };
        let [exited, running, launched, created] = &mut self.parties[..] else { return Ok(()) };
        let mut client = connect(node, killer)?;
        let subscribe = || Subscriber::start(Client::connect(node.layout()).unwrap(), Some(0));
        let events = catch_unwind(AssertUnwindSafe(subscribe)).ok();
        let mut ask = |request: Request| match client.call(&request) {
            Ok(Reply::Error(e)) => Err(format!("{request:?}: {e}")),
            Ok(reply) => Ok(reply),
            Err(e) => Err(format!("{request:?}: {e}")),
        };
        let wait = |id: &ContainerId| Request::Wait { id: id.clone(), generation: None };
        let remove = |id: &ContainerId| Request::Remove { id: id.clone(), force: true };
        let live = || {
            let (party, deeds) = &mut *launched;
            ask(Request::Launch(node.launch_request(&party.id, party.bundle(), Mode::Run)))?;
            deeds.launched = true;
            ask(wait(&party.id))?;
            let (party, deeds) = &mut *created;
            ask(Request::Launch(node.launch_request(&party.id, party.bundle(), Mode::Create)))?;
            (deeds.created, deeds.start_asked) = (true, true);
            ask(Request::Start { id: party.id.clone() })?;
            deeds.launched = true;
            ask(wait(&party.id))?;
            running.0.open();
            ask(wait(&running.0.id))?;
            let removable = [exited, running, launched, created].into_iter().filter(|(_, deeds)| !deeds.auto_remove);
            for (party, deeds) in removable {
                deeds.removal_asked = true;
                ask(remove(&party.id))?;
                deeds.removed = true;
            }
            Ok(())
        };
        let lived = live();
        self.before = events.map(|events| events.heard());
        killer.signal(Signal::SIGTERM);
        lived
    }
}

fn vanishes(node: &Node, id: &ContainerId) -> Result<(), Violation> {
    let gone = wait_until(REST_WITHIN, || node.list(true).iter().all(|info| info.id != *id));
    if gone { Ok(()) } else { Err(Violation::leaked(format!("{id} was to be removed once it is clean"))) }
}

/// A collector that is killed at the stop `at`.
pub(super) fn traced(node: &Node, at: Option<u64>) -> Order {
    let mut command = Daemon::command(node.layout(), &node.config());
    command.env("SEXTON_TEST_NODE", node.prefix());
    Order::new(command, node.log(), 0, at)
}

/// A collector that answers.
pub(super) fn connect(node: &Node, killer: &Killer) -> Result<Client, String> {
    let mut found = None;
    wait_until(LONG, || {
        found = Client::connect(node.layout()).ok().and_then(|mut client| {
            client.set_timeout(Some(LONG)).ok()?;
            matches!(client.call(&Request::Version {}), Ok(Reply::Version { .. })).then_some(client)
        });
        found.is_some() || killer.is_over()
    });
    found.ok_or_else(|| "it never answers".to_owned())
}

impl Life for Collector {
    fn crash(&mut self, at: Option<u64>, code: u8) -> Result<Report, String> {
        (self.before, self.trouble) = (None, None);
        self.prepare(code);
        let Some(node) = &self.node else { return Err("no node".into()) };
        let killer = Killer::start(traced(node, at));
        let lived = self.drive(&killer);
        let report = killer.join(LIFE)?;
        self.trouble = lived.err().filter(|_| report.kill.is_none());
        if let (true, Some(kill), Some(node)) = (self.twice, &report.kill, &self.node) {
            // Most of what comes before is the same in every life.
            let at = 500 + (kill.stop * 7919 + u64::from(code)) % 1200;
            let second = Killer::start(traced(node, Some(at)));
            let _ = second.settles(RECOVERED, RECOVERY);
            second.signal(Signal::SIGTERM);
            second.join(LIFE)?;
        }
        Ok(report)
    }

    fn check(&mut self, report: &Report) -> Result<Outcome, Violation> {
        if let Some(trouble) = self.trouble.take() {
            return Err(Violation::wrong(format!("nobody killed it, but: {trouble}")));
        }
        if report.kill.is_none() && !report.ended.is_some_and(|status| status.success()) {
            return Err(Violation::wrong(format!("it ended with {:?}", report.ended)));
        }
        let node = self.node.as_mut().unwrap();
        node.start_daemon();
        let events = node.subscribe();
        let known = events.heard().snapshot;
        self.parties[1].0.open();
        let mut outcome = Outcome::Exact;
        for (party, deeds) in &mut self.parties {
            let rest = settle(node, &party.id)?;
            if let Some(before) = &self.before {
                judge_events(before, &party.id, None)?;
            }
            if deeds.auto_remove {
                vanishes(node, &party.id)?;
                continue;
            }
            match rest {
                Rest::Nothing if deeds.removal_asked => continue,
                _ if deeds.removed => return Err(Violation::wrong(format!("{} is back: {rest:?}", party.id))),
                _ => {}
            }
            let became = judge(node, party, &rest, deeds.launched, false)?;
            if !deeds.allow(became, matches!(rest, Rest::Nothing)) {
                return Err(Violation::lost(format!("its shim lived, and yet {became:?}: {rest:?}, {deeds:?}")));
            }
            if became != Outcome::Exact {
                outcome = became;
            }
            if deeds.record.is_some() && deeds.record != node.record(&party.id) {
                let now = node.record(&party.id);
                return Err(Violation::lost(format!("the record has changed: {:?}, {now:?}", deeds.record)));
            }
            if matches!(rest, Rest::Nothing) {
                continue;
            }
            let told = known.iter().any(|info| info.id == party.id && info.status.is_some());
            let exits = usize::from(!told && matches!(rest, Rest::Stopped(_)));
            judge_events(&heard_by_now(node, &events), &party.id, Some(exits))?;
            remove(node, &party.id)?;
        }
        nothing_left(node)?;
        again(node, &mut self.parties[2].0, 7)?;
        nothing_left(node)?;
        drop(events);
        node.terminate_daemon();
        nothing_left(node)?;
        Ok(outcome)
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
