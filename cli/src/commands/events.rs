//! `events`.

use crate::{
    daemon::{Connection, Daemon, SIMPLE, unexpected},
    failure::{Failure, system},
    output, show,
};
use clap::Args;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use sexton_common::wire::{Event, Reply, Request};
use std::{io, os::fd::AsFd};

/// `sexton events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Every answer as JSON, one a line: the snapshot's parts, then the events; a snapshot again if some were missed
    #[arg(long)]
    json: bool,
    /// The events after this number, instead of those from now on
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
}

impl Events {
    /// Prints them until somebody stops reading, or sextond ends.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let mut connection = daemon.connect()?;
        connection.send(&Request::Subscribe { since: self.since }, &[], SIMPLE)?;
        let mut printer = Printer { json: self.json, snapshots: self.since.is_some() };
        loop {
            readable(&connection)?;
            // A whole answer follows at once, so this is bounded although the stream is not.
            printer.print(connection.receive(SIMPLE)?)?;
        }
    }
}

/// Blocks until there is something to read; ends quietly if nobody reads our output any more.
pub fn readable(connection: &Connection) -> Result<(), Failure> {
    let stdout = io::stdout();
    loop {
        let mut fds =
            [PollFd::new(connection.as_fd(), PollFlags::POLLIN), PollFd::new(stdout.as_fd(), PollFlags::empty())];
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(system("wait for events")(error)),
            Ok(_) => {}
        }
        let has = |fd: &PollFd, flags| fd.revents().is_some_and(|seen: PollFlags| seen.intersects(flags));
        if has(&fds[0], PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            return Ok(());
        }
        if has(&fds[1], PollFlags::POLLERR | PollFlags::POLLHUP) {
            return Err(Failure::Closed);
        }
    }
}

struct Printer {
    json: bool,
    /// Whether a person wants to see them: not the one at the beginning, unless it stands for missed events.
    snapshots: bool,
}

impl Printer {
    fn print(&mut self, reply: Reply) -> Result<(), Failure> {
        if self.json {
            return match &reply {
                Reply::Snapshot { .. } | Reply::Event(_) | Reply::Lagged { .. } => output::json(&reply),
                other => Err(unexpected(other)),
            };
        }
        self.lines(reply)?.iter().try_for_each(output::line)
    }

    fn lines(&mut self, reply: Reply) -> Result<Vec<String>, Failure> {
        Ok(match reply {
            Reply::Event(event) => vec![line(&event)],
            Reply::Lagged { seen } => {
                self.snapshots = true;
                vec![format!("-- events after {seen} were missed; the containers as they are now:")]
            }
            Reply::Snapshot { seq, containers, last } => {
                let mut lines = Vec::new();
                if self.snapshots {
                    lines.extend(containers.iter().map(|container| {
                        let status = container.status.map_or(String::new(), |status| show::status(&status));
                        format!("   {:<9} {}  {status}", container.state.name(), container.id).trim_end().to_owned()
                    }));
                    if last {
                        lines.push(format!("-- events after {seq}:"));
                    }
                }
                self.snapshots &= !last;
                lines
            }
            other => return Err(unexpected(&other)),
        })
    }
}

fn line(event: &Event) -> String {
    let container = &event.container;
    let at = event.at.to_string();
    // To the millisecond; JSON has the rest.
    let at = at.get(..23).unwrap_or(&at);
    let more = match (&container.in_the_way, &container.status) {
        (Some(obstacle), _) => format!("in the way: {obstacle}"),
        (None, Some(status)) => show::status(status),
        (None, None) => container.pid.map_or(String::new(), |pid| format!("pid {pid}")),
    };
    let more = output::plain(&more);
    format!("{} {at}Z {:<8}  {}  {more}", event.seq, event.kind.name(), container.id).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{running, stopped};
    use sexton_common::{
        ExitStatus, WallTime,
        wire::{ContainerInfo, EventKind},
    };

    fn event(kind: EventKind, container: ContainerInfo) -> Event {
        Event { seq: 12, at: WallTime(1_795_254_484_123_456_789), kind, container }
    }

    #[test]
    fn one_line_each() {
        let started = line(&event(EventKind::Started, running("c1")));
        assert_eq!(started, "12 2026-11-21T09:48:04.123Z started   c1  pid 4242");
        let killed = ExitStatus::Signal { number: 9, core_dumped: false };
        let exited = line(&event(EventKind::Exited, stopped("c1", killed)));
        assert_eq!(exited, "12 2026-11-21T09:48:04.123Z exited    c1  killed by SIGKILL");
        let stuck = ContainerInfo { in_the_way: Some("busy".into()), ..stopped("c1", killed) };
        assert_eq!(
            line(&event(EventKind::Delayed, stuck)),
            "12 2026-11-21T09:48:04.123Z delayed   c1  in the way: busy"
        );
    }

    #[test]
    fn a_snapshot_is_shown_only_after_a_gap() {
        let snapshot = || Reply::Snapshot { seq: 40, containers: vec![running("c1")], last: true };
        let mut printer = Printer { json: false, snapshots: false };
        assert_eq!(printer.lines(snapshot()).unwrap(), [""; 0]);
        let gap = printer.lines(Reply::Lagged { seen: 30 }).unwrap();
        assert_eq!(gap, ["-- events after 30 were missed; the containers as they are now:"]);
        let part = Reply::Snapshot { seq: 40, containers: vec![running("c0")], last: false };
        assert_eq!(printer.lines(part).unwrap(), ["   running   c0"]);
        assert_eq!(printer.lines(snapshot()).unwrap(), ["   running   c1", "-- events after 40:"]);
        assert_eq!(printer.lines(snapshot()).unwrap(), [""; 0]);
        assert!(printer.lines(Reply::Done {}).is_err());
    }
}
