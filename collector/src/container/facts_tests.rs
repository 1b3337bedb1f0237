use super::*;
use crate::{probe::Probe, watch::InitWatch};
use sexton_common::{ExitRecord, ProcessIdentity, Stamp, launch::Stdio, runtime::Runtime, workload::Workload};
use std::{fs, process::Command, time::Duration};

struct World {
    _root: tempfile::TempDir,
    layout: Layout,
    dead: ProcessIdentity,
    alive: ProcessIdentity,
    sleeper: std::process::Child,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.sleeper.kill();
        let _ = self.sleeper.wait();
    }
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path().join("s"), root.path().join("d"));
        let mut gone = Command::new("true").spawn().unwrap();
        let dead = ProcessIdentity::of(gone.id()).unwrap();
        gone.wait().unwrap();
        let sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        let alive = ProcessIdentity::of(sleeper.id()).unwrap();
        Self { _root: root, layout, dead, alive, sleeper }
    }

    fn launch(&self, shim: ProcessIdentity, mode: Mode) -> ContainerDir {
        let id: sexton_common::ContainerId = "c".parse().unwrap();
        let dir = self.layout.container(&id);
        fs::create_dir_all(dir.path()).unwrap();
        let launch = Launch {
            id,
            generation: 7,
            workload: Workload::Oci {
                bundle: "/b".into(),
                runtime: Runtime { root: Some(self.layout.data().into()), ..Runtime::default() },
            },
            stdio: Stdio::Null,
            mode,
            auto_remove: false,
            on_shim_death: Default::default(),
            shim,
            origin: Origin::Sexton,
            cgroups: vec![],
            created: Stamp::now(),
            cleanup: sexton_common::cleanup::Cleanup::default(),
            restart: sexton_common::restart::RestartPolicy::No,
            timeout_ms: Launch::TIMEOUT_MS,
        };
        durable::write(&dir.launch(), &launch).unwrap();
        dir
    }

    fn init(&self, dir: &ContainerDir, process: ProcessIdentity) {
        let id = "c".parse().unwrap();
        let launch: Launch = durable::read(&dir.launch()).unwrap().unwrap();
        let Launch { shim, workload, .. } = launch;
        let init =
            Init { id, generation: 7, process, cgroups: vec![], ready: Stamp::now(), executable: None, shim, workload };
        durable::write(&dir.init(), &init).unwrap();
    }

    fn exit(&self, dir: &ContainerDir, generation: u64) {
        let record = ExitRecord {
            id: "c".parse().unwrap(),
            generation,
            process: Some(self.dead),
            status: ExitStatus::Code(7),
            source: Source::Waited,
            oom_killed: None,
            started: None,
            exited: None,
            usage: None,
            memory_peak: None,
            cpu_ns: None,
        };
        durable::write(&dir.exit(), &record).unwrap();
    }

    fn read(&self, dir: &ContainerDir) -> Facts {
        let mut facts = Facts::read(&self.layout, dir.clone()).unwrap().unwrap();
        if facts.unknown.is_some() {
            assert!(!dir.exit().exists(), "reading decides nothing for those who know better");
        }
        facts.conclude();
        facts
    }

    fn quarantined(&self) -> usize {
        fs::read_dir(self.layout.quarantine()).map_or(0, Iterator::count)
    }
}

fn reason(facts: &Facts) -> Option<UnknownReason> {
    match facts.verdict.as_ref()?.record.status {
        ExitStatus::Unknown { reason } => Some(reason),
        _ => None,
    }
}

#[test]
fn every_row_of_the_table() {
    let w = World::new();
    let dir = w.launch(w.alive, Mode::Run);
    assert_eq!(w.read(&dir).phase, Phase::Creating);
    w.init(&dir, w.alive);
    assert_eq!(w.read(&dir).phase, Phase::Running);
    w.init(&dir, w.dead);
    assert_eq!(w.read(&dir).phase, Phase::Running, "the shim is about to write the record");

    let w = World::new();
    let dir = w.launch(w.dead, Mode::Run);
    w.init(&dir, w.alive);
    assert_eq!(w.read(&dir).phase, Phase::Orphaned);
    w.init(&dir, w.dead);
    let facts = w.read(&dir);
    assert_eq!((facts.phase, reason(&facts)), (Phase::Stopping, Some(UnknownReason::ShimAndCollectorKilled)));
    assert!(dir.exit().exists(), "what was decided is on disk");
    let facts = w.read(&dir);
    assert_eq!(reason(&facts), Some(UnknownReason::ShimAndCollectorKilled), "and stays");

    let w = World::new();
    let dir = w.launch(w.dead, Mode::Run);
    let facts = w.read(&dir);
    assert_eq!((facts.phase, reason(&facts)), (Phase::Stopping, Some(UnknownReason::NeverStarted)));

    let w = World::new();
    let dir = w.launch(w.alive, Mode::Run);
    w.init(&dir, w.alive);
    w.exit(&dir, 7);
    let facts = w.read(&dir);
    assert_eq!((facts.phase, facts.verdict.unwrap().record.status), (Phase::Stopping, ExitStatus::Code(7)));
    let clean = |generation| Clean { generation, at: Stamp::now() };
    durable::write(&dir.clean(), &clean(6)).unwrap();
    assert_eq!(w.read(&dir).phase, Phase::Stopping, "another run was clean");
    durable::write(&dir.clean(), &clean(7)).unwrap();
    assert_eq!(w.read(&dir).phase, Phase::Stopped);
}

