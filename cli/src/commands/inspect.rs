//! `inspect`.

use crate::{
    daemon::{Daemon, SIMPLE, unexpected},
    failure::Failure,
    output, show,
    table::{Tone, cell, render, table},
};
use clap::Args;
use sexton_common::{
    ContainerId,
    wire::{ContainerInfo, GcFigures, Node, Reply, Request},
};

/// `sexton inspect`.
#[derive(Debug, Args)]
pub struct Inspect {
    /// The container
    #[arg(required_unless_present = "node")]
    id: Option<ContainerId>,
    /// sextond itself, and what its limits leave
    #[arg(long, conflicts_with = "id")]
    node: bool,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Inspect {
    /// Prints it.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let request = self.id.map_or(Request::Node {}, |id| Request::Inspect { id });
        match daemon.ask(&request, SIMPLE)? {
            Reply::Container(container) if self.json => output::json_to_read(&container)?,
            Reply::Container(container) => output::line(rendered(&container))?,
            Reply::Node(node) if self.json => output::json_to_read(&node)?,
            Reply::Node(node) => output::line(rendered_node(&node))?,
            other => return Err(unexpected(&other)),
        }
        Ok(0)
    }
}

const NOT_STORED: &str = "none: start sextond under systemd, or with --keeper";

fn rendered_node(node: &Node) -> String {
    let mut rows = table(&[]);
    let mut row = |key: &str, value: String| {
        rows.add_row([cell(key, Tone::Plain), cell(value, Tone::Plain)]);
    };
    row("release", node.version.clone());
    row("pid", node.pid.to_string());
    row("since", node.since.to_string());
    row("containers", node.containers.to_string());
    row("descriptors", format!("{} of {}", node.descriptors, node.descriptor_limit));
    row("of these to watch", format!("{} of {}", node.seats_taken, node.seats));
    let short = "for want of descriptors: raise LimitNOFILE in sextond.service and restart sextond";
    row("watched slowly", if node.surplus == 0 { "0".into() } else { format!("{}, {short}", node.surplus) });
    row("stored pidfds", node.stored.map_or_else(|| NOT_STORED.into(), |held| held.to_string()));
    row("in quarantine", node.quarantined.to_string());
    row("last event", node.seq.to_string());
    row("in GC", in_gc(&node.gc));
    row("clean-ups tried", node.gc.attempts.to_string());
    row("runs cleaned", node.gc.cleaned.to_string());
    let done = node.gc.done.iter().map(|(step, count)| format!("{step} {count}"));
    row("steps done", Some(done.collect::<Vec<_>>().join(", ")).filter(|done| !done.is_empty()).unwrap_or("-".into()));
    render(rows)
}

fn in_gc(gc: &GcFigures) -> String {
    match gc.oldest_ms {
        Some(ms) if gc.entries > 0 => {
            let age = show::age(0, ms.saturating_mul(1_000_000));
            format!("{}, the oldest for {age}: see `sexton gc ls`", gc.entries)
        }
        _ => gc.entries.to_string(),
    }
}

