use super::*;
use crate::gc::fixture::{BRIEF, Cgroups, LONG, Running, inside, nobody, wait_for, within};
use crate::gc::processes;
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use std::fs;

#[test]
fn they_go_in_every_hierarchy_with_all_below_them() {
    // `unified` is what runc leaves in a hybrid layout.
    let Some(cgroups) = Cgroups::new(&["freezer", "pids", "cpu", "memory", ""]) else { return };
    for dir in cgroups.paths() {
        fs::create_dir_all(dir.join("a/b/c")).unwrap();
        fs::create_dir_all(dir.join("a/b c\u{e9}\t")).unwrap();
    }
    let mut running = Running::new(&cgroups.paths(), "sleep 1000 & echo ready; wait");
    processes::end(&cgroups.0, &[], &nobody(), within(LONG)).unwrap();
    assert!(!running.lives());
    remove(&cgroups.paths(), within(LONG)).unwrap();
    assert!(cgroups.paths().iter().all(|dir| !dir.exists()));
    remove(&cgroups.paths(), within(LONG)).unwrap();
}

#[test]
fn one_with_processes_stays_and_names_them() {
    let Some(cgroups) = Cgroups::new(&["pids", ""]) else { return };
    let below = cgroups.below("a/b");
    let running = Running::sleep(&[below.dir.clone(), cgroups.dir(1).to_owned()]);
    let obstacle = remove(&cgroups.paths(), within(BRIEF)).unwrap_err();
    assert_eq!((obstacle.step, obstacle.holders.len()), (Step::Cgroups, 1), "{obstacle:?}");
    assert_eq!(obstacle.holders[0].process, running.process());
    let expected = format!("process {} (sleep) is in cgroup {}", running.pid(), below.dir.display());
    assert!(obstacle.what.starts_with(&expected), "{obstacle:?}");
    assert_eq!(obstacle.cgroups, [cgroups.dir(1)], "v2 tells of a change");
    drop(running);
    // No attempt waits for long, and who was killed may take longer to die.
    wait_for("its end", || remove(&cgroups.paths(), within(LONG)).is_ok());
}

/// A path to its end is longer than any system call takes.
#[test]
fn one_deeper_than_any_path_goes() {
    let Some(cgroups) = Cgroups::new(&["cpu"]) else { return };
    let name = "n".repeat(200);
    let directory = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::open(cgroups.dir(0), directory, Mode::empty()).unwrap();
    for _ in 0..40 {
        mkdirat(&at, name.as_str(), Mode::RWXU).unwrap();
        at = openat(&at, name.as_str(), directory, Mode::empty()).unwrap();
    }
    let procs = openat(&at, "cgroup.procs", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut running = Running::sleep(&[]);
    rustix::io::write(&procs, running.pid().to_string().as_bytes()).unwrap();
    drop((at, procs));
    let obstacle = remove(&cgroups.paths(), within(BRIEF)).unwrap_err();
    assert_eq!(obstacle.holders[0].process, running.process());
    processes::end(&cgroups.0, &[], &nobody(), within(LONG)).unwrap();
    assert!(!running.lives());
    remove(&cgroups.paths(), within(LONG)).unwrap();
    assert!(!cgroups.dir(0).exists());
}

#[test]
fn what_is_no_cgroup_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a");
    fs::create_dir_all(dir.join("b")).unwrap();
    let missing = root.path().join("missing/a");
    remove(&[dir.clone(), missing], within(LONG)).unwrap();
    assert!(dir.join("b").exists());
}

/// Whoever mounted something over a cgroup has it still.
#[test]
fn a_file_system_that_is_mounted_in_there_is_not_entered() {
    if !inside(&["-m", "--propagation", "private"], "") {
        return;
    }
    let Some(cgroups) = Cgroups::new(&["cpu"]) else { return };
    let below = cgroups.below("below").dir;
    let run = |program: &str, args: &[&str]| {
        let done = std::process::Command::new(program).args(args).arg(&below).status().unwrap();
        assert!(done.success());
    };
    run("mount", &["-t", "tmpfs", "none"]);
    fs::create_dir(below.join("kept")).unwrap();
    let obstacle = remove(&cgroups.paths(), within(BRIEF)).unwrap_err();
    assert!(below.join("kept").exists());
    assert!(obstacle.what.contains("below"), "{obstacle:?}");
    run("umount", &[]);
    remove(&cgroups.paths(), within(LONG)).unwrap();
}

/// v2 tells when the last one goes: the wait ends with it.
#[test]
fn the_end_of_the_last_one_is_waited_for() {
    let Some(cgroups) = Cgroups::new(&[""]) else { return };
    let running = Running::sleep(&cgroups.paths());
    let busy = sweep(cgroups.dir(0)).unwrap();
    let wchan = format!("/proc/self/task/{}/wchan", nix::unistd::gettid());
    let ender = std::thread::spawn(move || {
        wait_for("the wait", || fs::read_to_string(&wchan).unwrap().contains("poll"));
        drop(running);
    });
    let began = Instant::now();
    wait(&[busy], LONG);
    assert!(began.elapsed() < LONG / 2, "nothing was told");
    ender.join().unwrap();
    remove(&cgroups.paths(), within(LONG)).unwrap();
}
