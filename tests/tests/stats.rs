//! What containers are seen to use: real runc and crun, v1 and v2.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, WallTime, cgroup,
    runtime::Runtime,
    wire::{ContainerStats, LaunchRequest},
};
use sexton_tests::{Bundle, Node, binaries, gc::LoopDisk, run, skip, skipped};
use std::{os::unix::fs::MetadataExt, path::Path, process::Command, time::Duration};

const PERIOD: Duration = Duration::from_millis(300);
const MIB: u64 = 1 << 20;

/// Whether this cgroup controller is one of v1's here.
fn v1(controller: &str) -> bool {
    Path::new("/sys/fs/cgroup").join(controller).join("cgroup.procs").exists()
}

fn launch(node: &Node, runtime: &Runtime, name: &str, bundle: Bundle) -> ContainerId {
    let id = node.id(name);
    let request = node.launch_request(&id, &bundle.write(), sexton_common::launch::Mode::Run);
    node.launch(LaunchRequest { runtime: runtime.clone(), ..request }).unwrap();
    id
}

fn kill_all(node: &Node, ids: &[&ContainerId]) {
    ids.iter().for_each(|id| node.kill(id, 9));
    node.remove_all();
}

/// Hundredths of a percent of one core between two samples, by the counters themselves, if so much time was between them.
fn share(from: &ContainerStats, to: &ContainerStats, ns: u64) -> f64 {
    (to.cpu_ns.unwrap() - from.cpu_ns.unwrap()) as f64 / ns.max(1) as f64 * 10_000.0
}

/// One burns what it gets, one sleeps: told apart, and the shares are what the counters say.
fn cpu(node: &Node, runtime: &Runtime, quota: bool) {
    let limited = |config: &mut serde_json::Value| {
        if quota {
            config["linux"]["resources"] = serde_json::json!({ "cpu": { "quota": 20_000, "period": 100_000 } });
        }
    };
    let burns = launch(node, runtime, "burns", Bundle::new(node, "burns").sh("while :; do :; done").with(limited));
    let sleeps = launch(node, runtime, "sleeps", Bundle::new(node, "sleeps").sleeping());
    let mut samples = node.samples(&[burns.clone(), sleeps.clone()], Some(PERIOD));
    let mut take = || (samples.take().unwrap(), WallTime::now());
    let mut taken = vec![take()];
    let first = &taken[0].0;
    assert!(first.iter().all(|stats| stats.cpu_of_core.is_none() && stats.cpu_of_all.is_none()), "{taken:?}");
    assert_eq!(first.iter().map(|stats| &stats.id).collect::<Vec<_>>(), [&burns, &sleeps], "as they were named");
    (0..6).for_each(|_| taken.push(take()));
    drop(samples);
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    for pair in taken.windows(2) {
        let [(earlier, had), (later, have)] = [&pair[0], &pair[1]];
        for (before, now) in earlier.iter().zip(later) {
            let (core, all) = (f64::from(now.cpu_of_core.unwrap()), f64::from(now.cpu_of_all.unwrap()));
            // The counter was read between `at` and the arrival, which are far from each other on a loaded machine.
            let least = share(before, now, have.0 - before.at.0);
            let most = share(before, now, now.at.0.saturating_sub(had.0));
            let fits = core >= least * 0.7 - 200.0 && core <= most * 1.3 + 200.0;
            assert!(fits, "{core} is not {least} to {most}: {before:?} {now:?}");
            assert!(all <= core && all >= core / cpus / 4.0, "{all} of all, {core} of one");
        }
    }
    let ((first, _), (last, arrived)) = (&taken[0], &taken[6]);
    let mean = |n: usize| share(&first[n], &last[n], arrived.0 - first[n].at.0);
    assert!(mean(1) < 200.0, "who sleeps uses {}", mean(1));
    // The share that is left over on a loaded machine is small, but not as small as a sleeper's.
    assert!(mean(0) > 300.0, "who burns uses {}", mean(0));
    assert!(!quota || mean(0) < 4000.0, "a fifth of a core is allowed, {} was used", mean(0));
    kill_all(node, &[&burns, &sleeps]);
}

