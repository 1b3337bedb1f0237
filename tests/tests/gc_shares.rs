//! Nobody waits for anybody (I7), however little the collector has: what hangs on one file system, and commands that
//! take their time, hold up no container that has just ended.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::wire::State;
use sexton_tests::{
    bundle::Bundle,
    gc::LoopDisk,
    needs,
    node::Node,
    wait::{LONG, wait_for},
};
use std::{fs, time::Instant};

#[test]
fn what_hangs_on_one_file_system_leaves_threads_and_turns_to_all_others() {
    if needs::skipped() {
        return;
    }
    // Eight threads for what blocks, half of them the GC's; and four runtimes at once.
    let mut node = Node::limited(&["--nofile=256:256"]);
    node.kill_daemon();
    fs::write(node.config(), "[exit]\ndeadline = '15s'\n").unwrap();
    node.start_daemon();
    let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
    let slow = node.dir().join("slow");
    let ids: Vec<_> = (0..12).map(|n| node.id(&format!("hangs{n}"))).collect();
    for id in &ids {
        fs::create_dir(disk.point().join(id.as_str())).unwrap();
    }
    disk.freeze();
    for id in &ids {
        let mut request = node.gc_add_request(id);
        request.cleanup.paths = vec![disk.point().join(id.as_str())];
        node.gc_add(request).unwrap();
        let mut request = node.gc_add_request(&node.id(&format!("slow-{id}")));
        request.cleanup.exec = vec![format!("while ! test -e {}; do sleep 1; done", slow.display())];
        node.gc_add(request).unwrap();
    }
    wait_for("the first to hang", LONG, || !node.gc_list().is_empty());
    for n in 0..3 {
        let (id, since) = (node.id(&format!("c{n}")), Instant::now());
        node.run(&id, &Bundle::new(&node, &format!("b{n}")).sh("exit 7").write());
        node.wait_state(&id, State::Stopped);
        // An attempt that waits for one that hangs takes as long as it may.
        assert!(since.elapsed().as_secs() < 15, "{:?}: {}", since.elapsed(), node.words());
    }
    disk.thaw();
    fs::write(&slow, "").unwrap();
    node.wait_no_gc();
    drop(disk);
    node.finish();
}
