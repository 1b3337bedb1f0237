//! The life of a shim: launch, run, exit, record. A collector listens all the time, or comes only after the crash.
//!
//! Every other container waits for a word before it exits, so that it outlives its shim. Each has registered something
//! for clean-up, so its launch lies in the data directory too.

use super::{
    containers::{Rest, again, heard_by_now, judge, judge_events, nothing_left, remove, settle},
    fault::Fault,
    killer::{Blow, Killer, Order, Report},
    site::Party,
    sweep::Life,
    tally::{Outcome, Violation},
};
use crate::{
    keeper::Keeper,
    node::{Node, Options},
    registered::Registered,
    subscriber::Subscriber,
    wait::wait_until,
};
use sexton_common::ExitStatus;
use std::{fs, time::Duration};

/// A shim's life ends in this time.
const LIFE: Duration = Duration::from_secs(40);
/// A disk that does not heal by itself is healed after as many failures, or this.
const ENOUGH: u64 = 6;
const TRIES: Duration = Duration::from_secs(3);
/// Once its container runs it is asleep if it makes no system call for this long.
const SHIM_SLEEPS: Duration = Duration::from_millis(50);

/// See the module.
#[derive(Debug)]
pub struct Shim {
    depth: u32,
    alone: bool,
    fault: Option<Fault>,
    kept: bool,
    plain: bool,
    keeper: Option<Keeper>,
    opened: bool,
    node: Option<Node>,
    party: Option<Party>,
    registered: Option<Registered>,
    events: Option<Subscriber>,
}

impl Shim {
    /// Kills this process: 0 the one that is called, 1 the one between, 2 the shim. `alone`: nobody listens. With
    /// `fault` it is not killed: its disk fails.
    #[must_use]
    pub fn new(depth: u32, alone: bool, fault: Option<Fault>) -> Self {
        let (keeper, node, party, registered, events) = (None, None, None, None, None);
        Self { depth, alone, fault, kept: false, plain: false, keeper, opened: false, node, party, registered, events }
    }

    /// Kills the shim, and in the same moment the collector, which has a keeper.
    #[must_use]
    pub fn kept() -> Self {
        Self { kept: true, ..Self::new(2, false, None) }
    }

    /// Kills the shim of a plain program.
    #[must_use]
    pub fn plain(alone: bool) -> Self {
        Self { plain: true, ..Self::new(2, alone, None) }
    }

    fn ready(&mut self) {
        if self.node.is_none() {
            let node = Node::with(Options { daemon: !self.alone && !self.kept, ..Options::default() });
            self.keeper = self.kept.then(|| Keeper::start(&node));
            self.party = Some(Party::new(&node, "c"));
            self.registered = Some(Registered::new(node.dir().join("registered")));
            self.node = Some(node);
        }
    }
}

impl Life for Shim {
    fn crash(&mut self, at: Option<u64>, code: u8) -> Result<Report, String> {
        self.ready();
        let (Some(node), Some(party), Some(registered)) = (&self.node, &mut self.party, &self.registered) else {
            unreachable!()
        };
        registered.make();
        let waits = code.is_multiple_of(2);
        if waits {
            party.waits(code)
        } else {
            party.exits(code)
        }
        // Who has subscribed to a collector that is killed hears no more.
        self.events = (!self.alone && !self.kept).then(|| node.subscribe());
        let mut command = match self.plain {
            true => node.shim_alone("run", &party.id),
            false => node.shim_command("run", party.id.as_str(), party.bundle()),
        };
        command.args(registered.words());
        if self.plain {
            command.arg("--").args(party.words());
        }
        let words = node.dir().join("shim.words");
        let _ = fs::remove_file(&words);
        let blow = self.fault.map_or(Blow::Kill, |fault| Blow::BadDisk(fault, node.layout().state().into()));
        let killer = Killer::start(Order { blow, ..Order::new(command, words, self.depth, at) });
        if self.fault.is_some() {
            // It has tried more than once, if it has to.
            let over = || killer.is_over() || killer.failed() >= ENOUGH;
            wait_until(LIFE, || over() || (waits && party.has_run()));
            party.open();
            wait_until(TRIES, over);
            killer.heal();
            return killer.join(LIFE);
        }
        let opened = &mut self.opened;
        std::thread::scope(|scope| {
            if let Some(keeper) = &self.keeper {
                scope.spawn(|| wait_until(LIFE, || killer.has_killed() || killer.is_over()).then(|| keeper.strike()));
            }
            // If the shim lives as long as its container runs, it is killed later.
            wait_until(LIFE, || killer.has_killed() || killer.is_over() || (waits && party.has_run()));
            *opened = !waits || killer.settles(SHIM_SLEEPS, LIFE);
            if *opened {
                party.open();
            }
            wait_until(LIFE, || killer.is_over());
        });
        killer.join(LIFE)
    }

