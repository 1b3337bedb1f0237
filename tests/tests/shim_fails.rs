//! A shim that cannot do what it was asked: it says why, with the right code, and leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::ExitStatus;
use sexton_tests::{Bundle, Ended, LONG, Node, proc, run, shim::launched, skipped, wait_for};
use std::{fs, sync::Barrier};

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
        node.assert_failed(&ended, 125, "id");
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
        node.assert_failed(&ended, 125, "");
        assert!(!ended.stderr.is_empty());
    }
    node.assert_failed(&run(&mut node.shim_command("dance", id.as_str(), &bundle)), 125, "dance");
    let mut nothing = std::process::Command::new(sexton_tests::binaries::shim());
    node.assert_failed(&run(&mut nothing), 125, "--help");
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
        node.assert_failed(&ended, 125, word);
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
    node.assert_failed(&run(&mut node.shim_command("run", id.as_str(), &nowhere)), 125, "nowhere");
    let empty = node.dir().join("empty");
    fs::create_dir(&empty).unwrap();
    node.assert_failed(&run(&mut node.shim_command("run", id.as_str(), &empty)), 125, "config.json");
    fs::write(empty.join("config.json"), "{ this is no JSON").unwrap();
    node.assert_failed(&run(&mut node.shim_command("run", id.as_str(), &empty)), 125, "invalid character");
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
    node.assert_failed(&run(&mut node.shim_command("run", id.as_str(), &bundle)), 127, "no-such-program");
    node.assert_failed(&run(&mut node.shim_command("create", id.as_str(), &bundle)), 127, "no-such-program");
    let bundle = Bundle::new(&node, "path").args(&["no-such-program"]).write();
    node.assert_failed(&run(&mut node.shim_command("run", id.as_str(), &bundle)), 127, "no-such-program");
    fs::write(node.rootfs().join("etc/plain"), "text").unwrap();
    let bundle = Bundle::new(&node, "plain").args(&["/etc/plain"]).write();
    node.assert_failed(&run(&mut node.shim_command("run", id.as_str(), &bundle)), 126, "/etc/plain");
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
