//! How the shim starts what a runtime has created: by runc's exec FIFO, where that is all that `start` does, else by `start`.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::{Pid, Signal, kill_process};
use sexton_common::{ContainerId, ExitStatus, Launch, durable, runtime::Runtime, wire::State};
use sexton_tests::{
    Bundle, Ended, LONG, Node, binaries, helper::helper, proc, run, shim::launched, skip, skipped, wait_for,
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A program of that name which becomes `real`, in a directory of its own; `after`: what is done between create and start.
fn runtime(node: &Node, dir: &str, name: &str, real: &Path, after: Option<&str>) -> PathBuf {
    let dir = node.dir().join(format!("runtime-{dir}"));
    fs::create_dir(&dir).unwrap();
    let program = dir.join(name);
    node.copy(&helper("wrapper"), &program);
    symlink(real, dir.join(format!("{name}.real"))).unwrap();
    if let Some(after) = after {
        fs::write(dir.join(format!("{name}.after")), after).unwrap();
    }
    program
}

/// How often it was called with that verb.
fn calls(runtime: &Path, verb: &str) -> usize {
    let calls = fs::read_to_string(format!("{}.calls", runtime.display())).unwrap();
    calls.lines().filter(|line| line.split(' ').any(|word| word == verb)).count()
}

fn shim(node: &Node, id: &ContainerId, bundle: &Path, runtime: &Path) -> Ended {
    run(node.shim_command("run", id.as_str(), bundle).arg("--runtime").arg(runtime).args(["--create-timeout", "60s"]))
}

fn ended(node: &Node, id: &ContainerId, shim_pid: u32) -> ExitStatus {
    wait_for("the record", LONG, || node.record(id).is_some());
    wait_for("the shim's end", LONG, || proc::is_dead(shim_pid));
    let status = node.record(id).unwrap().status;
    node.bury(id);
    status
}

/// The runtime is asked to create, not to start, and says `running` afterwards.
fn by_its_fifo(node: &Node) {
    let id = node.id("fifo");
    let (bundle, gate) = Bundle::new(node, "fifo").gated();
    let runc = runtime(node, "fifo", "runc", &binaries::runc(), None);
    let launched = launched(&shim(node, &id, &bundle.write(), &runc).ok());
    assert_eq!((calls(&runc, "create"), calls(&runc, "start")), (1, 0));
    let state = run(&mut node.runc("state", &[id.as_str()])).ok().json();
    assert_eq!((&state["status"], state["pid"].as_u64()), (&"running".into(), Some(launched.pid.into())));
    assert!(!node.runtime_root().join(id.as_str()).join("exec.fifo").exists());
    gate.exit(7);
    assert_eq!(ended(node, &id, launched.shim_pid), ExitStatus::Code(7));
}

/// Whatever is not known goes the old way.
fn by_start(node: &Node) {
    let real = binaries::runc();
    let hooked = Bundle::new(node, "hooked").sh("exit 3").with(|config| {
        let touch = serde_json::json!({ "path": "/bin/touch", "args": ["touch", node.dir().join("hooked")] });
        config["hooks"] = serde_json::json!({ "poststart": [touch] });
    });
    let plain = Bundle::new(node, "plain").sh("exit 3").write();
    for (name, program, bundle) in [
        ("hooks", runtime(node, "hooks", "runc", &real, None), hooked.write()),
        ("name", runtime(node, "name", "other", &real, None), plain.clone()),
    ] {
        let id = node.id(name);
        let launched = launched(&shim(node, &id, &bundle, &program).ok());
        assert_eq!((calls(&program, "create"), calls(&program, "start")), (1, 1), "{name}");
        assert_eq!(ended(node, &id, launched.shim_pid), ExitStatus::Code(3), "{name}");
    }
    assert!(node.dir().join("hooked").exists());
}

#[test]
fn runc_by_its_fifo() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    by_its_fifo(&node);
    node.finish();
}

#[test]
fn others_by_start() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    by_start(&node);
    node.finish();
}

const INNER: &str = "SEXTON_TEST_STARTS_INNER";

