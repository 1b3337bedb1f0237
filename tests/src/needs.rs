//! What the tests need of the machine, and how they say that it is missing.

use crate::{binaries, command::run};
use std::{io::Write, path::Path, process::Command, sync::OnceLock};

/// Whether the calling test cannot run here: then it has said so, and must return.
///
/// # Panics
/// If it cannot and `SEXTON_ALLOW_SKIP` is not `1`.
#[must_use]
pub fn skipped() -> bool {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let Some(reason) = MISSING.get_or_init(missing) else { return false };
    let allowed = std::env::var_os("SEXTON_ALLOW_SKIP").is_some_and(|v| v == "1");
    assert!(allowed, "{reason} (SEXTON_ALLOW_SKIP=1 skips what cannot run)");
    skip(reason);
    true
}

/// The same, for what needs the kernel's word on processes that somebody else has reaped.
///
/// # Panics
/// As [`skipped`].
#[must_use]
pub fn skipped_without_info_exit() -> bool {
    if skipped() {
        return true;
    }
    let features = run(Command::new(binaries::sextond()).arg("--probe")).ok().json();
    if features["pidfd_info_exit"] == true {
        return false;
    }
    skip("this kernel has no PIDFD_INFO_EXIT (Linux 6.15)");
    true
}

/// Says that the calling test is skipped, past the capture of output.
pub fn skip(reason: &str) {
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {reason}");
}

fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("containers need root: run the tests as root".into());
    }
    for program in ["runc", "busybox", "cc"] {
        if binaries::find(program).is_none() {
            return Some(format!("{program} is not in PATH: install runc, busybox-static and a C compiler"));
        }
    }
    for name in ["sexton-shim", "sextond", "sexton"] {
        let path = binaries::directory().join(name);
        if !path.exists() {
            return Some(format!("{} does not exist: `make build` makes it", path.display()));
        }
    }
    (!Path::new("/sys/fs/cgroup").is_dir()).then(|| "no cgroups are mounted at /sys/fs/cgroup".into())
}
