//! The shim without a collector: an engine that reads its FIFO and its file, and nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::Signal;
use sexton_common::{
    ExitRecord, ExitStatus, Init, Launch, Layout, Source, durable,
    launch::{Mode, Origin, Stdio},
    wire::Launched,
};
use sexton_tests::{Bundle, LONG, Node, node_api::killed_by, proc, run, shim::launched, skipped, wait_for};
use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    process::Command,
};

/// What an engine does: opens the FIFO before anything can end, and reads one record and the hang-up.
fn doorbell(path: &Path) -> std::thread::JoinHandle<Vec<u8>> {
    let mut fifo = File::open(path).unwrap();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        fifo.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn signal(pid: u32, signal: Signal) {
    let (_, fd) = sexton_common::ProcessIdentity::open_pid(pid).unwrap();
    rustix::process::pidfd_send_signal(fd, signal).unwrap();
}

/// The record that is on disk and in the FIFO, the same bytes in both; and the shim has left.
#[track_caller]
fn end(node: &Node, launched: &Launched, fifo: std::thread::JoinHandle<Vec<u8>>) -> ExitRecord {
    wait_for("the hang-up", LONG, || fifo.is_finished());
    let rung = fifo.join().unwrap();
    let written = fs::read(&launched.exit_file).unwrap();
    assert_eq!(rung, written, "the FIFO and the file");
    let record: ExitRecord = durable::decode(&written).unwrap();
    assert_eq!((&record.id, record.generation), (&launched.id, launched.generation));
    assert_eq!(record.process.unwrap().pid, launched.pid);
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    assert_eq!(node.layout().container(&launched.id).exit(), launched.exit_file);
    record
}

#[test]
fn file_and_fifo_say_the_same() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let bundle = bundle.write();
    let before = sexton_common::Stamp::now();
    let launched = node.shim("run", &id, &bundle);
    let fifo = doorbell(&launched.exit_fifo);
    let dir = node.layout().container(&id);
    let launch: Launch = durable::read(&dir.launch()).unwrap().unwrap();
    assert_eq!((&launch.id, launch.generation), (&id, launched.generation));
    assert_eq!((launch.mode, &launch.stdio, &launch.origin), (Mode::Run, &Stdio::Null, &Origin::Sexton));
    assert_eq!((launch.workload.bundle().unwrap(), launch.shim.pid), (bundle.as_path(), launched.shim_pid));
    assert_eq!(launch.workload.runtime(), Some(&node.runtime()));
    let init: Init = durable::read(&dir.init()).unwrap().unwrap();
    assert_eq!((init.process.pid, init.generation), (launched.pid, launched.generation));
    let mut expected = sexton_tests::leftovers::cgroups(id.as_str());
    let mut known: Vec<_> = init.cgroups.iter().map(|cgroup| cgroup.dir.clone()).collect();
    expected.sort();
    known.sort();
    assert_eq!(known, expected, "the cgroups that are to be cleaned are those that there are");
    gate.exit(7);
    let record = end(&node, &launched, fifo);
    assert_eq!((record.status, record.source), (ExitStatus::Code(7), Source::Waited));
    let (started, exited) = (record.started.unwrap(), record.exited.unwrap());
    assert!(before.boot_ns < started.boot_ns && started.boot_ns < exited.boot_ns);
    assert!(before.wall <= started.wall && started.wall < exited.wall);
    assert!(record.usage.unwrap().max_rss_kib > 0);
    assert_eq!(record.oom_killed, Some(false));
    assert!(record.memory_peak.unwrap() > 0 && record.cpu_ns.unwrap() > 0);
    let generation = before.boot_ns / 1000..=started.boot_ns / 1000;
    assert!(generation.contains(&launched.generation), "microseconds since boot, when it was asked for");
    node.bury(&id);
    node.finish();
}

#[test]
fn create_waits_for_the_engine_to_start() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 3").write();
    let launched = node.shim("create", &id, &bundle);
    let fifo = doorbell(&launched.exit_fifo);
    assert!(node.record(&id).is_none());
    assert_eq!(run(&mut node.runc("state", &[id.as_str()])).json()["status"], "created");
    let _ = run(&mut node.runc("start", &[id.as_str()])).ok();
    let record = end(&node, &launched, fifo);
    assert_eq!((record.status, record.source), (ExitStatus::Code(3), Source::Waited));
    node.bury(&id);

    // A created one that is killed before it ever starts has a status too.
    let id = node.id("b");
    let launched = node.shim("create", &id, &bundle);
    let fifo = doorbell(&launched.exit_fifo);
    signal(launched.pid, Signal::KILL);
    assert_eq!(end(&node, &launched, fifo).status, killed_by(9));
    node.bury(&id);
    node.finish();
}

