use super::*;
use crate::gc::census::Census;
use crate::gc::fixture::{BRIEF, Cgroups, LONG, Running, comm, freeze, inside, nobody, thaw, wait_for, within, write};
use crate::sys;
use std::{collections::HashSet, fs, process::Command};

const STUBBORN: &str = "trap '' TERM HUP INT; sleep 1000 & echo ready; wait";

/// What would be in the way now. Kills nobody. Blocks on the file system.
fn spared_by(pids: &[u32]) -> Spared {
    let pids = pids.iter().copied().collect();
    Spared::of(move || pids)
}

fn look(cgroups: &[CgroupDir], processes: &[ProcessIdentity], spared: &Spared) -> Option<Obstacle> {
    let scene = Scene { cgroups, processes, spared };
    scene.look(false)
}

#[test]
fn nested_ones_that_ignore_everything_else_are_killed_in_every_hierarchy() {
    let Some(cgroups) = Cgroups::new(&["freezer", "pids", "cpu"]) else { return };
    let mut nested = Running::new(&[cgroups.below("a/b c/\u{e9}").dir], STUBBORN);
    let mut everywhere = cgroups.run(STUBBORN);
    let mut only_cpu = Running::new(&cgroups.paths()[2..], STUBBORN);
    let obstacle = look(&cgroups.0, &[], &nobody()).unwrap();
    // Three shells, each with its sleep.
    assert_eq!((obstacle.step, obstacle.holders.len()), (Step::Processes, 6), "{obstacle:?}");
    assert!(nested.lives() && everywhere.lives() && only_cpu.lives(), "a look kills nobody");
    end(&cgroups.0, &[], &nobody(), within(LONG)).unwrap();
    assert!(!nested.lives() && !everywhere.lives() && !only_cpu.lives());
    assert_eq!(look(&cgroups.0, &[], &nobody()), None);
}

#[test]
fn a_named_process_is_killed_wherever_it_is() {
    let mut named = Running::sleep(&[]);
    let process = named.process();
    let stranger = ProcessIdentity { start_time: process.start_time + 1, ..process };
    end(&[], &[stranger], &nobody(), within(LONG)).unwrap();
    let what = look(&[], &[process], &nobody()).unwrap().what;
    assert!(named.lives() && what.starts_with(&format!("process {} (sleep) is one of", process.pid)), "{what}");
    end(&[], &[process], &nobody(), within(LONG)).unwrap();
    assert!(!named.lives());
}

#[test]
fn its_own_freezer_is_thawed() {
    let Some(cgroups) = Cgroups::new(&["freezer"]) else { return };
    let below = cgroups.below("below");
    let mut running = [cgroups.run(STUBBORN), Running::new(std::slice::from_ref(&below.dir), STUBBORN)];
    for dir in [cgroups.dir(0), &below.dir] {
        freeze(dir);
    }
    let obstacle = look(&cgroups.0, &[], &nobody()).unwrap();
    assert_eq!(obstacle.holders[0].frozen_by.as_deref(), Some(cgroups.dir(0)), "the topmost");
    end(&cgroups.0, &[], &nobody(), within(LONG)).unwrap();
    assert!(running.iter_mut().all(|running| !running.lives()));
}

#[test]
fn a_freezer_above_is_somebody_else_s_and_named() {
    let Some(parent) = Cgroups::new(&["freezer"]) else { return };
    let own = [parent.below("own")];
    let mut running = Running::sleep(&[own[0].dir.clone()]);
    freeze(parent.dir(0));
    // Nothing that waiting would change.
    let began = Instant::now();
    let obstacle = end(&own, &[], &nobody(), within(LONG)).unwrap_err();
    assert!(began.elapsed() < LONG / 2, "{obstacle:?}");
    let (pid, above) = (running.pid(), parent.dir(0).display());
    let way_out = format!("thaw it (echo THAWED > {above}/freezer.state)");
    assert_eq!(obstacle.what, format!("process {pid} (sleep) is frozen by cgroup {above}: {way_out}"));
    assert_eq!(obstacle.holders.len(), 1);
    assert_eq!(
        (obstacle.holders[0].process, &obstacle.holders[0].frozen_by),
        (running.process(), &Some(parent.dir(0).into()))
    );
    assert!(running.lives());
    assert_eq!(fs::read_to_string(parent.dir(0).join("freezer.state")).unwrap(), "FROZEN\n");
    thaw(parent.dir(0));
    end(&own, &[], &nobody(), within(LONG)).unwrap();
    assert!(!running.lives());
}