fn rendered(container: &ContainerInfo) -> String {
    let mut rows = table(&[]);
    let mut row = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            rows.add_row([cell(key, Tone::Plain), cell(value, Tone::Plain)]);
        }
    };
    let text = |value: &dyn std::fmt::Display| Some(value.to_string());
    let yes = |flag: bool| Some(if flag { "yes" } else { "no" }.to_owned());
    row("id", text(&container.id));
    row("generation", text(&container.generation));
    row("state", text(&container.state.name()));
    row("pid", container.pid.and_then(|pid| text(&pid)));
    row("shim pid", container.shim_pid.and_then(|pid| text(&pid)));
    row("status", container.status.map(|status| show::status(&status)));
    row("source", container.source.and_then(|source| text(&source)));
    row("out of memory", container.oom_killed.and_then(yes));
    // Not known of one that is pending.
    row("created", Some(container.created_at).filter(|at| at.0 != 0).and_then(|at| text(&at)));
    row("started", container.started_at.and_then(|at| text(&at)));
    row("exited", container.exited_at.and_then(|at| text(&at)));
    row("ran for", container.ran_ns.map(show::duration));
    row("bundle", text(&container.bundle.display()).filter(|bundle| !bundle.is_empty()));
    row("runtime", text(&container.runtime.display()).filter(|runtime| !runtime.is_empty()));
    row("command", Some(show::command(&container.command)).filter(|command| !command.is_empty()));
    row("removed at end", yes(container.auto_remove));
    row("restart", show::restart(container, sexton_common::WallTime::now()));
    let last = container.restart.as_ref().and_then(|restart| restart.last);
    let last = last.filter(|last| last.generation != container.generation);
    row("run before", last.map(|last| format!("{}: {}", last.generation, show::status(&last.status))));
    row("not started", container.restart.as_ref().and_then(|restart| restart.failure.clone()));
    row("foreign shim", yes(container.foreign));
    row("clean-ups tried", text(&container.attempts).filter(|_| container.attempts > 0));
    row("in the way", container.in_the_way.clone());
    row("most memory", container.memory_peak.map(show::bytes));
    row("CPU time", container.cpu_ns.map(show::duration));
    if let Some(usage) = container.usage {
        let user_and_system = |us: u64| show::duration(us.saturating_mul(1000));
        row("user, system", Some(format!("{}, {}", user_and_system(usage.user_us), user_and_system(usage.system_us))));
        row("most resident", Some(show::bytes(usage.max_rss_kib.saturating_mul(1024))));
        row("page faults", Some(format!("{} minor, {} major", usage.minor_faults, usage.major_faults)));
        row("blocks", Some(format!("{} in, {} out", usage.blocks_in, usage.blocks_out)));
        let switches = (usage.voluntary_switches, usage.involuntary_switches);
        row("switches", Some(format!("{} voluntary, {} involuntary", switches.0, switches.1)));
    }
    render(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;
    use sexton_common::{ExitStatus, gc::Step};

    fn node() -> Node {
        Node {
            version: "0.1.0".into(),
            pid: 5,
            since: sexton_common::WallTime(0),
            containers: 60,
            descriptors: 101,
            descriptor_limit: 128,
            quarantined: 0,
            seq: 9,
            seats: 76,
            seats_taken: 76,
            surplus: 44,
            stored: Some(60),
            gc: GcFigures::default(),
        }
    }

    #[test]
    fn a_node_says_what_it_lacks() {
        let node = node();
        let text = rendered_node(&node);
        for line in ["descriptors        101 of 128", "of these to watch  76 of 76"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.lines().any(|found| found == "stored pidfds      60"), "{text}");
        assert!(rendered_node(&Node { stored: None, ..node.clone() }).contains("--keeper"));
        assert!(text.contains("44, for want of descriptors: raise LimitNOFILE"), "{text}");
        assert!(!rendered_node(&Node { surplus: 0, ..node }).contains("LimitNOFILE"));
    }

    #[test]
    fn a_node_says_what_its_gc_has_done() {
        let idle = node();
        let done = vec![(Step::Processes, 3), (Step::Mounts, 1)];
        let gc = GcFigures { entries: 2, attempts: 12, oldest_ms: Some(190_000), cleaned: 7, done };
        for (node, lines) in [
            (Node { gc, ..node() }, ["2, the oldest for 3m: see `sexton gc ls`", "12", "7", "processes 3, mounts 1"]),
            (idle, ["0", "0", "0", "-"]),
        ] {
            let text = rendered_node(&node);
            let keys = ["in GC", "clean-ups tried", "runs cleaned", "steps done"];
            for (key, value) in keys.iter().zip(lines) {
                let line = format!("{key:<17}  {value}");
                assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
            }
        }
    }

    #[test]
    fn keys_and_values() {
        let ended = fake::stopped("c1", ExitStatus::Signal { number: 15, core_dumped: false });
        let text = rendered(&ContainerInfo { memory_peak: Some(3 << 20), ..ended });
        for line in [
            "id              c1",
            "state           stopped",
            "status          killed by SIGTERM",
            "source          waited",
            "exited          2026-11-21T09:49:04.500000000Z",
            "ran for         1m",
            "most memory     3.0 MiB",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("in the way") && !text.contains("clean-ups") && !text.contains("command"));
        let command = vec!["sh".into(), "-c".into(), "exit 7".into()];
        let program = ContainerInfo { command, bundle: "".into(), runtime: "".into(), ..fake::running("c1") };
        let text = rendered(&program);
        assert!(text.lines().any(|found| found == "command         sh -c 'exit 7'"), "{text}");
        assert!(!text.contains("runtime") && !text.contains("bundle"), "{text}");
    }
}