#[test]
fn a_created_container_is_told_from_a_started_one() {
    let w = World::new();
    let dir = w.launch(w.alive, Mode::Create);
    w.init(&dir, w.alive);
    let state = w.layout.data().join("c");
    fs::create_dir_all(&state).unwrap();
    fs::write(state.join("exec.fifo"), "").unwrap();
    assert_eq!(w.read(&dir).phase, Phase::Created);
    fs::remove_file(state.join("exec.fifo")).unwrap();
    assert_eq!(w.read(&dir).phase, Phase::Running);
}

#[test]
fn what_does_not_decode_goes_to_quarantine_and_nothing_is_invented() {
    let w = World::new();
    let dir = w.launch(w.dead, Mode::Run);
    w.init(&dir, w.dead);
    w.exit(&dir, 7);
    let mut bytes = fs::read(dir.exit()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(dir.exit(), &bytes).unwrap();
    let facts = w.read(&dir);
    assert_eq!(reason(&facts), Some(UnknownReason::RecordDamaged));
    assert_eq!(w.quarantined(), 1);

    let w = World::new();
    let dir = w.launch(w.alive, Mode::Run);
    fs::write(dir.init(), "SXTN").unwrap();
    assert_eq!(w.read(&dir).phase, Phase::Creating, "its shim lives and will tell");
    assert_eq!(w.quarantined(), 1);

    let w = World::new();
    let dir = w.launch(w.alive, Mode::Run);
    let mut bytes = fs::read(dir.launch()).unwrap();
    bytes[5] = 99;
    fs::write(dir.launch(), bytes).unwrap();
    assert!(Facts::read(&w.layout, dir.clone()).unwrap().is_none());
    assert!(w.quarantined() == 1 && !dir.path().exists());
}

#[test]
fn a_damaged_launch_is_mended_from_what_was_created() {
    let w = World::new();
    let dir = w.launch(w.alive, Mode::Run);
    w.init(&dir, w.alive);
    let before = w.read(&dir).launch;
    fs::write(dir.launch(), "SXTN").unwrap();
    for _ in 0..2 {
        let facts = w.read(&dir);
        assert_eq!(facts.phase, Phase::Running);
        assert_eq!((facts.launch.shim, facts.launch.workload), (before.shim, before.workload.clone()));
    }
    assert_eq!(w.quarantined(), 1);
}

#[test]
fn a_record_of_another_generation_is_not_this_runs() {
    let w = World::new();
    let dir = w.launch(w.alive, Mode::Run);
    w.init(&dir, w.alive);
    w.exit(&dir, 6);
    assert_eq!(w.read(&dir).phase, Phase::Running);
}

/// Shim and collector were dead; somebody else reaps it just when we have come.
#[tokio::test]
async fn a_zombie_that_was_seen_may_be_reaped() {
    let w = World::new();
    let mut child = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
    let process = ProcessIdentity::of(child.id()).unwrap();
    let dir = w.launch(w.dead, Mode::Run);
    w.init(&dir, process);
    while !matches!(process.look(), Ok(Presence::Zombie(..))) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let facts = w.read(&dir);
    child.wait().unwrap();
    assert_eq!(facts.phase, Phase::Orphaned);
    let watch = InitWatch::open(process, facts.pidfd).unwrap();
    let exact = Probe::run().pidfd_info_exit.then_some((ExitStatus::Code(7), Source::Pidfd));
    assert_eq!(watch.and_then(|watch| watch.death(true)), exact);
}

#[test]
fn what_bears_the_name_of_a_later_run_is_left_alone() {
    let w = World::new();
    let dir = w.launch(w.dead, Mode::Run);
    let mut facts = Facts::read(&w.layout, dir.clone()).unwrap().unwrap();
    assert!(is_of(&dir, 7) && !is_anothers(&dir, 7));
    // Its shim undid the launch after all, and another has the name.
    let mut launch: Launch = durable::read(&dir.launch()).unwrap().unwrap();
    launch.generation = 8;
    durable::write(&dir.launch(), &launch).unwrap();
    assert!(!is_of(&dir, 7) && is_anothers(&dir, 7));
    facts.conclude();
    assert!(!dir.exit().exists(), "its record is not the other's");
    fs::remove_dir_all(dir.path()).unwrap();
    assert!(!is_of(&dir, 7) && !is_anothers(&dir, 7));
}
