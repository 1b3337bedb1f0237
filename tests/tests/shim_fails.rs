//! A shim that cannot do what it was asked: it says why, with the right code, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{ExitStatus, Source};
use sexton_tests::{Bundle, Ended, LONG, Node, disk::SmallDisk, proc, run, shim::launched, skipped, wait_for};
use std::{fs, path::Path, sync::Barrier, time::Duration};

/// It failed with that code, said those words, and nothing is left.
#[track_caller]
fn failed(node: &Node, ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.code(), code, "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    assert!(ended.stderr.contains(words), "{words:?} is not in {ended:?}");
    assert!(ended.stderr.ends_with('\n'), "{ended:?}");
    node.assert_clean();
}

#[test]
fn ids_that_are_none() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let long = "x".repeat(129);
    for bad in ["a/b", "/", "../a", "..", ".", "", "a b", "a\nb", "ü", long.as_str()] {
        let ended = run(&mut node.shim_command("run", bad, &bundle));
        failed(&node, &ended, 125, "id");
        assert!(!ended.stderr.contains("panicked"));
    }
    assert!(!node.layout().state().join("a").exists());
    // The longest that is allowed; runc's own limits are wider.
    let longest = format!("{}{}", node.prefix(), "x".repeat(128 - node.prefix().len())).parse().unwrap();
    let launched = node.shim("run", &longest, &bundle);
    wait_for("the record", LONG, || node.record(&longest).is_some());
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    node.bury(&longest);
    node.finish();
}

#[test]
fn arguments_that_make_no_sense() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let id = node.id("a");
    for more in [
        &["--no-such-option"][..],
        &["--stdio", "nonsense"],
        &["--stdio", "fds:1"],
        &["--stdio", "fds:900,901,902"],
        &["--create-timeout", "never"],
        &["one-word-too-many"],
    ] {
        let ended = run(node.shim_command("run", id.as_str(), &bundle).args(more));
        failed(&node, &ended, 125, "");
        assert!(!ended.stderr.is_empty());
    }
    failed(&node, &run(&mut node.shim_command("dance", id.as_str(), &bundle)), 125, "dance");
    let mut nothing = std::process::Command::new(sexton_tests::binaries::shim());
    failed(&node, &run(&mut nothing), 125, "--help");
    let version = run(std::process::Command::new(sexton_tests::binaries::shim()).arg("--version")).ok();
    assert!(version.stdout.contains(env!("CARGO_PKG_VERSION")), "{version:?}");
    node.finish();
}

#[test]
fn outputs_that_cannot_be_written() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    for (file, word) in [("/no/such/dir/file", "/no/such/dir/file"), ("/", "/"), ("/proc/self/nothing", "nothing")] {
        let stdio = format!("file:{file}");
        let ended = run(node.shim_command("run", id.as_str(), &bundle).args(["--stdio", &stdio]));
        failed(&node, &ended, 125, word);
    }
    node.finish();
}

/// A caller without standard streams: what the shim opens must not take their place.
#[test]
fn callers_without_streams() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let bundle = Bundle::new(&node, "a").sh("echo words; exit 7").write();
    for (n, closed) in ["<&-", "2>&-", ">&-", "<&- >&- 2>&-"].iter().enumerate() {
        let id = node.id(&n.to_string());
        let command = node.shim_command("run", id.as_str(), &bundle);
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.to_str().unwrap()))
            .collect();
        let script = format!("exec {} {closed}", words.join(" "));
        let _ = run(std::process::Command::new("sh").args(["-c", &script]).env("SEXTON_TEST_NODE", node.prefix()));
        wait_for("the record", LONG, || node.record(&id).is_some());
        assert_eq!(node.record(&id).unwrap().status, ExitStatus::Code(7), "{closed}");
        let launch = sexton_common::durable::read::<sexton_common::Launch>(&node.layout().container(&id).launch());
        let shim = launch.unwrap().unwrap().shim.pid;
        wait_for("the shim's end", LONG, || proc::is_dead(shim));
        node.bury(&id);
    }
    node.finish();
}

