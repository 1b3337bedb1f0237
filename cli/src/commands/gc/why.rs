//! `gc why`.

use super::next_try;
use crate::{
    daemon::{Daemon, SIMPLE, unexpected},
    failure::Failure,
    output::{self, plain},
    show,
    table::{Tone, cell, render, table},
};
use clap::Args;
use sexton_common::{
    ContainerId, WallTime,
    gc::GcOrigin,
    wire::{GcInfo, GcWhy, Holder, Obstacle, Reply, Request},
};

/// `sexton gc why`.
#[derive(Debug, Args)]
pub struct Why {
    /// The container
    id: ContainerId,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

impl Why {
    /// Prints it.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        match daemon.ask(&Request::GcWhy { id: self.id }, SIMPLE)? {
            Reply::GcWhy(why) if self.json => output::json_to_read(&why)?,
            Reply::GcWhy(why) => output::line(rendered(&why, WallTime::now()))?,
            other => return Err(unexpected(&other)),
        }
        Ok(0)
    }
}

fn rendered(why: &GcWhy, now: WallTime) -> String {
    let mut lines = vec![rendered_entry(&why.entry, now), String::new()];
    if why.obstacles.is_empty() {
        lines.push("Nothing is in the way any more: the next try should clean it.".into());
    }
    for (number, obstacle) in why.obstacles.iter().enumerate() {
        if number > 0 {
            lines.push(String::new());
        }
        add_obstacle(&mut lines, obstacle, now);
    }
    if let Some(said) = &why.output {
        lines.extend([String::new(), "The last clean-up command said:".into()]);
        lines.extend(said.lines().map(|line| format!("  {}", plain(line))));
    }
    lines.join("\n")
}

fn rendered_entry(entry: &GcInfo, now: WallTime) -> String {
    let mut rows = table(&[]);
    let mut row = |key: &str, value: String| {
        rows.add_row([cell(key, Tone::Plain), cell(value, Tone::Plain)]);
    };
    row("id", entry.id.to_string());
    row("generation", entry.generation.to_string());
    row("origin", origin(entry.origin).into());
    if entry.earlier_boot {
        row("boot", "an earlier one: only its files and clean-up commands are left".into());
    }
    row("in GC since", format!("{}, {} ago", entry.since, show::age(entry.since.0, now.0)));
    row("attempts", entry.attempts.to_string());
    row("next try", next_try(entry, now));
    row("step", entry.step.to_string());
    row("in the way", entry.in_the_way.clone());
    render(rows)
}

fn origin(origin: GcOrigin) -> &'static str {
    match origin {
        GcOrigin::Container => "a container of Sexton's",
        GcOrigin::Added => "sexton gc add",
        GcOrigin::Adopted => "sexton gc scan --adopt",
    }
}

fn add_obstacle(lines: &mut Vec<String>, obstacle: &Obstacle, now: WallTime) {
    let age = show::age(obstacle.since.0, now.0);
    lines.push(format!("{}: {} (for {age})", obstacle.step, plain(&obstacle.what)));
    for holder in &obstacle.holders {
        lines.push(format!("  pid {} ({})", holder.pid, plain(&holder.comm)));
        for (key, value) in about(holder) {
            lines.push(format!("    {key:<10}  {}", plain(&value)));
        }
        for (number, frame) in holder.stack.iter().enumerate() {
            lines.push(format!("    {:<10}  {}", if number == 0 { "stack" } else { "" }, plain(frame)));
        }
    }
}

fn about(holder: &Holder) -> Vec<(&'static str, String)> {
    let state = match holder.state.as_str() {
        "D" => "D (waits in the kernel, cannot be killed)",
        "R" => "R (running)",
        "S" => "S (sleeping)",
        "T" => "T (stopped)",
        "t" => "t (traced)",
        "Z" => "Z (zombie)",
        other => other,
    };
    let mut about = vec![("how", holder.how.clone()), ("state", state.into())];
    about.extend(holder.wchan.iter().map(|place| ("waits in", place.clone())));
    about.extend(holder.frozen_by.iter().map(|dir| ("frozen by", format!("{}: thaw it", dir.display()))));
    about.extend(holder.mount_ns.map(|inode| ("mounts", format!("in mount namespace {inode}, not in sextond's"))));
    about
}