#[test]
fn a_fork_bomb_loses() {
    let Some(cgroups) = Cgroups::new(&["freezer", "pids"]) else { return };
    write(cgroups.dir(1).join("pids.max"), "100");
    let bomb = "import os\nprint('ready', flush=True)\nwhile True:\n try: os.fork()\n except OSError: pass";
    let mut running = cgroups.run(&format!("exec python3 -c \"{bomb}\""));
    wait_for("the bomb", || fs::read_to_string(cgroups.dir(1).join("cgroup.procs")).unwrap().lines().count() > 20);
    end(&cgroups.0, &[], &nobody(), within(LONG)).unwrap();
    assert!(!running.lives());
    assert_eq!(fs::read_to_string(cgroups.dir(0).join("freezer.state")).unwrap(), "THAWED\n");
    assert_eq!(look(&cgroups.0, &[], &nobody()), None);
}

/// Each lives shorter than it takes to find and hold it.
#[test]
fn processes_that_run_from_pid_to_pid_lose() {
    if std::env::var_os("SEXTON_UNIT_RUNS").is_some() {
        while matches!(sys::fork(), Ok(None)) {}
        sys::leave(0);
    }
    let Some(cgroups) = Cgroups::new(&["freezer"]) else { return };
    let test = format!("'{}' {}", std::env::current_exe().unwrap().display(), std::thread::current().name().unwrap());
    let script = format!("echo ready; SEXTON_UNIT_RUNS=1 exec {test} --exact");
    let mut running: Vec<Running> = (0..8).map(|_| cgroups.run(&script)).collect();
    wait_for("their first step", || running.iter_mut().all(|running| !running.lives()));
    let mut pids = HashSet::new();
    wait_for("ten steps", || {
        pids.insert(fs::read_to_string(cgroups.dir(0).join("cgroup.procs")).unwrap());
        pids.len() > 10
    });
    end(&cgroups.0, &[], &nobody(), within(LONG)).unwrap();
    assert_eq!(fs::read_to_string(cgroups.dir(0).join("cgroup.procs")).unwrap(), "");
    assert_eq!(fs::read_to_string(cgroups.dir(0).join("freezer.state")).unwrap(), "THAWED\n");
}

#[test]
fn a_spared_one_lives_and_is_named() {
    let hierarchies = ["freezer", ""];
    let Some(cgroups) = Cgroups::new(&hierarchies) else { return };
    let mut spared = Running::sleep(&cgroups.paths());
    let mut own = Running::sleep(&cgroups.paths());
    let others = spared_by(&[spared.pid()]);
    let obstacle = end(&cgroups.0, &[spared.process()], &others, within(LONG)).unwrap_err();
    assert!(!own.lives() && spared.lives(), "{obstacle:?}");
    assert_eq!(obstacle.holders.len(), 1);
    assert_eq!(obstacle.holders[0].process, spared.process());
    assert!(obstacle.what.starts_with(&format!("process {} (sleep) is in cgroup ", spared.pid())), "{obstacle:?}");
    assert!(obstacle.what.contains("shared"), "{obstacle:?}");
    assert_eq!(obstacle.cgroups, [cgroups.dir(1)]);
    assert!(look(&cgroups.0, &[], &others).unwrap().what.contains("shared"));
    // Frozen by whoever has it now: that is not undone.
    write(cgroups.dir(0).join("freezer.state"), "FROZEN");
    end(&cgroups.0, &[], &others, within(LONG)).unwrap_err();
    assert_ne!(fs::read_to_string(cgroups.dir(0).join("freezer.state")).unwrap(), "THAWED\n");
}