#[test]
fn under_v2() {
    if skipped() {
        return;
    }
    if std::env::var_os(INNER).is_some() {
        let node = Node::bare();
        by_its_fifo(&node);
        let Some(real) = binaries::find("crun") else { return skip("the part with crun: it is not here") };
        let crun = runtime(&node, "crun", "crun", &real, None);
        let id = node.id("crun");
        let bundle = Bundle::new(&node, "crun").sh("exit 4").write();
        let launched = launched(&shim(&node, &id, &bundle, &crun).ok());
        assert_eq!((calls(&crun, "create"), calls(&crun, "start")), (1, 1));
        wait_for("the record", LONG, || node.record(&id).is_some());
        assert_eq!(node.record(&id).unwrap().status, ExitStatus::Code(4));
        wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
        let mut delete = Command::new(&real);
        let _ = run(delete.arg("--root").arg(node.runtime_root()).arg("delete").arg(id.as_str())).ok();
        fs::remove_dir_all(node.layout().container(&id).path()).unwrap();
        return node.finish();
    }
    let v2 = "umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" --exact under_v2 --nocapture";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", v2]).arg(std::env::current_exe().unwrap());
    let ended = run(command.env(INNER, "1"));
    assert!(ended.status.success() && ended.stdout.contains("1 passed"), "{}\n{}", ended.stdout, ended.stderr);
    ended.stderr.lines().filter(|line| line.starts_with("SKIPPED")).for_each(|line| eprintln!("{line}"));
}

/// Over before its start returns: that is an exit, not a failure.
#[test]
fn programs_that_end_at_once() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for code in 0..20 {
        let id = node.id(&code.to_string());
        let bundle = Bundle::new(&node, &code.to_string()).args(&["/bin/sh", "-c", &format!("exit {code}")]).write();
        node.run(&id, &bundle);
        assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(code)));
    }
    node.finish();
}

/// What fails after the FIFO fails as it does with `start`: the container is launched, and that is its exit.
#[test]
fn programs_that_cannot_be_executed_after_all() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    fs::write(node.rootfs().join("bin/odd"), "#!/no/such/interpreter\n").unwrap();
    let _ = run(Command::new("chmod").arg("755").arg(node.rootfs().join("bin/odd"))).ok();
    let bundle = Bundle::new(&node, "a").args(&["/bin/odd"]).write();
    let mut seen = Vec::new();
    for name in ["runc", "other"] {
        let id = node.id(name);
        let program = runtime(&node, name, name, &binaries::runc(), None);
        let launched = launched(&shim(&node, &id, &bundle, &program).ok());
        assert_eq!(calls(&program, "start"), usize::from(name == "other"));
        seen.push(ended(&node, &id, launched.shim_pid));
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], ExitStatus::Code(0));
    node.finish();
}

#[test]
fn what_died_before_its_start_is_told() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let bundle = Bundle::new(&node, "a").sleeping().write();
    for name in ["runc", "other"] {
        // Dead when its pid is looked at again, so whoever looks sees that.
        let after = "kill -9 $1; while kill -0 $1 2>/dev/null && ! grep -q '^State:.Z' /proc/$1/status; do :; done";
        let program = runtime(&node, name, name, &binaries::runc(), Some(after));
        let told = shim(&node, &node.id(name), &bundle, &program);
        node.assert_failed(&told, 125, &format!("{name} start {}", node.id(name)));
    }
    node.finish();
}

/// Its process does not come to the FIFO: there is a deadline, and nothing is left.
#[test]
fn what_is_stuck_before_its_start_has_a_deadline() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let bundle = Bundle::new(&node, "a").sleeping().write();
    // The deadline is for `create` too, which is not to meet it.
    let commands = ["runc", "other"].map(|name| {
        let program = runtime(&node, name, name, &binaries::runc(), Some("kill -STOP $1"));
        let mut command = node.shim_command("run", node.id(name).as_str(), &bundle);
        command.arg("--runtime").arg(&program).args(["--create-timeout", "10s"]);
        (name, command)
    });
    let both = commands.map(|(name, mut command)| (name, std::thread::spawn(move || run(&mut command))));
    for (name, ended) in both.map(|(name, ended)| (name, ended.join().unwrap())) {
        assert!(ended.took >= Duration::from_secs(10) && ended.took < LONG, "{ended:?}");
        node.assert_failed(&ended, 125, &format!("{name} start {} did not finish within 10s", node.id(name)));
    }
    node.finish();
}