fn pids(node: &Node, runtime: &Runtime) {
    let script = "sleep 100000 & sleep 100000 & sleep 100000 & wait";
    let id = launch(node, runtime, "pids", Bundle::new(node, "pids").sh(script));
    node.samples(std::slice::from_ref(&id), Some(PERIOD)).until("four processes", |stats| stats.pids == Some(4));
    kill_all(node, &[&id]);
}

#[test]
fn cpu_and_processes() {
    if skipped() {
        return;
    }
    let node = Node::new();
    cpu(&node, &node.runtime(), v1("cpu"));
    pids(&node, &node.runtime());
    node.finish();
}

const INNER: &str = "SEXTON_TEST_STATS_V2";

/// The same in a mount namespace of its own, in which `/sys/fs/cgroup` is cgroup2 and nothing else.
#[test]
fn under_v2() {
    if skipped() {
        return;
    }
    if std::env::var_os(INNER).is_some() {
        assert_eq!(cgroup::layout().unwrap(), (false, true));
        let node = Node::new();
        cpu(&node, &node.runtime(), false);
        pids(&node, &node.runtime());
        return node.finish();
    }
    with_v2_only("under_v2");
}

#[test]
fn crun_under_v2() {
    if skipped() {
        return;
    }
    let Some(program) = binaries::find("crun") else { return skip("crun is not here") };
    if std::env::var_os(INNER).is_some() {
        let node = Node::new();
        pids(&node, &Runtime { program, ..node.runtime() });
        return node.finish();
    }
    with_v2_only("crun_under_v2");
}

fn with_v2_only(test: &str) {
    let script = "umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup && \
                  exec \"$0\" --exact \"$1\" --nocapture";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]);
    let ended = run(command.arg(std::env::current_exe().unwrap()).arg(test).env(INNER, "1"));
    assert!(ended.status.success() && ended.stdout.contains("1 passed"), "{}\n{}", ended.stdout, ended.stderr);
}

#[test]
fn memory_is_what_it_holds_and_what_it_may() {
    if skipped() {
        return;
    }
    if !v1("memory") {
        return skip("there is no v1 memory controller");
    }
    let node = Node::new();
    let holds = "/bin/busybox dd if=/dev/zero of=/tmp/x bs=1M count=64 2>/dev/null && sleep 100000";
    let id = launch(&node, &node.runtime(), "holds", Bundle::new(&node, "holds").sh(holds));
    let mut samples = node.samples(std::slice::from_ref(&id), Some(PERIOD));
    let stats = samples.until("64 MiB", |stats| stats.memory > Some(64 * MIB));
    assert!(stats.memory < Some(96 * MIB), "{stats:?}");
    assert_eq!((stats.memory_limit, stats.oom_kills), (None, Some(0)));
    kill_all(&node, &[&id]);
    drop(samples);

    let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
    let limit = |config: &mut serde_json::Value| {
        config["linux"]["resources"] = serde_json::json!({ "memory": { "limit": 256 * MIB } });
    };
    // Read once, 8 MiB of page cache are nobody's, though the cgroup is charged.
    let reads = "/bin/busybox dd if=/dev/zero of=/gate/f bs=1M count=8 conv=fsync 2>/dev/null && sleep 100000";
    let bundle = Bundle::new(&node, "reads").bind(disk.point(), "/gate").sh(reads).with(limit);
    let id = launch(&node, &node.runtime(), "reads", bundle);
    let charged = || {
        let dirs = sexton_tests::leftovers::cgroups(id.as_str());
        let dir = dirs.into_iter().find(|dir| dir.starts_with("/sys/fs/cgroup/memory")).unwrap();
        std::fs::read_to_string(dir.join("memory.usage_in_bytes")).unwrap().trim().parse::<u64>().unwrap()
    };
    sexton_tests::wait_for("the page cache", sexton_tests::LONG, || charged() > 8 * MIB);
    let mut samples = node.samples(std::slice::from_ref(&id), Some(PERIOD));
    let stats = samples.until("memory without it", |stats| stats.memory < Some(8 * MIB) && charged() > 8 * MIB);
    assert_eq!(stats.memory_limit, Some(256 * MIB));
    kill_all(&node, &[&id]);
    drop((samples, disk));
    node.finish();
}

