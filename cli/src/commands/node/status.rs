//! `node`, `node status`: how the machine is.

use super::stats;
use crate::{
    daemon::Daemon,
    failure::Failure,
    output, show,
    table::{Tone, cell, render, table},
};
use clap::Args;
use sexton_common::wire::{NodeState, NodeStats, Request, Room};

/// `sexton node status`.
#[derive(Debug, Args)]
pub struct Status {
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Prints it.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        show(&stats(daemon, &Request::NodeStats {})?, self.json)
    }
}

/// Prints it.
pub fn show(node: &NodeStats, json: bool) -> Result<u8, Failure> {
    if json {
        output::json_to_read(node)?;
    } else {
        output::line(rendered(node))?;
    }
    Ok(0)
}

/// As a table.
pub fn rendered(node: &NodeStats) -> String {
    let mut rows = table(&[]);
    let mut row = |key: &str, value: String, tone: Tone| {
        rows.add_row([cell(key, Tone::Plain), cell(value, tone)]);
    };
    let (first, tone) = (node.why.first(), tone(node.state));
    row("state", first.map_or_else(|| node.state.name().into(), |why| format!("{}: {why}", node.state.name())), tone);
    node.why.iter().skip(1).for_each(|why| row("", why.clone(), tone));
    let mut row = |key: &str, value: String| row(key, value, Tone::Plain);
    row("hostname", node.hostname.clone());
    row("addresses", or_dash(node.addresses.iter().map(ToString::to_string)));
    row("CPUs", node.cpus.to_string());
    let load = node.load.map(|hundredths| format!("{:.2}", f64::from(hundredths) / 100.0));
    row("load", load.join(" "));
    row("memory", room(&node.memory, show::bytes));
    row("disk", format!("{} at {}", room(&node.disk, show::bytes), node.disk_path.display()));
    row("descriptors", room(&node.descriptors, |count| count.to_string()));
    row("running", room(&node.running, |count| count.to_string()));
    row("containers", or_dash(node.containers.iter().map(|(state, count)| format!("{count} {}", state.name()))));
    let hint = if node.gc_entries > 0 { ": see `sexton gc ls`" } else { "" };
    row("in GC", format!("{}{hint}", node.gc_entries));
    row("up for", show::age(0, node.uptime_ms.saturating_mul(1_000_000)));
    render(rows)
}

fn tone(state: NodeState) -> Tone {
    match state {
        NodeState::Ready => Tone::Good,
        NodeState::Full | NodeState::Maintenance => Tone::Warn,
    }
}

fn or_dash(parts: impl Iterator<Item = String>) -> String {
    let text = parts.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".into() } else { text }
}

fn room(room: &Room, shown: impl Fn(u64) -> String) -> String {
    match (room.total, room.left) {
        (Some(total), Some(left)) => format!("{} of {} used, {} left", shown(room.used), shown(total), shown(left)),
        (Some(total), None) => format!("{} of {} used", shown(room.used), shown(total)),
        (None, _) if room.used == 0 => "-".into(),
        (None, _) => shown(room.used),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use sexton_common::{
        WallTime,
        wire::{Reply, State},
    };

    fn node() -> NodeStats {
        NodeStats {
            state: NodeState::Full,
            why: vec!["memory: 95 % used".into(), "disk: 99 % used".into()],
            at: WallTime(0),
            hostname: "box".into(),
            addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
            cpus: 2,
            load: [52, 100, 1205],
            memory: Room { total: Some(4 << 30), left: Some(1 << 30), used: 3 << 30 },
            disk: Room::default(),
            disk_path: "/var/lib/sexton".into(),
            descriptors: Room { total: Some(1024), left: Some(1000), used: 24 },
            running: Room { total: None, left: None, used: 3 },
            containers: vec![(State::Running, 3), (State::Stopped, 1)],
            gc_entries: 2,
            uptime_ms: 7_200_000,
        }
    }

    #[test]
    fn the_state_comes_first_with_why() {
        assert_eq!(
            rendered(&node()),
            "state        FULL: memory: 95 % used\n             disk: 99 % used\n\
             hostname     box\n\
             addresses    10.0.0.1, fd00::1\n\
             CPUs         2\n\
             load         0.52 1.00 12.05\n\
             memory       3.0 GiB of 4.0 GiB used, 1.0 GiB left\n\
             disk         - at /var/lib/sexton\n\
             descriptors  24 of 1024 used, 1000 left\n\
             running      3\n\
             containers   3 running, 1 stopped\n\
             in GC        2: see `sexton gc ls`\n\
             up for       2h"
        );
        let ready = NodeStats { state: NodeState::Ready, why: vec![], containers: vec![], gc_entries: 0, ..node() };
        let text = rendered(&ready);
        assert!(
            text.starts_with("state        READY\n") && text.contains("containers   -\nin GC        0\n"),
            "{text}"
        );
    }

    #[test]
    fn it_is_asked_for() {
        let fake = Fake::start(|request| match request {
            Request::NodeStats {} => vec![Reply::NodeStats(Box::new(node()))],
            _ => vec![],
        });
        assert_eq!(Status { json: false }.execute(&fake.daemon()).unwrap(), 0);
        let other = Fake::start(|_| vec![Reply::Done {}]);
        assert!(matches!(Status { json: true }.execute(&other.daemon()), Err(Failure::Unexpected(_))));
    }
}
