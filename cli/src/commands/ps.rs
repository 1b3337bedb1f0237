//! `ps`.

use crate::{
    daemon::{Daemon, SIMPLE, unexpected},
    failure::Failure,
    output, show,
    table::{Tone, cell, render, table},
};
use clap::Args;
use sexton_common::{
    WallTime,
    time::boot_ns,
    wire::{ContainerInfo, Reply, Request},
};

/// `sexton ps`.
#[derive(Debug, Args)]
pub struct Ps {
    /// Those that have ended too
    #[arg(short, long)]
    all: bool,
    /// Names only, one a line
    #[arg(short, long)]
    quiet: bool,
    /// One JSON array
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

impl Ps {
    /// Prints them, the newest first.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let mut containers = list(daemon, self.all)?;
        containers.sort_by(|a, b| (b.generation, &a.id).cmp(&(a.generation, &b.id)));
        if self.json {
            output::json_to_read(&containers)?;
        } else if self.quiet {
            containers.iter().try_for_each(|container| output::line(&container.id))?;
        } else {
            output::line(rendered(&containers, boot_ns(), WallTime::now()))?;
        }
        Ok(0)
    }
}

/// The containers that sextond knows; with `all` those that have ended too.
pub fn list(daemon: &Daemon, all: bool) -> Result<Vec<ContainerInfo>, Failure> {
    let mut found = Vec::new();
    let mut connection = daemon.connect()?;
    connection.send(&Request::List { all }, &[], SIMPLE)?;
    loop {
        match connection.receive(SIMPLE)? {
            Reply::Containers { containers, last } => {
                found.extend(containers);
                if last {
                    return Ok(found);
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

fn rendered(containers: &[ContainerInfo], now: u64, wall: WallTime) -> String {
    let mut head = vec!["ID", "STATE", "PID", "STATUS", "CREATED", "RUNTIME", "BUNDLE OR COMMAND"];
    // Most containers are somebody else's to start again.
    let come_back = containers.iter().any(|container| container.restart.is_some());
    if come_back {
        head.insert(4, "RESTART");
    }
    let mut rows = table(&head);
    for container in containers {
        let runtime = container.runtime.file_name().unwrap_or(container.runtime.as_os_str());
        // A dead process' pid may be somebody else's by now; inspect still has it.
        let pid = container.pid.filter(|_| container.status.is_none());
        let what = match container.command.as_slice() {
            [] => container.bundle.to_string_lossy().into_owned(),
            command => shortened(show::command(command)),
        };
        let mut row = vec![
            cell(container.id.as_str(), Tone::Plain),
            cell(container.state.name(), show::tone(container.state)),
            cell(pid.map_or_else(|| "-".into(), |pid| pid.to_string()), Tone::Plain),
            cell(show::condition(container, now), Tone::Plain),
            cell(format!("{} ago", show::age(container.generation.saturating_mul(1000), now)), Tone::Plain),
            cell(if container.command.is_empty() { runtime.to_string_lossy() } else { "-".into() }, Tone::Plain),
            cell(what, Tone::Plain),
        ];
        if come_back {
            row.insert(4, cell(show::restart(container, wall).unwrap_or_else(|| "-".into()), Tone::Plain));
        }
        rows.add_row(row);
    }
    render(rows)
}

/// The longest command that a row shows; `inspect` shows more of it.
const COMMAND: usize = 60;

fn shortened(command: String) -> String {
    if command.chars().count() <= COMMAND {
        return command;
    }
    command.chars().take(COMMAND - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, running, stopped};
    use sexton_common::{ExitStatus, wire::RestartInfo};

    #[test]
    fn lists_come_in_parts() {
        let fake = Fake::start(|request| match request {
            Request::List { all: true } => vec![
                Reply::Containers { containers: vec![running("c1")], last: false },
                Reply::Containers { containers: vec![running("c2")], last: true },
            ],
            _ => vec![Reply::Containers { containers: vec![], last: true }],
        });
        assert_eq!(list(&fake.daemon(), true).unwrap().len(), 2);
        assert_eq!(list(&fake.daemon(), false).unwrap(), []);
    }

    #[test]
    fn rows_say_how_each_is() {
        let now = 240_500_000_000;
        let job = ContainerInfo { command: vec!["sleep".into(), "1 m".into()], ..running("job") };
        let text = rendered(&[running("web"), stopped("db", ExitStatus::Code(7)), job], now, WallTime(0));
        assert_eq!(
            text,
            "ID   STATE    PID   STATUS                 CREATED  RUNTIME  BUNDLE OR COMMAND\n\
             web  running  4242  up 4m                  4m ago   runc     /bundles/c1\n\
             db   stopped  -     exited with 7, 3m ago  4m ago   runc     /bundles/c1\n\
             job  running  4242  up 4m                  4m ago   -        sleep '1 m'"
        );
        assert_eq!(rendered(&[], now, WallTime(0)), "ID  STATE  PID  STATUS  CREATED  RUNTIME  BUNDLE OR COMMAND");
        assert_eq!(shortened("ü".repeat(61)), "ü".repeat(57) + "...");
        assert_eq!(shortened("ü".repeat(60)), "ü".repeat(60));
    }

    #[test]
    fn who_comes_back_says_when() {
        let mut web = stopped("web", ExitStatus::Code(1));
        web.restart = Some(Box::new(RestartInfo {
            policy: "on-failure:5".parse().unwrap(),
            count: 3,
            next_start: Some(WallTime(1_800_000_000)),
            stopped_by_user: false,
            last: None,
            failure: None,
        }));
        let text = rendered(&[web, running("db")], 240_500_000_000, WallTime(1_000_000_000));
        assert!(text.contains("  on-failure:5, 3 so far, next in 0.8s  "), "{text}");
        assert!(text.lines().next().unwrap().contains("  RESTART  "), "{text}");
    }
}
