//! A collector with fewer descriptors than its containers would take: it says so, works on, and loses nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use sexton_common::{
    ContainerId, ExitStatus, Source,
    launch::Mode,
    wire::{self, ErrorCode, EventKind, Launched, Reply, Request, State},
};
use sexton_tests::{
    Bundle, Gate, LONG, Node,
    foreign::Foreign,
    node_api::{assert_told_by_kernel, killed_by},
    proc, skip, skipped, wait, wait_for,
};
use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

/// The collector's limit; about half of it are seats, two for each container.
const LIMIT: &str = "--nofile=96";
/// More than there are seats.
const MANY: u8 = 60;

const BEGUN: &str = "more containers than descriptors";
const OVER: &str = "descriptors for all containers again";

struct Runs {
    id: ContainerId,
    launched: Launched,
    gate: Gate,
    code: u8,
}

/// Launched by shims and, every fifth, by the collector.
fn launch(node: &Node, codes: impl Iterator<Item = u8>) -> Vec<Runs> {
    let one = |code: u8| {
        let name = code.to_string();
        let id = node.id(&name);
        let (bundle, gate) = Bundle::new(node, &name).gated();
        let bundle = bundle.write();
        let launched = if code.is_multiple_of(5) { node.run(&id, &bundle) } else { node.shim("run", &id, &bundle) };
        Runs { id, launched, gate, code }
    };
    codes.map(one).collect()
}

fn figures(node: &Node) -> wire::Node {
    match node.ask(&Request::Node {}).unwrap() {
        Reply::Node(node) => node,
        other => panic!("{other:?}"),
    }
}

fn times(node: &Node, words: &str) -> usize {
    node.words().matches(words).count()
}

fn assert_exits(node: &Node, all: &[Runs], source: Source) {
    for run in all {
        let info = node.wait(&run.id);
        let status = (info.status, info.source, info.generation);
        assert_eq!(status, (Some(ExitStatus::Code(run.code)), Some(source), run.launched.generation), "{}", run.id);
    }
}

/// It is short of descriptors, says so in every place, and has enough for its own work.
fn assert_short(node: &mut Node) {
    let figures = figures(node);
    assert!(figures.surplus > 0 && figures.seats_taken == figures.seats, "{figures:?}");
    assert!(figures.descriptors + 16 <= figures.descriptor_limit, "it keeps some for its work: {figures:?}");
    wait_for("the log to say so", LONG, || times(node, BEGUN) == 1);
    let doctor = node.sexton(&["doctor"]).stdout;
    assert!(doctor.contains("are watched by a slower way") && doctor.contains("LimitNOFILE"), "{doctor}");
    let inspect = node.sexton(&["inspect", "--node"]).ok().stdout;
    assert!(inspect.contains(&format!("{}, for want of descriptors", figures.surplus)), "{inspect}");
    let json = node.sexton(&["inspect", "--node", "--json"]).ok().json();
    assert_eq!(json["seats"], figures.seats, "{json}");
}

fn assert_over(node: &Node) {
    wait_for("no surplus", LONG, || figures(node).surplus == 0);
    wait_for("the log to say so", LONG, || times(node, OVER) == 1);
    assert_eq!(times(node, BEGUN), 1, "{}", node.words());
}

