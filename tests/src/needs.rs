//! What the tests need of the machine, and how they say that it is missing.

use crate::binaries;
use std::{io::Write, path::Path, sync::OnceLock};

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
