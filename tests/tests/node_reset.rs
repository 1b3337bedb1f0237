//! Everything goes, or is named.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    cleanup::Cleanup,
    wire::{NodeState, State},
};
use sexton_tests::{Bundle, LONG, Node, Options, gc_things, skipped, wait_for};
use std::fs;

#[test]
fn reset_removes_what_can_go_and_names_what_cannot() {
    if skipped() {
        return;
    }
    let node = Node::with(Options { config: gc_things::patient(), ..Options::default() });
    let gate = node.dir().join("gate");
    let [runs, created, ended, stuck] = ["runs", "created", "ended", "stuck"].map(|name| node.id(name));
    let sleeping = Bundle::new(&node, "sleeping").host_pids().sleeping().write();
    let brief = Bundle::new(&node, "brief").args(&["/bin/true"]).write();
    node.run(&runs, &sleeping);
    node.create(&created, &sleeping);
    node.run(&ended, &brief);
    let exec = vec![format!("test -e {}", gate.display())];
    node.run_owning(&stuck, &brief, Cleanup { exec, ..Cleanup::default() });
    node.wait_gc(&stuck);
    node.wait_state(&ended, State::Stopped);

    let asked = node.sexton(&["node", "reset"]);
    assert_eq!((asked.code(), asked.stdout.as_str()), (2, ""), "{asked:?}");
    for word in ["would kill 2 containers", "remove all 4", "the 1 that are in GC", "--i-know"] {
        assert!(asked.stderr.contains(word), "{word:?} is not in {asked:?}");
    }
    assert_eq!(node.list(true).len(), 4, "nothing was done");
    assert_ne!(node.state().0, NodeState::Maintenance);

    let reset = node.sexton(&["node", "reset", "--i-know"]);
    assert_eq!(reset.code(), 9, "{reset:?}");
    let mut gone: Vec<_> = reset.stdout.lines().collect();
    gone.sort_unstable();
    assert_eq!(gone, [created.as_str(), ended.as_str(), runs.as_str()], "{reset:?}");
    assert!(reset.stderr.contains(&format!("{stuck} cannot go: commands: ")), "{reset:?}");
    assert!(reset.stderr.contains(&format!("sexton gc why {stuck}")), "{reset:?}");
    assert_ne!(node.state().0, NodeState::Maintenance, "as it was before");
    assert_eq!(node.list(true).len(), 1);

    node.maintain(true);
    fs::write(&gate, "").unwrap();
    let again = node.sexton(&["node", "reset", "--i-know", "--json"]).ok();
    assert!(again.stdout.lines().all(|line| line.starts_with('{')), "{again:?}");
    assert!(node.list(true).is_empty() && node.gc_list().is_empty());
    assert_eq!(node.state().0, NodeState::Maintenance, "as it was before");
    node.maintain(false);
    node.finish();
}

/// What is in GC and no container of Sexton's any more goes too.
#[test]
fn reset_cleans_up_after_others() {
    if skipped() {
        return;
    }
    let node = Node::with(Options { config: gc_things::patient(), ..Options::default() });
    let gate = node.dir().join("gate");
    let stranger = node.id("stranger");
    let mut request = node.gc_add_request(&stranger);
    request.cleanup.exec.push(format!("test -e {}", gate.display()));
    node.gc_add(request).unwrap();
    wait_for("an attempt", LONG, || node.gc_list().iter().any(|entry| entry.attempts > 0));
    let reset = node.sexton(&["node", "reset", "--i-know"]);
    assert_eq!(reset.code(), 9, "{reset:?}");
    assert!(reset.stderr.contains(&format!("{stranger} cannot go")), "{reset:?}");
    fs::write(&gate, "").unwrap();
    let _ = node.sexton(&["node", "reset", "--i-know"]).ok();
    assert!(node.gc_list().is_empty());
    node.finish();
}