#[test]
fn every_exit_is_exact_and_everything_works_on() {
    if skipped() {
        return;
    }
    let mut node = Node::limited(&[LIMIT]);
    let events = node.subscribe();
    let mut all = launch(&node, 0..MANY);
    assert_short(&mut node);

    // It costs next to nothing: well below a tenth of one processor.
    let pid = node.daemon().pid();
    let before = proc::cpu_ticks(pid);
    wait::observe(Duration::from_secs(6));
    let used = proc::cpu_ticks(pid) - before;
    println!("{used} ticks in 6 s with {} containers in surplus", figures(&node).surplus);
    assert!(used < 60, "{used} ticks of CPU in 600");

    // The last ones have no descriptor at all.
    let signalled = all.pop().unwrap();
    node.kill(&signalled.id, 9);
    assert_eq!(node.wait(&signalled.id).status, Some(killed_by(9)));
    let stopped = all.pop().unwrap();
    let reply = node.ask(&Request::Stop { id: stopped.id.clone(), signal: 15, timeout_ms: 100 }).unwrap();
    assert!(matches!(reply, Reply::Container(info) if info.status == Some(killed_by(9))));
    let removed = all.pop().unwrap();
    node.remove(&removed.id, true).unwrap();
    assert!(proc::is_dead(removed.launched.pid));
    let created = node.id("created");
    node.create(&created, &Bundle::new(&node, "created").sh("exit 3").write());
    node.ask(&Request::Start { id: created.clone() }).unwrap();
    assert_eq!(node.wait(&created).status, Some(ExitStatus::Code(3)));
    node.wait_state(&created, State::Stopped);
    assert!(node.sexton(&["ps"]).ok().stdout.lines().count() > all.len());

    for run in &all {
        run.gate.exit(run.code);
    }
    assert_exits(&node, &all, Source::Waited);
    assert_over(&node);
    for run in &all {
        let told = events.kinds(&run.id).into_iter().filter(|kind| *kind == EventKind::Exited).count();
        assert_eq!(told, 1, "{}: {:?}", run.id, events.kinds(&run.id));
    }
    drop(events);
    node.finish();
}

/// Only a pidfd has the status of a container without a shim: it gets one, whoever has to do without.
#[test]
fn shims_killed_among_the_surplus() {
    if skipped() {
        return;
    }
    let mut node = Node::limited(&[LIMIT]);
    let mut all = launch(&node, 0..MANY);
    assert_short(&mut node);
    let orphans = all.split_off(all.len() - 24);
    for orphan in &orphans {
        proc::kill(orphan.launched.shim_pid);
    }
    for orphan in &orphans {
        node.wait_state(&orphan.id, State::Orphaned);
    }
    for orphan in &orphans {
        orphan.gate.exit(orphan.code);
    }
    for orphan in &orphans {
        let info = node.wait(&orphan.id);
        assert_told_by_kernel(&info, ExitStatus::Code(orphan.code));
        assert_eq!(info.generation, orphan.launched.generation, "{}", orphan.id);
    }
    for run in &all {
        run.gate.exit(run.code);
    }
    assert_exits(&node, &all, Source::Waited);
    assert_over(&node);
    node.finish();
}

#[test]
fn the_collector_is_killed_meanwhile() {
    if skipped() {
        return;
    }
    let mut node = Node::limited(&[LIMIT]);
    let mut all = launch(&node, 0..MANY);
    assert_short(&mut node);
    let mut away = all.split_off(20);
    let later = away.split_off(10);
    node.kill_daemon();
    for run in &away {
        run.gate.exit(run.code);
        wait_for("the shim's end", LONG, || proc::is_dead(run.launched.shim_pid));
    }
    node.start_daemon();
    assert_exits(&node, &away, Source::Waited);
    let figures = figures(&node);
    assert!(figures.surplus > 0 && figures.descriptors + 16 <= figures.descriptor_limit, "{figures:?}");
    for run in all.iter().chain(&later) {
        run.gate.exit(run.code);
    }
    assert_exits(&node, &all, Source::Waited);
    assert_exits(&node, &later, Source::Waited);
    node.finish();
}

/// Two hundred that say nothing do not keep others out, and cost no exit.
#[test]
fn a_flood_of_silent_clients() {
    if skipped() {
        return;
    }
    let mut node = Node::limited(&[LIMIT]);
    let all = launch(&node, 0..40);
    assert_short(&mut node);
    let silent: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(node.layout().socket()).unwrap()).collect();
    let figures = figures(&node);
    assert!(figures.descriptors < figures.descriptor_limit, "{figures:?}");
    for run in &all {
        run.gate.exit(run.code);
    }
    assert_exits(&node, &all, Source::Waited);
    drop(silent);
    node.finish();
}

