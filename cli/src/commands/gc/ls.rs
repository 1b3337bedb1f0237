//! `gc ls`.

use super::{list, next_try};
use crate::{
    daemon::Daemon,
    failure::Failure,
    output, show,
    table::{Tone, cell, render, table},
};
use clap::Args;
use sexton_common::{WallTime, wire::GcInfo};

/// `sexton gc ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// One JSON array
    #[arg(long)]
    json: bool,
}

impl Ls {
    /// Prints them, the oldest first.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let entries = list(daemon)?;
        if self.json {
            output::json_to_read(&entries)?;
        } else {
            output::line(rendered(&entries, WallTime::now()))?;
        }
        Ok(0)
    }
}

fn rendered(entries: &[GcInfo], now: WallTime) -> String {
    let mut rows = table(&["ID", "SINCE", "ATTEMPTS", "NEXT TRY", "STEP", "IN THE WAY"]);
    for entry in entries {
        rows.add_row([
            cell(entry.id.as_str(), Tone::Plain),
            cell(show::age(entry.since.0, now.0), Tone::Plain),
            cell(entry.attempts.to_string(), Tone::Plain),
            cell(next_try(entry, now), Tone::Plain),
            cell(entry.step.name(), Tone::Plain),
            cell(entry.in_the_way.as_str(), Tone::Warn),
        ]);
    }
    render(rows)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, execute};
    use super::*;
    use crate::fake::Fake;
    use sexton_common::{
        gc::Step,
        wire::{Reply, Request},
    };

    #[test]
    fn rows_say_what_is_in_the_way() {
        let now = WallTime(190_000_000_000);
        let tried = GcInfo { step: Step::Mounts, in_the_way: "busy\n\u{1b}[31m".into(), ..entry("web") };
        let due = GcInfo { next_try: Some(WallTime(202_500_000_000)), ..entry("c2") };
        assert_eq!(
            rendered(&[tried, due], now),
            "ID   SINCE  ATTEMPTS  NEXT TRY  STEP       IN THE WAY\n\
             web  3m     4         now       mounts     busy\\n\\u{1b}[31m\n\
             c2   3m     4         in 12s    processes  pid 42 (dd) does not die"
        );
        assert_eq!(rendered(&[], now), "ID  SINCE  ATTEMPTS  NEXT TRY  STEP  IN THE WAY");
    }

    #[test]
    fn both_outputs() {
        let fake = Fake::start(|request| match request {
            Request::GcList {} => vec![Reply::GcEntries { entries: vec![entry("c1")], last: true }],
            _ => vec![],
        });
        assert_eq!(execute(&fake, "ls").unwrap(), 0);
        assert_eq!(execute(&fake, "ls --json").unwrap(), 0);
        assert_eq!(
            serde_json::to_string(&list(&fake.daemon()).unwrap()).unwrap(),
            r#"[{"id":"c1","generation":7,"origin":"container","earlier_boot":false,"since":"1970-01-01T00:00:01.000000000Z","attempts":4,"next_try":"1970-01-01T00:00:31.000000000Z","step":"processes","in_the_way":"pid 42 (dd) does not die"}]"#
        );
    }
}
