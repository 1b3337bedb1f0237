//! Containers that are paused and resumed, by Sexton and by others, in every layout of cgroups.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus, Source,
    launch::Mode,
    runtime::Runtime,
    wire::{ApiError, ErrorCode, EventKind, Launched, Request, State},
};
use sexton_tests::{
    Bundle, LONG, Node, Options, binaries, node_api::killed_by, played::Played, proc, run, skip, skipped, wait_for,
};
use std::{path::Path, process::Command};

fn pause(node: &Node, id: &ContainerId) -> Result<(), ApiError> {
    node.ask(&Request::Pause { id: id.clone() }).map(drop)
}

fn resume(node: &Node, id: &ContainerId) -> Result<(), ApiError> {
    node.ask(&Request::Resume { id: id.clone() }).map(drop)
}

fn stop(node: &Node, id: &ContainerId, timeout_ms: u64) -> Result<(), ApiError> {
    node.ask(&Request::Stop { id: id.clone(), signal: 15, timeout_ms }).map(drop)
}

/// Runs it with that runtime.
#[track_caller]
fn launch(node: &Node, id: &ContainerId, bundle: &Path, runtime: &Runtime) -> Launched {
    let request = node.launch_request(id, bundle, Mode::Run);
    node.launch(sexton_common::wire::LaunchRequest { runtime: runtime.clone(), ..request }).unwrap()
}

/// What ends by itself when it gets SIGTERM, and only then.
fn ends_on_term(node: &Node, name: &str) -> std::path::PathBuf {
    Bundle::new(node, name).host_pids().sh("trap 'exit 7' TERM; while :; do usleep 10000; done").write()
}

/// Everything that a pause is for, with one runtime.
fn lives(node: &Node, runtime: &Runtime, name: &str) {
    let events = node.subscribe();
    let id = node.id(name);
    let bundle = ends_on_term(node, name);
    let again = || {
        let launched = launch(node, &id, &bundle, runtime);
        // Its handler is there once it sleeps.
        let sleeps = || proc::children(launched.pid).iter().any(|pid| proc::command_line(*pid).contains("usleep"));
        wait_for("the handler", LONG, sleeps);
        launched
    };
    let exact = |status: ExitStatus| {
        let info = node.wait(&id);
        assert_eq!((info.status, info.source), (Some(status), Some(Source::Waited)), "{name}");
        node.wait_state(&id, State::Stopped);
        node.remove(&id, false).unwrap();
    };

    // Frozen means that it takes no signal.
    let launched = again();
    assert_eq!(node.sexton(&["pause", id.as_str()]).ok().stdout.trim(), id.as_str());
    assert_eq!(node.inspect(&id).state, State::Paused);
    events.wait(&id, EventKind::Paused);
    assert!(node.sexton(&["ps"]).ok().stdout.contains("paused"));
    node.kill(&id, 15);
    let ticks = proc::cpu_ticks(launched.pid);
    assert!((0..20).all(|_| node.inspect(&id).state == State::Paused), "a signal is no reason to go on");
    assert_eq!(proc::cpu_ticks(launched.pid), ticks);
    assert_eq!(node.sexton(&["resume", id.as_str()]).ok().stdout.trim(), id.as_str());
    exact(ExitStatus::Code(7));

    // A stop is a signal first, and does not wait for its time-out.
    again();
    pause(node, &id).unwrap();
    stop(node, &id, 600_000).unwrap();
    exact(ExitStatus::Code(7));

    // SIGKILL, which does not reach what a v1 freezer holds.
    again();
    pause(node, &id).unwrap();
    node.kill(&id, 9);
    exact(killed_by(9));

    again();
    pause(node, &id).unwrap();
    node.remove(&id, true).unwrap();
    events.wait(&id, EventKind::Removed);

    // Several times, with nothing in between.
    let _ = again();
    for _ in 0..5 {
        pause(node, &id).unwrap();
        resume(node, &id).unwrap();
    }
    assert_eq!(node.inspect(&id).state, State::Running);
    events.wait(&id, EventKind::Resumed);
    stop(node, &id, 600_000).unwrap();
    exact(ExitStatus::Code(7));
    drop(events);
}

