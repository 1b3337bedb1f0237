//! Against moby's numbers (restartmanager.go), with a clock of our own.

use super::*;
use Stay::{Exhausted, NotWanted, StoppedByUser};
use sexton_common::{
    ExitStatus, UnknownReason,
    restart::RestartPolicy::{self, Always, No, OnFailure, OnReboot, UnlessStopped},
};
use std::time::Duration;

const FOR_EVER: RestartPolicy = OnFailure { max: None };
const OK: ExitStatus = ExitStatus::Code(0);
const BAD: ExitStatus = ExitStatus::Code(1);
const KILLED: ExitStatus = ExitStatus::Signal { number: 9, core_dumped: false };
const UNKNOWN: ExitStatus = ExitStatus::Unknown { reason: UnknownReason::ShimKilled };
const NEVER: ExitStatus = ExitStatus::Unknown { reason: UnknownReason::NeverStarted };

fn at_most(max: u32) -> RestartPolicy {
    format!("on-failure:{max}").parse().unwrap()
}

/// A container over its runs.
struct Life {
    policy: RestartPolicy,
    rules: Rules,
    tally: Tally,
    /// Milliseconds since its first start.
    clock: u128,
}

impl Life {
    fn new(policy: RestartPolicy) -> Self {
        Self { policy, rules: Rules::default(), tally: Tally::default(), clock: 0 }
    }

    /// It runs for so long, ends so, and is started again after the delay, in ms; or why not.
    fn run(&mut self, ran_ms: u64, status: ExitStatus) -> Result<u128, Stay> {
        let ran = Some(Duration::from_millis(ran_ms));
        self.clock += u128::from(ran_ms);
        self.take(after_exit(self.policy, self.tally, false, &status, ran, &self.rules))
    }

    fn fail_to_start(&mut self) -> Result<u128, Stay> {
        self.take(after_failed_start(self.policy, self.tally, false, &self.rules))
    }

    fn take(&mut self, verdict: Verdict) -> Result<u128, Stay> {
        match verdict {
            Verdict::Restart { tally, delay } => {
                assert_eq!(tally.count, self.tally.count.saturating_add(1));
                assert_eq!(u128::from(tally.delay_ms), delay.as_millis());
                self.tally = tally;
                self.clock += delay.as_millis();
                Ok(delay.as_millis())
            }
            Verdict::Stay { tally, why } => {
                assert_eq!(tally.count, self.tally.count);
                self.tally = tally;
                Err(why)
            }
        }
    }
}

/// moby: `defaultTimeout`, `backoffMultiplier`, `maxRestartTimeout`.
const MOBY: [u128; 13] = [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000, 60000];

#[test]
fn a_crash_loop_has_mobys_delays() {
    for policy in [Always, UnlessStopped, FOR_EVER] {
        let mut life = Life::new(policy);
        for expected in MOBY {
            assert_eq!(life.run(5, BAD), Ok(expected), "{policy}");
        }
        assert_eq!(life.tally, Tally { count: 13, delay_ms: 60_000, unknowns: 0 });
        assert_eq!(life.clock, MOBY.iter().sum::<u128>() + 13 * 5, "the loop's time");
    }
}

#[test]
fn a_start_that_fails_counts_as_a_run_that_took_no_time() {
    let mut life = Life::new(FOR_EVER);
    for expected in MOBY {
        assert_eq!(life.fail_to_start(), Ok(expected));
    }
    let mut life = Life::new(Always);
    for expected in MOBY {
        assert_eq!(life.run(60_000, NEVER), Ok(expected), "one that never was started did not run for long");
    }
    let mut life = Life::new(at_most(2));
    assert_eq!((life.fail_to_start(), life.fail_to_start(), life.fail_to_start()), (Ok(100), Ok(200), Err(Exhausted)));
    assert_eq!(after_failed_start(Always, life.tally, true, &life.rules), stay(life.tally, StoppedByUser));
    assert_eq!(after_failed_start(No, life.tally, false, &life.rules), stay(life.tally, NotWanted));
    assert_eq!(after_failed_start(OnReboot, life.tally, false, &life.rules), stay(life.tally, NotWanted));
}

fn stay(tally: Tally, why: Stay) -> Verdict {
    Verdict::Stay { tally, why }
}

