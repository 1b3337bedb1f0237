//! What the kernel writes about cgroups, processes and the machine. Whatever the text is, nothing here panics: what cannot
//! be understood is `None`.

use sexton_common::wire::{IoUse, Room};

/// cgroup v1 has no word for "no limit": it shows the largest number of whole pages. No machine has as much.
const NO_LIMIT: u64 = 1 << 62;

/// A file that is one number.
pub fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A limit; `None` if there is none.
pub fn limit(text: &str) -> Option<u64> {
    number(text).filter(|limit| *limit < NO_LIMIT)
}

/// The number after `key` in a file of `key number` lines.
pub fn keyed(text: &str, key: &str) -> Option<u64> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.find(|(found, _)| *found == key).and_then(|(_, value)| number(value))
}

/// `blkio.throttle.io_service_bytes`, of all devices: `8:0 Read 4096` and a line for each other kind. `None` if no device
/// is in it: either nothing was read or written, or nobody counts. Since Linux 6.9 only limits make the kernel count.
pub fn blkio(text: &str) -> Option<IoUse> {
    let (mut all, mut seen) = (IoUse::default(), false);
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace().skip(1);
        let sum = match words.next() {
            Some("Read") => &mut all.read,
            Some("Write") => &mut all.written,
            _ => continue,
        };
        seen = true;
        *sum = sum.saturating_add(words.next().and_then(number).unwrap_or(0));
    }
    seen.then_some(all)
}

/// `io.stat`, of all devices: `8:0 rbytes=4096 wbytes=0 rios=1 ...`.
pub fn io_stat(text: &str) -> IoUse {
    let mut all = IoUse::default();
    for word in text.split_ascii_whitespace() {
        let sum = match word.split_once('=') {
            Some(("rbytes", bytes)) => (&mut all.read, bytes),
            Some(("wbytes", bytes)) => (&mut all.written, bytes),
            _ => continue,
        };
        *sum.0 = sum.0.saturating_add(number(sum.1).unwrap_or(0));
    }
    all
}

/// What `/proc/PID/stat` counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Clock ticks since boot at which it began.
    pub start_time: u64,
    /// Clock ticks on a CPU, its own and the kernel's for it.
    pub cpu_ticks: u64,
    /// Its threads.
    pub threads: u64,
    /// Its resident pages.
    pub pages: u64,
}

/// `/proc/PID/stat`.
pub fn process(text: &str) -> Option<Process> {
    // The command is in parentheses and may contain anything.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Process {
        start_time: field(22)?,
        cpu_ticks: field(14)?.saturating_add(field(15)?),
        threads: field(20)?,
        pages: field(24)?,
    })
}

/// `/proc/meminfo`.
pub fn meminfo(text: &str) -> Room {
    let kib = |key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        number(value.trim().strip_suffix("kB")?).map(|kib| kib.saturating_mul(1024))
    };
    let (total, left) = (kib("MemTotal"), kib("MemAvailable"));
    Room { total, left, used: total.unwrap_or(0).saturating_sub(left.unwrap_or(0)) }
}

/// `/proc/loadavg`, in hundredths.
pub fn load(text: &str) -> [u32; 3] {
    let mut words = text.split_ascii_whitespace();
    [(); 3].map(|()| {
        let load = words.next().and_then(|word| word.parse::<f64>().ok());
        // Saturates, and a NaN is zero.
        (load.unwrap_or(0.0) * 100.0).round() as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_and_limits() {
        assert_eq!(
            [number("7\n"), number(" 7 "), number(""), number("-1"), number("max")],
            [Some(7), Some(7), None, None, None]
        );
        assert_eq!(number("18446744073709551615"), Some(u64::MAX));
        assert_eq!(number("18446744073709551616"), None, "more than there can be");
        let limits = ["max\n", "9223372036854771712\n", "9223372036854710272", "67108864\n"].map(limit);
        assert_eq!(limits, [None, None, None, Some(64 << 20)]);
    }

    #[test]
    fn keys_are_whole_words() {
        let text = "inactive_file 1\ntotal_inactive_file 2\noom_kill 3\noom_kill_disable 0\nbroken\nodd x\n";
        let of = |key| keyed(text, key);
        assert_eq!([of("total_inactive_file"), of("inactive_file"), of("oom_kill")], [Some(2), Some(1), Some(3)]);
        assert_eq!([of("oom"), of("broken"), of("odd")], [None; 3]);
    }

    #[test]
    fn io_of_all_devices() {
        let v1 = "8:0 Read 4096\n8:0 Write 100\n8:0 Sync 4196\n8:0 Total 4196\n7:1 Read 4\n7:1 Write\n9:9 Read x\nTotal 4200\n";
        assert_eq!(blkio(v1), Some(IoUse { read: 4100, written: 100 }));
        assert_eq!(blkio("Total 0\n"), None, "nobody counts");
        let v2 = "8:0 rbytes=4096 wbytes=10 rios=1 wios=2 dbytes=9 dios=0\n8:16 \n253:0 rbytes=4 wbytes=x\n";
        assert_eq!(io_stat(v2), IoUse { read: 4100, written: 10 });
        let huge = format!("8:0 Read {0}\n8:1 Read {0}\n", u64::MAX);
        assert_eq!(blkio(&huge).map(|io| io.read), Some(u64::MAX));
    }

    #[test]
    fn processes_with_any_name() {
        let line =
            "7 (a) R 1 (x) S 1 7 7 0 -1 4194560 100 0 0 0 11 22 33 44 20 0 5 0 999 1000000 250 18446744073709551615 1";
        let seen = process(line).unwrap();
        assert_eq!(seen, Process { start_time: 999, cpu_ticks: 33, threads: 5, pages: 250 });
        assert_eq!(process("7 (a) S 1 7"), None);
    }

    #[test]
    fn the_machine() {
        let room = meminfo("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\n");
        assert_eq!(room, Room { total: Some(1_024_000), left: Some(409_600), used: 614_400 });
        let text = "MemTotal:        1000 kB\nMemFree:  5 kB\nMemAvailable:    300 kB\n";
        let room = Room { total: Some(1_024_000), left: Some(307_200), used: 716_800 };
        assert_eq!(meminfo(text), room);
        assert_eq!(meminfo("MemTotal: 1 kB\n").left, None);
        assert!(crate::stats::memory().left.unwrap() > 0);
        assert_eq!(meminfo("MemTotal: many kB"), Room::default());
        assert_eq!(load("0.52 1.00 12.345 2/345 6789\n"), [52, 100, 1235]);
        assert_eq!(load("nan -3 1e99"), [0, 0, u32::MAX]);
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(?s)([a-z_.:= 0-9\n()-]|[0-9]{18,22}|.){0,80}", key in "[a-z]{0,3}") {
            let _ = (number(&text), limit(&text), keyed(&text, &key), blkio(&text), io_stat(&text));
            let _ = (process(&text), meminfo(&text), load(&text));
        }
    }
}
