//! What the collector finds at its start names pids that belong to others by now (I6).
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};
use sexton_common::{
    ExitStatus, Launch, ProcessIdentity, Source, Stamp, UnknownReason, durable,
    launch::{Mode, Origin, Stdio},
    restart::RestartPolicy,
    wire::State,
    workload::Workload,
};
use sexton_tests::{
    Bundle, LONG, Node, Options, Stranger, daemon::Daemon, foreign::Foreign, in_private_pids, pids::called, proc,
    skipped, wait_for, wait_until,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio as Stream},
    time::{Duration, Instant},
};

/// No container here ends with it.
const STRANGE: i32 = 77;

fn kill(pid: u32) {
    proc::kill(pid);
    wait_for("the end of what was killed", LONG, || proc::is_gone(pid));
}

/// A pid that nobody has any more.
fn used_up() -> (u32, ProcessIdentity) {
    let mut child = Command::new("sleep").arg("100000").spawn().unwrap();
    let identity = ProcessIdentity::of(child.id()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    (identity.pid, identity)
}

/// The shim was killed while the runtime worked, and a stranger has its pid: never started, cleaned up.
#[test]
fn a_launch() {
    if skipped() {
        return;
    }
    in_private_pids("a_launch", || {
        for shim_s_name in [true, false] {
            let mut node = Node::new();
            let id = node.id("a");
            let bundle = Bundle::new(&node, "a").sleeping().write();
            let [hang, seen] = ["hang", "seen"].map(|name| node.dir().join(name));
            fs::write(&hang, "").unwrap();
            let wait = format!("touch {}; while [ -e {} ]; do sleep 0.1; done; exit 1", seen.display(), hang.display());
            let runtime = node.runtime_but("hangs", "create", &format!("$runc \"$@\"; {wait}"));
            node.terminate_daemon();
            let mut command = node.shim_command("run", id.as_str(), &bundle);
            command.arg("--runtime").arg(&runtime.program).stdout(Stream::null()).stderr(Stream::null());
            let mut caller = command.spawn().unwrap();
            wait_for("the runtime", LONG, || seen.exists());
            let launch: Launch = durable::read(&node.layout().container(&id).launch()).unwrap().unwrap();
            kill(launch.shim.pid);
            assert_ne!(caller.wait().unwrap().code(), Some(0));
            fs::remove_file(&hang).unwrap();
            let stranger = match shim_s_name {
                true => Stranger::new(launch.shim.pid, node.prefix(), called(node.dir(), "sexton-shim")),
                false => Stranger::zombie(launch.shim.pid, node.prefix(), STRANGE),
            };
            node.start_daemon();
            let status = ExitStatus::Unknown { reason: UnknownReason::NeverStarted };
            assert_eq!(node.wait(&id).status, Some(status));
            node.wait_state(&id, State::Stopped);
            stranger.unharmed();
            node.finish();
        }
    });
}

fn unborn(node: &Node, pid: u32) -> PathBuf {
    let dir = node.layout().unborn(pid).path().to_owned();
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn launch_of(node: &Node, shim: ProcessIdentity) -> Launch {
    let created = Stamp::now();
    Launch {
        id: node.id("unborn"),
        generation: created.boot_ns / 1000,
        workload: Workload::Oci { bundle: PathBuf::new(), runtime: node.runtime() },
        stdio: Stdio::Null,
        mode: Mode::Run,
        auto_remove: false,
        on_shim_death: Default::default(),
        shim,
        origin: Origin::Sexton,
        cgroups: Vec::new(),
        created,
        cleanup: sexton_common::cleanup::Cleanup::default(),
        restart: RestartPolicy::No,
        timeout_ms: Launch::TIMEOUT_MS,
    }
}

fn goes(dir: &Path) -> bool {
    wait_until(Duration::from_secs(5), || !dir.exists())
}

/// A directory that was never finished goes when its maker is dead, whoever has the maker's pid now; and stays as
/// long as its maker lives, whatever that is called.
#[test]
fn unfinished_directories() {
    if skipped() {
        return;
    }
    in_private_pids("unfinished_directories", || {
        let mut node = Node::new();
        node.terminate_daemon();
        let mut strangers = Vec::new();
        let mut abandoned = Vec::new();
        // [a shim's name, with its launch]
        for [shim_s_name, launch] in [[true, true], [false, true], [false, false]] {
            let (pid, dead) = used_up();
            let dir = unborn(&node, pid);
            if launch {
                durable::write(&dir.join("launch"), &launch_of(&node, dead)).unwrap();
            }
            strangers.push(match shim_s_name {
                true => Stranger::new(pid, node.prefix(), called(node.dir(), "sexton-shim")),
                false => Stranger::alive(pid, node.prefix()),
            });
            abandoned.push(dir);
        }
        // What a collector was registering belongs to a collector, and none but the one that starts now lives.
        let (pid, _) = used_up();
        let registered = node.layout().unborn_of(pid, 0, &node.id("foreign"));
        fs::create_dir_all(registered.path()).unwrap();
        strangers.push(Stranger::new(pid, node.prefix(), called(node.dir(), "sextond")));
        abandoned.push(registered.path().to_owned());
        // Two whose makers live, under names of their own: one has written its launch, one has it open.
        let own = unborn(&node, std::process::id());
        durable::write(&own.join("launch"), &launch_of(&node, ProcessIdentity::of(std::process::id()).unwrap()))
            .unwrap();
        let begun = Begun::new(&node);
        node.start_daemon();
        for dir in &abandoned {
            assert!(goes(dir), "{} is still there", dir.display());
        }
        assert!(own.join("launch").exists(), "its maker lives");
        assert!(begun.dir.exists(), "its maker lives");
        strangers.into_iter().for_each(Stranger::unharmed);
        fs::remove_dir_all(own).unwrap();
        begun.end();
        node.finish();
    });
}

/// A maker that has only made its directory and opened it.
struct Begun {
    dir: PathBuf,
    child: std::process::Child,
}

impl Begun {
    fn new(node: &Node) -> Self {
        let fifo = node.dir().join("go");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let dir = node.layout().containers();
        let script = format!(
            "mkdir {dir}/~new-$$; exec 3<{dir}/~new-$$; echo $$; read x < {fifo}",
            dir = dir.display(),
            fifo = fifo.display()
        );
        let mut child = Command::new("sh").args(["-c", &script]).stdout(Stream::piped()).spawn().unwrap();
        let mut pid = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.as_mut().unwrap()), &mut pid).unwrap();
        Self { dir: dir.join(format!("~new-{}", pid.trim())), child }
    }

    fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        fs::remove_dir_all(self.dir).unwrap();
    }
}

