//! Plain programs get what was asked for: variables, directory, user, cgroup and streams, and nothing of the shim's.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus,
    cgroup::{self, CgroupDir},
    launch::{Mode, Stdio},
    wire::{ErrorCode, LaunchRequest, State},
    workload::Program,
};
use sexton_tests::{LONG, Node, leftovers, proc, run, skipped, wait_for, wait_until};
use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

/// Runs a script whose output is kept; what it said.
#[track_caller]
fn said(node: &Node, name: &str, script: &str, change: impl FnOnce(&mut Program)) -> String {
    let (id, out) = (node.id(name), node.dir().join(format!("{name}.out")));
    let mut request = LaunchRequest {
        stdio: Stdio::File(out.clone()),
        ..node.program_request(&id, Mode::Run, &["sh", "-c", script])
    };
    change(request.program.as_mut().unwrap());
    node.launch(request).unwrap();
    assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(0)), "{name}: {}", fs::read_to_string(&out).unwrap());
    node.wait_state(&id, State::Stopped);
    fs::read_to_string(out).unwrap()
}

fn variables(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

#[test]
fn environment_directory_and_user() {
    if skipped() {
        return;
    }
    let mut node = Node::bare();
    node.env.extend([("NOTIFY_SOCKET".into(), "/nowhere".into()), ("KEPT".into(), "yes".into())]);
    node.start_daemon();
    let text = said(&node, "env", "env", |program| {
        program.env = ["A=1", "B=x=y z", "KEPT=no", "A=2", "EMPTY="].map(str::to_owned).to_vec();
    });
    let all = variables(&text);
    assert_eq!((all["A"], all["B"], all["KEPT"], all["EMPTY"]), ("2", "x=y z", "no", ""));
    assert!(all.contains_key("PATH") && !all.contains_key("NOTIFY_SOCKET"), "{text}");
    assert_eq!(said(&node, "root", "pwd", |_| ()), "/\n");
    assert_eq!(said(&node, "there", "pwd", |program| program.cwd = Some("/usr/bin".into())), "/usr/bin\n");
    // Its PATH is its own.
    let dir = node.dir().join("bin");
    fs::create_dir(&dir).unwrap();
    let _ = node.script("bin/own-program", "echo mine");
    let path = format!("PATH={}:/usr/bin:/bin", dir.display());
    assert_eq!(said(&node, "path", "own-program", |program| program.env = vec![path]), "mine\n");

    let text = said(&node, "user", "id -u; id -g; id -G; env; grep Cap /proc/self/status", |program| {
        program.user = Some("nobody".into());
    });
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let entry: Vec<&str> = passwd.lines().find(|line| line.starts_with("nobody:")).unwrap().split(':').collect();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[1]), (entry[2], entry[3]));
    let all = variables(&text);
    assert_eq!((all["USER"], all["LOGNAME"], all["HOME"], all["SHELL"]), ("nobody", "nobody", entry[5], entry[6]));
    let effective = lines.iter().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    assert_eq!(effective.trim(), "0000000000000000");
    let text =
        said(&node, "number", "id -u; id -G; echo $HOME-$USER", |program| program.user = Some("12345:54321".into()));
    assert_eq!(text, "12345\n54321\n/-\n");
    let text = said(&node, "home", "echo $HOME", |program| {
        (program.user, program.env) = (Some("nobody".into()), vec!["HOME=/given".into()]);
    });
    assert_eq!(text, "/given\n", "what was given counts most");
    node.finish();
}

