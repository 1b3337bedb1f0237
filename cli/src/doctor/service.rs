//! The state directory and sextond itself.

use super::check::Check;
use crate::{
    args::own_version,
    daemon::{Daemon, SIMPLE, unexpected},
    failure::Failure,
    show,
};
use sexton_common::{
    Layout,
    wire::{GcFigures, Node, Reply, Request},
};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
};

/// What helps against a want of descriptors.
const RAISE: &str = "raise LimitNOFILE in sextond.service and restart sextond; containers run on meanwhile";

/// What sextond says about itself.
pub fn node(daemon: &Daemon) -> Result<Node, Failure> {
    match daemon.ask(&Request::Node {}, SIMPLE)? {
        Reply::Node(node) => Ok(node),
        other => Err(unexpected(&other)),
    }
}

/// Only root, or the same user, gets in.
pub fn state_dir(layout: &Layout) -> Check {
    let dir = layout.state();
    let name = "state directory";
    let meta = match fs::symlink_metadata(dir) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Check::warn(name, format!("{} is not there", dir.display()), "sextond makes it when it starts");
        }
        Err(e) => return Check::fail(name, format!("{}: {e}", dir.display()), "look as root"),
    };
    let mode = meta.permissions().mode() & 0o7777;
    let found = format!("{}, mode {mode:04o}", dir.display());
    let me = nix::unistd::geteuid().as_raw();
    if !meta.is_dir() {
        Check::fail(name, format!("{} is no directory", dir.display()), "remove it; sextond makes it when it starts")
    } else if mode & 0o077 != 0 {
        Check::fail(name, found, format!("others can get in: chmod 0700 {}", dir.display()))
    } else if meta.uid() != me && me != 0 {
        Check::warn(name, format!("{found}, of uid {}", meta.uid()), "look as root")
    } else {
        Check::ok(name, found)
    }
}

/// sextond, its descriptors, its quarantine, its garbage.
pub fn checks(daemon: &Daemon, node: Result<Node, Failure>) -> Vec<Check> {
    let node = match node {
        Ok(node) => node,
        Err(Failure::NotRunning(_)) => {
            let how = "start it: `systemctl start sextond` or `sextond &`";
            return vec![Check::warn("sextond", "is not running", how)];
        }
        Err(failure @ Failure::Denied(_)) => {
            return vec![Check::warn("sextond", failure.to_string(), "run `sexton doctor` as root")];
        }
        Err(failure) => {
            return vec![Check::fail("sextond", failure.to_string(), "look at its log: `journalctl -u sextond`")];
        }
    };
    let (ours, _) = own_version();
    let found = format!("{}, pid {}, {} containers", node.version, node.pid, node.containers);
    let mut checks = vec![if node.version == ours {
        Check::ok("sextond", found)
    } else {
        Check::warn("sextond", found, format!("restart it: sexton is {ours}. Containers run on meanwhile"))
    }];
    let found = format!("{} of {}", node.descriptors, node.descriptor_limit);
    checks.push(if node.surplus > 0 {
        let found = format!("{found}: {} containers are watched by a slower way", node.surplus);
        Check::warn("descriptors", found, RAISE)
    } else if node.descriptors.saturating_mul(10) > node.descriptor_limit.saturating_mul(9) {
        Check::warn("descriptors", found, RAISE)
    } else {
        Check::ok("descriptors", found)
    });
    checks.push(match node.stored {
        Some(held) => Check::ok("descriptor store", format!("{held} pidfds")),
        None => Check::warn(
            "descriptor store",
            "none: if a shim and sextond are killed together, its container's status is unknown",
            "start sextond by its systemd unit, or with --keeper",
        ),
    });
    let dir = daemon.layout.quarantine();
    checks.push(match node.quarantined {
        0 => Check::ok("quarantine", "empty"),
        files => Check::warn(
            "quarantine",
            format!("{files} damaged files"),
            format!("see sextond's log for what they were; they lie in {}, remove them when done", dir.display()),
        ),
    });
    checks.push(garbage(&node.gc));
    checks
}

fn garbage(gc: &GcFigures) -> Check {
    let Some(ms) = gc.oldest_ms.filter(|_| gc.entries > 0) else { return Check::ok("garbage", "none") };
    let age = show::age(0, ms.saturating_mul(1_000_000));
    let found = match gc.entries {
        1 => format!("1 container cannot be cleaned, for {age}"),
        count => format!("{count} containers cannot be cleaned, the oldest for {age}"),
    };
    Check::warn("garbage", found, "see what is in the way: `sexton gc ls`, `sexton gc why ID`")
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;
    use crate::fake::Fake;
    use sexton_common::WallTime;

    fn healthy() -> Node {
        Node {
            version: own_version().0.into(),
            pid: 5,
            since: WallTime(0),
            containers: 3,
            descriptors: 40,
            descriptor_limit: 1024,
            quarantined: 0,
            seq: 9,
            seats: 1000,
            seats_taken: 6,
            surplus: 0,
            stored: Some(3),
            gc: GcFigures::default(),
        }
    }

    #[test]
    fn the_daemons_health() {
        let daemon = Fake::silent().daemon();
        let verdicts = |node| checks(&daemon, node).iter().map(|check| check.status).collect::<Vec<_>>();
        assert_eq!(verdicts(Ok(healthy())), [Verdict::Ok; 5]);
        let gc = GcFigures { entries: 3, oldest_ms: Some(190_000), ..GcFigures::default() };
        let ill = Node { version: "0.0.1".into(), descriptors: 1000, quarantined: 2, stored: None, gc, ..healthy() };
        assert_eq!(verdicts(Ok(ill)), [Verdict::Warn; 5]);
        let short = checks(&daemon, Ok(Node { surplus: 7, ..healthy() }));
        assert_eq!((short[1].status, short[1].to_do.as_deref()), (Verdict::Warn, Some(RAISE)));
        assert_eq!(short[1].found, "40 of 1024: 7 containers are watched by a slower way");
        assert_eq!(verdicts(Err(Failure::NotRunning("/x".into()))), [Verdict::Warn]);
        assert_eq!(verdicts(Err(Failure::Late(SIMPLE))), [Verdict::Fail]);
    }

    #[test]
    fn what_cannot_be_cleaned_is_counted() {
        let of = |entries, oldest_ms| garbage(&GcFigures { entries, oldest_ms, ..GcFigures::default() });
        assert_eq!(of(0, None), Check::ok("garbage", "none"));
        assert_eq!(of(1, Some(59_999)).found, "1 container cannot be cleaned, for 59s");
        let several = of(3, Some(190_000));
        assert_eq!(several.found, "3 containers cannot be cleaned, the oldest for 3m");
        assert_eq!((several.status, several.to_do.unwrap().contains("sexton gc ls")), (Verdict::Warn, true));
    }

    #[test]
    fn the_state_directory_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("state"), dir.path().into());
        assert_eq!(state_dir(&layout).status, Verdict::Warn);
        fs::create_dir(layout.state()).unwrap();
        let with = |mode| {
            fs::set_permissions(layout.state(), fs::Permissions::from_mode(mode)).unwrap();
            state_dir(&layout).status
        };
        assert_eq!(with(0o755), Verdict::Fail);
        assert_eq!(with(0o700), Verdict::Ok);
    }
}
