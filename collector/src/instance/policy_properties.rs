//! What holds of any life.

use super::*;
use proptest::{collection::vec, prelude::*};
use sexton_common::{ExitStatus, UnknownReason, restart::RestartPolicy};
use std::{num::NonZeroU32, time::Duration};

fn policy() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![
        Just(RestartPolicy::No),
        Just(RestartPolicy::Always),
        Just(RestartPolicy::UnlessStopped),
        Just(RestartPolicy::OnReboot),
        (0u32..6).prop_map(|max| RestartPolicy::OnFailure { max: NonZeroU32::new(max) }),
    ]
}

fn status() -> impl Strategy<Value = ExitStatus> {
    let reason = prop_oneof![
        3 => Just(UnknownReason::ShimKilled),
        1 => Just(UnknownReason::RecordDamaged),
        1 => Just(UnknownReason::NeverStarted),
    ];
    prop_oneof![
        1 => Just(ExitStatus::Code(0)),
        3 => any::<u8>().prop_map(ExitStatus::Code),
        1 => (1u8..65, any::<bool>()).prop_map(|(number, core_dumped)| ExitStatus::Signal { number, core_dumped }),
        4 => reason.prop_map(|reason| ExitStatus::Unknown { reason }),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let unknown = prop_oneof![
        3 => (0u32..5).prop_map(|in_a_row| UnknownEnds::Failure { in_a_row }),
        1 => Just(UnknownEnds::Success),
    ];
    (1u64..5_000_000, 0u64..100_000_000, 1u64..20_000, unknown).prop_map(|(first, more, reset, unknown)| Rules {
        first: Duration::from_micros(first),
        max: Duration::from_micros(first + more),
        reset_after: Duration::from_millis(reset),
        unknown,
    })
}

fn ran() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of((0u64..40_000).prop_map(Duration::from_millis))
}

fn tally() -> impl Strategy<Value = Tally> {
    (any::<u32>(), any::<u64>(), any::<u32>()).prop_map(|(count, delay_ms, unknowns)| Tally {
        count,
        delay_ms,
        unknowns,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_users_stop_goes_before_everything(
        policy in policy(), tally in tally(), status in status(), ran in ran(), rules in rules()
    ) {
        for verdict in [
            after_exit(policy, tally, true, &status, ran, &rules),
            after_failed_start(policy, tally, true, &rules),
        ] {
            prop_assert!(matches!(verdict, Verdict::Stay { why: Stay::StoppedByUser, .. }), "{verdict:?}");
        }
        for came in [Came::CollectorRestarted, Came::MachineRebooted { was_running: true }] {
            let starts = at_start(policy, tally, true, came, Some(&status), &rules);
            prop_assert_eq!(starts, policy == RestartPolicy::Always);
        }
    }

    #[test]
    fn on_failure_does_not_come_back_after_success(
        max in any::<u32>(), tally in tally(), ran in ran(), rules in rules()
    ) {
        let policy = RestartPolicy::OnFailure { max: NonZeroU32::new(max) };
        let verdict = after_exit(policy, tally, false, &ExitStatus::Code(0), ran, &rules);
        prop_assert!(matches!(verdict, Verdict::Stay { why: Stay::NotWanted, .. }), "{verdict:?}");
        prop_assert!(!at_start(policy, tally, false, Came::CollectorRestarted, Some(&ExitStatus::Code(0)), &rules));
    }

    /// One life of many runs, in which the collector may ask anew after each end whether the container is to be started.
    #[test]
    fn a_life(policy in policy(), rules in rules(), runs in vec((status(), ran(), any::<bool>()), 1..60)) {
        let mut tally = Tally::default();
        let (mut restarts, mut unknowns, mut before) = (0u32, 0u32, Duration::ZERO);
        for (status, ran, unstartable) in runs {
            let verdict = if unstartable {
                after_failed_start(policy, tally, false, &rules)
            } else {
                after_exit(policy, tally, false, &status, ran, &rules)
            };
            let unborn = status == ExitStatus::Unknown { reason: UnknownReason::NeverStarted };
            let ended = !unstartable && !unborn;
            if ended {
                unknowns = if matches!(status, ExitStatus::Unknown { .. }) { unknowns + 1 } else { 0 };
            }
            let long = ended && ran.is_some_and(|ran| ran >= rules.reset_after);
            let after = match verdict {
                Verdict::Restart { tally: after, delay } => {
                    restarts += 1;
                    prop_assert!(delay >= rules.first && delay <= rules.max, "{delay:?}");
                    prop_assert!(if long { delay == rules.first } else { delay >= before }, "{delay:?} after {before:?}");
                    before = delay;
                    after
                }
                Verdict::Stay { tally: after, .. } => {
                    if long {
                        before = Duration::ZERO;
                    }
                    after
                }
            };
            prop_assert_eq!(after.count, restarts);
            prop_assert_eq!(after.unknowns, unknowns);
            if let RestartPolicy::OnFailure { max } = policy {
                prop_assert!(max.is_none_or(|max| restarts <= max.get()));
                if let (UnknownEnds::Failure { in_a_row }, true) = (rules.unknown, ended) {
                    let restarted = matches!(verdict, Verdict::Restart { .. });
                    prop_assert!(!restarted || unknowns <= in_a_row, "{unknowns} unknown ends in a row");
                }
                // What was decided against is not done when the collector is restarted.
                if !unstartable && at_start(policy, after, false, Came::CollectorRestarted, Some(&status), &rules) {
                    let again = Verdict::Restart { tally: after, delay: before };
                    prop_assert_eq!(verdict, again);
                }
            }
            tally = after;
        }
    }
}