#[test]
fn kills_for_want_of_memory_are_counted() {
    if skipped() {
        return;
    }
    if !v1("memory") {
        return skip("there is no v1 memory controller");
    }
    let node = Node::new();
    let limit = |config: &mut serde_json::Value| {
        let memory = serde_json::json!({ "limit": 32 * MIB, "swap": 32 * MIB });
        config["linux"]["resources"] = serde_json::json!({ "memory": memory });
    };
    let script = "for n in 1 2; do /bin/busybox dd if=/dev/zero of=/dev/null bs=64M count=1; done; sleep 100000";
    let id = launch(&node, &node.runtime(), "oom", Bundle::new(&node, "oom").sh(script).with(limit));
    let mut samples = node.samples(std::slice::from_ref(&id), Some(PERIOD));
    let stats = samples.until("two kills", |stats| stats.oom_kills >= Some(2));
    assert_eq!((stats.oom_kills, stats.memory_limit), (Some(2), Some(32 * MIB)));
    kill_all(&node, &[&id]);
    drop(samples);
    node.finish();
}

#[test]
fn what_goes_to_and_from_disks() {
    if skipped() {
        return;
    }
    if !v1("blkio") {
        return skip("there is no v1 blkio controller");
    }
    let node = Node::new();
    let disk = LoopDisk::new(&node.dir().join("image"), &node.dir().join("disk"));
    let device = std::fs::metadata(disk.point()).unwrap().dev();
    // Since Linux 6.9 the kernel counts only where there is a limit.
    let most = serde_json::json!([{
        "major": rustix::fs::major(device), "minor": rustix::fs::minor(device), "rate": 1_000_000_000_u64
    }]);
    let limits = |config: &mut serde_json::Value| {
        let limits = serde_json::json!({ "throttleReadBpsDevice": most, "throttleWriteBpsDevice": most });
        config["linux"]["resources"] = serde_json::json!({ "blockIO": limits });
    };
    let script = "/bin/busybox dd if=/dev/zero of=/gate/f bs=64k count=64 oflag=direct 2>/dev/null; \
                  /bin/busybox dd if=/gate/f of=/dev/null bs=64k count=32 iflag=direct 2>/dev/null; \
                  echo done > /gate/done; sleep 100000";
    let bundle = |name: &str| Bundle::new(&node, name).bind(disk.point(), "/gate").sh(script);
    // The same without a limit first: all of it, or unknown, but never nothing.
    let free = launch(&node, &node.runtime(), "free", bundle("free"));
    sexton_tests::wait_for("its end", sexton_tests::LONG, || disk.point().join("done").exists());
    let io = node.stats(std::slice::from_ref(&free)).unwrap()[0].io;
    assert!(io.is_none_or(|io| io.written >= 4 * MIB), "{io:?}");
    let id = launch(&node, &node.runtime(), "io", bundle("io").with(limits));
    let mut samples = node.samples(std::slice::from_ref(&id), Some(PERIOD));
    let stats = samples.until("both", |stats| stats.io.is_some_and(|io| io.read >= 2 * MIB && io.written >= 4 * MIB));
    // The file system writes of its own.
    let io = stats.io.unwrap();
    assert!(io.read < 8 * MIB && io.written < 12 * MIB, "{io:?}");
    kill_all(&node, &[&free, &id]);
    drop((samples, disk));
    node.finish();
}