/// Two containers were given one `cgroupsPath`: the other one's init is known, and with it all in its pid namespace.
#[test]
fn whoever_is_in_the_pid_namespace_of_a_spared_one_is_spared_too() {
    let Some(cgroups) = Cgroups::new(&["cpu"]) else { return };
    let script = "exec unshare --pid --fork --kill-child sh -c 'sleep 1000 & echo ready; wait'";
    let mut outer = cgroups.run(script);
    let pids = || fs::read_to_string(cgroups.dir(0).join("cgroup.procs")).unwrap();
    wait_for("the sleep", || pids().lines().count() == 3);
    let inner: Vec<u32> = pids().lines().map(|pid| pid.parse().unwrap()).filter(|pid| *pid != outer.pid()).collect();
    // Not that of the shell that is the init: of its namespace.
    let ns = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert!(ns(inner[0]) == ns(inner[1]) && ns(inner[0]) != ns(outer.pid()));
    let others = spared_by(&[inner[0], outer.pid()]);
    let obstacle = end(&cgroups.0, &[], &others, within(LONG)).unwrap_err();
    assert!(outer.lives() && obstacle.holders.len() == 3, "{obstacle:?}");
    end(&cgroups.0, &[], &nobody(), within(LONG)).unwrap();
}

#[test]
fn a_cgroup_that_we_are_in_is_nobodys() {
    // In a process of its own: nobody else is moved.
    if !inside(&["-m"], "") {
        return;
    }
    let Some(cgroups) = Cgroups::new(&["cpu"]) else { return };
    let below = cgroups.below("ours");
    let mut other = Running::sleep(&cgroups.paths());
    write(below.dir.join("cgroup.procs"), "0");
    for listed in [&cgroups.0, &vec![below.clone()]] {
        let obstacle = end(listed, &[], &nobody(), within(LONG)).unwrap_err();
        assert!(obstacle.what.contains("ours is not a container's") && obstacle.holders.is_empty(), "{obstacle:?}");
        assert_eq!(look(listed, &[], &nobody()), Some(obstacle));
    }
    assert!(other.lives());
    let root = cgroups.dir(0).parent().unwrap();
    write(root.join("cgroup.procs"), "0");
    let all = [CgroupDir { hierarchy: "cpu".into(), dir: root.into() }];
    let obstacle = end(&all, &[], &nobody(), within(BRIEF)).unwrap_err();
    assert!(obstacle.what.contains("has everybody"), "{obstacle:?}");
    assert!(other.lives());
}

#[test]
fn v2_alone() {
    let setup = "umount -R /sys/fs/cgroup\nmount -t cgroup2 none /sys/fs/cgroup";
    if !inside(&["-m", "--propagation", "private"], setup) {
        return;
    }
    assert_eq!(sexton_common::cgroup::layout().unwrap(), (false, true));
    let Some(cgroups) = Cgroups::new(&[""]) else { return };
    let below = cgroups.below("a/b");
    assert!(cgroups.dir(0).join("cgroup.kill").exists());
    let mut running = [cgroups.run(STUBBORN), Running::sleep(std::slice::from_ref(&below.dir))];
    write(cgroups.dir(0).join("cgroup.freeze"), "1");
    wait_for("the freezing", || fs::read_to_string(below.dir.join("cgroup.events")).unwrap().contains("frozen 1"));
    let obstacle = look(&cgroups.0, &[], &nobody()).unwrap();
    let way_out = format!("thaw it (echo 0 > {}/cgroup.freeze); and 2 more", cgroups.dir(0).display());
    assert!(obstacle.what.ends_with(&way_out), "{obstacle:?}");
    assert_eq!(obstacle.cgroups, [cgroups.dir(0)]);
    end(&cgroups.0, &[], &nobody(), within(LONG)).unwrap();
    assert!(running.iter_mut().all(|running| !running.lives()));
    let events = fs::read_to_string(cgroups.dir(0).join("cgroup.events")).unwrap();
    assert!(events.contains("populated 0"), "{events}");
}

/// `cgroup.procs` of a threaded cgroup cannot be read: its threads tell whose they are.
#[test]
fn a_threaded_cgroup_of_v2_has_processes() {
    let Some(domain) = Cgroups::new(&[""]) else { return };
    let threaded = [domain.below("threaded")];
    let mut running = Running::sleep(&domain.paths());
    write(threaded[0].dir.join("cgroup.type"), "threaded");
    write(threaded[0].dir.join("cgroup.threads"), &running.pid().to_string());
    assert!(fs::read_to_string(threaded[0].dir.join("cgroup.procs")).is_err());
    let obstacle = look(&threaded, &[], &nobody()).unwrap();
    assert_eq!(obstacle.holders[0].process, running.process(), "{obstacle:?}");
    end(&threaded, &[], &nobody(), within(LONG)).unwrap();
    assert!(!running.lives());
}

