//! Many containers are killed at once: when is the last exit known, and when is the last one clean?

use crate::{
    fleet::Fleet,
    guest::{ms, now},
    peers::{Engine, Kind},
    plan::Plan,
    report::{Scenario, Unit},
    summary::{Samples, Stat},
};
use rustix::process::{Signal, pidfd_send_signal};
use sexton_common::{ContainerId, ProcessIdentity};
use sexton_tests::{LONG, wait::observe, wait_until};
use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

/// What is measured.
pub const TITLE: &str =
    "From the SIGKILL of many containers at once until the last exit is told, and the last one is clean.";
const CONTESTANTS: [Kind; 4] = [Kind::Floor, Kind::Sexton, Kind::Conmon, Kind::Containerd];
const KNOWN: &str = "last exit known";
const CLEAN: &str = "last one clean";
const WRONG: &str = "exits lost or wrong";
/// 128 and SIGKILL.
const KILLED: i32 = 137;

/// What became of one storm.
struct Storm {
    /// In milliseconds after the first SIGKILL.
    known: f64,
    clean: f64,
    wrong: usize,
}

/// See the module.
pub fn measure(plan: &Plan, scenario: &mut Scenario) {
    let (size, rounds) = (plan.of(200, 50), plan.of(2, 1));
    let present = plan.present(&CONTESTANTS, scenario);
    let case = format!("{size} killed");
    let mut seen: HashMap<&str, Vec<Storm>> = HashMap::new();
    for _ in 0..rounds {
        for &kind in &present {
            let fleet = plan.fleet(kind, size);
            plan.say(format!("{}: {case}", kind.name()));
            seen.entry(kind.name()).or_default().push(storm(&fleet, size));
        }
    }
    let storms = |kind: &Kind| seen[kind.name()].iter();
    for (what, figure) in [(KNOWN, (|storm| storm.known) as fn(&Storm) -> f64), (CLEAN, |storm| storm.clean)] {
        for kind in &present {
            scenario.row(what, &case, kind.name(), Unit::Ms, &storms(kind).map(figure).collect::<Samples>());
        }
    }
    for kind in &present {
        let wrong: usize = storms(kind).map(|storm| storm.wrong).sum();
        scenario.value(WRONG, &case, kind.name(), Unit::Count, wrong as f64);
    }
    let ours = Kind::Sexton.name();
    for (theirs, aim) in [(Kind::Containerd, Some(0.5)), (Kind::Conmon, None), (Kind::Floor, None)] {
        scenario.compare(KNOWN, &case, Stat::Median, ours, theirs.name(), aim);
        scenario.compare(CLEAN, &case, Stat::Median, ours, theirs.name(), None);
    }
    scenario.note(
        "Known: when each contestant's own notification says so (see `exit`). Clean: cgroups of every hierarchy and \
         the runtime's state are gone.",
    );
    scenario.note(
        "Who cleans up, and so competes with the exits of the others: sextond by itself; conmon by its \
         --exit-command, `runc delete`; for containerd a client, `ctr tasks delete` of all that have been told so far, \
         one command at a time; for the smallest parent nobody but us, `runc delete` one at a time.",
    );
}

/// All of the fleet's containers are killed at once.
fn storm(fleet: &Fleet, size: usize) -> Storm {
    let (engine, members) = (fleet.engine(), &fleet.members[..size]);
    let pidfd = |pid: u32| ProcessIdentity::open_pid(pid).unwrap().1;
    let pidfds: Vec<OwnedFd> = members.iter().map(|member| pidfd(member.running.init)).collect();
    let exits = engine.listen().unwrap();
    let (tell, told) = channel();
    observe(Duration::from_secs(1));
    thread::scope(|scope| {
        scope.spawn(move || clean(engine, &told));
        let begin = now();
        for pidfd in &pidfds {
            pidfd_send_signal(pidfd, Signal::KILL).unwrap();
        }
        let mut awaited: HashMap<&str, &ContainerId> =
            members.iter().map(|member| (member.guest.id.as_str(), &member.guest.id)).collect();
        let (mut last, mut wrong, until) = (begin, 0, Instant::now() + LONG);
        while !awaited.is_empty() {
            let Ok(exit) = exits.heard.recv_timeout(until.saturating_duration_since(Instant::now())) else { break };
            let Some(id) = awaited.remove(exit.id.as_str()) else { continue };
            last = last.max(exit.at);
            wrong += usize::from(exit.code != Some(KILLED));
            tell.send(id.clone()).unwrap();
        }
        drop(tell);
        let mut left: Vec<_> = members.iter().map(|member| &member.guest.id).collect();
        let is_clean = || {
            // The first that is not clean says enough.
            while left.last().is_some_and(|id| engine.is_clean(id)) {
                left.pop();
            }
            left.is_empty()
        };
        let cleaned = wait_until(LONG, is_clean);
        let clean = now();
        assert!(cleaned, "{} is not clean {LONG:?} after its end", left[0]);
        Storm { known: ms(begin, last), clean: ms(begin, clean), wrong: wrong + awaited.len() }
    })
}

/// Does what is its users' to do, for all that have been told since the last time.
fn clean(engine: &dyn Engine, told: &Receiver<ContainerId>) {
    while let Ok(first) = told.recv() {
        let ids: Vec<_> = std::iter::once(first).chain(told.try_iter()).collect();
        engine.clean_all(&ids);
    }
}
