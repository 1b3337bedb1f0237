//! What a process uses, as the kernel tells it.

use sexton_tests::proc::field_of;
use std::fs;

/// Of one process, at one instant. All zero if it is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory, what is shared by N processes counted as an Nth.
    pub pss_kib: u64,
    /// Memory, whatever is shared.
    pub rss_kib: u64,
    /// Memory that nobody else has, and that cannot be read again from a file.
    pub private_dirty_kib: u64,
    /// The kernel's tables for it.
    pub page_tables_kib: u64,
    /// How many.
    pub threads: u64,
    /// How often one of its threads, of those that are, went to sleep or was interrupted.
    pub switches: u64,
}

impl Usage {
    /// Of the process that has this pid now.
    pub fn of(pid: u32) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let (memory, status) = (read("smaps_rollup"), read("status"));
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let tasks = tasks.map(|task| fs::read_to_string(task.path().join("status")).unwrap_or_default());
        Self {
            pss_kib: number(&memory, "Pss"),
            rss_kib: number(&memory, "Rss"),
            private_dirty_kib: number(&memory, "Private_Dirty"),
            page_tables_kib: number(&status, "VmPTE"),
            threads: number(&status, "Threads"),
            switches: tasks.map(|task| switches(&task)).sum(),
        }
    }
}

/// How long the process' threads, of those that are, have run on a processor, in nanoseconds. 0 if it is gone.
pub fn busy_ns(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let ran = |path: std::path::PathBuf| {
        fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.filter_map(|task| ran(task.path())).sum::<u64>()
}

fn switches(status: &str) -> u64 {
    number(status, "voluntary_ctxt_switches") + number(status, "nonvoluntary_ctxt_switches")
}

/// A field's number, without its unit.
fn number(text: &str, field: &str) -> u64 {
    field_of(text, field).and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart_by_their_whole_names() {
        let text = "Rss:                2120 kB\nPss:                1040 kB\nSwapPss:  7 kB\n";
        assert_eq!((number(text, "Pss"), number(text, "Rss"), number(text, "Swap")), (1040, 2120, 0));
        assert_eq!(switches("voluntary_ctxt_switches:\t4\nnonvoluntary_ctxt_switches:\t3\n"), 7);
    }

    #[test]
    fn every_thread_counts() {
        let pid = std::process::id();
        let first = || switches(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap());
        // The test's thread goes to sleep, but the first one counts for itself.
        let before = first();
        sexton_tests::wait_for("this thread's switches", sexton_tests::LONG, || Usage::of(pid).switches > before + 10);
        let usage = Usage::of(pid);
        assert!(usage.threads >= 2 && usage.rss_kib >= usage.pss_kib, "{usage:?}");
        assert!(usage.pss_kib > 0 && usage.page_tables_kib > 0, "{usage:?}");
        assert_eq!(Usage::of(u32::MAX), Usage::default());
        assert!(busy_ns(pid) > 0 && busy_ns(u32::MAX) == 0);
    }
}
