//! Damaged state files go to quarantine, whole; the other containers are recovered, and the daemon lives on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, Source, UnknownReason, durable,
    layout::ContainerDir,
    wire::{Launched, Reply, Request, State},
};
use sexton_tests::{Bundle, Gate, LONG, Node, leftovers, proc, run, skipped, wait_for};
use std::{
    fs,
    path::{Path, PathBuf},
};

type Damage = fn(&Path);

/// Half of it is there.
fn truncate(path: &Path) {
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
}

fn empty(path: &Path) {
    fs::write(path, []).unwrap();
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() * 2 / 3;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

/// As if a later release had written it.
fn newer(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[5] = 2;
    fs::write(path, bytes).unwrap();
}

fn noise(path: &Path) {
    fs::write(path, [0xa5; 70_000]).unwrap();
}

const DAMAGES: [(&str, Damage); 5] =
    [("truncated", truncate), ("empty", empty), ("flipped", flip), ("newer", newer), ("noise", noise)];

/// Two that nothing is done to: one has ended, one runs.
struct Bystanders {
    ended: ContainerId,
    runs: ContainerId,
    gate: Gate,
    launched: Launched,
}

impl Bystanders {
    fn new(node: &Node) -> Self {
        let [ended, runs] = ["ended", "runs"].map(|name| node.id(name));
        node.run(&ended, &Bundle::new(node, "ended").sh("exit 21").write());
        node.wait_state(&ended, State::Stopped);
        let (bundle, gate) = Bundle::new(node, "runs").gated();
        let launched = node.run(&runs, &bundle.write());
        Self { ended, runs, gate, launched }
    }

    #[track_caller]
    fn recovered(&self, node: &Node) {
        let ended = node.inspect(&self.ended);
        assert_eq!((ended.status, ended.source), (Some(ExitStatus::Code(21)), Some(Source::Waited)));
        let runs = node.inspect(&self.runs);
        assert_eq!((runs.state, runs.pid), (State::Running, Some(self.launched.pid)));
    }

    #[track_caller]
    fn finish(&self, node: &Node) {
        self.recovered(node);
        self.gate.exit(22);
        assert_eq!(node.wait(&self.runs).status, Some(ExitStatus::Code(22)));
    }
}

/// The files in quarantine, and those in the directories in it.
fn in_quarantine(node: &Node) -> Vec<PathBuf> {
    let inside = |path: PathBuf| if path.is_dir() { leftovers::entries(&path) } else { vec![path] };
    let all = leftovers::entries(&node.layout().quarantine()).into_iter().flat_map(inside);
    all.filter(|path| path.metadata().is_ok_and(|meta| meta.is_file())).collect()
}

/// How many files in quarantine have these bytes.
fn kept(node: &Node, bytes: &[u8]) -> usize {
    in_quarantine(node).iter().filter(|path| fs::read(path).is_ok_and(|kept| kept == bytes)).count()
}

/// Ends it by hand, where nobody knows it any more.
fn bury(node: &Node, id: &ContainerId, launched: &Launched) {
    if !proc::is_dead(launched.pid) {
        let (_, fd) = sexton_common::ProcessIdentity::open_pid(launched.pid).unwrap();
        rustix::process::pidfd_send_signal(fd, rustix::process::Signal::KILL).unwrap();
    }
    wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
    let _ = run(&mut node.runc("delete", &["--force", id.as_str()]));
    let _ = node.remove(id, true);
    let _ = fs::remove_dir_all(node.layout().container(id).path());
}

/// One of the files of a container.
type Which = fn(&ContainerDir) -> PathBuf;

/// Damages one file of a container while the collector is away; the damaged bytes are kept, and the collector says so.
#[track_caller]
fn damaged(node: &mut Node, id: &ContainerId, which: Which, damage: Damage) {
    let path = which(&node.layout().container(id));
    node.kill_daemon();
    damage(&path);
    let bytes = fs::read(&path).unwrap();
    let before = kept(node, &bytes);
    node.start_daemon();
    wait_for("the quarantine", LONG, || kept(node, &bytes) == before + 1);
    assert!(fs::read(&path).map_or(true, |now| now != bytes), "{} is out of the way", path.display());
    let Ok(Reply::Node(known)) = node.ask(&Request::Node {}) else { panic!("no answer about the node") };
    assert!(known.quarantined > 0);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(node.words().contains("ERROR") && node.words().contains(name), "loud: {}", node.words());
}

#[test]
fn of_one_that_has_ended() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let others = Bystanders::new(&node);
    for (name, damage) in DAMAGES {
        for (file, which) in
            [("launch", ContainerDir::launch as Which), ("init", ContainerDir::init), ("exit", ContainerDir::exit)]
        {
            let name = format!("{name}-{file}");
            let id = node.id(&name);
            let launched = node.run(&id, &Bundle::new(&node, &name).sh("exit 7").write());
            node.wait_state(&id, State::Stopped);
            wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
            damaged(&mut node, &id, which, damage);
            others.recovered(&node);
            let info = node.wait(&id);
            // Launch and init each suffice to go on; a record is what there is of it.
            let reason = UnknownReason::RecordDamaged;
            let expected = match file {
                "exit" => (Some(ExitStatus::Unknown { reason }), Some(Source::None)),
                _ => (Some(ExitStatus::Code(7)), Some(Source::Waited)),
            };
            assert_eq!((info.status, info.source), expected, "{name}");
            assert_eq!(info.generation, launched.generation);
            node.wait_state(&id, State::Stopped);
        }
    }
    others.finish(&node);
    node.finish();
}

