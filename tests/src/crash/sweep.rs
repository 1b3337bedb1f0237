//! From point to point, in several jobs at once: each has a node, and so names, of its own.

use super::{
    killer::Report,
    options::{Options, Program},
    progress::Progress,
    reaper::Interrupt,
    tally::{Outcome, Tally, Violation, last_lines, story},
};
use crate::chance::Chance;
use std::{
    cell::RefCell,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A program's life, which may be ended at any of its system calls. A job has one, and uses it again and again.
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

/// The sweep of one program is over when so many points in a row are beyond the end: lives differ in length.
const BEYOND: u64 = 8;

/// Sweeps a program and says what it finds; the sums. Ends the process if it is interrupted.
pub fn sweep(program: Program, options: &Options, interrupt: &Interrupt) -> Tally {
    std::panic::set_hook(Box::new(|panic| LAST_PANIC.with_borrow_mut(|last| *last = panic.to_string())));
    let mut life = program.life(options.fault);
    let (dry, result) = point(life.as_mut(), None, code(options.seed, 0));
    let shared = Shared { program, options, interrupt, state: Mutex::default() };
    if let Err(violation) = result {
        shared.say(0, None, life.as_ref(), &violation);
        shared.state().tally.add(false, &Err(violation));
    } else {
        let stops = dry.map_or(0, |report| report.stops);
        let points = Points::new(options, stops);
        println!("{}: {stops} stops in a whole life; {points}, seed {}", program.name(), options.seed);
        *shared.state() = State { progress: Progress::new(program.name(), points.count()), points, ..State::default() };
        std::thread::scope(|scope| {
            for _ in 1..options.jobs {
                scope.spawn(|| shared.job(program.life(options.fault)));
            }
            shared.job(life);
        });
    }
    let state = shared.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let (true, Some(at)) = (state.interrupted, state.points.resume()) {
        println!("{0}: interrupted; go on with --program {0} --from {at}", program.name());
    }
    println!("{}: {}; {:.0?}", program.name(), state.tally, state.progress.elapsed());
    if options.json {
        println!("{}", state.tally.json(program.name(), options.seed, options.jobs, state.progress.elapsed()));
    }
    if state.interrupted {
        std::process::exit(130);
    }
    state.tally
}

struct Shared<'a> {
    program: Program,
    options: &'a Options,
    interrupt: &'a Interrupt,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    points: Points,
    tally: Tally,
    progress: Progress,
    interrupted: bool,
}

impl Shared<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<u64> {
        let mut state = self.state();
        state.interrupted |= self.interrupt.wanted();
        if state.interrupted { None } else { state.points.next() }
    }

    fn job(&self, mut life: Box<dyn Life>) {
        let mut last = 0;
        while let Some(at) = self.next() {
            last = at;
            let (report, result) = point(life.as_mut(), Some(at), code(self.options.seed, at));
            let kill = report.and_then(|report| report.kill);
            let mut state = self.state();
            state.interrupted |= self.interrupt.wanted();
            if state.interrupted {
                // The terminal may have interrupted the programs too: this point says nothing.
                drop(state);
                return life.start_afresh();
            }
            state.points.done(at, kill.is_some());
            state.tally.add(kill.is_some(), &result);
            if let Err(violation) = &result {
                self.say(at, kill.as_ref(), life.as_ref(), violation);
            }
            let tally = state.tally;
            state.progress.tell(at, &tally);
            drop(state);
            if result.is_err() {
                life.start_afresh();
            }
        }
        if catch_unwind(AssertUnwindSafe(|| life.finish())).is_err() {
            let violation = Violation::leaked(last_panic());
            self.say(last, None, life.as_ref(), &violation);
            self.state().tally.add(false, &Err(violation));
        }
    }

    fn say(&self, at: u64, kill: Option<&super::killer::Kill>, life: &dyn Life, violation: &Violation) {
        let story = story(self.program.name(), at, kill, violation);
        println!(
            "{story}\n    again: --program {} --from {at} --to {at} --seed {}",
            self.program.name(),
            self.options.seed
        );
        println!("    said: {}", last_lines(&life.words(), 12));
    }
}

/// Which points, and which are under way.
#[derive(Debug, Default)]
struct Points {
    planned: Vec<u64>,
    cursor: usize,
    under_way: BTreeSet<u64>,
    /// Beyond what was planned there may be more, at this distance.
    stride: Option<u64>,
    beyond: u64,
}

impl Points {
    fn new(options: &Options, stops: u64) -> Self {
        let last = options.to.unwrap_or(stops);
        let mut chance = Chance::new(options.seed);
        let planned = match options.sample {
            Some(count) => {
                let width = (last + 1).saturating_sub(options.from).max(1);
                (0..count).map(|_| options.from + chance.next() % width).collect()
            }
            None => (options.from..=last).filter(|n| n % options.stride == options.offset % options.stride).collect(),
        };
        let open = options.sample.is_none() && options.to.is_none();
        Self { planned, stride: open.then_some(options.stride), ..Self::default() }
    }

    fn count(&self) -> usize {
        self.planned.len()
    }

    fn next(&mut self) -> Option<u64> {
        let at = match (self.planned.get(self.cursor), self.stride) {
            (Some(at), _) => *at,
            (None, Some(stride)) if self.beyond < BEYOND => {
                let at = self.planned.last()? + stride;
                self.planned.push(at);
                at
            }
            _ => return None,
        };
        self.cursor += 1;
        self.under_way.insert(at);
        Some(at)
    }

    fn done(&mut self, at: u64, killed: bool) {
        self.under_way.remove(&at);
        self.beyond = if killed { 0 } else { self.beyond + 1 };
    }

    /// The first point of which nothing is known.
    fn resume(&self) -> Option<u64> {
        self.under_way.first().or_else(|| self.planned.get(self.cursor)).copied()
    }
}

impl std::fmt::Display for Points {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = (self.planned.iter().min().unwrap_or(&0), self.planned.iter().max().unwrap_or(&0));
        write!(f, "{} points from {first} to {last}", self.planned.len())
    }
}

/// Of the point alone, whatever was swept before it and beside it.
fn code(seed: u64, at: u64) -> u8 {
    Chance::new(seed ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next().to_le_bytes()[0]
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

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn last_panic() -> String {
    LAST_PANIC.with_borrow(Clone::clone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        Options::parse(words.iter().map(|word| (*word).to_owned())).unwrap()
    }

    #[test]
    fn every_point_is_given_once_and_what_is_open_is_resumed() {
        let mut points = Points::new(&options(&["--from", "3", "--stride", "2", "--offset", "1", "--to", "9"]), 100);
        let all: Vec<u64> = std::iter::from_fn(|| points.next()).collect();
        assert_eq!(all, [3, 5, 7, 9]);
        points.done(3, true);
        points.done(7, true);
        assert_eq!(points.resume(), Some(5));
        points.done(5, true);
        points.done(9, true);
        assert_eq!(points.resume(), None);
    }

    #[test]
    fn a_life_that_is_longer_than_the_first_one_is_swept_to_its_end() {
        let mut points = Points::new(&options(&[]), 10);
        let mut last = 0;
        while let Some(at) = points.next() {
            points.done(at, at <= 25);
            last = at;
        }
        assert_eq!(last, 25 + BEYOND);
    }
}
