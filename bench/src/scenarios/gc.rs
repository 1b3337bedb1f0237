//! How soon what can be cleaned at last is clean.

use crate::{
    guest::{ms, now},
    jam::{Cell, Cells, Disk, Process},
    listen::Listener,
    plan::Plan,
    report::{Scenario, Unit},
    summary::{Samples, Stat},
};
use sexton_common::{
    ContainerId,
    cleanup::Cleanup,
    wire::{EventKind, Reply, Request},
};
use sexton_tests::{Bundle, LONG, Node, Options, proc, random::Random, wait::observe, wait_for};
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

/// What is measured.
pub const TITLE: &str = "From the instant at which a killed container can die at last until everything that it owned \
                         is seen to be gone, among many that stay blocked; and `runc delete` of the same container, dead";

const WHAT: &str = "unblocked to clean";
/// What may be added to what the runtime needs.
const MARGIN: f64 = 20.0;
/// Fixed, so that every run has the same times.
const SEED: u64 = 20;
/// Share the entries whose processes do not die.
const HOLDERS: usize = 5;

/// In one period, at random times: ours are unblocked, the runtime's are deleted.
pub fn measure(plan: &Plan, scenario: &mut Scenario) {
    let (entries, unblocked) = plan.of((1000, 100), (200, 20));
    let period = plan.of(Duration::from_secs(25), Duration::from_secs(4));
    let node = plan.node(Options::default());
    let cells = Cells::new(&node);
    plan.say(format!("{unblocked} containers that do not die"));
    let mut events = Listener::new(&node);
    let ours = ours(&node, &cells, unblocked, &mut events);
    plan.say(format!("{unblocked} that runc is to delete"));
    let theirs = theirs(&node, &cells, unblocked);
    plan.say("the others");
    let others = Others::new(&node, entries - unblocked);
    plan.say(format!("unblocked in {period:?}"));
    let (took, deleted) = let_go(&node, period, &ours, &theirs, &mut events);
    assert_eq!(node.gc_list().len(), entries - unblocked, "the others were blocked all the time");

    let case = format!("{unblocked} of {entries} entries");
    scenario.row(WHAT, &case, "sexton", Unit::Ms, &took);
    scenario.row(WHAT, &case, "runc delete", Unit::Ms, &deleted);
    let limit = deleted.summary().unwrap().median + MARGIN;
    let name = format!("runc delete + {MARGIN} ms");
    scenario.limit(WHAT, &case, Stat::Median, "sexton", (&name, limit), Some(1.0));
    scenario.note(format!(
        "The {unblocked} are {} and were sent SIGKILL: their delay has the death of init, the shim's exit record and \
         `runc delete` in it, and ends with the event `stopped`, after the entry is gone. runc's own delete is measured \
         from its execution to its end, at random times between ours, of containers of the same bundle that are dead.",
        cells.kind()
    ));
    scenario.note(
        "Half of the others wait for a process in state D, half for a file that cannot be unmounted; they are tried \
         again meanwhile, by the usual back-off.",
    );
    others.end(&node);
    for (id, _) in &ours {
        node.remove(id, false).unwrap();
    }
    drop((events, ours, cells));
    node.finish();
}

/// Killed, and in GC since they do not die.
fn ours(node: &Node, cells: &Cells, count: usize, events: &mut Listener) -> Vec<(ContainerId, Cell)> {
    let run = |n| {
        let id = node.id(&format!("c{n}"));
        let (bundle, cell) = cells.cell(node, Bundle::new(node, id.as_str()), &id);
        let launched = node.run(&id, &bundle.write());
        cell.close(&id, launched.pid);
        (id, cell)
    };
    let all: Vec<_> = (0..count).map(run).collect();
    all.iter().for_each(|(id, _)| node.kill(id, 9));
    for (id, _) in &all {
        events.wait(id, EventKind::Delayed);
    }
    all
}

