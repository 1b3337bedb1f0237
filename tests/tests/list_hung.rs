//! Who asks for all containers is answered, whatever one's disk does (I7).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use sexton_common::wire::State;
use sexton_tests::{Bundle, LONG, Node, command::run, hung::Hung, skip, skipped, wait_for};

/// As many as look at once, and one more.
const HUNG: usize = 3;

#[test]
fn created_ones_whose_runtime_hangs() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let create = |name: &str| {
        let id = node.id(name);
        let (bundle, gate) = Bundle::new(&node, name).gated();
        node.create(&id, &bundle.write());
        (id, gate)
    };
    let hung: Vec<_> = (0..HUNG).map(|n| create(&format!("a{n}"))).collect();
    let (other, gate) = create("b");
    let state = |id| node.list(true).into_iter().find(|info| info.id == id).map(|info| info.state);
    let disks: Option<Vec<_>> = hung.iter().map(|(id, _)| Hung::over(&node.runtime_root().join(id.as_str()))).collect();
    if disks.is_some() {
        let _ = run(&mut node.runc("start", &[other.as_str()])).ok();
        wait_for("what somebody else has started", LONG, || state(other.clone()) == Some(State::Running));
        for (id, _) in &hung {
            assert_eq!(node.inspect(id).state, State::Created);
        }
        drop(disks);
        gate.exit(5);
    } else {
        skip("the kernel has no FUSE");
    }
    // The disks are well: what is started there is seen, too.
    for (id, gate) in &hung {
        let _ = run(&mut node.runc("start", &[id.as_str()])).ok();
        wait_for("its start is seen", LONG, || state(id.clone()) == Some(State::Running));
        gate.exit(6);
    }
    for id in hung.iter().map(|(id, _)| id).chain([&other]) {
        let _ = node.sexton(&["rm", "-f", id.as_str()]).ok();
    }
    node.finish();
}

#[test]
fn running_ones_whose_facts_hang() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let all: Vec<_> = (0..HUNG)
        .map(|n| {
            let (bundle, gate) = Bundle::new(&node, &format!("r{n}")).gated();
            let id = node.id(&format!("r{n}"));
            node.run(&id, &bundle.write());
            (id, gate)
        })
        .collect();
    let hangs = Hung::over(node.layout().container(&all[0].0).path());
    if hangs.is_none() {
        skip("the kernel has no FUSE");
    }
    for _ in 0..3 {
        assert_eq!(node.list(true).len(), HUNG);
        assert_eq!(node.inspect(&all[0].0).state, State::Running);
    }
    drop(hangs);
    for (id, gate) in &all {
        gate.exit(7);
        node.wait_state(id, State::Stopped);
    }
    node.finish();
}