#[test]
fn a_run_of_ten_seconds_resets_the_delay_and_nothing_else() {
    for (ran, next) in [(9_999, 1600), (10_000, 100), (10_001, 100), (3_600_000, 100)] {
        let mut life = Life::new(Always);
        for expected in [100, 200, 400, 800] {
            assert_eq!(life.run(0, BAD), Ok(expected));
        }
        assert_eq!(life.run(ran, BAD), Ok(next), "after {ran} ms");
        assert_eq!(life.tally.count, 5, "moby counts on, too");
    }
    let mut life = Life::new(Always);
    for _ in 0..1000 {
        assert_eq!(life.run(10_000, OK), Ok(100), "one that runs long each time");
    }
    assert_eq!(life.tally.count, 1000);
    // Nobody knows how long it ran: not long.
    let tally = Tally { count: 1, delay_ms: 400, unknowns: 0 };
    let verdict = after_exit(Always, tally, false, &BAD, None, &Rules::default());
    assert!(matches!(verdict, Verdict::Restart { delay, .. } if delay == Duration::from_millis(800)), "{verdict:?}");
}

#[test]
fn n_is_used_up_and_not_refilled_by_long_runs() {
    let mut life = Life::new(at_most(3));
    assert_eq!(life.run(0, BAD), Ok(100));
    assert_eq!(life.run(20_000, KILLED), Ok(100));
    assert_eq!(life.run(20_000, BAD), Ok(100));
    for _ in 0..3 {
        assert_eq!(life.run(20_000, BAD), Err(Exhausted));
    }
    assert_eq!(life.tally.count, 3);
    assert_eq!(life.run(20_000, OK), Err(NotWanted));
}

#[test]
fn the_counters_do_not_wrap() {
    let full = Tally { count: u32::MAX, delay_ms: u64::MAX, unknowns: u32::MAX };
    let rules = Rules::default();
    let verdict = after_exit(Always, full, false, &UNKNOWN, None, &rules);
    let tally = Tally { count: u32::MAX, delay_ms: 60_000, unknowns: u32::MAX };
    assert_eq!(verdict, Verdict::Restart { tally, delay: Duration::from_secs(60) });
    assert_eq!(
        after_exit(at_most(u32::MAX), Tally { unknowns: 0, ..full }, false, &BAD, None, &rules),
        stay(Tally { unknowns: 0, ..full }, Exhausted)
    );
    let last = Tally { count: u32::MAX - 1, ..Tally::default() };
    let verdict = after_exit(at_most(u32::MAX), last, false, &BAD, None, &rules);
    assert!(matches!(verdict, Verdict::Restart { tally, .. } if tally.count == u32::MAX), "{verdict:?}");
    let verdict = after_exit(FOR_EVER, Tally { unknowns: 0, ..full }, false, &BAD, None, &rules);
    assert!(matches!(verdict, Verdict::Restart { tally, .. } if tally.count == u32::MAX), "{verdict:?}");
    let huge = Rules { first: Duration::MAX, max: Duration::MAX, ..rules };
    let verdict = after_exit(Always, Tally::default(), false, &BAD, None, &huge);
    assert!(matches!(verdict, Verdict::Restart { delay: Duration::MAX, .. }), "{verdict:?}");
}

#[test]
fn other_numbers() {
    let mut life = Life::new(Always);
    life.rules = Rules { first: Duration::from_secs(3), max: Duration::from_secs(10), ..life.rules };
    for expected in [3_000, 6_000, 10_000, 10_000] {
        assert_eq!(life.run(0, OK), Ok(expected));
    }
    life.rules.max = Duration::from_secs(4);
    assert_eq!(life.run(0, OK), Ok(4_000), "less is configured than was waited before");
    life.tally.delay_ms = 1;
    assert_eq!(life.run(0, OK), Ok(3_000), "more is");
    // Less than a millisecond does not keep the delay from growing.
    life.rules = Rules { first: Duration::from_nanos(1), max: Duration::from_millis(5), ..life.rules };
    life.tally.delay_ms = 0;
    let verdict = after_exit(Always, life.tally, false, &OK, None, &life.rules);
    let Verdict::Restart { tally, delay } = verdict else { panic!("{verdict:?}") };
    assert_eq!(delay, Duration::from_nanos(1));
    life.tally = tally;
    assert_eq!((life.run(0, OK), life.run(0, OK), life.run(0, OK)), (Ok(2), Ok(4), Ok(5)));
}

/// What a policy makes of an end: `R`estart, or why not: not `W`anted, by `U`ser.
#[test]
fn every_policy_and_every_end() {
    let ends = [OK, BAD, ExitStatus::Code(255), KILLED, UNKNOWN, NEVER];
    for (policy, by_itself) in [
        (No, "WWWWWW"),
        (OnReboot, "WWWWWW"),
        (FOR_EVER, "WRRRRR"),
        (at_most(1), "WRRRRR"),
        (Always, "RRRRRR"),
        (UnlessStopped, "RRRRRR"),
    ] {
        for (status, expected) in ends.iter().zip(by_itself.chars()) {
            for (stopped, expected) in [(false, expected), (true, 'U')] {
                let verdict = after_exit(policy, Tally::default(), stopped, status, None, &Rules::default());
                let letter = match verdict {
                    Verdict::Restart { .. } => 'R',
                    Verdict::Stay { why: NotWanted, .. } => 'W',
                    Verdict::Stay { why: StoppedByUser, .. } => 'U',
                    Verdict::Stay { .. } => '?',
                };
                assert_eq!(letter, expected, "{policy} {status} {stopped}");
            }
        }
    }
}

