//! `gc scan`.

use crate::{
    daemon::{Daemon, unexpected},
    failure::Failure,
    output,
    table::{Tone, cell, render, table},
};
use clap::Args;
use sexton_common::wire::{Finding, Reply, Request};
use std::time::Duration;

/// How long the search may take: it looks at every cgroup, mount and process.
const SEARCH: Duration = Duration::from_secs(120);

/// `sexton gc scan`.
#[derive(Debug, Args)]
pub struct Scan {
    /// Clean it all up: each gets an entry of its own, which `gc ls` shows until it is clean
    #[arg(long)]
    adopt: bool,
    /// One JSON array
    #[arg(long)]
    json: bool,
}

impl Scan {
    /// Prints what was found.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        output::progress("looking for what was left behind");
        let found = findings(daemon, self.adopt)?;
        if self.json {
            output::json_to_read(&found)?;
        } else {
            output::line(rendered(&found, self.adopt))?;
        }
        Ok(0)
    }
}

fn findings(daemon: &Daemon, adopt: bool) -> Result<Vec<Finding>, Failure> {
    let mut found = Vec::new();
    let mut connection = daemon.connect()?;
    connection.send(&Request::GcScan { adopt }, &[], SEARCH)?;
    loop {
        match connection.receive(SEARCH)? {
            Reply::Findings { findings, last } => {
                found.extend(findings);
                if last {
                    return Ok(found);
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

fn rendered(findings: &[Finding], adopt: bool) -> String {
    let headings = ["KIND", "ID", "WHERE", "WHY", "ENTRY"];
    let mut rows = table(if adopt { &headings } else { &headings[..4] });
    let or_none = |id: Option<&str>| id.unwrap_or("-").to_owned();
    for finding in findings {
        let path = finding.path.to_string_lossy();
        let place = finding.pid.map_or_else(|| path.to_string(), |pid| format!("{path}, pid {pid}"));
        let mut row = vec![
            cell(finding.kind.name(), Tone::Plain),
            cell(or_none(finding.id.as_ref().map(AsRef::as_ref)), Tone::Plain),
            cell(place, Tone::Plain),
            cell(finding.why.as_str(), Tone::Plain),
        ];
        if adopt {
            row.push(cell(or_none(finding.adopted.as_ref().map(AsRef::as_ref)), Tone::Warn));
        }
        rows.add_row(row);
    }
    render(rows)
}

#[cfg(test)]
mod tests {
    use super::super::tests::execute;
    use super::*;
    use crate::fake::Fake;
    use sexton_common::wire::FindingKind;

    fn cgroup(adopted: bool) -> Finding {
        Finding {
            kind: FindingKind::Cgroup,
            id: Some("c1".parse().unwrap()),
            path: "/sys/fs/cgroup/memory/sexton/c1".into(),
            pid: None,
            why: "no process in it".into(),
            adopted: adopted.then(|| "c1".parse().unwrap()),
        }
    }

    fn shim() -> Finding {
        Finding {
            kind: FindingKind::Shim,
            id: None,
            path: "/run/sexton/containers/c2".into(),
            pid: Some(42),
            why: "its state directory is gone".into(),
            adopted: None,
        }
    }

    fn fake() -> Fake {
        Fake::start(|request| match request {
            Request::GcScan { adopt } => vec![
                Reply::Findings { findings: vec![cgroup(adopt)], last: false },
                Reply::Findings { findings: vec![shim()], last: true },
            ],
            _ => vec![],
        })
    }

    #[test]
    fn rows_say_what_was_left_where() {
        assert_eq!(
            rendered(&[cgroup(false), shim()], false),
            "KIND    ID  WHERE                              WHY\n\
             cgroup  c1  /sys/fs/cgroup/memory/sexton/c1    no process in it\n\
             shim    -   /run/sexton/containers/c2, pid 42  its state directory is gone"
        );
        assert_eq!(
            rendered(&[cgroup(true), shim()], true),
            "KIND    ID  WHERE                              WHY                          ENTRY\n\
             cgroup  c1  /sys/fs/cgroup/memory/sexton/c1    no process in it             c1\n\
             shim    -   /run/sexton/containers/c2, pid 42  its state directory is gone  -"
        );
        assert_eq!(rendered(&[], false), "KIND  ID  WHERE  WHY");
    }

    #[test]
    fn it_adopts_only_when_told_to() {
        let fake = fake();
        assert_eq!(findings(&fake.daemon(), false).unwrap(), [cgroup(false), shim()]);
        assert_eq!(findings(&fake.daemon(), true).unwrap(), [cgroup(true), shim()]);
        for line in ["scan", "scan --json", "scan --adopt", "scan --adopt --json"] {
            assert_eq!(execute(&fake, line).unwrap(), 0, "{line}");
        }
        let other = Fake::start(|_| vec![Reply::Done {}]);
        assert!(matches!(execute(&other, "scan"), Err(Failure::Unexpected(_))));
    }
}