/// A session of its own, descriptors 0 to 2, no signal blocked or ignored, and no shield against the OOM killer.
#[test]
fn nothing_of_the_shim_s_is_inherited() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let mut shim = node.shim_alone("run", &id);
    shim.args(["--", "sleep", "100000"]);
    let words = std::iter::once(shim.get_program()).chain(shim.get_args()).map(|word| word.to_str().unwrap());
    let script = format!(
        "cd /proc; umask 0777; exec 5</etc/passwd 8</etc/group; exec env --block-signal=TERM,USR1,CHLD \
         --ignore-signal=HUP,INT,PIPE,USR2 {}",
        words.collect::<Vec<_>>().join(" ")
    );
    let mut careless = Command::new("sh");
    careless.args(["-c", &script]).env("SEXTON_TEST_NODE", node.prefix());
    let launched = sexton_tests::shim::launched(&run(&mut careless).ok());
    let pid = launched.pid;
    wait_for("the program", LONG, || proc::command_line(pid) == "sleep 100000");
    for field in ["SigBlk", "SigIgn", "SigCgt", "SigPnd"] {
        assert_eq!(proc::status(pid, field).as_deref(), Some("0000000000000000"), "{field}");
    }
    assert_eq!(proc::status(pid, "Umask").as_deref(), Some("0022"));
    // Its loader has its libraries open for a moment.
    let fds = || leftovers::entries(format!("/proc/{pid}/fd").as_ref()).len();
    assert!(wait_until(LONG, || fds() == 3), "{:?}", proc::descriptors(pid));
    let of = |pid: u32, file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    assert_eq!(of(pid, "oom_score_adj"), of(std::process::id(), "oom_score_adj"));
    let stat = of(pid, "stat");
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    assert_eq!((fields[2], fields[3]), (pid.to_string().as_str(), pid.to_string().as_str()), "group and session");
    // The waiting one holds nothing that others wait to be closed: `create` returned, and the shim's death is heard.
    node.kill(&id, 9);
    node.wait_state(&id, State::Stopped);
    node.finish();
}

/// Its cgroups, as the kernel says.
fn cgroups_of(pid: u32) -> Vec<CgroupDir> {
    cgroup::of_process(pid).unwrap()
}

fn all_end_in(found: &[CgroupDir], end: &str) -> bool {
    !found.is_empty() && found.iter().all(|cgroup| cgroup.dir.ends_with(end))
}

#[track_caller]
fn sleeping(node: &Node, id: &ContainerId, cgroup: Option<&str>) -> (u32, Vec<CgroupDir>) {
    let launched = node
        .launch_program(id, Mode::Run, &["sleep", "100000"], |program| program.cgroup = cgroup.map(Into::into))
        .unwrap();
    (launched.pid, cgroups_of(launched.pid))
}

/// Below the root of each hierarchy, removed when it is dropped.
struct Parent(Vec<PathBuf>);

impl Parent {
    fn new(name: &str) -> Self {
        let path = format!("/{name}");
        let dirs = cgroup::expected(&cgroup::own().unwrap(), Some(&path), &"x".parse().unwrap()).unwrap();
        Self(dirs.into_iter().map(|cgroup| cgroup.dir).collect())
    }

    fn make(&self) {
        for dir in &self.0 {
            fs::create_dir(dir).unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(above) = fs::read(dir.parent().unwrap().join(file)) {
                    let _ = fs::write(dir.join(file), above);
                }
            }
        }
    }

    fn there(&self) -> usize {
        self.0.iter().filter(|dir| dir.exists()).count()
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        self.0.iter().for_each(|dir| drop(fs::remove_dir(dir)));
    }
}

fn cgroups_are_what_was_asked() {
    let node = Node::new();
    let hierarchies = cgroup::own().unwrap().len();
    let id = node.id("own");
    let (pid, found) = sleeping(&node, &id, None);
    assert!(all_end_in(&found, &format!("sexton-{id}")), "{found:?}");
    assert_eq!(found.len(), hierarchies, "{found:?}");
    assert!(node.record(&id).is_none() && !proc::is_dead(pid));
    node.kill(&id, 9);
    node.wait_state(&id, State::Stopped);
    assert!(found.iter().all(|cgroup| !cgroup.dir.exists()), "{found:?}");

    // Missing: it is made.
    let parent = Parent::new(&format!("{}top", node.prefix()));
    let top = parent.0[0].file_name().unwrap().to_str().unwrap().to_owned();
    for (name, path) in [("given", format!("/{top}/jobs")), ("relative", format!("{top}/jobs"))] {
        let id = node.id(name);
        let (_, found) = sleeping(&node, &id, Some(&path));
        assert!(all_end_in(&found, &format!("{top}/jobs/sexton-{id}")), "{found:?}");
        // Another one is beside it, and what ends the one leaves the other alone.
        let second = node.id("second");
        let (pid, beside) = sleeping(&node, &second, Some(&path));
        assert!(all_end_in(&beside, &format!("{top}/jobs/sexton-{second}")), "{beside:?}");
        node.kill(&id, 9);
        node.wait_state(&id, State::Stopped);
        assert!(node.record(&second).is_none() && !proc::is_dead(pid));
        node.kill(&second, 9);
        node.wait_state(&second, State::Stopped);
        node.remove(&second, false).unwrap();
        assert!(found.iter().chain(&beside).all(|cgroup| !cgroup.dir.exists()), "{found:?}");
    }
    parent.0.iter().for_each(|dir| drop(fs::remove_dir(dir.join("jobs"))));
    drop(parent);

    // One that was there before: whoever is in it stays alive.
    let parent = Parent::new(&format!("{}shared", node.prefix()));
    parent.make();
    let path = format!("/{}", parent.0[0].file_name().unwrap().to_str().unwrap());
    let mut stranger = Command::new("sleep").arg("100000").spawn().unwrap();
    let entered: Vec<_> =
        parent.0.iter().filter(|dir| fs::write(dir.join("cgroup.procs"), stranger.id().to_string()).is_ok()).collect();
    let id = node.id("shared");
    let (_, found) = sleeping(&node, &id, Some(&path));
    let fine = all_end_in(&found, &format!("sexton-{id}"));
    node.kill(&id, 9);
    node.wait_state(&id, State::Stopped);
    let lives = stranger.try_wait().unwrap().is_none();
    let (stays, there) = (entered.len(), parent.there());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(fine && lives && stays > 0, "{found:?}");
    assert_eq!(there, parent.0.len(), "it was not ours to remove");
    wait_for("it to be empty", LONG, || parent.0.iter().all(|dir| fs::remove_dir(dir).is_ok() || !dir.exists()));
    drop(parent);
    node.finish();
}