#[test]
fn with_runc() {
    if skipped() {
        return;
    }
    let node = Node::new();
    lives(&node, &node.runtime(), "runc");
    node.finish();
}

#[test]
fn with_youki() {
    if skipped() {
        return;
    }
    let Some(program) = binaries::find("youki") else { return skip("youki is not here") };
    let node = Node::new();
    lives(&node, &Runtime { program, ..node.runtime() }, "youki");
    // It comes back as with any other, three runs in all.
    let id = node.id("again");
    let request = node.launch_request(&id, &Bundle::new(&node, "again").sh("exit 3").write(), Mode::Run);
    let runtime = Runtime { program: binaries::find("youki").unwrap(), ..node.runtime() };
    let restart = "on-failure:2".parse().unwrap();
    node.launch(sexton_common::wire::LaunchRequest { runtime, restart, ..request }).unwrap();
    let over = || {
        let info = node.inspect(&id);
        info.state == State::Stopped && info.restart.is_some_and(|restart| restart.count == 2)
    };
    wait_for("its last end", LONG, over);
    assert_eq!(node.inspect(&id).status, Some(ExitStatus::Code(3)));
    node.remove(&id, false).unwrap();
    node.finish();
}

const INNER: &str = "SEXTON_TEST_PAUSE_INNER";

/// Runs the body of the test of this name in a mount namespace in which `script` was run.
fn elsewhere(test: &str, script: &str, body: impl FnOnce(&Node)) {
    if skipped() {
        return;
    }
    if std::env::var_os(INNER).is_some() {
        let node = Node::new();
        body(&node);
        return node.finish();
    }
    let script = format!("{script} && exec \"$0\" --exact {test} --nocapture");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script]).arg(std::env::current_exe().unwrap());
    let ended = run(command.env(INNER, "1"));
    assert!(ended.status.success() && ended.stdout.contains("1 passed"), "{}\n{}", ended.stdout, ended.stderr);
    ended.stderr.lines().filter(|line| line.starts_with("SKIPPED")).for_each(|line| eprintln!("{line}"));
}

fn crun(node: &Node, name: &str) {
    match binaries::find("crun") {
        Some(program) => lives(node, &Runtime { program, ..node.runtime() }, name),
        None => skip("crun is not here"),
    }
}

#[test]
fn under_v2() {
    let v2 = "umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup";
    elsewhere("under_v2", v2, |node| {
        lives(node, &node.runtime(), "runc");
        crun(node, "crun");
    });
}

/// crun does not know what to make of a hybrid layout: here is one without `unified`, not even as an empty directory, in which it
/// would leave another.
#[test]
fn crun_under_v1() {
    let v1 = "d=$(mktemp -d) && mount --rbind /sys/fs/cgroup $d && mount -t tmpfs none /sys/fs/cgroup && \
              for h in $(ls $d); do [ $h = unified ] || \
              { mkdir /sys/fs/cgroup/$h && mount --bind $d/$h /sys/fs/cgroup/$h; }; done; umount -l $d; rmdir $d";
    elsewhere("crun_under_v1", v1, |node| crun(node, "crun"));
}

