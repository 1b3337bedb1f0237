//! How the machine is.

use super::{fill, gauge};
use crate::{context::Context, overseer::Overseer};
use sexton_common::{
    WallTime,
    time::boot_ns,
    wire::{NodeState, NodeStats, Room, State},
};

/// A sample.
pub async fn stats(overseer: &Overseer) -> NodeStats {
    let cx: &Context = &overseer.cx;
    let mut containers: Vec<(State, u32)> = Vec::new();
    cx.board.each(|info| match containers.iter_mut().find(|(state, _)| *state == info.state) {
        Some((_, count)) => *count += 1,
        None => containers.push((info.state, 1)),
    });
    let (seats, taken) = cx.surplus.seats.figures();
    let mut stats = NodeStats {
        state: NodeState::Ready,
        why: Vec::new(),
        at: WallTime::now(),
        hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().into(),
        addresses: Vec::new(),
        cpus: std::thread::available_parallelism().map_or(0, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        load: [0; 3],
        memory: gauge::memory().unwrap_or_default(),
        disk: cx.node.disk.read(&cx.tools.blocking).await.unwrap_or_default(),
        disk_path: cx.layout.data().into(),
        descriptors: Room {
            total: Some(seats as u64),
            left: Some(seats.saturating_sub(taken) as u64),
            used: taken as u64,
        },
        running: Room::default(),
        containers,
        gc_entries: 0,
        uptime_ms: boot_ns() / 1_000_000,
    };
    fill(cx, &mut stats).await;
    stats
}
