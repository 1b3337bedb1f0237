//! What the container and the runtime see of whoever started them: nothing. Under this machine's cgroups and under v2.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitStatus, Source,
    launch::Mode,
    runtime::Runtime,
    wire::{LaunchRequest, State},
};
use sexton_tests::{
    Bundle, LONG, Node, Options, binaries, leftovers, node_api::killed_by, proc, run, skip, skipped, wait_for,
};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Wraps a command into a caller that is as careless as can be: blocked and ignored signals, a strange umask and
/// working directory, descriptors that are not close-on-exec.
fn careless(command: &Command) -> Command {
    let words: Vec<OsString> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let mut quoted = OsString::from("'");
            quoted.push(word);
            quoted.push("'");
            quoted
        })
        .collect();
    let mut script = OsString::from(
        "cd /proc; umask 0777; exec 5</etc/passwd 8</etc/group; \
         exec env --block-signal=TERM,USR1,CHLD --ignore-signal=HUP,INT,PIPE,USR2 ",
    );
    for word in words {
        script.push(word);
        script.push(" ");
    }
    let mut sh = Command::new("sh");
    sh.arg("-c").arg(script).stdin(Stdio::null());
    sh
}

/// A clean signal mask, default dispositions, three descriptors.
#[track_caller]
fn clean(pid: u32, who: &str) {
    // `start` returns a little before the runtime's init becomes the container's process.
    wait_for("the container's own process", LONG, || proc::command_line(pid).starts_with("/bin/sleep"));
    for field in ["SigBlk", "SigIgn"] {
        assert_eq!(proc::status(pid, field).as_deref(), Some("0000000000000000"), "{field} of {who}");
    }
    let mut open: Vec<String> = leftovers::entries(format!("/proc/{pid}/fd").as_ref())
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    open.sort();
    assert_eq!(open, ["0", "1", "2"], "descriptors of {who}: {:?}", proc::descriptors(pid));
}

/// A runtime that notes how it was called before it is runc.
fn noting(node: &Node, notes: &Path) -> std::path::PathBuf {
    let text = format!(
        "{{ echo \"call $*\"; umask; pwd; cat /proc/self/status; ls -l /proc/$$/fd; }} >> {}\nexec {} \"$@\"",
        notes.display(),
        binaries::runc().display(),
    );
    node.script("noting", &text)
}

/// Signals 32 and 33 are the C library's own; glibc's `posix_spawn` leaves the first one ignored.
const LIBC: u64 = 0b11 << 31;

#[track_caller]
fn called_cleanly(notes: &str) {
    let calls: Vec<&str> = notes.split("call ").skip(1).collect();
    assert!(calls.len() >= 2, "{notes}");
    for call in calls {
        let about = call.lines().next().unwrap();
        for field in ["SigBlk", "SigIgn"] {
            let mask = u64::from_str_radix(&proc::field_of(call, field).unwrap(), 16).unwrap();
            assert_eq!(mask & !LIBC, 0, "{field} of {about}: {mask:x}");
        }
        let umask = u32::from_str_radix(call.lines().nth(1).unwrap(), 8).unwrap();
        assert_eq!(umask, 0o022, "umask of {about}");
        assert!(Path::new(call.lines().nth(2).unwrap()).is_dir());
        // 0 to 2, and from 10 on what a shell opens for itself. `ls -l` ends its lines in `7 -> /path`.
        let number = |line: &str| line.split(" -> ").next()?.split(' ').next_back()?.parse::<u32>().ok();
        let stray =
            call.lines().find(|line| line.contains(" -> ") && number(line).is_none_or(|n| (3..10).contains(&n)));
        assert_eq!(stray, None, "a descriptor of {about}");
    }
}

fn by_careless_callers(node: &Node) {
    let notes = node.dir().join("notes");
    let runtime = noting(node, &notes);
    let id = node.id("shim");
    let bundle = Bundle::new(node, "sleeps").sleeping().write();
    let mut shim = node.shim_command("run", id.as_str(), &bundle);
    shim.arg("--runtime").arg(&runtime);
    let launched = sexton_tests::shim::launched(&run(&mut careless(&shim)).ok());
    clean(launched.pid, "a container of the shim's");
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", launched.shim_pid)).unwrap(), Path::new("/"), "the shim's");
    node.kill(&id, 9);
    assert_eq!(node.wait(&id).status, Some(killed_by(9)));
    // Nobody calls the runtime any more, so the notes are whole.
    node.wait_state(&id, State::Stopped);
    called_cleanly(&fs::read_to_string(&notes).unwrap());

    fs::remove_file(&notes).unwrap();
    let id = node.id("sexton");
    let arguments = ["run", "-d", id.as_str(), "--bundle"].map(OsString::from);
    let paths =
        [bundle.into(), "--runtime".into(), runtime.into(), "--runtime-root".into(), node.runtime_root().into()];
    let command = node.sexton_command(&arguments.into_iter().chain(paths).collect::<Vec<_>>());
    let _ = run(&mut careless(&command)).ok();
    clean(node.inspect(&id).pid.unwrap(), "a container of the collector's");
    node.kill(&id, 9);
    node.wait_state(&id, State::Stopped);
    called_cleanly(&fs::read_to_string(&notes).unwrap());
    assert!(fs::read_to_string(&notes).unwrap().contains("delete"), "the collector's calls are among them");
}