/// A foreign shim's FIFO is kept open once it was opened: its container is watched, or refused.
#[test]
fn foreign_ones_are_watched_or_refused() {
    if skipped() {
        return;
    }
    let node = Node::limited(&[LIMIT]);
    let mut watched = Vec::new();
    let refusal = loop {
        let foreign = Foreign::new(&node, &watched.len().to_string());
        match foreign.watch(&node) {
            Ok(_) => watched.push(foreign),
            Err(refusal) => break refusal,
        }
        assert!(watched.len() < 90, "it has 96 descriptors");
    };
    assert_eq!(refusal.code, ErrorCode::Busy);
    assert!(refusal.message.contains("LimitNOFILE"), "{refusal}");
    assert!(watched.len() >= 16, "only {}", watched.len());
    assert_eq!(node.list(true).len(), watched.len());
    // What is worth less makes room; one of our own is watched the slower way.
    let own = launch(&node, 200..201);
    for (code, foreign) in (1..).zip(&mut watched) {
        foreign.exit(code);
        let info = node.wait(&foreign.id);
        let status = Some(ExitStatus::Code(u8::try_from(code).unwrap()));
        assert_eq!((info.status, info.source), (status, Some(Source::Reported)));
    }
    own[0].gate.exit(own[0].code);
    assert_exits(&node, &own, Source::Waited);
    let mut again = Foreign::new(&node, "again");
    again.watch(&node).unwrap();
    again.exit(9);
    assert_eq!(node.wait(&again.id).status, Some(ExitStatus::Code(9)));
    node.finish();
}

/// More launches at once than it has descriptors for: each succeeds, or says why not, and leaves nothing.
#[test]
fn a_storm_of_launches() {
    if skipped() {
        return;
    }
    let node = Node::limited(&["--nofile=64"]);
    let requests: Vec<_> = (0..16u8)
        .map(|code| {
            let id = node.id(&code.to_string());
            let bundle = Bundle::new(&node, &code.to_string()).sh(&format!("exit {code}")).write();
            (id.clone(), node.launch_request(&id, &bundle, Mode::Run), code)
        })
        .collect();
    let outcomes: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            requests.into_iter().map(|(id, request, code)| (id, code, scope.spawn(|| node.launch(request)))).collect();
        threads.into_iter().map(|(id, code, thread)| (id, code, thread.join().unwrap())).collect()
    });
    let mut launched = 0;
    for (id, code, outcome) in outcomes {
        match outcome {
            Ok(_) => {
                launched += 1;
                assert_eq!(node.wait(&id).status, Some(ExitStatus::Code(code)));
            }
            Err(e) => {
                println!("{id}: {e}");
                assert!(!node.list(true).iter().any(|info| info.id == id), "{id} is half there: {e}");
            }
        }
    }
    assert!(launched > 0, "not one of them");
    node.finish();
}

/// The collector may have so much more memory than now, and no more.
fn without_memory(node: &mut Node, spare_kib: u64) -> String {
    let pid = node.daemon().pid();
    let size = proc::status(pid, "VmSize").unwrap();
    let kib: u64 = size.split(' ').next().unwrap().parse().unwrap();
    set_memory(pid, &format!("{}:unlimited", (kib + spare_kib) * 1024));
    size
}

fn set_memory(pid: u32, limit: &str) {
    let mut command = std::process::Command::new("prlimit");
    let _ = sexton_tests::run(command.arg(format!("--pid={pid}")).arg(format!("--as={limit}"))).ok();
}

/// The collector in a cgroup of its own that counts tasks.
struct Tasks(PathBuf);

impl Tasks {
    fn new(node: &Node) -> Option<Self> {
        let dir = Path::new("/sys/fs/cgroup/pids").join(format!("{}tasks", node.prefix()));
        fs::create_dir(&dir).ok()?;
        Some(Self(dir))
    }

