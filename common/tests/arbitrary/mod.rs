//! Values of every kind, as wild as their types allow.
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

mod gc;
mod replies;
mod stats;

pub use gc::entry;
pub use replies::reply;

use gc::{add_request, cleanup};
use proptest::{collection::vec, option, prelude::*};
use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, Init, Launch, ProcessIdentity, Source, Stamp, UnknownReason, WallTime,
    cgroup::CgroupDir,
    exit::Usage,
    identity::{BootId, Executable},
    instance::{Ended, Instance, Next},
    launch::{Clean, Mode, OnShimDeath, Origin, Started, Stdio},
    restart::RestartPolicy,
    runtime::Runtime,
    wire::{LaunchRequest, Request, WatchRequest},
    workload::{Program, Workload},
};
use std::path::PathBuf;

fn id() -> impl Strategy<Value = ContainerId> {
    "[a-zA-Z0-9_+-]{1,128}".prop_map(|id| id.parse().unwrap())
}

fn path() -> impl Strategy<Value = PathBuf> {
    "\\PC{0,40}".prop_map(PathBuf::from)
}

fn stamp() -> impl Strategy<Value = Stamp> {
    any::<(u64, u64)>().prop_map(|(wall, boot_ns)| Stamp { wall: WallTime(wall), boot_ns })
}

fn process() -> impl Strategy<Value = ProcessIdentity> {
    any::<(u32, u64, [u8; 16], Option<u64>)>().prop_map(|(pid, start_time, boot_id, pidfs_inode)| ProcessIdentity {
        pid,
        start_time,
        boot_id: BootId(boot_id),
        pidfs_inode,
    })
}

fn runtime() -> impl Strategy<Value = Runtime> {
    (path(), option::of(path()), vec(any::<String>(), 0..3)).prop_map(|(program, root, args)| Runtime {
        program,
        root,
        args,
    })
}

fn stdio() -> impl Strategy<Value = Stdio> {
    prop_oneof![Just(Stdio::Null), Just(Stdio::Inherit), path().prop_map(Stdio::File)]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Create), Just(Mode::Run)]
}

fn cgroups() -> impl Strategy<Value = Vec<CgroupDir>> {
    vec((any::<String>(), path()).prop_map(|(hierarchy, dir)| CgroupDir { hierarchy, dir }), 0..4)
}

fn usage() -> impl Strategy<Value = Usage> {
    any::<[u64; 9]>().prop_map(|[a, b, c, d, e, f, g, h, i]| Usage {
        user_us: a,
        system_us: b,
        max_rss_kib: c,
        minor_faults: d,
        major_faults: e,
        blocks_in: f,
        blocks_out: g,
        voluntary_switches: h,
        involuntary_switches: i,
    })
}

fn status() -> impl Strategy<Value = ExitStatus> {
    use UnknownReason as R;
    let reasons = [
        R::NeverStarted,
        R::ShimKilled,
        R::ShimAndCollectorKilled,
        R::RecordDamaged,
        R::ForeignMalformed,
        R::ForeignHangUp,
    ];
    prop_oneof![
        any::<u8>().prop_map(ExitStatus::Code),
        any::<(u8, bool)>().prop_map(|(number, core_dumped)| ExitStatus::Signal { number, core_dumped }),
        prop::sample::select(reasons.to_vec()).prop_map(|reason| ExitStatus::Unknown { reason }),
    ]
}

fn source() -> impl Strategy<Value = Source> {
    use Source as S;
    prop::sample::select(&[S::Waited, S::Pidfd, S::Zombie, S::Reported, S::None][..])
}

fn on_shim_death(kill: bool) -> OnShimDeath {
    if kill { OnShimDeath::Kill } else { OnShimDeath::Adopt }
}

pub fn policy() -> impl Strategy<Value = RestartPolicy> {
    use RestartPolicy as P;
    prop_oneof![
        prop::sample::select(&[P::No, P::OnFailure { max: None }, P::Always, P::UnlessStopped, P::OnReboot][..]),
        any::<std::num::NonZeroU32>().prop_map(|max| P::OnFailure { max: Some(max) }),
    ]
}

fn program() -> impl Strategy<Value = Program> {
    let words = || vec(any::<String>(), 0..3);
    (words(), words(), option::of(path()), option::of(any::<String>()), option::of(path()))
        .prop_map(|(command, env, cwd, user, cgroup)| Program { command, env, cwd, user, cgroup })
}

fn workload() -> impl Strategy<Value = Workload> {
    prop_oneof![
        (path(), runtime()).prop_map(|(bundle, runtime)| Workload::Oci { bundle, runtime }),
        program().prop_map(Workload::Process),
    ]
}

pub fn instance() -> impl Strategy<Value = Instance> {
    let next = prop_oneof![
        Just(Next::Run),
        (any::<u64>(), stamp()).prop_map(|(after, due)| Next::Start { after, due }),
        any::<u64>().prop_map(|after| Next::Nothing { after }),
    ];
    let ended = (any::<(u64, Option<u64>)>(), status(), option::of(time()))
        .prop_map(|((generation, ran_ns), status, exited)| Ended { generation, status, exited, ran_ns });
    let numbers = any::<(u32, u64, u32, bool, bool)>();
    let rest = (next, option::of(ended), any::<Option<String>>());
    (launch(), any::<[u8; 16]>(), numbers, rest).prop_map(|(launch, boot, numbers, (next, last, failure))| Instance {
        id: launch.id.clone(),
        launch,
        boot: BootId(boot),
        count: numbers.0,
        delay_ms: numbers.1,
        unknowns: numbers.2,
        stopped_by_user: numbers.3,
        removing: numbers.4,
        next,
        last,
        failure,
    })
}