#[test]
fn cgroups_of_this_machine() {
    if !skipped() {
        cgroups_are_what_was_asked();
    }
}

const INNER: &str = "SEXTON_TEST_UNDER_V2";

/// In a mount namespace in which `/sys/fs/cgroup` is cgroup2 and nothing else.
#[test]
fn cgroups_of_v2() {
    if skipped() {
        return;
    }
    if std::env::var_os(INNER).is_some() {
        assert_eq!(cgroup::layout().unwrap(), (false, true));
        return cgroups_are_what_was_asked();
    }
    let script = "umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup && \
                  exec \"$0\" --exact cgroups_of_v2 --nocapture";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(std::env::current_exe().unwrap());
    let ended = run(command.env(INNER, "1"));
    assert!(ended.status.success() && ended.stdout.contains("1 passed"), "{}\n{}", ended.stdout, ended.stderr);
}

#[test]
fn what_makes_no_sense() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let id = node.id("a");
    let request = || node.program_request(&id, Mode::Run, &["true"]);
    let with = |change: &dyn Fn(&mut Program)| {
        let mut request = request();
        change(request.program.as_mut().unwrap());
        request
    };
    let restart = "always".parse().unwrap();
    for (request, part) in [
        (LaunchRequest { bundle: "/b".into(), ..request() }, "exclude each other"),
        (LaunchRequest { program: None, ..request() }, "what to run is missing"),
        (LaunchRequest { restart, auto_remove: true, ..request() }, "exclude each other"),
        (with(&|program| program.command.clear()), "is empty"),
        (with(&|program| program.command.push("x".repeat(30_000))), "bytes together"),
        (with(&|program| program.command.push("a\0".into())), "NUL"),
        (with(&|program| program.env.push("A".into())), "NAME=VALUE"),
        (with(&|program| program.env.push("=1".into())), "NAME=VALUE"),
        (with(&|program| program.cwd = Some("tmp".into())), "absolute"),
        (with(&|program| program.cgroup = Some("/a/../b".into())), "'..'"),
        (with(&|program| program.user = Some("a:b:c".into())), "NAME or UID"),
    ] {
        let refused = node.launch(request).unwrap_err();
        assert!(refused.code == ErrorCode::Invalid && refused.message.contains(part), "{refused:?} lacks {part}");
    }
    for (change, part) in [
        (
            &(|program: &mut Program| program.user = Some("no-such-user".into())) as &dyn Fn(&mut Program),
            "no-such-user",
        ),
        (&|program| program.user = Some("0:no-such-group".into()), "no-such-group"),
        (&|program| program.cwd = Some("/nonexistent".into()), "/nonexistent"),
    ] {
        let refused = node.launch(with(change)).unwrap_err();
        assert_eq!((refused.code, refused.exit_code), (ErrorCode::RuntimeFailed, 125), "{refused:?}");
        assert!(refused.message.contains(part), "{refused:?} lacks {part}");
    }
    assert_eq!(node.list(true), []);
    node.finish();
}