    fn set(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).unwrap();
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("pids.max"), "max");
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write("/sys/fs/cgroup/pids/cgroup.procs", pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// No room for a thread: what waits for one is done when there is room again.
#[test]
fn no_room_for_a_thread() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let Some(tasks) = Tasks::new(&node) else {
        node.finish();
        return skip("there is no pids controller of cgroup v1");
    };
    let all = launch(&node, 0..8);
    let pid = node.daemon().pid();
    tasks.set("cgroup.procs", &pid.to_string());
    let threads = || proc::status(pid, "Threads").unwrap();
    // Those that have nothing to do go after a while.
    wait_for("the threads to go", LONG, || {
        let before = threads();
        wait::observe(Duration::from_secs(3));
        before == threads()
    });
    tasks.set("pids.max", &threads());
    for run in &all {
        run.gate.exit(run.code);
        wait_for("the shim's end", LONG, || proc::is_dead(run.launched.shim_pid));
    }
    wait::observe(Duration::from_secs(2));
    tasks.set("pids.max", "max");
    assert_exits(&node, &all, Source::Waited);
    node.remove_all();
    drop(tasks);
    node.finish();
}

/// It may die of a want of memory; the next one finds everything.
#[test]
fn memory_runs_out() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let before = launch(&node, 0..8);
    let size = without_memory(&mut node, 128);
    let bundle = |node: &Node, code: u8| Bundle::new(node, &code.to_string()).gated();
    let during: Vec<Runs> = (8..16)
        .map(|code| {
            let (id, (bundle, gate)) = (node.id(&code.to_string()), bundle(&node, code));
            let launched = node.shim("run", &id, &bundle.write());
            Runs { id, launched, gate, code }
        })
        .collect();
    // Each takes a little more.
    let clients: Vec<_> = (0..2000).map_while(|_| UnixStream::connect(node.layout().socket()).ok()).collect();
    for mut client in &clients {
        let _ = std::io::Write::write_all(&mut client, &[b'{'; 60_000]);
    }
    for run in before.iter().chain(&during) {
        run.gate.exit(run.code);
        wait_for("the shim's end", LONG, || proc::is_dead(run.launched.shim_pid));
    }
    println!(
        "{} clients at {size}: {}",
        clients.len(),
        if node.daemon().is_running() { "it lives" } else { "it died" }
    );
    drop(clients);
    node.kill_daemon();
    node.start_daemon();
    assert_exits(&node, &before, Source::Waited);
    assert_exits(&node, &during, Source::Waited);
    node.finish();
}

/// Its cgroup is full: the shim, which is the last to be killed for that, writes its record all the same.
#[test]
fn a_shim_in_a_full_cgroup() {
    if skipped() {
        return;
    }
    let node = Node::bare();
    let dir = Path::new("/sys/fs/cgroup/memory").join(format!("{}full", node.prefix()));
    if fs::create_dir(&dir).is_err() {
        node.finish();
        return skip("there is no memory controller of cgroup v1");
    }
    let full = Full(dir);
    let all = launch(&node, [1, 2, 3].into_iter());
    for run in &all {
        full.set("cgroup.procs", &run.launched.shim_pid.to_string());
    }
    // Room for what a hog takes, which is killed for want of more, again and again.
    full.set("memory.limit_in_bytes", "4194304");
    let hog = || {
        let script = format!("echo $$ > {}/cgroup.procs; exec tail /dev/zero", full.0.display());
        let mut hog = std::process::Command::new("sh");
        hog.args(["-c", &script]).env("SEXTON_TEST_NODE", node.prefix());
        hog.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    let mut killed = 0;
    for run in &all {
        let mut hogs: Vec<_> = (0..2).map(|_| hog()).collect();
        run.gate.exit(run.code);
        for hog in &mut hogs {
            killed += u32::from(!hog.wait().unwrap().success());
        }
        wait_for("the shim's end", LONG, || proc::is_dead(run.launched.shim_pid));
        let record = node.record(&run.id).unwrap();
        assert_eq!((record.status, record.source), (ExitStatus::Code(run.code), Source::Waited));
    }
    assert_eq!(killed, 6, "the cgroup was never full");
    for run in &all {
        node.bury(&run.id);
    }
    drop(full);
    node.finish();
}

/// A cgroup of the memory controller.
struct Full(PathBuf);

impl Full {
    fn set(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).unwrap();
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write("/sys/fs/cgroup/memory/cgroup.procs", pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}