/// It is in none of the cgroups any more, and is not dead: it waits for a process of its pid namespace that cannot die,
/// its own child, or one that was put there from outside.
#[test]
fn an_init_that_waits_for_its_namespace_is_not_taken_for_gone() {
    let Some(elsewhere) = Cgroups::new(&["freezer"]) else { return };
    let freezer = elsewhere.dir(0);
    let enters = format!("echo 0 > {}/cgroup.procs; exec sleep 1000", freezer.display());
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    for from_outside in [false, true] {
        let Some(cgroups) = Cgroups::new(&["cpu"]) else { return };
        let child = if from_outside { String::new() } else { format!("sh -c \"{enters}\" &") };
        let outer =
            cgroups.run(&format!("exec unshare --pid --fork sh -c '{child} echo ready; read never < /dev/zero'"));
        let init = read(&format!("/proc/{0}/task/{0}/children", outer.pid())).trim().parse().unwrap();
        let init = ProcessIdentity::of(init).unwrap();
        let nsenter = from_outside.then(|| {
            let mut command = Command::new("nsenter");
            command.args(["-t", &init.pid.to_string(), "-p", "sh", "-c", &format!("echo ready; {enters}")]);
            Running::spawn(command)
        });
        let stuck = || read(&format!("{}/cgroup.procs", freezer.display())).trim().parse::<u32>().ok();
        wait_for("the sleep", || stuck().is_some_and(|pid| comm(pid) == "sleep"));
        let stuck = ProcessIdentity::of(stuck().unwrap()).unwrap();
        freeze(freezer);
        // unshare(1) is left alone: it is not the container's.
        let others = spared_by(&[outer.pid()]);
        let mut last = None;
        wait_for("the init to wait for its namespace", || {
            let obstacle = end(&[], &[init], &others, within(BRIEF)).unwrap_err();
            let waits = read(&format!("/proc/{}/stack", init.pid)).contains("zap_pid_ns_processes");
            let both = obstacle.holders.len() == 2;
            last = Some(obstacle);
            waits && both
        });
        let obstacle = last.unwrap();
        let left = read(&format!("{}/cgroup.procs", cgroups.dir(0).display()));
        assert!(!left.lines().any(|pid| pid == init.pid.to_string()), "{left}");
        assert_eq!(obstacle.holders[0].process, stuck, "{obstacle:?}");
        assert_eq!(obstacle.holders[0].frozen_by.as_deref(), Some(freezer));
        assert!(obstacle.holders[0].how.contains(&format!("namespace of process {} (sh)", init.pid)), "{obstacle:?}");
        assert_eq!(obstacle.holders[1].process, init, "{obstacle:?}");
        assert_eq!(obstacle.holders.len(), 2);
        assert!(obstacle.what.starts_with(&format!("process {} (sleep) is frozen", stuck.pid)), "{obstacle:?}");
        thaw(freezer);
        end(&[], &[init], &nobody(), within(LONG)).unwrap();
        drop(nsenter);
    }
}

/// The number of one that left is given to somebody else between the reading of the list and the opening.
#[test]
fn whoever_gets_the_pid_of_one_that_left_is_not_hit() {
    if !inside(&["--pid", "--fork", "--mount-proc"], "") {
        return;
    }
    let Some(cgroups) = Cgroups::new(&["cpu"]) else { return };
    let mut own = Running::sleep(&cgroups.paths());
    let census = Census::of(dirs(&cgroups.0));
    let pids: Vec<u32> = census.pids.keys().copied().collect();
    assert_eq!(pids, [own.pid()]);
    assert_eq!(census.hold(&pids, dirs(&cgroups.0)).unwrap().len(), 1);
    own.child.kill().unwrap();
    own.child.wait().unwrap();
    let mut stranger = None;
    wait_for("the pid's return", || {
        write("/proc/sys/kernel/ns_last_pid", &(pids[0] - 1).to_string());
        stranger = Some(Running::sleep(&[])).filter(|stranger| stranger.pid() == pids[0]);
        stranger.is_some()
    });
    assert!(census.hold(&pids, dirs(&cgroups.0)).unwrap().is_empty(), "it is not in the cgroup");
    assert!(stranger.unwrap().lives());
}
