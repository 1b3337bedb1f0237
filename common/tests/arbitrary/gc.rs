//! What is to be cleaned, and what is said of it.

use super::{cgroups, id, path, process, runtime, stamp, time};
use proptest::{collection::vec, option, prelude::*};
use sexton_common::{
    cleanup::Cleanup,
    gc::{Device, Entry, Estate, GcOrigin, Step},
    identity::BootId,
    wire::{Finding, FindingKind, GcAddRequest, GcFigures, GcInfo, GcWhy, Holder, Obstacle},
};

pub fn cleanup() -> impl Strategy<Value = Cleanup> {
    let paths = || vec(path(), 0..3);
    let parts = (paths(), paths(), paths(), vec(any::<String>(), 0..3));
    parts.prop_map(|(paths, mounts, netns, exec)| Cleanup { paths, mounts, netns, exec })
}

fn origin() -> impl Strategy<Value = GcOrigin> {
    prop::sample::select(&[GcOrigin::Container, GcOrigin::Added, GcOrigin::Adopted][..])
}

fn step() -> impl Strategy<Value = Step> {
    prop::sample::select(&Step::ALL[..])
}

fn estate() -> impl Strategy<Value = Estate> {
    let run = (id(), any::<u64>(), any::<[u8; 16]>().prop_map(BootId));
    let places = (option::of(runtime()), option::of(path()), option::of(path()));
    let parts = (run, places, vec(process(), 0..3), (cgroups(), cgroups()), cleanup());
    parts.prop_map(|((id, generation, boot), (runtime, bundle, rootfs), processes, (cgroups, guessed), cleanup)| {
        Estate { id, generation, boot, runtime, bundle, rootfs, processes, cgroups, guessed, cleanup }
    })
}

pub fn entry() -> impl Strategy<Value = Entry> {
    let devices = any::<(u32, u32, String, String)>();
    let devices = devices.prop_map(|(major, minor, fs, source)| Device { major, minor, fs, source });
    let tries = (stamp(), any::<(u32, u32, String, bool)>());
    let parts = (estate(), origin(), tries, step(), vec(devices, 0..3));
    parts.prop_map(|(estate, origin, (since, tries), step, devices)| {
        let (attempts, commands_done, in_the_way, remove) = tries;
        Entry { estate, origin, since, attempts, step, in_the_way, commands_done, devices, remove }
    })
}

pub fn add_request() -> impl Strategy<Value = GcAddRequest> {
    let parts = (id(), runtime(), any::<Vec<u32>>(), option::of(path()), cleanup());
    parts.prop_map(|(id, runtime, pids, bundle, cleanup)| GcAddRequest { id, runtime, pids, bundle, cleanup })
}

pub fn info() -> impl Strategy<Value = GcInfo> {
    let times = (time(), option::of(time()));
    let parts = (id(), origin(), times, step(), any::<(u64, bool, u32, String)>());
    parts.prop_map(|(id, origin, (since, next_try), step, (generation, earlier_boot, attempts, in_the_way))| GcInfo {
        id,
        generation,
        origin,
        earlier_boot,
        since,
        attempts,
        next_try,
        step,
        in_the_way,
    })
}

fn holder() -> impl Strategy<Value = Holder> {
    let kernel = any::<(Option<String>, Vec<String>, Option<u64>)>();
    let parts = (any::<(u32, String, String, String)>(), kernel, option::of(path()));
    parts.prop_map(|((pid, comm, state, how), (wchan, stack, mount_ns), frozen_by)| Holder {
        pid,
        comm,
        state,
        wchan,
        stack,
        how,
        frozen_by,
        mount_ns,
    })
}

pub fn why() -> impl Strategy<Value = GcWhy> {
    let obstacle = (step(), any::<String>(), time(), vec(holder(), 0..3));
    let obstacle = obstacle.prop_map(|(step, what, since, holders)| Obstacle { step, what, since, holders });
    let parts = (info(), vec(obstacle, 0..3), any::<Option<String>>());
    parts.prop_map(|(entry, obstacles, output)| GcWhy { entry, obstacles, output })
}

pub fn finding() -> impl Strategy<Value = Finding> {
    use FindingKind as K;
    let kind = prop::sample::select(&[K::RuntimeState, K::Cgroup, K::Mount, K::Shim][..]);
    let parts = (kind, option::of(id()), path(), any::<(Option<u32>, String)>(), option::of(id()));
    parts.prop_map(|(kind, id, path, (pid, why), adopted)| Finding { kind, id, path, pid, why, adopted })
}

pub fn figures() -> impl Strategy<Value = GcFigures> {
    let parts = (any::<(u32, u64, Option<u64>, u64)>(), vec((step(), any::<u64>()), 0..8));
    parts.prop_map(|((entries, attempts, oldest_ms, cleaned), done)| GcFigures {
        entries,
        attempts,
        oldest_ms,
        cleaned,
        done,
    })
}
