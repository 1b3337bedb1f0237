//! `gc`: what could not be cleaned yet.

mod add;
mod forget;
mod ls;
mod retry;
mod scan;
mod why;

use crate::{
    daemon::{Connection, Daemon, SIMPLE, unexpected},
    failure::Failure,
    show,
};
use clap::{Args, Subcommand};
use sexton_common::{
    WallTime,
    wire::{GcInfo, Reply, Request},
};
use std::time::Duration;

/// How long one attempt on everything may take; a bounded number goes at once.
const ALL: Duration = Duration::from_secs(600);

/// `sexton gc`.
#[derive(Debug, Args)]
pub struct Gc {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what could not be cleaned yet, and what is in the way
    Ls(ls::Ls),
    /// Show everything that is known of what is in the way of one
    Why(why::Why),
    /// Try again now, instead of when it is due, and say what came of it
    Retry(retry::Retry),
    /// Give one up: what is not clean stays behind, and nobody will clean it
    Forget(forget::Forget),
    /// Have sextond clean up after a container that some other engine left behind
    Add(add::Add),
    /// Look for what containers left behind that nobody owns any more
    ///
    /// Runtime state and cgroups without a process, mounts, shims without a state directory. Nothing is touched unless
    /// --adopt is given.
    Scan(scan::Scan),
}

impl Gc {
    /// Does it. Returns the process' exit code.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        match self.verb {
            Verb::Ls(ls) => ls.execute(daemon),
            Verb::Why(why) => why.execute(daemon),
            Verb::Retry(retry) => retry.execute(daemon),
            Verb::Forget(forget) => forget.execute(daemon),
            Verb::Add(add) => add.execute(daemon),
            Verb::Scan(scan) => scan.execute(daemon),
        }
    }
}

/// What is in GC, the oldest first.
pub(super) fn list(daemon: &Daemon) -> Result<Vec<GcInfo>, Failure> {
    let mut connection = daemon.connect()?;
    connection.send(&Request::GcList {}, &[], SIMPLE)?;
    let mut entries = entries(&mut connection, SIMPLE)?;
    entries.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
    Ok(entries)
}

/// The entries of an answer. Blocks at most `within` for each of its parts.
fn entries(connection: &mut Connection, within: Duration) -> Result<Vec<GcInfo>, Failure> {
    let mut found = Vec::new();
    loop {
        match connection.receive(within)? {
            Reply::GcEntries { entries, last } => {
                found.extend(entries);
                if last {
                    return Ok(found);
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

/// Has everything tried again now. What is left then.
pub(super) fn retry_all(daemon: &Daemon) -> Result<Vec<GcInfo>, Failure> {
    let mut connection = daemon.connect()?;
    connection.send(&Request::GcRetry { id: None }, &[], ALL)?;
    entries(&mut connection, ALL)
}

/// When it is tried again.
fn next_try(entry: &GcInfo, now: WallTime) -> String {
    match entry.next_try {
        Some(at) if at.0 >= now.0.saturating_add(1_000_000_000) => format!("in {}", show::age(now.0, at.0)),
        _ => "now".into(),
    }
}

/// How far it came, and why no further.
pub(super) fn obstacle(entry: &GcInfo) -> String {
    format!("{}: {}", entry.step, entry.in_the_way)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::{Cli, Command},
        fake::Fake,
    };
    use clap::Parser;
    use sexton_common::gc::{GcOrigin, Step};

    /// In GC since 1 s after 1970, tried 4 times, due 30 s after that.
    pub(super) fn entry(id: &str) -> GcInfo {
        GcInfo {
            id: id.parse().unwrap(),
            generation: 7,
            origin: GcOrigin::Container,
            earlier_boot: false,
            since: WallTime(1_000_000_000),
            attempts: 4,
            next_try: Some(WallTime(31_000_000_000)),
            step: Step::Processes,
            in_the_way: "pid 42 (dd) does not die".into(),
        }
    }

    /// What the command line makes of it, and of what this daemon says.
    pub(super) fn execute(fake: &Fake, line: &str) -> Result<u8, Failure> {
        match Cli::try_parse_from(["sexton", "gc"].into_iter().chain(line.split(' '))).unwrap().command {
            Command::Gc(gc) => gc.execute(&fake.daemon()),
            _ => unreachable!(),
        }
    }

    #[test]
    fn lists_come_in_parts_and_are_sorted_by_age() {
        let fake = Fake::start(|request| match request {
            Request::GcList {} => vec![
                Reply::GcEntries { entries: vec![GcInfo { since: WallTime(9), ..entry("c2") }], last: false },
                Reply::GcEntries { entries: vec![GcInfo { since: WallTime(8), ..entry("c1") }], last: true },
            ],
            _ => vec![],
        });
        let ids: Vec<_> = list(&fake.daemon()).unwrap().into_iter().map(|entry| entry.id.to_string()).collect();
        assert_eq!(ids, ["c1", "c2"]);
        let other = Fake::start(|_| vec![Reply::Done {}]);
        assert!(matches!(list(&other.daemon()), Err(Failure::Unexpected(_))));
        let half = Fake::start(|_| vec![Reply::GcEntries { entries: vec![entry("c1")], last: false }, Reply::Done {}]);
        assert!(matches!(list(&half.daemon()), Err(Failure::Unexpected(_))));
    }

    #[test]
    fn the_next_try_is_now_or_later() {
        let at = |seconds: u64| next_try(&entry("c1"), WallTime(seconds * 1_000_000_000));
        assert_eq!([at(19), at(30), at(31), at(99)], ["in 12s", "in 1s", "now", "now"]);
        let tried = GcInfo { next_try: None, ..entry("c1") };
        assert_eq!(next_try(&tried, WallTime(0)), "now");
    }
}
