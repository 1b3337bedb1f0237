//! `stats`: what containers use.

use super::events::readable;
use crate::{
    args,
    daemon::{Connection, Daemon, SIMPLE, unexpected},
    failure::Failure,
    output, show,
    table::{Tone, cell, render, table},
};
use clap::Args;
use sexton_common::{
    ContainerId,
    wire::{ContainerStats, Reply, Request},
};
use std::time::Duration;

/// CPU in use is what lies between two samples: without `--watch` they are this far apart.
const APART: Duration = Duration::from_millis(500);

/// `sexton stats`.
#[derive(Debug, Args)]
pub struct Stats {
    /// Those that run, if none are named
    ids: Vec<ContainerId>,
    /// Go on, with a sample in each period; on a terminal in place
    #[arg(short, long, value_name = "PERIOD", num_args = 0..=1, default_missing_value = "6s", value_parser = args::some_time)]
    watch: Option<Duration>,
    /// Each container of each sample as a JSON object, one a line
    #[arg(long)]
    json: bool,
}

impl Stats {
    /// Prints them, once, or until somebody stops reading.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let mut connection = daemon.connect()?;
        let period_ms = Some(args::millis(self.watch.unwrap_or(APART)));
        connection.send(&Request::Stats { ids: self.ids, period_ms }, &[], SIMPLE)?;
        let mut sample = receive(&mut connection)?;
        if self.watch.is_none() {
            readable(&connection)?;
            sample = receive(&mut connection)?;
        }
        let mut first = true;
        loop {
            if self.json {
                sample.iter().try_for_each(output::json)?;
            } else {
                let text = rendered(&sample);
                output::line(if self.watch.is_some() { framed(&text, first, output::terminal()) } else { text })?;
            }
            if self.watch.is_none() {
                return Ok(0);
            }
            first = false;
            readable(&connection)?;
            sample = receive(&mut connection)?;
        }
    }
}

