//! What `sexton-crash` is asked to do.

use super::{bad_disk::BadDisk, collector::Collector, fault::Fault, gc::Gc, restart::Restart, shim::Shim, sweep::Life};

/// What it says to `--help`.
pub const HELP: &str = "\
Usage: sexton-crash [OPTION]...

Kills a program before and after each of its system calls, one run per point, and checks that no exit is lost and
that nothing is left behind. Needs root, runc and busybox; the programs are those in $SEXTON_BIN_DIR.

  --program NAME   shim; alone (the shim, and sextond comes after the crash); sextond; twice (sextond, and while it
                   recovers once more); gc (sextond with something in its way); restart (sextond with a container
                   that comes back); first (the process that is called); between (its child, the shim's parent); both
                   (the shim, and with it a collector that has a keeper); plain, plain-alone (the shim of a plain
                   program); all of them if not given
  --from N         the first point (1): how to go on after a break
  --to N           the last point (the last one of a life that nobody ends)
  --stride K       every Kth point (1)
  --offset J       the first of every K (0)
  --sample COUNT   as many points, chosen at random
  --seed S         chooses points and exit codes (the clock); a point's code follows from both
  --jobs N         points at a time, each on a node of its own (two for every core)
  --json           a line of sums for machines after each program
  --fault ERROR    eio, enospc or erofs: nobody is killed; from the Nth system call that changes something in the state
                   directory on, such calls fail, and nothing may be lost or left. For shim, alone and sextond
  --times COUNT    how many of them fail (1), or ever: until the program has tried long enough
  --reap-after MS  how late orphans are reaped (at once)
";

/// A program whose life is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The process that is called.
    First,
    /// Its child.
    Between,
    /// The shim, with a collector that listens.
    Shim,
    /// The shim, with a collector that comes later.
    Alone,
    /// The collector.
    Collector,
    /// The collector, and the one after it.
    Twice,
    /// The collector, with something in its way.
    Gc,
    /// The collector, with a container that comes back.
    Restart,
    /// The shim, and the collector with it, below a keeper.
    Both,
    /// The shim of a plain program, with a collector that listens.
    Plain,
    /// The shim of a plain program, with a collector that comes later.
    PlainAlone,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Shim,
        Self::Alone,
        Self::Both,
        Self::Plain,
        Self::PlainAlone,
        Self::Collector,
        Self::Twice,
        Self::Gc,
        Self::Restart,
        Self::First,
        Self::Between,
    ];

    /// As it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Between => "between",
            Self::Shim => "shim",
            Self::Alone => "alone",
            Self::Collector => "sextond",
            Self::Twice => "twice",
            Self::Gc => "gc",
            Self::Restart => "restart",
            Self::Both => "both",
            Self::Plain => "plain",
            Self::PlainAlone => "plain-alone",
        }
    }

    /// Those that have a disk.
    pub const WITH_DISK: [Self; 3] = [Self::Shim, Self::Alone, Self::Collector];

    /// Its life: it is killed, or its disk is bad.
    #[must_use]
    pub fn life(self, fault: Option<Fault>) -> Box<dyn Life> {
        match (self, fault) {
            (Self::First, _) => Box::new(Shim::new(0, false, None)),
            (Self::Between, _) => Box::new(Shim::new(1, false, None)),
            (Self::Shim, _) => Box::new(Shim::new(2, false, fault)),
            (Self::Alone, _) => Box::new(Shim::new(2, true, fault)),
            (Self::Collector, Some(fault)) => Box::new(BadDisk::new(fault)),
            (Self::Collector, None) => Box::<Collector>::default(),
            (Self::Twice, _) => Box::new(Collector::twice()),
            (Self::Gc, _) => Box::<Gc>::default(),
            (Self::Restart, _) => Box::<Restart>::default(),
            (Self::Both, _) => Box::new(Shim::kept()),
            (Self::Plain, _) => Box::new(Shim::plain(false)),
            (Self::PlainAlone, _) => Box::new(Shim::plain(true)),
        }
    }
}

