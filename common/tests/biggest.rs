//! The biggest launch that is allowed, and what becomes of it in the GC, fit into their files and frames.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

mod support;

use sexton_common::{
    ContainerId, Launch, ProcessIdentity, Stamp, WallTime,
    cgroup::CgroupDir,
    cleanup::Cleanup,
    durable,
    gc::{Entry, Estate, GcOrigin, Step},
    identity::BootId,
    launch::{Mode, OnShimDeath, Origin, Stdio},
    layout::Layout,
    restart::RestartPolicy,
    runtime::Runtime,
    wire::{self, GcAddRequest, LaunchRequest, Request},
    workload::{Program, Workload},
};
use std::path::PathBuf;

/// The longest path that the kernel takes, in bytes.
const PATH_MAX: usize = 4095;
/// As many as cgroup v1 has hierarchies, and cgroup2 beside them.
const HIERARCHIES: usize = 14;

/// A path of exactly `length` bytes.
fn path(length: usize) -> PathBuf {
    let mut path = "/directory".repeat(length / 10 + 1);
    path.truncate(length - 1);
    path.push('x');
    path.into()
}

fn id() -> ContainerId {
    "x".repeat(ContainerId::MAX).parse().unwrap()
}

fn runtime() -> Runtime {
    Runtime { program: path(PATH_MAX), root: Some(path(PATH_MAX)), args: vec!["--debug".into(); 16] }
}

fn process() -> ProcessIdentity {
    let most = u64::MAX;
    ProcessIdentity { pid: u32::MAX, start_time: most, boot_id: BootId([0xff; 16]), pidfs_inode: Some(most) }
}

fn stamp() -> Stamp {
    Stamp { wall: WallTime(u64::MAX), boot_ns: u64::MAX }
}

/// Deep, but not as deep as a path can be: fourteen of those would be a file of their own size.
fn cgroups() -> Vec<CgroupDir> {
    cgroups_of(2048)
}

fn cgroups_of(length: usize) -> Vec<CgroupDir> {
    let dir = |n: usize| CgroupDir { hierarchy: format!("name=hierarchy-{n:02}"), dir: path(length) };
    (0..HIERARCHIES).map(dir).collect()
}

/// As many things as may be, of as many bytes as may be.
fn cleanup() -> Cleanup {
    let each = Cleanup::BYTES / Cleanup::MOST;
    let some = |count: usize| vec![path(each); count];
    let cleanup = Cleanup { paths: some(16), mounts: some(16), netns: some(16), exec: vec!["x".repeat(each); 16] };
    let layout = Layout::new("/nonexistent/state".into(), "/nonexistent/data".into());
    let checked = cleanup.checked(&layout).unwrap();
    let mut more = checked.clone();
    more.exec[0].push('x');
    assert!(more.checked(&layout).is_err(), "it is the biggest");
    checked
}

fn launch() -> Launch {
    Launch {
        id: id(),
        generation: u64::MAX,
        workload: Workload::Oci { bundle: path(PATH_MAX), runtime: runtime() },
        stdio: Stdio::File(path(PATH_MAX)),
        mode: Mode::Run,
        auto_remove: true,
        on_shim_death: OnShimDeath::Kill,
        shim: process(),
        origin: Origin::Sexton,
        cgroups: cgroups(),
        created: stamp(),
        cleanup: cleanup(),
        restart: RestartPolicy::No,
        timeout_ms: Launch::TIMEOUT_MS,
    }
}

fn request() -> LaunchRequest {
    LaunchRequest {
        id: id(),
        bundle: path(PATH_MAX),
        runtime: runtime(),
        stdio: Stdio::File(path(PATH_MAX)),
        mode: Mode::Run,
        auto_remove: true,
        on_shim_death: OnShimDeath::Kill,
        timeout_ms: Some(u64::MAX),
        cleanup: cleanup(),
        restart: RestartPolicy::No,
        program: None,
    }
}

fn program() -> Program {
    let words = |count: usize| vec!["x".repeat(99); count];
    let env = vec![format!("A={}", "x".repeat(97)); 40];
    let small = Program { command: words(100), env, user: Some("nobody".into()), cgroup: Some("/a".into()), cwd: None };
    let length: usize = small.command.iter().chain(&small.env).map(|word| word.len() + 1).sum();
    let room = Program::BYTES - length - "nobody".len() - "/a".len() - 3;
    let biggest = Program { cwd: Some(path(room)), ..small };
    assert_eq!(biggest.check(), Ok(()));
    let mut more = biggest.clone();
    more.command.push(String::new());
    assert!(more.check().is_err(), "it is the biggest");
    biggest
}

#[test]
fn programs_fit_too() {
    // Half as deep as those of containers may be: what does not fit is refused before anything exists.
    let launch = Launch { workload: Workload::Process(program()), cgroups: cgroups_of(1024), ..launch() };
    let bytes = durable::encode(&launch).unwrap();
    assert_eq!(durable::decode::<Launch>(&bytes).unwrap(), launch);
    let request = Request::Launch(LaunchRequest { program: Some(program()), ..request() });
    let frame = wire::encode(&request).unwrap();
    assert_eq!(wire::decode::<Request>(&frame[4..]).unwrap(), request);
    let line = serde_json::to_string(&request).unwrap();
    assert!(line.len() <= wire::MAX_FRAME, "{} bytes", line.len());
}

#[test]
fn launches_and_their_entries_fit_into_files() {
    let launch = launch();
    let bytes = durable::encode(&launch).unwrap();
    assert_eq!(durable::decode::<Launch>(&bytes).unwrap(), launch);
    let estate = Estate {
        rootfs: Some(path(PATH_MAX)),
        processes: vec![process()],
        cgroups: cgroups(),
        ..Estate::of(&launch, None)
    };
    let entry = Entry {
        estate,
        origin: GcOrigin::Container,
        since: stamp(),
        attempts: u32::MAX,
        step: Step::Commands,
        in_the_way: "x".repeat(1024),
        commands_done: u32::MAX,
        devices: Vec::new(),
        remove: true,
    };
    let bytes = durable::encode(&entry).unwrap();
    assert_eq!(durable::decode::<Entry>(&bytes).unwrap(), entry);
}

#[test]
fn requests_fit_into_frames_and_lines() {
    let launch = Request::Launch(request());
    let add = Request::GcAdd(GcAddRequest {
        id: id(),
        runtime: runtime(),
        pids: vec![u32::MAX; 1024],
        bundle: Some(path(PATH_MAX)),
        cleanup: cleanup(),
    });
    for request in [launch, add] {
        let frame = wire::encode(&request).unwrap();
        assert_eq!(wire::decode::<Request>(&frame[4..]).unwrap(), request);
        let line = serde_json::to_string(&request).unwrap();
        assert!(line.len() <= wire::MAX_FRAME, "{} bytes", line.len());
    }
}