#[test]
fn nothing_is_inherited() {
    if skipped() {
        return;
    }
    let node = Node::new();
    by_careless_callers(&node);
    node.finish();
}

/// A collector that was started carelessly itself.
#[test]
fn nothing_is_inherited_from_the_collector_either() {
    if skipped() {
        return;
    }
    let node = Node::with(Options { daemon: false, ..Options::default() });
    let mut daemon = careless(&sexton_tests::daemon::Daemon::command(node.layout(), &node.config()));
    let log = fs::File::create(node.log()).unwrap();
    let mut daemon =
        daemon.env("SEXTON_TEST_NODE", node.prefix()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    wait_for("the collector", LONG, || node.sexton(&["ps"]).status.success());
    let id = node.id("a");
    let launched = node.run(&id, &Bundle::new(&node, "a").sleeping().write());
    clean(launched.pid, "a container of a careless collector's");
    node.kill(&id, 9);
    node.wait_state(&id, State::Stopped);
    node.remove_all();
    // It blocks SIGTERM for itself no longer than it wants.
    rustix::process::kill_process(rustix::process::Pid::from_child(&daemon), rustix::process::Signal::TERM).unwrap();
    let mut status = None;
    wait_for("the collector's end", LONG, || {
        status = daemon.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success(), "{}", node.words());
    node.finish();
}

/// The life of a few containers.
fn lives(node: &Node, runtime: &Runtime) {
    let launch = |id: &ContainerId, bundle: PathBuf| {
        let request = node.launch_request(id, &bundle, Mode::Run);
        node.launch(LaunchRequest { runtime: runtime.clone(), ..request }).unwrap()
    };
    let name = |name: &str| format!("{}-{name}", runtime.program.file_name().unwrap().display());
    let ends = |id: &ContainerId, status: ExitStatus| {
        let info = node.wait(id);
        assert_eq!((info.status, info.source), (Some(status), Some(Source::Waited)), "{}", node.words());
        node.wait_state(id, State::Stopped);
    };
    let code = name("code");
    let id = node.id(&code);
    launch(&id, Bundle::new(node, &code).sh("exit 7").write());
    ends(&id, ExitStatus::Code(7));
    let children = name("children");
    let id = node.id(&children);
    let script = "sleep 100000 & (sleep 100000 &); exit 3";
    launch(&id, Bundle::new(node, &children).host_pids().sh(script).write());
    ends(&id, ExitStatus::Code(3));
    let killed = name("killed");
    let id = node.id(&killed);
    let launched = launch(&id, Bundle::new(node, &killed).sleeping().write());
    let init: sexton_common::Init =
        sexton_common::durable::read(&node.layout().container(&id).init()).unwrap().unwrap();
    assert!(!init.cgroups.is_empty() && init.cgroups.iter().all(|cgroup| cgroup.dir.is_dir()), "{init:?}");
    clean(launched.pid, "a container");
    node.kill(&id, 9);
    ends(&id, killed_by(9));
    node.assert_clean_but_records();
}

#[test]
fn under_this_machine_s_cgroups() {
    if skipped() {
        return;
    }
    let node = Node::new();
    lives(&node, &node.runtime());
    node.finish();
}

const INNER: &str = "SEXTON_TEST_UNDER_V2";

/// The same in a mount namespace of its own, in which `/sys/fs/cgroup` is cgroup2 and nothing else.
#[test]
fn under_v2() {
    if skipped() {
        return;
    }
    if std::env::var_os(INNER).is_some() {
        assert_eq!(sexton_common::cgroup::layout().unwrap(), (false, true));
        let node = Node::new();
        lives(&node, &node.runtime());
        match binaries::find("crun") {
            Some(program) => lives(&node, &Runtime { program, ..node.runtime() }),
            None => skip("the part with crun: it is not here"),
        }
        by_careless_callers(&node);
        return node.finish();
    }
    let script = "umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup && \
                  exec \"$0\" --exact under_v2 --nocapture";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script]).arg(std::env::current_exe().unwrap());
    let ended = run(command.env(INNER, "1"));
    assert!(ended.status.success() && ended.stdout.contains("1 passed"), "{}\n{}", ended.stdout, ended.stderr);
}
