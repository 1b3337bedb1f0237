//! How many fsyncs one container costs, by strace(1).

use super::shim;
use crate::{
    guest::Guest,
    listen::Listener,
    report::{Scenario, Unit},
};
use rustix::process::{Pid, Signal, kill_process};
use sexton_common::wire::{EventKind, Reply, Request};
use sexton_tests::{LONG, Node, binaries, proc, wait_for};
use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

const WHAT: &str = "fsyncs for one container";
/// Whatever makes something durable, and what tells whose process it is.
const CALLS: &str = "trace=execve,fsync,fdatasync,sync,syncfs,sync_file_range";

/// Launches a container by its shim, has it end, be cleaned and removed, while shim and collector are traced.
pub fn count(node: &Node, root: &Path, scenario: &mut Scenario) {
    if binaries::find("strace").is_none() {
        return scenario.note("The fsyncs of a container were not counted: there is no strace.");
    }
    let [shim_trace, collector_trace] = ["shim", "collector"].map(|name| node.dir().join(format!("{name}.trace")));
    let Ok(Reply::Version { pid: collector, .. }) = node.ask(&Request::Version {}) else { panic!("no version") };
    let (guest, mut events) = (Guest::new(node, "traced", 7), Listener::new(node));

    let mut beside = strace(&collector_trace).arg("-p").arg(collector.to_string()).spawn().unwrap();
    let traced = || proc::status(collector, "TracerPid").is_some_and(|pid| pid != "0");
    wait_for("the collector is traced", LONG, traced);
    let launch = shim(node, root, &guest);
    let mut around = strace(&shim_trace).arg(launch.get_program()).args(launch.get_args()).spawn().unwrap();
    guest.wait_began();
    guest.end();
    events.wait(&guest.id, EventKind::Stopped);
    node.remove(&guest.id, false).unwrap();
    wait_for("the shim's end", LONG, || around.try_wait().unwrap().is_some());
    interrupt(&mut beside);

    let mut all = read(&shim_trace, "sexton-shim");
    all.extend(read(&collector_trace, "sextond"));
    for who in ["sexton-shim", "sextond", "runc"] {
        let count: usize = all.iter().filter(|((by, _), _)| by == who).map(|(_, count)| count).sum();
        scenario.value(WHAT, "", who, Unit::Count, count as f64);
    }
    let each: Vec<_> = all.iter().map(|((by, what), count)| format!("{by}: {count} of {what}")).collect();
    scenario.note(format!("fsyncs of one container from its launch to its removal: {}.", each.join(", ")));
}

fn strace(to: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-e", CALLS, "-o"]).arg(to).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// It lets go of what it traces, and ends.
fn interrupt(strace: &mut Child) {
    kill_process(Pid::from_child(strace), Signal::INT).unwrap();
    wait_for("strace's end", LONG, || strace.try_wait().unwrap().is_some());
}

/// How many, by who called and on what.
fn read(trace: &Path, first: &str) -> BTreeMap<(String, String), usize> {
    let text = fs::read_to_string(trace).unwrap();
    let (mut programs, mut all) = (HashMap::new(), BTreeMap::new());
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(program) = call.strip_prefix("execve(\"").and_then(|rest| rest.split('"').next()) {
            programs.insert(pid.to_owned(), program.rsplit('/').next().unwrap_or(program).to_owned());
        } else if let Some((_, rest)) = call.split_once("sync").filter(|(name, _)| !name.contains('<')) {
            // `fsync(5</path>) = 0`, or `sync() = 0`.
            let path = rest.split_once('<').and_then(|(_, rest)| rest.split('>').next()).unwrap_or("everything");
            // Whoever has executed nothing is a child of the first.
            let by = programs.get(pid).cloned().unwrap_or_else(|| first.to_owned());
            *all.entry((by, noun(path))).or_insert(0) += 1;
        }
    }
    all
}

/// The file's name without what makes it its own: `launch~123-0` is `launch`; directories by what they are.
fn noun(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.split('~').next() {
        Some("") => "a directory that is being filled".to_owned(),
        Some(fact) if fact.len() < name.len() => fact.to_owned(),
        _ if name.starts_with("sxt") => "the container's directory".to_owned(),
        _ => name.to_owned(),
    }
}