    fn check(&mut self, report: &Report) -> Result<Outcome, Violation> {
        let (Some(node), Some(party), Some(registered)) = (&mut self.node, &mut self.party, &self.registered) else {
            unreachable!()
        };
        let launched = report.ended.is_some_and(|status| status.success());
        let by_itself = self.alone && self.fault.is_some() && launched;
        if by_itself && node.record(&party.id).is_none() {
            return Err(Violation::lost("the shim left without a record".to_owned()));
        }
        if self.alone {
            node.start_daemon();
        }
        if let Some(keeper) = &mut self.keeper {
            keeper.wait_for_another(node);
        }
        // A list waits for the scan: what ends before that, and is reaped, nobody may know.
        let _ = node.list(true);
        party.open();
        let rest = settle(node, &party.id)?;
        // With nobody there to see it end there is nothing to know.
        let may_be_unknown = self.alone && self.opened && report.kill.is_some() && self.fault.is_none();
        let outcome = judge(node, party, &rest, launched, may_be_unknown)?;
        if let Some(events) = &self.events {
            let expected = matches!(rest, Rest::Stopped(_)).then_some(1);
            judge_events(&heard_by_now(node, events), &party.id, expected)?;
        }
        if matches!(rest, Rest::Nothing) {
            // What a launch that came to nothing has registered is left to whoever asked.
            registered.unmount();
        } else {
            remove(node, &party.id)?;
            let status = if let Rest::Stopped(info) = &rest { info.status } else { None };
            let status = status.as_ref().and_then(ExitStatus::shell_code).map(|code| code.to_string());
            registered.is_clean(status.as_deref()).map_err(Violation::leaked)?;
        }
        if let Err(violation) = nothing_left(node) {
            if self.kept {
                return Err(violation);
            }
            node.kill_daemon();
            node.start_daemon();
            let later = nothing_left(node).err().map_or("nothing".to_owned(), |violation| violation.found);
            return Err(Violation {
                found: format!("{}; after a restart of sextond: {later}", violation.found),
                ..violation
            });
        }
        again(node, party, !party.code)?;
        nothing_left(node)?;
        if self.alone {
            node.terminate_daemon();
            nothing_left(node)?;
        }
        Ok(outcome)
    }

    fn start_afresh(&mut self) {
        (self.events, self.registered, self.party, self.keeper, self.node) = (None, None, None, None, None);
    }

    fn words(&self) -> String {
        let said = |node: &Node| {
            let shim = fs::read_to_string(node.dir().join("shim.words")).unwrap_or_default();
            format!("{}{shim}", node.words())
        };
        self.node.as_ref().map(said).unwrap_or_default()
    }

    fn finish(&mut self) {
        (self.events, self.registered) = (None, None);
        if let Some(node) = self.node.take() {
            if let Some(keeper) = self.keeper.take() {
                keeper.stop(&node);
            }
            node.finish();
        }
    }
}
