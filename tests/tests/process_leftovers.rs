//! What plain programs leave: it is reaped while they live, and killed after their end, with a cgroup of their own or without.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::Signal;
use sexton_common::{
    ContainerId, ExitStatus, ProcessIdentity, Source, cgroup,
    identity::Stat,
    launch::Mode,
    wire::{EventKind, Launched, State},
};
use sexton_tests::{
    LONG, Node, binaries,
    node_api::{assert_told_by_kernel, killed_by},
    proc, run,
    shim::launched,
    skipped, wait_for,
};
use std::{fs, os::unix::ffi::OsStrExt, process::Command};

fn signal(pid: u32, signal: Signal) {
    let (_, fd) = ProcessIdentity::open_pid(pid).unwrap();
    rustix::process::pidfd_send_signal(fd, signal).unwrap();
}

fn zombies(pid: u32) -> usize {
    let is_dead = |child: &u32| Stat::of(*child).ok().flatten().is_some_and(|stat| stat.is_dead());
    proc::children(pid).iter().filter(|child| is_dead(child)).count()
}

/// Those whose parent is the shim now, but for its program.
fn orphans(launched: &Launched) -> Vec<u32> {
    proc::children(launched.shim_pid).into_iter().filter(|child| *child != launched.pid).collect()
}

/// Has a program run that has no cgroup of its own, since none can be seen where its shim is.
fn without_cgroups(node: &Node, id: &ContainerId, script: &str) -> Launched {
    let mut shim = node.shim_alone("run", id);
    shim.args(["--", "sh", "-c", script]);
    let mut hidden = Command::new("unshare");
    hidden.args(["--mount", "--propagation", "private", "sh", "-c", "umount -R /sys/fs/cgroup && exec \"$0\" \"$@\""]);
    hidden.arg(shim.get_program()).args(shim.get_args()).env("SEXTON_TEST_NODE", node.prefix());
    launched(&run(&mut hidden).ok())
}

/// Either with a cgroup of its own or without one.
fn both(test: impl Fn(&Node, &dyn Fn(&ContainerId, &str) -> Launched, &str)) {
    if skipped() {
        return;
    }
    let node = Node::new();
    test(&node, &|id, script| node.run_sh(id, script), "with");
    test(&node, &|id, script| without_cgroups(&node, id, script), "without");
    node.finish();
}

#[test]
fn daemons_are_reaped_and_killed() {
    both(|node, run, name| {
        let id = node.id(name);
        let [brief, long] = ["brief", "long"].map(|door| node.door(&format!("{name}-{door}")));
        // Double forks, with sessions of their own; one of them takes no SIGTERM.
        let script = format!(
            "for n in 1 2 3 4 5; do (setsid sh -c '{}' &); done; for n in 1 2 3; do (setsid sh -c \"trap '' TERM HUP; \
             sleep 100000\" &); done; {}",
            brief.script(),
            long.script()
        );
        let launched = run(&id, &script);
        assert_eq!(cgroup::of_process(launched.pid).unwrap().is_empty(), name == "without");
        wait_for("the daemons to be the shim's", LONG, || orphans(&launched).len() == 8);
        (1..=5).for_each(|code| brief.exit(code));
        wait_for("the dead to be reaped", LONG, || orphans(&launched).len() == 3 && zombies(launched.shim_pid) == 0);
        assert!(!proc::is_dead(launched.pid) && node.record(&id).is_none(), "whose end they were not");
        let left = orphans(&launched);
        long.exit(42);
        let info = node.wait(&id);
        assert_eq!((info.status, info.source), (Some(ExitStatus::Code(42)), Some(Source::Waited)));
        node.wait_state(&id, State::Stopped);
        assert!(left.iter().all(|pid| proc::is_dead(*pid)), "a stopped container has no process");
        assert!(proc::is_dead(launched.shim_pid));
    });
}