/// The pid in the lock is a stranger's, and the lock is still held by what the dead collector left: waited out as if
/// nobody had the pid, and the stranger is not called a sextond.
#[test]
fn the_lock() {
    if skipped() {
        return;
    }
    in_private_pids("the_lock", || {
        let mut node = Node::with(Options { daemon: true, ..Options::default() });
        let pid = node.daemon().pid();
        node.kill_daemon();
        let stranger = Stranger::alive(pid, node.prefix());
        assert_eq!(fs::read_to_string(node.layout().lock()).unwrap().trim(), pid.to_string());
        let held = File::open(node.layout().lock()).unwrap();
        flock(&held, FlockOperation::LockExclusive).unwrap();
        let start = || {
            let words = File::options().append(true).create(true).open(node.log()).unwrap();
            let mut command = Daemon::command(node.layout(), &node.config());
            command.env("SEXTON_TEST_NODE", node.prefix()).stdin(Stream::null());
            command.stdout(words.try_clone().unwrap()).stderr(words).spawn().unwrap()
        };
        let mut refused = start();
        let code = refused.wait().unwrap();
        assert!(!code.success());
        let words = node.words();
        assert!(words.contains("another sextond"), "{words}");
        assert!(!words.contains(&format!("pid {pid}")), "a stranger is called a sextond: {words}");
        // Half a second is more than one that lives is waited for. It gives up after two, which are soon over on a loaded
        // machine: then another one waits.
        let mut attempts = (0..10).map(|_| {
            flock(&held, FlockOperation::LockExclusive).unwrap();
            let (begin, mut waits) = (Instant::now(), start());
            let ended = wait_until(Duration::from_millis(700), || waits.try_wait().unwrap().is_some());
            assert!(!ended || begin.elapsed() >= Duration::from_secs(2), "{}", node.words());
            flock(&held, FlockOperation::Unlock).unwrap();
            let listens = || sexton_common::client::Client::connect(node.layout()).is_ok();
            wait_for("the collector", LONG, || listens() || waits.try_wait().unwrap().is_some());
            waits
        });
        let mut waits = attempts.find_map(|mut waits| waits.try_wait().unwrap().is_none().then_some(waits)).unwrap();
        drop(held);
        node.assert_alive();
        stranger.unharmed();
        waits.kill().unwrap();
        waits.wait().unwrap();
        node.finish();
    });
}

