use super::*;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

const RUN: u64 = 7;

/// Facts and cgroups of containers that are nothing else.
struct Scene {
    root: tempfile::TempDir,
    layout: Layout,
}

impl Scene {
    fn new() -> Self {
        // As /run is: a disk would make two thousand files durable, one after the other.
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let layout = Layout::new(root.path().join("state"), root.path().join("data"));
        Self { root, layout }
    }

    fn cgroup(&self, id: &str) -> PathBuf {
        self.root.path().join("cgroup").join(id)
    }

    fn cpu(&self, id: &str, us: u64) {
        fs::write(self.cgroup(id).join("cpu.stat"), format!("usage_usec {us}\n")).unwrap();
    }

    fn add(&self, id: &str, generation: u64) -> Arc<ContainerInfo> {
        let id: ContainerId = id.parse().unwrap();
        let cgroup = CgroupDir { hierarchy: String::new(), dir: self.cgroup(id.as_str()) };
        fs::create_dir_all(&cgroup.dir).unwrap();
        self.cpu(id.as_str(), 0);
        let process = ProcessIdentity::gone(1).unwrap();
        let init = Init {
            id: id.clone(),
            generation,
            process,
            cgroups: vec![cgroup],
            ready: sexton_common::Stamp::now(),
            executable: None,
            shim: process,
            workload: sexton_common::workload::Workload::Process(Default::default()),
        };
        let dir = self.layout.container(&id);
        fs::create_dir_all(dir.path()).unwrap();
        let mut launch = init.to_launch();
        launch.cleanup.paths = vec![Path::new("/srv/x").join(id.as_str())];
        durable::write(&dir.launch(), &launch).unwrap();
        durable::write(&dir.init(), &init).unwrap();
        Arc::new(ContainerInfo { generation, id, ..crate::board::tests::info("c") })
    }
}

#[test]
fn shares_lie_between_two_samples_of_one_run() {
    let scene = Scene::new();
    let c = scene.add("c", RUN);
    let mut sampler = Sampler::default();
    let mut take = |c: &Arc<ContainerInfo>| {
        let mut samples = sampler.sample(&scene.layout, std::slice::from_ref(c), 4);
        samples.pop().unwrap().stats
    };
    let first = take(&c);
    assert_eq!((first.cpu_ns, first.cpu_of_core, first.cpu_of_all), (Some(0), None, None));
    scene.cpu("c", 1000);
    let second = take(&c);
    let (core, all) = (second.cpu_of_core.unwrap(), second.cpu_of_all.unwrap());
    assert!(core > 0 && (core / 4).abs_diff(all) <= 1, "{second:?}");
    scene.cpu("c", 5);
    let back = take(&c);
    assert_eq!((back.cpu_ns, back.cpu_of_core), (Some(5000), None), "a counter that goes backwards");
    assert!(take(&c).cpu_of_core.is_some());
    let next = scene.add("c", RUN + 1);
    scene.cpu("c", 50);
    assert_eq!(take(&next).cpu_of_core, None, "another run");
    fs::remove_file(scene.cgroup("c").join("cpu.stat")).unwrap();
    assert_eq!((take(&next).cpu_ns, take(&next).cpu_of_core), (None, None));
}

#[test]
fn shares_are_shares_of_time() {
    let half = Reading { at_ns: 1_000, cpu_ns: 10 }.until(Reading { at_ns: 2_000, cpu_ns: 510 });
    assert_eq!(half.map(clamp), Some(5_000));
    let one = Reading { at_ns: 5, cpu_ns: 5 };
    assert!(one.until(one).is_none() && one.until(Reading { at_ns: 4, cpu_ns: 9 }).is_none());
    let huge = Reading { at_ns: 0, cpu_ns: 0 }.until(Reading { at_ns: 1, cpu_ns: u64::MAX });
    assert_eq!(huge.map(clamp), Some(u32::MAX));
}

#[test]
fn what_has_ended_has_a_row_and_no_figures() {
    let scene = Scene::new();
    let c = scene.add("c", RUN);
    let in_state = |state| Arc::new(ContainerInfo { state, ..c.as_ref().clone() });
    let mut sampler = Sampler::default();
    for (state, figures) in
        [(State::Running, true), (State::Stopped, false), (State::Creating, false), (State::Gc, true)]
    {
        let sample = sampler.sample(&scene.layout, &[in_state(state)], 1).pop().unwrap();
        assert_eq!((sample.stats.state, sample.stats.cpu_ns.is_some()), (state, figures));
        assert_eq!(sample.paths.is_empty(), !figures);
    }
    let unknown = ContainerInfo { id: "gone".parse().unwrap(), ..c.as_ref().clone() };
    let other_run = ContainerInfo { generation: RUN + 1, ..c.as_ref().clone() };
    for info in [unknown, other_run] {
        let sample = Sampler::default().sample(&scene.layout, &[Arc::new(info)], 1).pop().unwrap();
        assert_eq!(sample.stats.cpu_ns, None, "its facts are not there, or another run's");
    }
}

/// Prints what a sample of a thousand containers takes; on cgroups that are plain files.
#[test]
fn a_thousand() {
    let scene = Scene::new();
    let all: Vec<_> = (0..1000).map(|n| scene.add(&format!("c{n}"), RUN)).collect();
    for info in &all {
        let dir = scene.cgroup(info.id.as_str());
        let stat: String = (0..60).map(|n| format!("some_counter_{n} 123456\n")).collect();
        fs::write(dir.join("memory.stat"), stat + "inactive_file 1\n").unwrap();
        for (file, text) in [
            ("memory.current", "1000"),
            ("memory.max", "max"),
            ("memory.events", "oom_kill 0"),
            ("pids.current", "1"),
            ("io.stat", ""),
        ] {
            fs::write(dir.join(file), text).unwrap();
        }
    }
    let mut sampler = Sampler::default();
    let cpu = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap())
    };
    let mut took = Vec::new();
    for _ in 0..5 {
        let (begin, busy) = (Instant::now(), cpu());
        let samples = sampler.sample(&scene.layout, &all, 2);
        took.push((begin.elapsed(), cpu() - busy));
        assert!(samples.len() == 1000 && samples.iter().all(|sample| sample.stats.memory == Some(999)));
    }
    println!(
        "1,000 containers, time and CPU: the first sample, with their facts, {:?}, the next {:?}",
        took[0],
        &took[1..]
    );
    assert!(took[1].0 < Duration::from_secs(10));
    assert_eq!(sampler.sample(&scene.layout, &all[..1], 2).len(), 1);
    assert_eq!(sampler.known.len(), 1, "nobody is kept who is not asked for");
}
