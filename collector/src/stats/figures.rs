//! What one container uses, by its cgroups' files. Blocks, but on memory only.

use super::parse;
use nix::unistd::{SysconfVar, sysconf};
use sexton_common::{ProcessIdentity, cgroup::CgroupDir, wire::IoUse};
use std::{fs::File, io::Read, path::Path};

/// A longer file is not read at all: half of it would be another figure.
const LONGEST: u64 = 4 << 20;
/// A longer buffer is not kept.
const KEPT: usize = 64 * 1024;

/// Who counts in v1: the throttle, or the scheduler that the disk has.
const BLKIO: [&str; 2] = ["blkio.throttle.io_service_bytes", "blkio.bfq.io_service_bytes"];

/// What a container uses, or what of it the kernel tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// In bytes.
    pub memory: Option<u64>,
    /// In bytes.
    pub memory_limit: Option<u64>,
    /// In nanoseconds, since it began.
    pub cpu_ns: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// How often the OOM killer struck.
    pub oom_kills: Option<u64>,
    /// What went to and from disks.
    pub io: Option<IoUse>,
}

/// Reads many small files.
#[derive(Debug, Default)]
pub struct Reader(Vec<u8>);

impl Reader {
    fn read<T>(&mut self, path: &Path, parse: impl FnOnce(&str) -> T) -> Option<T> {
        self.0.clear();
        self.0.shrink_to(KEPT);
        File::open(path).ok()?.take(LONGEST + 1).read_to_end(&mut self.0).ok()?;
        (self.0.len() as u64 <= LONGEST).then(|| parse(&String::from_utf8_lossy(&self.0)))
    }

    fn of<T>(&mut self, cgroup: &CgroupDir, file: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.read(&cgroup.dir.join(file), parse)?
    }

    /// Of a container with these cgroups of its own. With none at all, of its first process alone: what shares a cgroup
    /// with its shim can only be told apart in `/proc`, and its children come and go there.
    pub fn used(&mut self, cgroups: &[CgroupDir], init: &ProcessIdentity) -> Used {
        if cgroups.is_empty() {
            return self.of_process(init);
        }
        let mut used = Used::default();
        for cgroup in cgroups {
            if cgroup.hierarchy.is_empty() {
                self.unified(cgroup, &mut used);
            }
            for controller in cgroup.hierarchy.split(',') {
                self.controller(cgroup, controller, &mut used);
            }
        }
        let mut tasks = cgroups.iter();
        used.pids = used.pids.or_else(|| tasks.find_map(|cgroup| self.tasks(cgroup)));
        used
    }

    fn unified(&mut self, cgroup: &CgroupDir, used: &mut Used) {
        let memory = self.of(cgroup, "memory.current", parse::number);
        if let Some(all) = memory {
            used.memory = Some(self.without_cache(cgroup, all, "inactive_file"));
            used.memory_limit = self.of(cgroup, "memory.max", parse::limit);
            used.oom_kills = self.of(cgroup, "memory.events", |text| parse::keyed(text, "oom_kill"));
        }
        // v2 counts CPU time without a controller, in hybrid layouts too, where v1's counts are as good.
        let cpu = self.of(cgroup, "cpu.stat", |text| parse::keyed(text, "usage_usec"));
        used.cpu_ns = used.cpu_ns.or(cpu.map(|us| us.saturating_mul(1000)));
        used.pids = used.pids.or_else(|| self.of(cgroup, "pids.current", parse::number));
        used.io = used.io.or_else(|| self.of(cgroup, "io.stat", |text| Some(parse::io_stat(text))));
    }