/// Whoever dies forks first: each has a child, which becomes the shim's, and so on.
#[test]
fn a_chain_of_them() {
    both(|node, run, name| {
        let id = node.id(name);
        let door = node.door(&format!("{name}-door"));
        let script = format!(
            "deep() {{ if [ $1 -gt 0 ]; then (deep $(($1 - 1))); else sleep 100000; fi; true; }}; deep 60 & {}",
            door.script()
        );
        let launched = run(&id, &script);
        let marked = || {
            let ours = |pid: &u32| proc::command_line(*pid) == "sleep 100000" && is_of(*pid, node);
            proc::pids().into_iter().find(ours)
        };
        wait_for("the innermost", LONG, || marked().is_some());
        let innermost = marked().unwrap();
        door.exit(5);
        assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(5)));
        node.wait_state(&id, State::Stopped);
        assert!(proc::is_dead(innermost) && proc::is_dead(launched.shim_pid));
    });
}

fn is_of(pid: u32, node: &Node) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == format!("SEXTON_TEST_NODE={}", node.prefix()).as_bytes())
}

/// SIGCHLD is one bit, however many have died, and whoever of them is the program.
#[test]
fn one_signal_for_many_exits_loses_nothing() {
    const MANY: usize = 300;
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("many");
    let door = node.door("door");
    let crowd = node.door("crowd");
    // They end when nobody has the FIFO open for writing any more, and would never open it themselves then.
    let script = format!(
        "exec 8<{}; n=0; while [ $n -lt {MANY} ]; do (cat <&8 &); n=$((n + 1)); done; {}",
        crowd.path().display(),
        door.script()
    );
    let launched = node.run_sh(&id, &script);
    wait_for("the crowd", LONG, || orphans(&launched).len() == MANY);
    signal(launched.shim_pid, Signal::STOP);
    crowd.end();
    wait_for("all to be dead", LONG, || zombies(launched.shim_pid) == MANY);
    assert_eq!(node.record(&id), None);
    door.exit(77);
    wait_for("the program too", LONG, || zombies(launched.shim_pid) == MANY + 1);
    signal(launched.shim_pid, Signal::CONT);
    let info = node.wait(&id);
    assert_eq!((info.status, info.source), (Some(ExitStatus::Code(77)), Some(Source::Waited)));
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    node.wait_state(&id, State::Stopped);
    node.finish();
}

/// The shim is stopped: the collector kills what is left, and waits for the shim, which is named.
#[test]
fn a_shim_that_does_not_do_it() {
    if skipped() {
        return;
    }
    let node = Node::patient();
    let events = node.subscribe();
    let id = node.id("a");
    let door = node.door("door");
    let script = format!("(setsid sleep 100000 &); {}", door.script());
    let launched = without_cgroups(&node, &id, &script);
    wait_for("the daemon", LONG, || orphans(&launched).len() == 1);
    let daemon = orphans(&launched)[0];
    // It writes the record, and is stopped before it can do more.
    let record = node.layout().container(&id).exit();
    signal(launched.shim_pid, Signal::STOP);
    door.exit(6);
    wait_for("the program's end", LONG, || zombies(launched.shim_pid) == 1);
    let kept = node.record(&id);
    assert!(kept.is_none() && !record.exists());
    // Nobody else will tell: the collector takes it from the kernel.
    events.wait(&id, EventKind::Exited);
    assert_eq!(node.inspect(&id).status, Some(ExitStatus::Code(6)));
    wait_for("the daemon's end", LONG, || proc::is_dead(daemon));
    let entry = node.wait_gc(&id);
    assert_eq!(entry.step, sexton_common::gc::Step::Processes, "{entry:?}");
    let why = node.gc_why(&id).unwrap();
    assert_eq!(why.obstacles[0].holders[0].pid, launched.shim_pid, "{why:#?}");
    signal(launched.shim_pid, Signal::CONT);
    events.wait(&id, EventKind::Stopped);
    drop(events);
    node.finish();
}