/// One whole sample.
fn receive(connection: &mut Connection) -> Result<Vec<ContainerStats>, Failure> {
    let mut found = Vec::new();
    loop {
        match connection.receive(SIMPLE)? {
            Reply::Stats { containers, last } => {
                found.extend(containers);
                if last {
                    return Ok(found);
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

/// One of several tables: over the one before it, or below it with a blank line between.
fn framed(text: &str, first: bool, in_place: bool) -> String {
    match (in_place, first) {
        // Home; each line up to its end; then all below. Nothing flickers.
        (true, first) => {
            let clear = if first { "\x1b[2J" } else { "" };
            format!("{clear}\x1b[H{}\x1b[K\x1b[J", text.replace('\n', "\x1b[K\n"))
        }
        (false, true) => text.to_owned(),
        (false, false) => format!("\n{text}"),
    }
}

fn rendered(sample: &[ContainerStats]) -> String {
    let headings = ["ID", "STATE", "CPU", "CPU OF ALL", "MEM / LIMIT", "MEM", "PIDS", "OOM", "READ / WRITTEN", "DISK"];
    let mut rows = table(&headings);
    for stats in sample {
        let number = |value: Option<u64>| or_dash(value.map(|value| value.to_string()));
        let memory = stats
            .memory
            .map(|used| format!("{} / {}", show::bytes(used), or_dash(stats.memory_limit.map(show::bytes))));
        let io = stats.io.map(|io| format!("{} / {}", show::bytes(io.read), show::bytes(io.written)));
        // What was counted until the time was up is the least that it can be.
        let disk =
            stats.disk.map(|disk| format!("{}{}", if disk.complete { "" } else { ">= " }, show::bytes(disk.bytes)));
        let part = part_of_limit(stats);
        rows.add_row([
            cell(stats.id.as_str(), Tone::Plain),
            cell(stats.state.name(), show::tone(stats.state)),
            cell(or_dash(stats.cpu_of_core.map(percent)), Tone::Plain),
            cell(or_dash(stats.cpu_of_all.map(percent)), Tone::Plain),
            cell(or_dash(memory), Tone::Plain),
            cell(or_dash(part.map(percent)), if part > Some(9_000) { Tone::Warn } else { Tone::Plain }),
            cell(number(stats.pids), Tone::Plain),
            cell(number(stats.oom_kills), if stats.oom_kills > Some(0) { Tone::Warn } else { Tone::Plain }),
            cell(or_dash(io), Tone::Plain),
            cell(or_dash(disk), Tone::Plain),
        ]);
    }
    render(rows)
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

/// Hundredths of a percent.
fn percent(share: u32) -> String {
    format!("{:.1}%", f64::from(share) / 100.0)
}

fn part_of_limit(stats: &ContainerStats) -> Option<u32> {
    let (used, limit) = (u128::from(stats.memory?), u128::from(stats.memory_limit?));
    u32::try_from((used * 10_000).checked_div(limit)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use sexton_common::{
        WallTime,
        wire::{DiskUse, IoUse, State},
    };

    fn stats(id: &str) -> ContainerStats {
        ContainerStats {
            id: id.parse().unwrap(),
            generation: 7,
            state: State::Running,
            at: WallTime(0),
            memory: Some(48 << 20),
            memory_limit: Some(64 << 20),
            cpu_ns: Some(5),
            cpu_of_core: Some(15_050),
            cpu_of_all: Some(7_525),
            pids: Some(3),
            oom_kills: Some(1),
            io: Some(IoUse { read: 1536, written: 0 }),
            disk: Some(DiskUse { bytes: 4096, complete: false, at: WallTime(0) }),
        }
    }

    fn nothing(id: &str) -> ContainerStats {
        let info = sexton_common::wire::ContainerInfo {
            state: State::Stopped,
            ..sexton_common::wire::ContainerInfo::pending(id.parse().unwrap())
        };
        ContainerStats { memory_limit: stats(id).memory_limit, ..ContainerStats::none(&info) }
    }

    #[test]
    fn rows() {
        assert_eq!(
            rendered(&[stats("web"), nothing("db")]),
            "ID   STATE    CPU     CPU OF ALL  MEM / LIMIT          MEM    PIDS  OOM  READ / WRITTEN  DISK\n\
             web  running  150.5%  75.2%       48.0 MiB / 64.0 MiB  75.0%  3     1    1.5 KiB / 0 B   >= 4.0 KiB\n\
             db   stopped  -       -           -                    -      -     -    -               -"
        );
        let free = ContainerStats { memory_limit: None, ..stats("c") };
        assert!(rendered(std::slice::from_ref(&free)).contains("48.0 MiB / -  -"));
        let odd = ContainerStats { memory: Some(u64::MAX), memory_limit: Some(0), ..free };
        assert_eq!(part_of_limit(&odd), None);
    }

    #[test]
    fn tables_that_follow_each_other() {
        assert_eq!([framed("a\nb", true, false), framed("a\nb", false, false)], ["a\nb", "\na\nb"]);
        assert_eq!(framed("a\nb", true, true), "\x1b[2J\x1b[Ha\x1b[K\nb\x1b[K\x1b[J");
        assert!(!framed("a", false, true).contains("[2J"), "what is there is written over");
    }

    #[test]
    fn samples_come_in_parts() {
        let fake = Fake::start(|request| match request {
            Request::Stats { period_ms: Some(500), ids } if ids.is_empty() => vec![
                Reply::Stats { containers: vec![stats("a")], last: false },
                Reply::Stats { containers: vec![stats("b")], last: true },
                Reply::Stats { containers: vec![], last: true },
            ],
            _ => vec![Reply::Done {}],
        });
        let mut connection = fake.daemon().connect().unwrap();
        let request = Request::Stats { ids: vec![], period_ms: Some(500) };
        connection.send(&request, &[], SIMPLE).unwrap();
        let ids = |sample: Vec<ContainerStats>| sample.into_iter().map(|one| one.id.to_string()).collect::<Vec<_>>();
        assert_eq!(ids(receive(&mut connection).unwrap()), ["a", "b"]);
        assert_eq!(receive(&mut connection).unwrap(), []);
        let stats = Stats { ids: vec!["c".parse().unwrap()], watch: None, json: true };
        assert!(matches!(stats.execute(&fake.daemon()), Err(Failure::Unexpected(_))));
    }
}
