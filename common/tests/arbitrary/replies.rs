//! Replies of every kind.

use super::{
    gc::{figures, finding, info as gc_info, why},
    id, path, policy, source,
    stats::{container as container_stats, node as node_stats},
    status, time, usage,
};
use proptest::{collection::vec, option, prelude::*};
use sexton_common::wire::{
    ApiError, ContainerInfo, ErrorCode, Event, EventKind, LastRun, Launched, Node, Reply, RestartInfo, State,
};

pub fn state() -> impl Strategy<Value = State> {
    use State as S;
    prop::sample::select(
        &[
            S::Creating,
            S::Created,
            S::Running,
            S::Orphaned,
            S::Stopping,
            S::Gc,
            S::Stopped,
            S::Paused,
            S::Restarting,
            S::Pending,
        ][..],
    )
}

fn restart() -> impl Strategy<Value = RestartInfo> {
    let last = (any::<u64>(), status(), option::of(time()));
    let last = last.prop_map(|(generation, status, exited_at)| LastRun { generation, status, exited_at });
    let parts = (policy(), any::<(u32, bool, Option<String>)>(), option::of(time()), option::of(last));
    parts.prop_map(|(policy, (count, stopped_by_user, failure), next_start, last)| RestartInfo {
        policy,
        count,
        next_start,
        stopped_by_user,
        last,
        failure,
    })
}

fn info() -> impl Strategy<Value = ContainerInfo> {
    let pids = any::<(u64, Option<u32>, Option<u32>)>();
    let end = (option::of(status()), option::of(source()), any::<Option<bool>>());
    let times = (time(), option::of(time()), option::of(time()), any::<(Option<u64>, Option<u64>)>());
    let whence = (path(), path(), any::<(bool, bool, u32, Option<String>)>());
    let used = (option::of(usage()), any::<(Option<u64>, Option<u64>)>());
    let again = (vec(any::<String>(), 0..3), option::of(restart()));
    (id(), state(), pids, end, times, whence, used, again).prop_map(
        |(id, state, pids, end, times, whence, used, again)| {
            let (bundle, runtime, (auto_remove, foreign, attempts, in_the_way)) = whence;
            ContainerInfo {
                id,
                generation: pids.0,
                state,
                pid: pids.1,
                shim_pid: pids.2,
                status: end.0,
                source: end.1,
                oom_killed: end.2,
                created_at: times.0,
                started_at: times.1,
                exited_at: times.2,
                ran_ns: times.3.0,
                bundle,
                runtime,
                auto_remove,
                foreign,
                attempts,
                in_the_way,
                usage: used.0,
                memory_peak: used.1.0,
                cpu_ns: used.1.1,
                started_ns: times.3.1,
                command: again.0,
                restart: again.1.map(Box::new),
            }
        },
    )
}

pub fn reply() -> impl Strategy<Value = Reply> {
    use EventKind as K;
    let kinds = [
        K::Created,
        K::Started,
        K::Orphaned,
        K::Exited,
        K::Delayed,
        K::Stopped,
        K::Removed,
        K::Paused,
        K::Resumed,
        K::Restarting,
        K::GaveUp,
    ];
    let event = (any::<u64>(), time(), prop::sample::select(kinds.to_vec()), info());
    let launched = (id(), any::<(u64, u32, u32)>(), path(), path());
    let seats = (any::<(u64, u64, u32, Option<u64>)>(), figures());
    let node = (any::<(String, u32, u32, u64)>(), any::<(u64, u32, u64)>(), time(), seats);
    let codes = vec![ErrorCode::Invalid, ErrorCode::Busy, ErrorCode::InGc, ErrorCode::Internal];
    let error = (prop::sample::select(codes), any::<(String, u8)>());
    prop_oneof![
        any::<(String, u32, u32)>().prop_map(|(version, protocol, pid)| Reply::Version { version, protocol, pid }),
        Just(Reply::Done {}),
        launched.prop_map(|(id, (generation, pid, shim_pid), exit_fifo, exit_file)| {
            Reply::Launched(Launched { id, generation, pid, shim_pid, exit_fifo, exit_file })
        }),
        info().prop_map(|info| Reply::Container(Box::new(info))),
        (vec(info(), 0..3), any::<bool>()).prop_map(|(containers, last)| Reply::Containers { containers, last }),
        (any::<u64>(), vec(info(), 0..3), any::<bool>()).prop_map(|(seq, containers, last)| Reply::Snapshot {
            seq,
            containers,
            last
        }),
        event.prop_map(|(seq, at, kind, container)| Reply::Event(Box::new(Event { seq, at, kind, container }))),
        any::<u64>().prop_map(|seen| Reply::Lagged { seen }),
        node.prop_map(
            |((version, pid, containers, descriptors), (descriptor_limit, quarantined, seq), since, watching)| {
                let ((seats, seats_taken, surplus, stored), gc) = watching;
                Reply::Node(Node {
                    version,
                    pid,
                    since,
                    containers,
                    descriptors,
                    descriptor_limit,
                    quarantined,
                    seq,
                    seats,
                    seats_taken,
                    surplus,
                    stored,
                    gc,
                })
            }
        ),
        error.prop_map(|(code, (message, exit_code))| Reply::Error(ApiError { code, message, exit_code })),
        (vec(gc_info(), 0..3), any::<bool>()).prop_map(|(entries, last)| Reply::GcEntries { entries, last }),
        why().prop_map(|why| Reply::GcWhy(Box::new(why))),
        (vec(container_stats(), 0..3), any::<bool>()).prop_map(|(containers, last)| Reply::Stats { containers, last }),
        node_stats().prop_map(|node| Reply::NodeStats(Box::new(node))),
        (vec(finding(), 0..3), any::<bool>()).prop_map(|(findings, last)| Reply::Findings { findings, last }),
    ]
}