#[test]
fn unknown_ends_do_not_go_on_for_ever() {
    let mut life = Life::new(FOR_EVER);
    for round in 0..3 {
        let results = [0; 4].map(|_| life.run(20_000, UNKNOWN).is_ok());
        assert_eq!(results, [true, true, true, false], "round {round}");
        assert_eq!(life.run(0, UNKNOWN), Err(Stay::Unknown));
        // A failed start says nothing of ends; one that is known does.
        assert!(life.fail_to_start().is_ok());
        assert_eq!(life.run(0, UNKNOWN), Err(Stay::Unknown));
        assert!(life.run(0, BAD).is_ok());
        assert_eq!(life.tally.unknowns, 0);
    }
    let mut life = Life::new(Always);
    assert!((0..100).all(|_| life.run(0, UNKNOWN).is_ok()), "always means always");
    let mut life = Life::new(FOR_EVER);
    life.rules.unknown = UnknownEnds::Success;
    assert_eq!(life.run(0, UNKNOWN), Err(NotWanted));
    assert_eq!(life.run(0, NEVER), Ok(100), "that it never began is known");
    life.rules.unknown = UnknownEnds::Failure { in_a_row: 0 };
    assert_eq!(life.run(0, UNKNOWN), Err(Stay::Unknown));
    let mut life = Life::new(at_most(2));
    assert_eq!((life.run(0, UNKNOWN), life.run(0, UNKNOWN)), (Ok(100), Ok(200)));
    assert_eq!(life.run(0, UNKNOWN), Err(Exhausted), "they use N up like any failure");
}

/// Whether each policy comes back when the collector starts.
#[test]
fn at_the_start_of_the_collector() {
    let collector = Came::CollectorRestarted;
    let down = Came::MachineRebooted { was_running: false };
    let ran = Came::MachineRebooted { was_running: true };
    let policies = [No, FOR_EVER, at_most(1), Always, UnlessStopped, OnReboot];
    for (came, last, stopped, expected) in [
        (collector, Some(OK), false, "---yy-"),
        (collector, Some(OK), true, "---y--"),
        (collector, Some(BAD), false, "-yyyy-"),
        (collector, Some(BAD), true, "---y--"),
        (collector, Some(UNKNOWN), false, "-yyyy-"),
        (collector, Some(NEVER), false, "-yyyy-"),
        (collector, None, false, "---yy-"),
        (down, Some(OK), false, "---yy-"),
        (down, Some(BAD), false, "-yyyy-"),
        (down, Some(BAD), true, "---y--"),
        (down, None, false, "---yy-"),
        (ran, None, false, "-yyyyy"),
        (ran, Some(OK), false, "-yyyyy"),
        (ran, Some(BAD), true, "---y--"),
        (ran, None, true, "---y--"),
    ] {
        for (policy, expected) in policies.into_iter().zip(expected.chars()) {
            let starts = at_start(policy, Tally::default(), stopped, came, last.as_ref(), &Rules::default());
            assert_eq!(starts, expected == 'y', "{policy} {came:?} {last:?} {stopped}");
        }
    }
}

#[test]
fn the_start_of_the_collector_refills_nothing() {
    let rules = Rules::default();
    let ran = Came::MachineRebooted { was_running: true };
    let start = |tally, came, last: Option<ExitStatus>| at_start(at_most(2), tally, false, came, last.as_ref(), &rules);
    for count in 0..4 {
        let tally = Tally { count, ..Tally::default() };
        assert_eq!(start(tally, Came::CollectorRestarted, Some(BAD)), count < 2);
        assert_eq!(start(tally, ran, None), count < 2);
    }
    // What was decided upon stays so, and a machine that goes down again and again counts too.
    for unknowns in 0..6 {
        let tally = Tally { unknowns, ..Tally::default() };
        assert_eq!(start(tally, Came::CollectorRestarted, Some(UNKNOWN)), unknowns <= 3);
        assert_eq!(start(tally, ran, Some(BAD)), unknowns < 3);
    }
    let success = Rules { unknown: UnknownEnds::Success, ..rules };
    assert!(!at_start(FOR_EVER, Tally::default(), false, ran, Some(&BAD), &success));
}
