//! `doctor`: is this machine fit for sextond, and if not, what to do.

mod check;
mod kernel;
mod limits;
mod service;
mod tools;

use crate::{
    daemon::Daemon,
    failure::Failure,
    output, program,
    table::{Tone, cell, render, table},
};
use check::{Check, Verdict};
use clap::Args;
use kernel::Probe;
use sexton_common::wire::Node;
use std::io;

/// `sexton doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// One JSON array
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Looks, prints what it found, and returns 1 if something will not work.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let checks = look(daemon);
        if self.json {
            output::json_to_read(&checks)?;
        } else {
            output::line(rendered(&checks))?;
        }
        Ok(checks.iter().any(|check| check.status == Verdict::Fail).into())
    }
}

fn look(daemon: &Daemon) -> Vec<Check> {
    let node = service::node(daemon);
    let running: Option<&Node> = node.as_ref().ok();
    let mut checks = vec![tools::user()];
    match probe() {
        Ok(probe) => {
            checks.extend(kernel::checks(&probe));
            checks.extend(limits::checks(&probe, running));
        }
        Err(error) => checks.push(Check::fail(
            "kernel features",
            format!("not known: {error}"),
            "install sextond beside sexton, or into PATH: `sextond --probe` finds them",
        )),
    }
    checks.extend(tools::checks());
    checks.push(service::state_dir(&daemon.layout));
    checks.extend(service::checks(daemon, node));
    checks
}

fn probe() -> io::Result<Probe> {
    let sextond = program::find("sextond", &[])
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no sextond here"))?;
    let said = program::ask(&sextond, &["--probe"])?;
    serde_json::from_str(&said).map_err(|e| io::Error::other(format!("{} --probe: {e}", sextond.display())))
}

fn rendered(checks: &[Check]) -> String {
    let mut rows = table(&["CHECK", "FOUND", "STATUS", "WHAT TO DO"]);
    for check in checks {
        let (word, tone) = match check.status {
            Verdict::Ok => ("ok", Tone::Good),
            Verdict::Warn => ("warn", Tone::Warn),
            Verdict::Fail => ("fail", Tone::Bad),
        };
        rows.add_row([
            cell(check.check, Tone::Plain),
            cell(check.found.as_str(), Tone::Plain),
            cell(word, tone),
            cell(check.to_do.as_deref().unwrap_or(""), Tone::Plain),
        ]);
    }
    render(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_what_to_do() {
        let checks = [
            Check::ok("runc", "1.1.5"),
            Check::warn("sextond", "is not running", "start it"),
            Check::fail("cgroups", "none", "mount them"),
        ];
        assert_eq!(
            rendered(&checks),
            "CHECK    FOUND           STATUS  WHAT TO DO\n\
             runc     1.1.5           ok\n\
             sextond  is not running  warn    start it\n\
             cgroups  none            fail    mount them"
        );
        assert_eq!(
            serde_json::to_string(&checks[..2]).unwrap(),
            r#"[{"check":"runc","found":"1.1.5","status":"ok","to_do":null},{"check":"sextond","found":"is not running","status":"warn","to_do":"start it"}]"#
        );
    }
}
