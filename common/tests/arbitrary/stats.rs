//! Samples of containers and the machine.

use super::{id, path, replies::state, time};
use proptest::{collection::vec, option, prelude::*};
use sexton_common::wire::{ContainerStats, DiskUse, IoUse, NodeState, NodeStats, Room};
use std::net::IpAddr;

pub fn container() -> impl Strategy<Value = ContainerStats> {
    let run = (id(), any::<u64>(), state(), time());
    let memory = any::<(Option<u64>, Option<u64>)>();
    let cpu = any::<(Option<u64>, Option<u32>, Option<u32>)>();
    let io = any::<Option<(u64, u64)>>().prop_map(|io| io.map(|(read, written)| IoUse { read, written }));
    let disk = (any::<(u64, bool)>(), time()).prop_map(|((bytes, complete), at)| DiskUse { bytes, complete, at });
    let rest = (any::<(Option<u64>, Option<u64>)>(), io, option::of(disk));
    (run, memory, cpu, rest).prop_map(|(run, (memory, memory_limit), cpu, ((pids, oom_kills), io, disk))| {
        let ((id, generation, state, at), (cpu_ns, cpu_of_core, cpu_of_all)) = (run, cpu);
        ContainerStats {
            id,
            generation,
            state,
            at,
            memory,
            memory_limit,
            cpu_ns,
            cpu_of_core,
            cpu_of_all,
            pids,
            oom_kills,
            io,
            disk,
        }
    })
}

fn room() -> impl Strategy<Value = Room> {
    any::<(Option<u64>, Option<u64>, u64)>().prop_map(|(total, left, used)| Room { total, left, used })
}

pub fn node() -> impl Strategy<Value = NodeStats> {
    let states = &[NodeState::Ready, NodeState::Full, NodeState::Maintenance][..];
    let head = (prop::sample::select(states), vec(any::<String>(), 0..3), time(), any::<String>());
    let machine = (vec(any::<IpAddr>(), 0..3), any::<u32>(), any::<[u32; 3]>(), path());
    let rooms = (room(), room(), room(), room());
    let rest = (vec((state(), any::<u32>()), 0..3), any::<u32>(), any::<u64>());
    (head, machine, rooms, rest).prop_map(|(head, machine, rooms, (containers, gc_entries, uptime_ms))| {
        let (state, why, at, hostname) = head;
        let (addresses, cpus, load, disk_path) = machine;
        let (memory, disk, descriptors, running) = rooms;
        NodeStats {
            state,
            why,
            at,
            hostname,
            addresses,
            cpus,
            load,
            memory,
            disk,
            disk_path,
            descriptors,
            running,
            containers,
            gc_entries,
            uptime_ms,
        }
    })
}
