//! Whether a process has been killed and is still there.

use nix::libc::SIGKILL;
use sexton_common::identity::Stat;
use std::fs;

/// Whether it has a SIGKILL pending, or is exiting and waits for something, e.g. for its pid namespace's last child. A
/// zombie is neither. Blocks on `/proc`.
#[must_use]
pub fn is_doomed(pid: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return false };
    let field = |name: &str| status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()));
    if field("State").is_none_or(|state| state.starts_with(['Z', 'X'])) {
        return false;
    }
    // The kernel stops its other threads by SIGKILL and lets it write; another SIGKILL would cut the dump off, and the
    // exit status would be another.
    if field("CoreDumping") == Some("1") {
        return false;
    }
    let pending = |name| field(name).and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    (pending("SigPnd") | pending("ShdPnd")) & (1 << (SIGKILL - 1)) != 0
        || Stat::of(pid).is_ok_and(|stat| stat.is_some_and(|stat| stat.is_exiting()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn what_lives_and_what_is_dead_is_not_doomed() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        assert!(!is_doomed(child.id()));
        child.kill().unwrap();
        let zombie = || fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") Z ");
        while !zombie() {
            std::thread::yield_now();
        }
        assert!(!is_doomed(child.id()));
        child.wait().unwrap();
        assert!(!is_doomed(u32::MAX));
    }
}