/// A program without a right to make cgroups, under a user that is not root.
#[test]
fn without_root() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let public = tempfile::Builder::new().prefix("sexton-test-").tempdir_in("/tmp").unwrap();
    std::os::unix::fs::chown(public.path(), Some(65534), Some(65534)).unwrap();
    let shim = public.path().join("sexton-shim");
    node.copy(&binaries::shim(), &shim);
    let id = node.id("a");
    let call = |options: &[&str], words: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&shim).args([
            "run",
            "--id",
            id.as_str(),
        ]);
        command.arg("--state-dir").arg(public.path().join("state")).arg("--data-dir").arg(public.path().join("data"));
        run(command.env("SEXTON_TEST_NODE", node.prefix()).args(options).arg("--").args(words))
    };
    let refused = call(&["--cgroup", "sexton-test-never"], &["true"]);
    assert_eq!((refused.code(), refused.stderr.contains("only root")), (125, true), "{refused:?}");
    let refused = call(&["--user", "root"], &["true"]);
    assert_eq!((refused.code(), refused.stderr.contains("only root")), (125, true), "{refused:?}");
    let launched = launched(&call(&[], &["sh", "-c", "(setsid sleep 100000 &); sleep 0.2; exit 4"]).ok());
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    let record: sexton_common::ExitRecord = sexton_common::durable::read(&launched.exit_file).unwrap().unwrap();
    assert_eq!(record.status, ExitStatus::Code(4));
    node.finish();
}

/// What hides in other sessions and groups of a program that is killed is killed too.
#[test]
fn after_a_kill() {
    both(|node, run, name| {
        let id = node.id(name);
        let launched = run(&id, "(setsid sleep 100000 &); exec sleep 100000");
        wait_for("the daemon", LONG, || orphans(&launched).len() == 1);
        let daemon = orphans(&launched)[0];
        node.kill(&id, 9);
        assert_eq!(node.wait(&id).status, Some(killed_by(9)));
        node.wait_state(&id, State::Stopped);
        assert!(proc::is_dead(daemon));
    });
}

/// With the cgroup, what is left is found even if the shim is killed.
#[test]
fn without_its_shim() {
    if sexton_tests::skipped_without_info_exit() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let door = node.door("door");
    let launched = node.run_sh(&id, &format!("(setsid sleep 100000 &); {}", door.script()));
    wait_for("the daemon", LONG, || orphans(&launched).len() == 1);
    let daemon = orphans(&launched)[0];
    let cgroups = cgroup::of_process(launched.pid).unwrap();
    proc::kill_shim(&launched);
    node.wait_state(&id, State::Orphaned);
    door.exit(11);
    let info = node.wait(&id);
    assert_told_by_kernel(&info, ExitStatus::Code(11));
    node.wait_state(&id, State::Stopped);
    assert!(proc::is_dead(daemon) && cgroups.iter().all(|cgroup| !cgroup.dir.exists()));
    node.finish();
}

/// A scan takes no living program's cgroup, nor that of one that is only created, for nobody's.
#[test]
fn a_scan_takes_nothing_of_the_living() {
    if skipped() {
        return;
    }
    // One that the test's node is in, and one that is made for a program.
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own: Vec<String> = own.lines().filter_map(|line| line.rsplit(':').next()).map(str::to_owned).collect();
    let own = own.into_iter().find(|path| path != "/").unwrap_or_else(|| "/nothing".into());
    let config = |prefix: &str| format!("[gc]\ncgroup_parents = [{own:?}, \"/{prefix}top\"]\n");
    let mut node = Node::bare();
    fs::write(node.config(), config(node.prefix())).unwrap();
    node.start_daemon();
    let [runs, waits] = ["runs", "waits"].map(|name| node.id(name));
    node.run_sh(&runs, "exec sleep 100000");
    let path = format!("/{}top", node.prefix());
    let given = |program: &mut sexton_common::workload::Program| program.cgroup = Some(path.clone().into());
    let launched = node.launch_program(&waits, Mode::Create, &["true"], given).unwrap();
    let cgroups = cgroup::of_process(launched.pid).unwrap();
    let found = node.sexton(&["gc", "scan", "--json"]);
    assert!(!found.stdout.contains(node.prefix()), "{found:?}");
    for id in [&runs, &waits] {
        node.kill(id, 9);
        node.wait_state(id, State::Stopped);
    }
    for dir in cgroups.iter().filter_map(|cgroup| cgroup.dir.parent()) {
        assert!(dir.as_os_str().as_bytes().ends_with(b"top"));
        fs::remove_dir(dir).unwrap();
    }
    node.finish();
}