/// A foreign container's pid and its shim's.
#[test]
fn foreign() {
    if skipped() {
        return;
    }
    in_private_pids("foreign", || {
        for alive in [true, false] {
            let mut node = Node::new();
            let mut lost = Foreign::new(&node, "lost");
            let mut said = Foreign::new(&node, "said");
            for foreign in [&lost, &said] {
                foreign.watch(&node).unwrap();
            }
            node.kill_daemon();
            lost.end_container();
            lost.end_shim();
            said.end_container();
            said.end_shim_but_not_its_fifo();
            said.write(&9i32.to_ne_bytes());
            let at = |pid| match alive {
                true => Stranger::alive(pid, node.prefix()),
                false => Stranger::zombie(pid, node.prefix(), STRANGE),
            };
            let pids = [&lost, &said].map(|foreign| [foreign.request.pid, foreign.request.shim_pid]);
            let strangers: Vec<Stranger> = pids.into_iter().flatten().map(at).collect();
            node.start_daemon();
            let info = node.wait(&said.id);
            assert_eq!((info.status, info.source), (Some(ExitStatus::Code(9)), Some(Source::Reported)));
            let info = node.wait(&lost.id);
            assert!(matches!(info.status, Some(ExitStatus::Unknown { .. })), "{info:?}");
            for foreign in [&lost, &said] {
                let late = node.sexton(&["stop", foreign.id.as_str(), "--timeout", "0s"]);
                assert!(late.status.success() || late.stderr.contains("has stopped already"), "{late:?}");
                node.wait_state(&foreign.id, State::Stopped);
            }
            strangers.into_iter().for_each(Stranger::unharmed);
            node.finish();
        }
    });
}

/// The same while the collector is there and stopped: what it holds is the dead one's pidfd.
#[test]
fn foreign_while_it_is_watched() {
    if skipped() {
        return;
    }
    in_private_pids("foreign_while_it_is_watched", || {
        for alive in [true, false] {
            let mut node = Node::new();
            let mut foreign = Foreign::new(&node, "a");
            foreign.watch(&node).unwrap();
            node.daemon().signal(Signal::STOP);
            foreign.end_container();
            foreign.end_shim();
            let at = |pid| match alive {
                true => Stranger::alive(pid, node.prefix()),
                false => Stranger::zombie(pid, node.prefix(), STRANGE),
            };
            let strangers = [foreign.request.pid, foreign.request.shim_pid].map(at);
            node.daemon().signal(Signal::CONT);
            let info = node.wait(&foreign.id);
            let exact = ExitStatus::Signal { number: 9, core_dumped: false };
            let unknown = ExitStatus::Unknown { reason: UnknownReason::ForeignHangUp };
            assert!(info.status == Some(exact) || info.status == Some(unknown), "{info:?}");
            node.wait_state(&foreign.id, State::Stopped);
            strangers.into_iter().for_each(Stranger::unharmed);
            node.finish();
        }
    });
}