    fn controller(&mut self, cgroup: &CgroupDir, controller: &str, used: &mut Used) {
        match controller {
            "memory" => {
                let all = self.of(cgroup, "memory.usage_in_bytes", parse::number);
                used.memory = all.map(|all| self.without_cache(cgroup, all, "total_inactive_file"));
                used.memory_limit = self.of(cgroup, "memory.limit_in_bytes", parse::limit);
                used.oom_kills = self.of(cgroup, "memory.oom_control", |text| parse::keyed(text, "oom_kill"));
            }
            "cpuacct" => used.cpu_ns = self.of(cgroup, "cpuacct.usage", parse::number),
            "pids" => used.pids = self.of(cgroup, "pids.current", parse::number),
            "blkio" => {
                used.io = BLKIO.iter().find_map(|file| {
                    // With what is below it, where the kernel has that.
                    let all = self.read(&cgroup.dir.join(format!("{file}_recursive")), parse::blkio);
                    all.unwrap_or_else(|| self.of(cgroup, file, parse::blkio))
                });
            }
            _ => {}
        }
    }

    /// Page cache that was not used lately goes as soon as somebody wants memory; docker and the kubelet do not count it
    /// either.
    fn without_cache(&mut self, cgroup: &CgroupDir, all: u64, key: &str) -> u64 {
        let cache = self.of(cgroup, "memory.stat", |text| parse::keyed(text, key));
        all.saturating_sub(cache.unwrap_or(0))
    }

    /// Threads that are in this very cgroup, where nobody counts them: those in cgroups below it are not seen.
    fn tasks(&mut self, cgroup: &CgroupDir) -> Option<u64> {
        let file = if cgroup.hierarchy.is_empty() { "cgroup.threads" } else { "tasks" };
        self.of(cgroup, file, |text| Some(text.lines().count() as u64))
    }