/// The same containers, run by the runtime alone, dead.
fn theirs(node: &Node, cells: &Cells, count: usize) -> Vec<ContainerId> {
    let run = |n| {
        let id = node.id(&format!("r{n}"));
        let (bundle, cell) = cells.cell(node, Bundle::new(node, id.as_str()), &id);
        let bundle = bundle.write();
        let pid_file = bundle.join("pid");
        let mut command = node.runc("run", &["-d", "--pid-file"]);
        command.arg(&pid_file).arg("--bundle").arg(&bundle).arg(id.as_str());
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        assert!(command.status().unwrap().success(), "{command:?}");
        let pid = fs::read_to_string(pid_file).unwrap().parse().unwrap();
        proc::kill(pid);
        wait_for("its end", LONG, || proc::is_dead(pid));
        drop(cell);
        id
    };
    (0..count).map(run).collect()
}

/// Lets ours die and has theirs deleted, at random times; how long each took.
fn let_go(
    node: &Node,
    period: Duration,
    ours: &[(ContainerId, Cell)],
    theirs: &[ContainerId],
    events: &mut Listener,
) -> (Samples, Samples) {
    let mut random = Random(SEED);
    let within = u64::try_from(period.as_micros()).unwrap();
    let mut times: Vec<_> = (0..ours.len() + theirs.len()).map(|_| random.below(within)).collect();
    times.sort_unstable();
    let mut turns = times.into_iter().map(Duration::from_micros);
    let begun = Instant::now();
    let mut wait = || observe(turns.next().unwrap().saturating_sub(begun.elapsed()));
    let (mut unblocked, mut deleted) = (Vec::new(), Samples::default());
    for ((id, cell), theirs) in ours.iter().zip(theirs) {
        wait();
        unblocked.push((id, now()));
        cell.open();
        wait();
        let from = now();
        let status = node.runc("delete", &[theirs.as_str()]).status().unwrap();
        deleted.push(ms(from, now()));
        assert!(status.success(), "runc delete {theirs}: {status}");
    }
    let clean = |(id, from): (&ContainerId, u64)| {
        let at = events.wait(id, EventKind::Stopped);
        assert!(!node.layout().gc_entry(id).exists(), "it is clean, and so its entry is gone");
        ms(from, at)
    };
    (unblocked.into_iter().map(clean).collect(), deleted)
}

/// Entries that stay blocked.
struct Others {
    disk: Disk,
    holders: Vec<Process>,
    files: Vec<PathBuf>,
}

impl Others {
    fn new(node: &Node, count: usize) -> Self {
        let disk = Disk::new(node, "others");
        let name = |n: usize| format!("holder{n}");
        let holders: Vec<_> = (0..HOLDERS).map(|n| disk.process(node, &name(n))).collect();
        let names: Vec<_> = (0..HOLDERS).map(name).collect();
        disk.freeze(&names.iter().map(String::as_str).zip(holders.iter().map(Process::pid)).collect::<Vec<_>>());
        let dir = node.dir().join("netns");
        fs::create_dir(&dir).unwrap();
        let mut files = Vec::new();
        let mut client = node.client();
        for n in 0..count {
            let mut request = node.gc_add_request(&node.id(&format!("o{n}")));
            if n % 2 == 0 {
                request.pids = vec![holders[n / 2 % HOLDERS].pid()];
            } else {
                let file = dir.join(n.to_string());
                fs::write(&file, "no namespace").unwrap();
                request.cleanup = Cleanup { netns: vec![file.clone()], ..Cleanup::default() };
                files.push(file);
            }
            assert_eq!(client.call(&Request::GcAdd(request)).unwrap(), Reply::Done {});
        }
        Self { disk, holders, files }
    }

    fn end(self, node: &Node) {
        self.disk.thaw();
        drop(self.holders);
        self.files.iter().for_each(|file| fs::write(file, "").unwrap());
        node.ask(&Request::GcRetry { id: None }).unwrap();
        node.wait_no_gc();
    }
}