/// Launches what is stopped between create and start; `meanwhile` is called with its pid and the shim's once it is being started.
fn stopped_meanwhile(node: &Node, bundle: &Path, meanwhile: impl FnOnce(u32, u32)) -> Ended {
    let id = node.id("a");
    let stopped = node.dir().join("stopped");
    let after = format!("kill -STOP $1; echo $1 > {0}.new; mv {0}.new {0}", stopped.display());
    let program = runtime(node, "runc", "runc", &binaries::runc(), Some(&after));
    let ended = std::thread::scope(|scope| {
        let shim = scope.spawn(|| shim(node, &id, bundle, &program));
        wait_for("the stopped process", LONG, || stopped.exists());
        let launch = durable::read::<Launch>(&node.layout().container(&id).launch()).unwrap().unwrap();
        let starts = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sexton-start\n");
        wait_for("the start", LONG, || proc::children(launch.shim.pid).into_iter().any(starts));
        meanwhile(fs::read_to_string(&stopped).unwrap().trim().parse().unwrap(), launch.shim.pid);
        shim.join().unwrap()
    });
    assert_eq!(calls(&program, "start"), 0);
    ended
}

fn go_on(pid: u32) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::CONT).unwrap();
}

/// Whoever goes on within the deadline is started.
#[test]
fn what_was_stopped_for_a_while_is_started() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let bundle = Bundle::new(&node, "a").sh("exit 5").write();
    let launched = launched(&stopped_meanwhile(&node, &bundle, |pid, _| go_on(pid)).ok());
    assert_eq!(ended(&node, &node.id("a"), launched.shim_pid), ExitStatus::Code(5));
    node.finish();
}

/// What has begun to be started when the shim is killed is started, not torn.
#[test]
fn a_start_goes_on_without_its_shim() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sleeping().write();
    let told = stopped_meanwhile(&node, &bundle, |pid, shim| {
        proc::kill(shim);
        wait_for("the shim's end", LONG, || proc::is_dead(shim));
        go_on(pid);
    });
    assert_eq!(told.code(), 125, "{told:?}");
    let fifo = node.runtime_root().join(id.as_str()).join("exec.fifo");
    wait_for("the start", LONG, || !fifo.exists());
    let state = run(&mut node.runc("state", &[id.as_str()])).ok().json();
    assert_eq!(state["status"], "running");
    let _ = run(&mut node.runc("delete", &["--force", id.as_str()])).ok();
    fs::remove_dir_all(node.layout().container(&id).path()).unwrap();
    node.finish();
}

/// A FIFO that was left to a program which runs: the collector takes it away, as `start` would have.
#[test]
fn a_fifo_that_was_left_goes() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let launched = node.run(&id, &Bundle::new(&node, "a").sleeping().write());
    // As it is if the shim is killed between hearing of it and unlinking it.
    let fifo = node.runtime_root().join(id.as_str()).join("exec.fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    proc::kill_shim(&launched);
    node.wait_state(&id, State::Orphaned);
    wait_for("the FIFO's end", LONG, || !fifo.exists());
    let state = run(&mut node.runc("state", &[id.as_str()])).ok().json();
    assert_eq!(state["status"], "running");
    assert!(!proc::is_dead(launched.pid));
    node.kill(&id, 9);
    node.wait_state(&id, State::Stopped);
    node.finish();
}

#[test]
fn a_runtime_with_other_arguments_is_started_too() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 6").write();
    let program = runtime(&node, "runc", "runc", &binaries::runc(), None);
    // Where it keeps its state is hidden from us.
    let Runtime { root, .. } = node.runtime();
    let mut command = Command::new(binaries::shim());
    command.args(["run", "--id", id.as_str(), "--bundle"]).arg(&bundle).arg("--runtime").arg(&program);
    command.args(["--runtime-arg", "--root", "--runtime-arg"]).arg(root.unwrap());
    command.arg("--state-dir").arg(node.layout().state()).arg("--data-dir").arg(node.layout().data());
    command.env("SEXTON_TEST_NODE", node.prefix());
    let launched = launched(&run(&mut command).ok());
    assert_eq!(calls(&program, "start"), 1);
    assert_eq!(ended(&node, &id, launched.shim_pid), ExitStatus::Code(6));
    node.finish();
}