pub fn launch() -> impl Strategy<Value = Launch> {
    let origin = prop_oneof![Just(Origin::Sexton), path().prop_map(|fifo| Origin::Foreign { fifo })];
    let flags = any::<(u64, bool, bool)>();
    let shim = (process(), origin, cgroups());
    let parts = (id(), flags, workload(), (policy(), any::<u64>()), stdio(), mode(), shim, stamp(), cleanup());
    parts.prop_map(|(id, (generation, auto_remove, kill), workload, again, stdio, mode, shim, created, cleanup)| {
        let (shim, origin, cgroups) = shim;
        let on_shim_death = on_shim_death(kill);
        Launch {
            id,
            generation,
            workload,
            stdio,
            mode,
            auto_remove,
            on_shim_death,
            shim,
            origin,
            cgroups,
            created,
            cleanup,
            restart: again.0,
            timeout_ms: again.1,
        }
    })
}

pub fn init() -> impl Strategy<Value = Init> {
    let executable = any::<Option<(u64, u64)>>();
    let executable = executable.prop_map(|file| file.map(|(device, inode)| Executable { device, inode }));
    let parts = (id(), any::<u64>(), process(), cgroups(), (stamp(), executable), process(), workload());
    parts.prop_map(|(id, generation, process, cgroups, (ready, executable), shim, workload)| Init {
        id,
        generation,
        process,
        cgroups,
        ready,
        executable,
        shim,
        workload,
    })
}

pub fn started() -> impl Strategy<Value = Started> {
    (any::<u64>(), stamp()).prop_map(|(generation, at)| Started { generation, at })
}

pub fn clean() -> impl Strategy<Value = Clean> {
    (any::<u64>(), stamp()).prop_map(|(generation, at)| Clean { generation, at })
}

pub fn exit_record() -> impl Strategy<Value = ExitRecord> {
    let times = (option::of(stamp()), option::of(stamp()));
    let figures = (option::of(usage()), any::<(Option<bool>, Option<u64>, Option<u64>)>());
    let parts = (id(), any::<u64>(), option::of(process()), status(), source(), times, figures);
    parts.prop_map(|(id, generation, process, status, source, (started, exited), (usage, rest))| ExitRecord {
        id,
        generation,
        process,
        status,
        source,
        oom_killed: rest.0,
        started,
        exited,
        usage,
        memory_peak: rest.1,
        cpu_ns: rest.2,
    })
}

fn launch_request() -> impl Strategy<Value = LaunchRequest> {
    let parts = (id(), path(), runtime(), stdio(), mode(), any::<(bool, bool, Option<u64>)>(), cleanup());
    let parts = (parts, policy(), option::of(program()));
    parts.prop_map(|((id, bundle, runtime, stdio, mode, flags, cleanup), restart, program)| LaunchRequest {
        id,
        bundle,
        runtime,
        stdio,
        mode,
        auto_remove: flags.0,
        on_shim_death: on_shim_death(flags.1),
        timeout_ms: flags.2,
        cleanup,
        restart,
        program,
    })
}

fn watch_request() -> impl Strategy<Value = WatchRequest> {
    (id(), path(), any::<(u32, u32)>(), runtime(), path()).prop_map(|(id, fifo, (pid, shim_pid), runtime, bundle)| {
        WatchRequest { id, fifo, pid, shim_pid, runtime, bundle }
    })
}

pub fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        Just(Request::Version {}),
        (id(), any::<u64>()).prop_map(|(id, generation)| Request::Announce { id, generation }),
        launch_request().prop_map(Request::Launch),
        id().prop_map(|id| Request::Start { id }),
        (id(), any::<i32>()).prop_map(|(id, signal)| Request::Kill { id, signal }),
        (id(), any::<(i32, u64)>()).prop_map(|(id, (signal, timeout_ms))| Request::Stop { id, signal, timeout_ms }),
        (id(), any::<bool>()).prop_map(|(id, force)| Request::Remove { id, force }),
        (id(), any::<Option<u64>>()).prop_map(|(id, generation)| Request::Wait { id, generation }),
        id().prop_map(|id| Request::Inspect { id }),
        any::<bool>().prop_map(|all| Request::List { all }),
        watch_request().prop_map(Request::Watch),
        any::<Option<u64>>().prop_map(|since| Request::Subscribe { since }),
        Just(Request::Node {}),
        Just(Request::GcList {}),
        id().prop_map(|id| Request::GcWhy { id }),
        option::of(id()).prop_map(|id| Request::GcRetry { id }),
        id().prop_map(|id| Request::GcForget { id }),
        add_request().prop_map(Request::GcAdd),
        any::<bool>().prop_map(|adopt| Request::GcScan { adopt }),
        (vec(id(), 0..3), any::<Option<u64>>()).prop_map(|(ids, period_ms)| Request::Stats { ids, period_ms }),
        Just(Request::NodeStats {}),
    ]
}

fn time() -> impl Strategy<Value = WallTime> {
    any::<u64>().prop_map(WallTime)
}