#[test]
fn of_one_that_runs() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let others = Bystanders::new(&node);
    for (name, damage) in DAMAGES {
        for (file, which) in [("launch", ContainerDir::launch as Which), ("init", ContainerDir::init)] {
            let name = format!("{name}-{file}");
            let id = node.id(&name);
            let (bundle, gate) = Bundle::new(&node, &name).gated();
            let launched = node.run(&id, &bundle.write());
            damaged(&mut node, &id, which, damage);
            others.recovered(&node);
            assert!(!proc::is_dead(launched.pid), "nobody lays hands on what runs");
            let info = node.inspect(&id);
            assert_eq!((info.state, info.pid), (State::Running, Some(launched.pid)), "{name}");
            assert_eq!((info.status, info.generation), (None, launched.generation), "{name}");
            gate.exit(7);
            let info = node.wait(&id);
            assert_eq!((info.status, info.source), (Some(ExitStatus::Code(7)), Some(Source::Waited)), "{name}");
            node.wait_state(&id, State::Stopped);
        }
    }
    others.finish(&node);
    node.finish();
}

/// Nobody knows any more what was asked and what came of it: what was kept is enough for a person, and the shim
/// does its part all the same.
#[test]
fn all_of_one_that_runs() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let others = Bystanders::new(&node);
    for (name, damage) in DAMAGES {
        let id = node.id(name);
        let (bundle, gate) = Bundle::new(&node, name).gated();
        let launched = node.run(&id, &bundle.write());
        node.kill_daemon();
        damage(&node.layout().container(&id).init());
        node.start_daemon();
        // The damage has been seen when there is a list.
        let _ = node.list(true);
        damaged(&mut node, &id, ContainerDir::launch, damage);
        others.recovered(&node);
        assert!(!proc::is_dead(launched.pid), "nobody lays hands on what runs");
        gate.exit(7);
        wait_for("the shim's end", LONG, || proc::is_dead(launched.shim_pid));
        let kept = in_quarantine(&node).into_iter().filter_map(|path| durable::read::<ExitRecord>(&path).ok()?);
        let record = node.record(&id).into_iter().chain(kept).find(|record| record.id == id);
        assert_eq!(record.map(|record| record.status), Some(ExitStatus::Code(7)), "{name}");
        bury(&node, &id, &launched);
    }
    others.finish(&node);
    node.finish();
}

/// What lies in the state directory and was never ours is left alone, and in nobody's way.
#[test]
fn strangers_in_the_directory() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let others = Bystanders::new(&node);
    node.kill_daemon();
    let containers = node.layout().containers();
    let nothing = node.id("nothing");
    fs::create_dir(containers.join(nothing.as_str())).unwrap();
    fs::write(containers.join("a-file"), "words").unwrap();
    fs::create_dir(containers.join("no id")).unwrap();
    std::os::unix::fs::symlink("/etc", containers.join("link")).unwrap();
    // Another container's facts under this name.
    let copy = node.id("copy");
    fs::create_dir(containers.join(copy.as_str())).unwrap();
    let from = node.layout().container(&others.ended);
    fs::copy(from.launch(), node.layout().container(&copy).launch()).unwrap();
    fs::copy(from.exit(), node.layout().container(&copy).exit()).unwrap();
    // A shim that died before its directory had a name, and a removal that was cut short.
    fs::create_dir(containers.join("~new-999999999")).unwrap();
    fs::write(containers.join("~new-999999999/launch"), "torn").unwrap();
    fs::create_dir(containers.join(format!("~gone-7-{nothing}"))).unwrap();
    fs::write(containers.join(format!("~gone-7-{nothing}/exit")), "torn").unwrap();
    node.start_daemon();
    others.recovered(&node);
    let tidy = || !leftovers::entries(&containers).iter().any(|path| path.to_string_lossy().contains('~'));
    wait_for("the half-made and half-removed to go", LONG, tidy);
    assert!(Path::new("/etc/passwd").exists());
    assert!(
        node.list(true)
            .iter()
            .all(|info| info.id == others.ended || info.id == others.runs || info.status != Some(ExitStatus::Code(21))),
        "{:?}",
        node.list(true)
    );
    for stranger in [nothing.as_str(), "a-file", "no id", "link", copy.as_str()] {
        let path = containers.join(stranger);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir_all(&path);
        if let Ok(id) = stranger.parse() {
            let _ = node.remove(&id, true);
        }
    }
    others.finish(&node);
    node.finish();
}

/// A record on disk that is of another run is not this run's.
#[test]
fn a_record_of_another_run() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let id = node.id("a");
    let (bundle, gate) = Bundle::new(&node, "a").gated();
    let launched = node.run(&id, &bundle.write());
    node.kill_daemon();
    let dir = node.layout().container(&id);
    let first = node.id("first");
    let other = node.shim("run", &first, &Bundle::new(&node, "first").sh("exit 99").write());
    wait_for("the record", LONG, || node.record(&first).is_some());
    let mut record = node.record(&first).unwrap();
    record.id = id.clone();
    record.generation = launched.generation - 1;
    durable::write(&dir.exit(), &record).unwrap();
    node.start_daemon();
    let info = node.inspect(&id);
    assert_eq!((info.state, info.status), (State::Running, None), "{}", node.words());
    gate.exit(7);
    let info = node.wait(&id);
    assert_eq!((info.status, info.generation), (Some(ExitStatus::Code(7)), launched.generation), "{}", node.words());
    wait_for("the shim's end", LONG, || proc::is_dead(other.shim_pid));
    node.finish();
}