#[test]
fn it_stays_paused_while_the_collector_is_away() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let [stays, thawed, frozen, killed] = ["stays", "thawed", "frozen", "killed"].map(|name| node.id(name));
    let bundle = ends_on_term(&node, "b");
    let all = [&stays, &thawed, &frozen, &killed];
    let launched = all.map(|id| node.run(id, &bundle));
    for id in [&stays, &thawed, &killed] {
        pause(&node, id).unwrap();
    }
    for hard in [false, true] {
        if hard {
            node.kill_daemon()
        } else {
            node.terminate_daemon()
        }
        let others = [("resume", &thawed), ("pause", &frozen)];
        for (verb, id) in others.iter().filter(|_| hard) {
            let _ = run(&mut node.runc(verb, &[id.as_str()])).ok();
        }
        node.start_daemon();
        let paused = if hard { [true, false, true, true] } else { [true, true, false, true] };
        for ((id, paused), launched) in all.iter().zip(paused).zip(&launched) {
            let info = node.inspect(id);
            let state = if paused { State::Paused } else { State::Running };
            assert_eq!((info.state, info.pid), (state, Some(launched.pid)), "{id}");
        }
    }
    assert_eq!(pause(&node, &stays).map_err(|e| e.code), Err(ErrorCode::Paused));
    resume(&node, &frozen).unwrap();
    resume(&node, &stays).unwrap();
    node.kill(&killed, 9);
    assert_eq!(node.wait(&killed).status, Some(killed_by(9)));
    for id in [&stays, &thawed, &frozen] {
        stop(&node, id, 600_000).unwrap();
        assert!(matches!(node.wait(id).status, Some(ExitStatus::Code(7) | ExitStatus::Signal { number: 15, .. })));
    }
    node.finish();
}

/// Nobody tells of it: it is seen when somebody asks.
#[test]
fn what_others_pause_is_seen() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let events = node.subscribe();
    let id = node.id("c");
    node.run(&id, &Bundle::new(&node, "c").sleeping().write());
    let by_others = |verb: &str| drop(run(&mut node.runc(verb, &[id.as_str()])).ok());
    by_others("pause");
    assert_eq!(node.inspect(&id).state, State::Paused, "at the first look");
    events.wait(&id, EventKind::Paused);
    by_others("resume");
    assert_eq!(node.inspect(&id).state, State::Running);
    events.wait(&id, EventKind::Resumed);
    by_others("pause");
    let listed = || node.list(false).iter().any(|info| info.id == id && info.state == State::Paused);
    wait_for("the list has it", LONG, listed);
    by_others("resume");
    // Not seen by anybody yet when it is asked for.
    assert_eq!(resume(&node, &id).map_err(|e| e.code), Err(ErrorCode::NotPaused));
    by_others("pause");
    assert_eq!(pause(&node, &id).map_err(|e| e.code), Err(ErrorCode::Paused));
    resume(&node, &id).unwrap();
    node.remove(&id, true).unwrap();
    drop(events);
    node.finish();
}

#[test]
fn runtimes_that_hang_fail_or_lie() {
    if skipped() {
        return;
    }
    // Only what hangs is to meet its deadline, however slow the machine is.
    let [node, hasty] = ["12s", "3s"].map(|deadline| {
        Node::with(Options { config: format!("[exit]\ndeadline = '{deadline}'\n"), ..Options::default() })
    });
    let [bundle, hasty_bundle] = [&node, &hasty].map(|node| ends_on_term(node, "b"));
    let on = |node: &Node, bundle: &Path, name: &str, instead: &str| {
        let id = node.id(name);
        launch(node, &id, bundle, &node.runtime_but(name, "pause", instead));
        id
    };
    let named = |name: &str, instead: &str| on(&node, &bundle, name, instead);
    let failed_on = |node: &Node, id: &ContainerId, code: ErrorCode, word: &str| {
        let error = pause(node, id).unwrap_err();
        assert!(error.code == code && error.message.contains(word), "{error:?}");
        assert_eq!((error.exit_code, node.inspect(id).state), (code.exit_code(), State::Running));
    };
    let failed = |id: &ContainerId, code: ErrorCode, word: &str| failed_on(&node, id, code, word);
    let fails = named("fails", "echo my own words >&2; exit 1");
    failed(&fails, ErrorCode::RuntimeFailed, "my own words");
    let lies = named("lies", "exit 0");
    failed(&lies, ErrorCode::RuntimeFailed, "is not frozen");
    // It froze it, and then says that it did not: what counts is what is seen (I5).
    let wrong = named("wrong", "$runc \"$@\"; exit 1");
    pause(&node, &wrong).unwrap();
    assert_eq!(node.inspect(&wrong).state, State::Paused);
    let hangs = named("hangs", "exec sleep 100000");
    // Meanwhile all others are served, and it ends at once if it is to.
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| pause(&node, &hangs));
        let busy = || resume(&node, &hangs).is_err_and(|e| e.code == ErrorCode::Busy);
        wait_for("the runtime is at it", LONG, busy);
        assert!(!pausing.is_finished());
        resume(&node, &wrong).unwrap();
        stop(&node, &hangs, 600_000).unwrap();
        assert_eq!(node.inspect(&hangs).status, Some(ExitStatus::Code(7)));
        let late = on(&hasty, &hasty_bundle, "hangs", "exec sleep 100000");
        failed_on(&hasty, &late, ErrorCode::TimedOut, "killed");
        stop(&hasty, &late, 600_000).unwrap();
        assert_eq!(pausing.join().unwrap().map_err(|e| e.code), Err(ErrorCode::NotRunning));
    });
    for id in [&fails, &lies, &wrong] {
        stop(&node, id, 600_000).unwrap();
    }
    hasty.finish();
    node.finish();
}