#[test]
fn bundles_that_are_none() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let nowhere = node.dir().join("nowhere");
    failed(&node, &run(&mut node.shim_command("run", id.as_str(), &nowhere)), 125, "nowhere");
    let empty = node.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    failed(&node, &run(&mut node.shim_command("run", id.as_str(), &empty)), 125, "config.json");
    fs::write(empty.join("config.json"), "{ this is no JSON").unwrap();
    failed(&node, &run(&mut node.shim_command("run", id.as_str(), &empty)), 125, "invalid character");
    node.finish();
}

#[test]
fn commands_that_cannot_be_executed() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "none").args(&["/bin/no-such-program"]).write();
    failed(&node, &run(&mut node.shim_command("run", id.as_str(), &bundle)), 127, "no-such-program");
    failed(&node, &run(&mut node.shim_command("create", id.as_str(), &bundle)), 127, "no-such-program");
    let bundle = Bundle::new(&node, "path").args(&["no-such-program"]).write();
    failed(&node, &run(&mut node.shim_command("run", id.as_str(), &bundle)), 127, "no-such-program");
    fs::write(node.rootfs().join("etc/plain"), "text").unwrap();
    let bundle = Bundle::new(&node, "plain").args(&["/etc/plain"]).write();
    failed(&node, &run(&mut node.shim_command("run", id.as_str(), &bundle)), 126, "/etc/plain");
    node.finish();
}

#[test]
fn runtimes_that_fail() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let with = |runtime: &Path| {
        let mut command = node.shim_command("run", id.as_str(), &bundle);
        run(command.arg("--runtime").arg(runtime))
    };
    failed(&node, &with("no-such-runtime".as_ref()), 125, "no-such-runtime");
    failed(&node, &with("/etc/passwd".as_ref()), 125, "/etc/passwd");
    let create = node.runtime_but("create-fails", "create", "echo my own words >&2; exit 1");
    failed(&node, &with(&create.program), 125, "my own words");
    let start = node.runtime_but("start-fails", "start", "echo no start today >&2; exit 1");
    failed(&node, &with(&start.program), 125, "no start today");
    let killed = node.runtime_but("create-dies", "create", "kill -9 $$");
    failed(&node, &with(&killed.program), 125, "create");
    // It claims to have created something, but there is nothing.
    let liar = node.runtime_but("liar", "create", "exit 0");
    failed(&node, &with(&liar.program), 125, "");
    node.finish();
}

/// What a runtime says is told, but not without end.
#[test]
fn runtimes_that_talk() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let talks = "echo begin >&2; busybox yes 0123456789 | head -c 4000000 >&2; echo end >&2; exit 1";
    let runtime = node.runtime_but("talks", "create", talks);
    let mut command = node.shim_command("run", id.as_str(), &bundle);
    let ended = run(command.arg("--runtime").arg(&runtime.program));
    assert!(ended.stderr.len() < 1 << 20, "{} bytes", ended.stderr.len());
    assert!(ended.stderr.contains("begin") || ended.stderr.contains("end"));
    failed(&node, &Ended { stderr: "cut\n".into(), ..ended }, 125, "");
    node.finish();
}

/// A child of the runtime's that keeps its streams open holds nobody up.
#[test]
fn runtimes_that_leave_a_child() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 7").write();
    let pid_file = node.dir().join("stray");
    let leaves = format!("sleep 3600 & echo $! > {}", pid_file.display());
    let runtime = node.runtime_but("leaves", "create", &leaves);
    let mut command = node.shim_command("run", id.as_str(), &bundle);
    let ended = run(command.arg("--runtime").arg(&runtime.program)).ok();
    assert!(ended.took < Duration::from_secs(20), "{ended:?}");
    wait_for("the record", LONG, || node.record(&id).is_some());
    assert_eq!(node.record(&id).unwrap().status, ExitStatus::Code(7));
    wait_for("the shim's end", LONG, || proc::is_dead(launched(&ended).shim_pid));
    let stray = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    if let Ok((_, fd)) = sexton_common::ProcessIdentity::open_pid(stray) {
        let _ = rustix::process::pidfd_send_signal(fd, rustix::process::Signal::KILL);
    }
    node.bury(&id);
    node.finish();
}

