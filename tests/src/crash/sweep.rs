//! From point to point.

use super::{
    killer::Report,
    options::{Options, Program},
    reaper::Interrupt,
    tally::{Outcome, Tally, Violation, last_lines, story},
};
use std::{
    io::{IsTerminal, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// A program's life, which may be ended at any of its system calls.
pub trait Life {
    /// Lives until the stop `at`, or to the end. The container that matters most exits with `code`.
    ///
    /// # Errors
    /// If it comes to no end at all.
    fn crash(&mut self, at: Option<u64>, code: u8) -> Result<Report, String>;

    /// Everything that must hold after it.
    ///
    /// # Errors
    /// What does not.
    fn check(&mut self, report: &Report) -> Result<Outcome, Violation>;

    /// Forgets what a violation has left.
    fn start_afresh(&mut self);

    /// What the programs said.
    fn words(&self) -> String;

    /// The end: nothing may be left.
    fn finish(&mut self);
}

/// Sweeps a program and says what it finds; the sums. Ends the process if it is interrupted.
pub fn sweep(program: Program, options: &Options, interrupt: &Interrupt) -> Tally {
    std::panic::set_hook(Box::new(|panic| {
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
    let mut chance = Chance(options.seed | 1);
    let name = program.name();
    let begin = Instant::now();
    let mut life = program.life(options.fault);
    let mut tally = Tally::default();
    let (dry, result) = point(life.as_mut(), None, chance.code());
    if let Err(violation) = result {
        println!("{}\n    said: {}", story(name, 0, None, &violation), last_lines(&life.words(), 12));
        tally.add(false, &Err(violation));
        return tally;
    }
    let stops = dry.map_or(0, |report| report.stops);
    let last = options.to.unwrap_or(stops);
    println!("{name}: {stops} stops in a whole life; points {} to {last}, seed {}", options.from, options.seed);
    let points: Vec<u64> = match options.sample {
        Some(count) => {
            (0..count).map(|_| options.from + chance.next() % (last + 1).saturating_sub(options.from).max(1)).collect()
        }
        None => (options.from..=last).filter(|n| n % options.stride == options.offset % options.stride).collect(),
    };
    for (done, &at) in points.iter().enumerate() {
        let (report, result) = point(life.as_mut(), Some(at), chance.code());
        if interrupt.wanted() {
            life.start_afresh();
            println!(
                "{name}: interrupted; go on with --program {name} --from {at}\n{name}: {tally}; {:.0?}",
                begin.elapsed()
            );
            std::process::exit(130);
        }
        let kill = report.and_then(|report| report.kill);
        tally.add(kill.is_some(), &result);
        if let Err(violation) = &result {
            let words = last_lines(&life.words(), 12);
            println!("{}\n    said: {words}", story(name, at, kill.as_ref(), violation));
            life.start_afresh();
        }
        if std::io::stderr().is_terminal() || done % 50 == 49 {
            let end = if std::io::stderr().is_terminal() { "\r" } else { "\n" };
            eprint!("{name}: {}/{} N={at} {:.1?} {tally}{end}", done + 1, points.len(), begin.elapsed());
            let _ = std::io::stderr().flush();
        }
    }
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| life.finish())) {
        drop(panic);
        let violation = Violation::leaked(last_panic());
        println!("{}", story(name, last, None, &violation));
        tally.add(false, &Err(violation));
    }
    println!("{name}: {tally}; {:.0?}", begin.elapsed());
    tally
}

fn point(life: &mut dyn Life, at: Option<u64>, code: u8) -> (Option<Report>, Result<Outcome, Violation>) {
    let crashed = catch_unwind(AssertUnwindSafe(|| life.crash(at, code)));
    let report = match crashed {
        Ok(Ok(report)) => report,
        Ok(Err(why)) => return (None, Err(Violation::wrong(why))),
        Err(_) => return (None, Err(Violation::wrong(last_panic()))),
    };
    let result = catch_unwind(AssertUnwindSafe(|| life.check(&report)));
    (Some(report), result.unwrap_or_else(|_| Err(Violation::wrong(last_panic()))))
}

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

fn last_panic() -> String {
    LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// xorshift64*.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn code(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}