/// An id can be used again once its record is gone; the generations tell the runs apart.
#[test]
fn generations_rise() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let mut last = 0;
    for _ in 0..3 {
        let launched = node.shim("run", &id, &bundle);
        assert!(launched.generation > last);
        last = launched.generation;
        wait_for("the record", LONG, || node.record(&id).is_some());
        wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
        let again = run(&mut node.shim_command("run", id.as_str(), &bundle));
        assert_eq!(again.code(), 125, "the record is not lost to a new run: {again:?}");
        node.bury(&id);
    }
    node.finish();
}

/// Whoever launches through a pipe gets the end of it at once: the shim keeps none of its caller's descriptors.
#[test]
fn a_pipeline_ends_and_no_descriptor_leaks() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sleeping().write();
    let shim = node.shim_command("run", id.as_str(), &bundle);
    let words: Vec<String> = std::iter::once(shim.get_program())
        .chain(shim.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    // Descriptors 7 and 9 are open in the caller, and not close-on-exec.
    let script = format!("exec 7</etc/passwd 9</etc/group; {} 2>&1 | cat", words.join(" "));
    let ended = run(Command::new("sh").args(["-c", &script]).env("SEXTON_TEST_NODE", node.prefix()));
    let launched = launched(&ended);
    for pid in [launched.pid, launched.shim_pid] {
        let open = proc::descriptors(pid);
        assert!(!open.contains_key("/etc/passwd") && !open.contains_key("/etc/group"), "{pid}: {open:?}");
        assert!(!open.contains_key("pipe"), "{pid}: {open:?}");
    }
    assert_eq!(proc::descriptors(launched.pid).get("/dev/null"), Some(&3), "the container's streams");
    let fifo = doorbell(&launched.exit_fifo);
    signal(launched.pid, Signal::KILL);
    assert_eq!(end(&node, &launched, fifo).status, killed_by(9));
    node.bury(&id);
    node.finish();
}

#[test]
fn a_file_takes_the_output() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let file = node.dir().join("output");
    fs::write(&file, "before\n").unwrap();
    for (n, word) in ["one", "two"].iter().enumerate() {
        let id = node.id(word);
        let bundle = Bundle::new(&node, word).sh(&format!("echo {word}; echo err-{word} >&2; exit {n}")).write();
        let mut command = node.shim_command("run", id.as_str(), &bundle);
        let launched = launched(&run(command.arg("--stdio").arg(format!("file:{}", file.display()))).ok());
        wait_for("the record", LONG, || node.record(&id).is_some());
        wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
        assert_eq!(node.record(&id).unwrap().status, ExitStatus::Code(u8::try_from(n).unwrap()));
        node.bury(&id);
    }
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, "before\none\nerr-one\ntwo\nerr-two\n", "appended, in order");
    node.finish();
}

#[test]
fn inherited_streams_are_the_callers() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("cat; echo said >&2; exit 4").write();
    let [input, output, errors] = ["in", "out", "err"].map(|name| node.dir().join(name));
    fs::write(&input, "words\n").unwrap();
    let [out, err] = [&output, &errors].map(|path| File::create(path).unwrap());
    let mut command = node.shim_command("run", id.as_str(), &bundle);
    command.args(["--stdio", "inherit"]).stdin(File::open(&input).unwrap()).stdout(out).stderr(err);
    assert!(command.status().unwrap().success());
    wait_for("the record", LONG, || node.record(&id).is_some());
    assert_eq!(node.record(&id).unwrap().status, ExitStatus::Code(4));
    assert!(fs::read_to_string(&output).unwrap().contains("words\n"));
    assert_eq!(fs::read_to_string(&errors).unwrap(), "said\n");
    wait_for("the shim's end", LONG, || sexton_tests::leftovers::processes(&node).is_empty());
    node.bury(&id);
    node.finish();
}

/// Only SIGKILL ends a shim before its container.
#[test]
fn signals_to_the_shim_are_ignored() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.shim("run", &id, &bundle.write());
    let fifo = doorbell(&launched.exit_fifo);
    let ignored = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::PIPE,
        Signal::ALARM,
        Signal::TERM,
        Signal::TSTP,
        Signal::TTIN,
        Signal::TTOU,
        Signal::IO,
        Signal::POWER,
        Signal::CHILD,
    ];
    for which in ignored {
        signal(launched.shim_pid, which);
    }
    gate.exit(9);
    assert_eq!(end(&node, &launched, fifo).status, ExitStatus::Code(9));
    node.bury(&id);
    node.finish();
}

/// The default state directory is not touched, and the environment names another one.
#[test]
fn the_environment_names_the_state_directory() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let mut command = Command::new(sexton_tests::binaries::shim());
    command.args(["run", "--id", id.as_str(), "--bundle"]).arg(&bundle);
    command.arg("--runtime-root").arg(node.runtime_root());
    command.env(Layout::STATE_ENV, node.layout().state()).env("SEXTON_TEST_NODE", node.prefix());
    let launched = launched(&run(&mut command).ok());
    assert!(launched.exit_file.starts_with(node.layout().state()));
    wait_for("the record", LONG, || node.record(&id).is_some());
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    node.bury(&id);
    node.finish();
}