#[test]
fn runtimes_that_hang() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    for verb in ["create", "start"] {
        // The sleep is a child: killing the script alone would leave it.
        let runtime = node.runtime_but(&format!("{verb}-hangs"), verb, &format!("sleep 3600 '{}' & wait", 0));
        let mut command = node.shim_command("run", id.as_str(), &bundle);
        let ended = run(command.arg("--runtime").arg(&runtime.program).args(["--create-timeout", "1s"]));
        assert!(ended.took >= Duration::from_secs(1) && ended.took < Duration::from_secs(20), "{ended:?}");
        failed(&node, &ended, 125, verb);
    }
    node.finish();
}

#[test]
fn the_same_id_twice() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let bundle = bundle.write();
    let other = Bundle::new(&node, "b").sh("exit 1").write();
    let launched = node.shim("run", &id, &bundle);
    let again = run(&mut node.shim_command("run", id.as_str(), &other));
    assert_eq!(again.code(), 125, "{again:?}");
    assert!(again.stderr.contains(id.as_str()), "{again:?}");
    gate.exit(5);
    wait_for("the record", LONG, || node.record(&id).is_some());
    assert_eq!(node.record(&id).unwrap().generation, launched.generation);
    assert_eq!(node.record(&id).unwrap().status, ExitStatus::Code(5), "the first one does not notice");
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    node.bury(&id);
    node.finish();
}

#[test]
fn the_same_id_at_the_same_moment() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    for round in 0..8 {
        let id = node.id(&round.to_string());
        let ready = Barrier::new(3);
        let attempt = || {
            let mut command = node.shim_command("run", id.as_str(), &bundle);
            ready.wait();
            run(&mut command)
        };
        let ended: Vec<Ended> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(attempt)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = ended.iter().partition(|ended| ended.status.success());
        assert_eq!(won.len(), 1, "{ended:?}");
        assert!(lost.iter().all(|ended| ended.code() == 125 && ended.stderr.contains(id.as_str())), "{ended:?}");
        let launched = launched(won[0]);
        wait_for("the record", LONG, || node.record(&id).is_some());
        let record = node.record(&id).unwrap();
        assert_eq!((record.generation, record.status), (launched.generation, ExitStatus::Code(0)));
        wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
        node.bury(&id);
        node.assert_clean();
    }
    node.finish();
}

#[test]
fn a_disk_that_cannot_be_written() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let bundle = Bundle::new(&node, "a").sh("exit 0").write();
    let state = node.layout().state();
    let attempt = |words: &str| {
        let ended = run(&mut node.shim_command("run", id.as_str(), &bundle));
        assert_eq!(ended.code(), 125, "{ended:?}");
        assert!(ended.stderr.contains(words) && ended.stderr.contains(state.to_str().unwrap()), "{ended:?}");
        assert!(run(&mut node.runc("state", &[id.as_str()])).code() != 0, "nothing was created");
    };
    let disk = SmallDisk::new(state);
    disk.fill();
    attempt("No space left");
    assert_eq!(sexton_tests::leftovers::entries(&node.layout().containers()), [] as [std::path::PathBuf; 0]);
    disk.free();
    disk.read_only(true);
    attempt("Read-only");
    disk.read_only(false);
    drop(disk);
    fs::remove_dir(state).unwrap();
    fs::write(state, "a file where the directory should be").unwrap();
    attempt("");
    node.finish();
}

/// The exit status is not lost to a full disk: the shim keeps it, rings, and stays until it is written (I8).
#[test]
fn a_disk_that_is_full_at_the_end() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let bundle = bundle.write();
    let disk = SmallDisk::new(node.layout().state());
    let launched = node.shim("run", &id, &bundle);
    let mut fifo = fs::File::open(&launched.exit_fifo).unwrap();
    disk.fill();
    gate.exit(11);
    // The doorbell rings although nothing could be written.
    let mut rung = [0; 512];
    let length = std::io::Read::read(&mut fifo, &mut rung).unwrap();
    let record: sexton_common::ExitRecord = sexton_common::durable::decode(&rung[..length]).unwrap();
    assert_eq!((record.status, record.source), (ExitStatus::Code(11), Source::Waited));
    assert!(node.record(&id).is_none(), "there is no room for it");
    assert!(!proc::is_dead(launched.shim_pid), "the shim is the only one who knows");
    disk.free();
    wait_for("the record", LONG, || node.record(&id).is_some());
    assert_eq!(node.record(&id).unwrap(), record);
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    node.bury(&id);
    drop(fifo);
    drop(disk);
    node.finish();
}