#[test]
fn what_is_refused_says_why_by_its_code() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let bundle = ends_on_term(&node, "b");
    let [created, runs, none] = ["created", "runs", "none"].map(|name| node.id(name));
    let refused = |verb: &str, id: &ContainerId, code: ErrorCode| {
        let request = match verb {
            "pause" => Request::Pause { id: id.clone() },
            "resume" => Request::Resume { id: id.clone() },
            "start" => Request::Start { id: id.clone() },
            "kill" => Request::Kill { id: id.clone(), signal: 15 },
            _ => Request::Stop { id: id.clone(), signal: 15, timeout_ms: 1 },
        };
        let error = node.ask(&request).unwrap_err();
        assert_eq!((error.code, error.exit_code), (code, code.exit_code()), "{verb} {id}: {error:?}");
        let ended = node.sexton(&[verb, id.as_str()]);
        assert!(ended.code() != 0 && ended.stdout.is_empty(), "{ended:?}");
        assert!(ended.stderr.contains(&error.message), "{ended:?}");
    };
    node.create(&created, &bundle);
    let _ = node.run(&runs, &bundle);
    for verb in ["pause", "resume", "start", "kill", "stop"] {
        refused(verb, &none, ErrorCode::NoSuchContainer);
    }
    refused("pause", &created, ErrorCode::NotRunning);
    refused("resume", &created, ErrorCode::NotRunning);
    refused("resume", &runs, ErrorCode::NotPaused);
    refused("start", &runs, ErrorCode::AlreadyStarted);
    pause(&node, &runs).unwrap();
    refused("pause", &runs, ErrorCode::Paused);
    refused("start", &runs, ErrorCode::AlreadyStarted);
    assert_eq!(node.remove(&runs, false).map_err(|e| e.code), Err(ErrorCode::Running));
    stop(&node, &runs, 600_000).unwrap();
    node.wait_state(&runs, State::Stopped);
    for (verb, code) in [
        ("pause", ErrorCode::NotRunning),
        ("resume", ErrorCode::NotRunning),
        ("kill", ErrorCode::NotRunning),
        ("stop", ErrorCode::AlreadyStopped),
    ] {
        refused(verb, &runs, code);
    }
    node.remove(&created, true).unwrap();
    node.finish();
}

/// To freeze it would be to freeze its neighbours, the collector perhaps among them.
#[test]
fn one_without_a_cgroup_of_its_own_is_not_paused() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let mut played = Played::new(&node, node.id("c"), Mode::Run);
    played.announce_well(&node).unwrap();
    let id = played.launch.id.clone();
    node.wait_state(&id, State::Running);
    for answer in [pause(&node, &id), resume(&node, &id)] {
        let error = answer.unwrap_err();
        assert!(error.code == ErrorCode::Invalid && error.message.contains("no freezer"), "{error:?}");
    }
    played.end(3);
    assert!(played.write());
    played.reap();
    played.end_shim();
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(3)));
    node.finish();
}
