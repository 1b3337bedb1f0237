use super::*;
use sexton_common::{
    ExitRecord, ExitStatus, ProcessIdentity, Source,
    launch::{Mode, OnShimDeath, Origin, Stdio},
    runtime::Runtime,
};
use std::{fs, os::unix::fs::PermissionsExt};

/// Cleans after a container whose runtime, of unknown root, is this script.
async fn attempt(script: &str) -> (Result<(), String>, bool) {
    let root = tempfile::tempdir().unwrap();
    let program = root.path().join("runtime");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let runtime = Runtime { program, ..Runtime::default() };
    let id: sexton_common::ContainerId = "c".parse().unwrap();
    let dead = ProcessIdentity::gone(1).unwrap();
    let (bundle, ready) = (PathBuf::from("/b"), Stamp::now());
    let init = Init {
        id: id.clone(),
        generation: 1,
        process: dead,
        cgroups: vec![],
        ready,
        executable: None,
        shim: dead,
        runtime: runtime.clone(),
        bundle: bundle.clone(),
    };
    let launch = Launch {
        id: id.clone(),
        generation: 1,
        bundle,
        runtime,
        stdio: Stdio::Null,
        mode: Mode::Run,
        auto_remove: false,
        on_shim_death: OnShimDeath::Adopt,
        shim: dead,
        origin: Origin::Sexton,
        cgroups: vec![],
        created: ready,
        cleanup: sexton_common::cleanup::Cleanup::default(),
    };
    let record = ExitRecord {
        id,
        generation: 1,
        process: Some(dead),
        status: ExitStatus::Code(0),
        source: Source::Waited,
        oom_killed: None,
        started: None,
        exited: None,
        usage: None,
        memory_peak: None,
        cpu_ns: None,
    };
    let estate = Estate {
        launch: Arc::new(launch),
        init: Some(Arc::new(init)),
        verdict: Verdict { record, durable: true },
        dir: ContainerDir::at(root.path().into()),
    };
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let runtimes = Runtimes::new(limit);
    let cleaner = Cleaner { runtimes, lanes: Lanes::new(2), blocking: Blocking::default() };
    let done = cleaner.attempt(estate, Duration::from_secs(20)).await;
    (done, root.path().join("clean").exists())
}

#[tokio::test]
async fn a_runtime_that_does_not_know_it_any_more_is_believed() {
    assert_eq!(attempt("exit 1").await, (Ok(()), true));
}

#[tokio::test]
async fn one_that_does_not_answer_is_not_taken_for_a_no() {
    let (done, noted) = attempt("kill -9 $$").await;
    assert!(done.is_err() && !noted, "{done:?}");
}