#[cfg(test)]
mod tests {
    use super::super::tests::{entry, execute};
    use super::*;
    use crate::fake::Fake;
    use sexton_common::{
        gc::Step,
        wire::{ApiError, ErrorCode},
    };

    const NOW: WallTime = WallTime(19_000_000_000);

    fn stuck() -> GcWhy {
        let stuck = Holder {
            pid: 42,
            comm: "dd".into(),
            state: "D".into(),
            wchan: Some("percpu_rwsem_wait".into()),
            stack: vec!["percpu_rwsem_wait".into(), "vfs_write".into()],
            how: "in cgroup /par/c1".into(),
            frozen_by: None,
            mount_ns: None,
        };
        let holder = Holder {
            pid: 43,
            comm: "evil\u{1b}[2J".into(),
            state: "S".into(),
            wchan: None,
            stack: Vec::new(),
            how: "cwd".into(),
            frozen_by: Some("/sys/fs/cgroup/freezer/par".into()),
            mount_ns: Some(4_026_532_201),
        };
        let first = Obstacle {
            step: Step::Processes,
            what: "1 process does not die".into(),
            since: WallTime(9_000_000_000),
            holders: vec![stuck],
        };
        let second = Obstacle { step: Step::Mounts, what: "/m is busy".into(), since: NOW, holders: vec![holder] };
        GcWhy { entry: entry("c1"), obstacles: vec![first, second], output: Some("no\nroute\u{7}\n".into()) }
    }

    #[test]
    fn everything_is_said() {
        assert_eq!(
            rendered(&stuck(), NOW),
            "id           c1\n\
             generation   7\n\
             origin       a container of Sexton's\n\
             in GC since  1970-01-01T00:00:01.000000000Z, 18s ago\n\
             attempts     4\n\
             next try     in 12s\n\
             step         processes\n\
             in the way   pid 42 (dd) does not die\n\
             \n\
             processes: 1 process does not die (for 10s)\n  \
               pid 42 (dd)\n    \
                 how         in cgroup /par/c1\n    \
                 state       D (waits in the kernel, cannot be killed)\n    \
                 waits in    percpu_rwsem_wait\n    \
                 stack       percpu_rwsem_wait\n    \
                 \x20           vfs_write\n\
             \n\
             mounts: /m is busy (for 0s)\n  \
               pid 43 (evil\\u{1b}[2J)\n    \
                 how         cwd\n    \
                 state       S (sleeping)\n    \
                 frozen by   /sys/fs/cgroup/freezer/par: thaw it\n    \
                 mounts      in mount namespace 4026532201, not in sextond's\n\
             \n\
             The last clean-up command said:\n  \
               no\n  \
               route\\u{7}"
        );
    }

    #[test]
    fn one_that_is_about_to_be_clean() {
        let entry = GcInfo { earlier_boot: true, next_try: None, origin: GcOrigin::Added, ..entry("c1") };
        let text = rendered(&GcWhy { entry, obstacles: Vec::new(), output: None }, NOW);
        for line in [
            "origin       sexton gc add",
            "boot         an earlier one: only its files and clean-up commands are left",
            "next try     now",
            "Nothing is in the way any more: the next try should clean it.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("command said"));
    }

    #[test]
    fn both_outputs_and_one_that_is_not_in_gc() {
        let fake = Fake::start(|request| match request {
            Request::GcWhy { id } if id.as_str() == "c1" => vec![Reply::GcWhy(Box::new(stuck()))],
            Request::GcWhy { .. } => vec![Reply::Error(ApiError::new(ErrorCode::NoSuchContainer, "it is not in GC"))],
            _ => vec![],
        });
        assert_eq!(execute(&fake, "why c1").unwrap(), 0);
        assert_eq!(execute(&fake, "why c1 --json").unwrap(), 0);
        let failure = execute(&fake, "why c2").unwrap_err();
        assert_eq!((failure.to_string().as_str(), failure.exit_code(false)), ("it is not in GC", 3));
        let other = Fake::start(|_| vec![Reply::Done {}]);
        assert!(matches!(execute(&other, "why c1"), Err(Failure::Unexpected(_))));
    }
}
