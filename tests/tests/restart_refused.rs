//! What is refused, what is damaged, and shims that nobody but an engine has called.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    durable,
    instance::Instance,
    wire::{ErrorCode, State},
};
use sexton_tests::{
    Node,
    restarts::{Comer, QUICK},
    run, skipped,
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

const SLEEPS: &str = "exec /bin/sleep 100000";

#[test]
fn policies_that_are_none_and_policies_with_rm() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    let comer = Comer::new(&node, "c", SLEEPS);
    let bundle = comer.bundle.display().to_string();
    let cases: [(&[&str], &str); 5] = [
        (&["--restart", "sometimes"], "sometimes"),
        (&["--restart", "on-failure:-1"], "on-failure:-1"),
        (&["--restart", "on-failure:many"], "on-failure:many"),
        (&["--restart", ""], "restart"),
        (&["--rm", "--restart", "always"], "--rm"),
    ];
    for (words, named) in cases {
        let mut shim = node.shim_command("run", comer.id.as_str(), &comer.bundle);
        let ended = run(shim.args(words));
        assert!(ended.code() == 125 || ended.code() == 2, "{words:?}: {ended:?}");
        assert!(ended.stderr.contains(named), "{words:?}: {ended:?}");
        let cli = node.sexton(&[&["run", comer.id.as_str(), "-d", "--bundle", &bundle][..], words].concat());
        assert!(cli.code() != 0 && cli.stderr.contains(named), "{words:?}: {cli:?}");
    }
    let mut request = comer.request(&node, "always");
    request.auto_remove = true;
    let refused = node.launch(request).unwrap_err();
    assert_eq!(refused.code, ErrorCode::Invalid, "{refused}");
    for policy in ["sometimes", "on-failure:-1", "on-failure:99999999999"] {
        let line = format!(
            "{{\"launch\":{{\"id\":\"{}\",\"bundle\":\"{bundle}\",\"mode\":\"run\",\"restart\":\"{policy}\"}}}}\n",
            comer.id
        );
        let mut stream = UnixStream::connect(node.layout().socket()).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.contains("error") && answer.contains(policy), "{policy}: {answer}");
    }
    assert_eq!((comer.runs(), node.list(true)), (0, Vec::new()));
    node.assert_clean();
    node.finish_all();
}

/// The first launch fails: whoever asked for it was told, and nothing comes back.
#[test]
fn a_first_launch_that_fails_is_not_tried_again() {
    if skipped() {
        return;
    }
    let node = Node::configured(QUICK);
    let comer = Comer::with(&node, "c", SLEEPS, |bundle| bundle.args(&["/bin/none"]));
    for _ in 0..3 {
        node.launch(comer.request(&node, "always")).unwrap_err();
        sexton_tests::wait_for("nothing of it", sexton_tests::LONG, || {
            node.list(true).is_empty() && !node.layout().instance(&comer.id).exists()
        });
    }
    node.finish_all();
}

/// One damaged file is one container that waits for a user; it is said, and kept, and the others do as always.
#[test]
fn a_damaged_instance() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(QUICK);
    let [fine, damaged, stopped] = ["fine", "damaged", "stopped"].map(|name| Comer::new(&node, name, SLEEPS));
    for comer in [&fine, &damaged, &stopped] {
        comer.launch(&node, "unless-stopped");
        comer.wait_runs(1);
    }
    node.stop(&stopped.id).unwrap();
    node.wait_rest(&stopped.id);
    node.terminate_daemon();
    for comer in [&damaged, &stopped] {
        fs::write(node.layout().instance(&comer.id), b"SXTNnonsense").unwrap();
    }
    // And one under another's name.
    let other: Instance = node.instance(&fine.id).unwrap();
    let strange = node.id("strange");
    durable::write(&node.layout().instance(&strange), &other).unwrap();
    node.start_daemon();
    for comer in [&damaged, &stopped] {
        assert!(node.words().contains(&format!("{}", node.layout().instance(&comer.id).display())), "{}", node.words());
        let kept = sexton_tests::leftovers::entries(&node.layout().data_quarantine());
        let name = comer.id.to_string();
        assert!(kept.iter().any(|path| path.to_string_lossy().contains(&name)), "{kept:?}");
        let restart = node.restart_of(&comer.id);
        assert!(restart.failure.is_some() && restart.stopped_by_user, "{restart:?}");
    }
    for comer in [&fine, &damaged] {
        node.wait_state(&comer.id, State::Running);
        node.kill(&comer.id, 1);
    }
    fine.wait_runs(2);
    for comer in [&damaged, &stopped] {
        node.wait_rest(&comer.id);
        assert_eq!(comer.runs(), 1, "nobody knows whether it was to come back");
    }
    node.kill_daemon();
    node.start_daemon();
    for comer in [&damaged, &stopped] {
        node.wait_rest(&comer.id);
        assert_eq!(comer.runs(), 1);
        node.start(&comer.id).unwrap();
        comer.wait_runs(2);
        let restart = node.restart_of(&comer.id);
        assert!(restart.failure.is_none() && !restart.stopped_by_user, "{restart:?}");
    }
    assert!(node.list(true).iter().all(|info| info.id != strange));
    node.finish_all();
}

/// Whoever calls the shim: with a collector that listens, and with one that comes later.
#[test]
fn a_shim_that_an_engine_has_called_is_adopted() {
    if skipped() {
        return;
    }
    let mut node = Node::configured(QUICK);
    let [heard, found, ended] = ["heard", "found", "ended"].map(|name| {
        let fails = name == "ended";
        Comer::new(&node, name, if fails { "exit 1" } else { SLEEPS })
    });
    let shim = |node: &Node, comer: &Comer, policy: &str| {
        let mut shim = node.shim_command("run", comer.id.as_str(), &comer.bundle);
        sexton_tests::shim::launched(&run(shim.args(["--restart", policy])).ok())
    };
    let begin = Instant::now();
    shim(&node, &heard, "always");
    // A shim whose announcement is not answered within a second, as on a slow disk, goes on without.
    let late = begin.elapsed() >= Duration::from_secs(1);
    assert!(late || node.instance(&heard.id).is_some(), "durable before its program runs");
    sexton_tests::wait_for("the instance", sexton_tests::LONG, || node.instance(&heard.id).is_some());
    node.terminate_daemon();
    shim(&node, &found, "always");
    shim(&node, &ended, "on-failure:2");
    sexton_tests::wait_for("its record", sexton_tests::LONG, || node.record(&ended.id).is_some());
    node.start_daemon();
    for comer in [&heard, &found] {
        comer.wait_runs(1);
        node.wait_state(&comer.id, State::Running);
        node.kill(&comer.id, 1);
        comer.wait_runs(2);
    }
    ended.wait_runs(3);
    assert_eq!(node.wait_rest(&ended.id).restart.unwrap().count, 2);
    assert_eq!(ended.runs(), 3);
    node.finish_all();
}