/// See [`HELP`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Which ones.
    pub programs: Vec<Program>,
    /// The first point.
    pub from: u64,
    /// The last one.
    pub to: Option<u64>,
    /// Every so many.
    pub stride: u64,
    /// Beginning with this one.
    pub offset: u64,
    /// As many at random.
    pub sample: Option<u64>,
    /// What chance comes from.
    pub seed: u64,
    /// What its disk does instead of a kill.
    pub fault: Option<Fault>,
    /// How late orphans are reaped, in milliseconds.
    pub reap_after: u64,
    /// Points at a time.
    pub jobs: u64,
    /// Sums for machines, too.
    pub json: bool,
}

impl Options {
    /// Of a command line without the program's name.
    ///
    /// # Errors
    /// What is wrong with it, or [`HELP`].
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let clock = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_secs());
        let mut options = Self {
            programs: Program::ALL.into(),
            from: 1,
            to: None,
            stride: 1,
            offset: 0,
            sample: None,
            seed: clock,
            fault: None,
            reap_after: 0,
            jobs: jobs(),
            json: false,
        };
        let (mut errno, mut times, mut named) = (None, Some(1), false);
        while let Some(option) = words.next() {
            if option == "--help" || option == "-h" {
                return Err(HELP.into());
            }
            if option == "--json" {
                options.json = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{option} needs a value, or is unknown: see --help"))?;
            let number = || value.parse::<u64>().map_err(|e| format!("{option} {value}: {e}"));
            match option.as_str() {
                "--program" => {
                    let program = Program::ALL.into_iter().find(|program| program.name() == value);
                    named = true;
                    options.programs = vec![program.ok_or_else(|| format!("there is no program {value}: see --help"))?];
                }
                "--from" => options.from = number()?.max(1),
                "--to" => options.to = Some(number()?),
                "--stride" => options.stride = number()?.max(1),
                "--offset" => options.offset = number()?,
                "--sample" => options.sample = Some(number()?),
                "--seed" => options.seed = number()?,
                "--fault" => {
                    let known = Fault::named(&value);
                    errno = Some(known.ok_or_else(|| format!("there is no fault {value}: see --help"))?);
                }
                "--times" => times = if value == "ever" { None } else { Some(number()?.max(1)) },
                "--reap-after" => options.reap_after = number()?,
                "--jobs" => options.jobs = number()?.max(1),
                _ => return Err(format!("unknown option {option}: see --help")),
            }
        }
        options.fault = errno.map(|errno| Fault { errno, times });
        if options.fault.is_some() {
            if !named {
                options.programs = Program::WITH_DISK.into();
            }
            if let Some(other) = options.programs.iter().find(|program| !Program::WITH_DISK.contains(program)) {
                return Err(format!("--fault is not for {}: see --help", other.name()));
            }
        }
        Ok(options)
    }
}

/// Most of a point's time is waiting: for a runtime's processes, for a tracer, for quiet.
fn jobs() -> u64 {
    std::thread::available_parallelism().map_or(2, |cores| 2 * cores.get() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;

    fn parse(words: &[&str]) -> Result<Options, String> {
        Options::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn what_is_asked_for_is_understood() {
        let options = parse(&["--program", "gc", "--json", "--from", "7", "--stride", "3", "--seed", "9"]).unwrap();
        assert!(options.json && options.jobs > 0);
        assert_eq!((options.programs, options.from, options.stride, options.seed), (vec![Program::Gc], 7, 3, 9));
        assert_eq!(parse(&[]).unwrap().programs, Program::ALL);
        let fault = |words: &[&str]| parse(words).unwrap().fault.map(|fault| (fault.errno, fault.times));
        assert_eq!(fault(&[]), None);
        assert_eq!(fault(&["--fault", "eio"]), Some((Errno::EIO, Some(1))));
        assert_eq!(fault(&["--times", "ever", "--fault", "enospc"]), Some((Errno::ENOSPC, None)));
        assert_eq!(parse(&["--fault", "erofs"]).unwrap().programs, Program::WITH_DISK);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (words, part) in [
            (&["--program", "init"][..], "init"),
            (&["--from"], "--from"),
            (&["--to", "soon"], "soon"),
            (&["--walk", "1"], "--walk"),
            (&["--fault", "eperm"], "eperm"),
            (&["--fault", "eio", "--program", "gc"], "gc"),
            (&["--help"], "Usage"),
        ] {
            assert!(parse(words).unwrap_err().contains(part), "{words:?}");
        }
    }
}