    fn of_process(&mut self, init: &ProcessIdentity) -> Used {
        let path = format!("/proc/{}/stat", init.pid);
        let stat = self.read(Path::new(&path), parse::process).flatten();
        // Or its pid is somebody else's (I6).
        let Some(stat) = stat.filter(|stat| stat.start_time == init.start_time) else { return Used::default() };
        let setting = |of| sysconf(of).ok().flatten().and_then(|value| u64::try_from(value).ok());
        let tick_ns = setting(SysconfVar::CLK_TCK).and_then(|ticks| 1_000_000_000_u64.checked_div(ticks));
        Used {
            memory: setting(SysconfVar::PAGE_SIZE).map(|size| stat.pages.saturating_mul(size)),
            cpu_ns: tick_ns.map(|ns| stat.cpu_ticks.saturating_mul(ns)),
            pids: Some(stat.threads),
            ..Used::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn cgroup(dir: &Path, hierarchy: &str, files: &[(&str, &str)]) -> CgroupDir {
        let dir = dir.join(format!("h-{hierarchy}"));
        fs::create_dir_all(&dir).unwrap();
        files.iter().for_each(|(name, text)| fs::write(dir.join(name), text).unwrap());
        CgroupDir { hierarchy: hierarchy.into(), dir }
    }

    fn nobody() -> ProcessIdentity {
        ProcessIdentity::gone(1).unwrap()
    }

    const V2: [(&str, &str); 8] = [
        ("memory.current", "1000\n"),
        ("memory.stat", "anon 600\ninactive_file 300\nactive_file 100\n"),
        ("memory.max", "max\n"),
        ("memory.events", "low 0\noom 5\noom_kill 2\noom_group_kill 0\n"),
        ("cpu.stat", "usage_usec 5\nuser_usec 3\n"),
        ("pids.current", "4\n"),
        ("io.stat", "8:0 rbytes=10 wbytes=20\n"),
        ("cgroup.threads", "1\n2\n3\n4\n5\n"),
    ];
    const SEEN: Used = Used {
        memory: Some(700),
        memory_limit: None,
        cpu_ns: Some(5000),
        pids: Some(4),
        oom_kills: Some(2),
        io: Some(IoUse { read: 10, written: 20 }),
    };

    #[test]
    fn v2() {
        let dir = tempfile::tempdir().unwrap();
        let unified = cgroup(dir.path(), "", &V2);
        assert_eq!(Reader::default().used(std::slice::from_ref(&unified), &nobody()), SEEN);
        fs::write(unified.dir.join("memory.max"), "2000\n").unwrap();
        fs::remove_file(unified.dir.join("pids.current")).unwrap();
        let limited = Used { memory_limit: Some(2000), pids: Some(5), ..SEEN };
        assert_eq!(
            Reader::default().used(&[unified], &nobody()),
            limited,
            "without a pids controller threads are counted"
        );
    }

    #[test]
    fn v1_and_hybrid() {
        let dir = tempfile::tempdir().unwrap();
        let memory = [
            ("memory.usage_in_bytes", "1000"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 400\n"),
            ("memory.limit_in_bytes", "9223372036854771712"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
            ("tasks", "1\n2\n"),
        ];
        let mut all = vec![
            cgroup(dir.path(), "memory", &memory),
            cgroup(dir.path(), "cpu,cpuacct", &[("cpuacct.usage", "77\n")]),
            cgroup(dir.path(), "blkio", &[("blkio.throttle.io_service_bytes", "8:0 Read 5\n8:0 Write 6\nTotal 11\n")]),
            cgroup(dir.path(), "name=systemd", &[]),
            cgroup(dir.path(), "", &[("cpu.stat", "usage_usec 99\n")]),
        ];
        let io = Some(IoUse { read: 5, written: 6 });
        let seen =
            Used { memory: Some(600), cpu_ns: Some(77), oom_kills: Some(1), pids: Some(2), io, memory_limit: None };
        assert_eq!(Reader::default().used(&all, &nobody()), seen);
        all.reverse();
        all.push(cgroup(dir.path(), "pids", &[("pids.current", "9")]));
        let recursive = ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 50\n");
        cgroup(dir.path(), "blkio", &[recursive]);
        let io = Some(IoUse { read: 50, written: 0 });
        assert_eq!(Reader::default().used(&all, &nobody()), Used { pids: Some(9), io, ..seen });
    }

    #[test]
    fn what_is_missing_or_odd_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let gone = CgroupDir { hierarchy: "memory".into(), dir: dir.path().join("gone") };
        assert_eq!(Reader::default().used(&[gone], &nobody()), Used::default());
        let odd: Vec<_> = V2.iter().map(|(name, _)| (*name, "-5 \u{0} x\n")).collect();
        let used = Reader::default().used(&[cgroup(dir.path(), "", &odd)], &nobody());
        assert_eq!(used, Used { io: Some(IoUse::default()), pids: Some(1), ..Used::default() });
        let unified = cgroup(dir.path(), "", &V2);
        fs::write(unified.dir.join("memory.current"), [0xff, 0xfe]).unwrap();
        fs::write(unified.dir.join("cpu.stat"), "usage_usec 18446744073709551615\n").unwrap();
        fs::write(unified.dir.join("cgroup.threads"), vec![b'\n'; 5 << 20]).unwrap();
        fs::remove_file(unified.dir.join("pids.current")).unwrap();
        let used = Reader::default().used(&[unified], &nobody());
        assert_eq!((used.memory, used.oom_kills, used.cpu_ns), (None, None, Some(u64::MAX)));
        assert_eq!(used.pids, None, "half a file is no count");
    }

    #[test]
    fn without_a_cgroup_of_its_own_it_is_its_first_process() {
        let own = ProcessIdentity::of(std::process::id()).unwrap();
        let used = Reader::default().used(&[], &own);
        assert!(
            used.memory.is_some_and(|bytes| bytes > 100_000) && used.pids.is_some_and(|count| count > 0),
            "{used:?}"
        );
        assert!(used.cpu_ns.is_some() && used.io.is_none());
        let other = ProcessIdentity { start_time: own.start_time + 1, ..own };
        assert_eq!(Reader::default().used(&[], &other), Used::default(), "its pid is somebody else's");
    }
}
