use super::*;
use Action as A;
use Phase as P;

const PAUSED: Action = A::Publish(EventKind::Paused);
const RESUMED: Action = A::Publish(EventKind::Resumed);
const ALIVE: [Phase; 2] = [P::Running, P::Orphaned];

/// After these events; with what the last one led to.
fn after(phase: Phase, events: &[Event]) -> (Machine, Vec<Action>) {
    let begin = (Machine::new(phase, false), Vec::new());
    events.iter().fold(begin, |(machine, _), event| machine.step(*event))
}

fn done(frozen: bool) -> Event {
    Event::FreezeDone { frozen }
}

fn seen(frozen: bool) -> Event {
    Event::SeenFrozen { frozen }
}

#[test]
fn paused_and_resumed_as_it_is_seen() {
    for phase in ALIVE {
        assert_eq!(after(phase, &[Event::Pause]).1, [A::Freeze]);
        let (paused, actions) = after(phase, &[Event::Pause, done(true)]);
        assert_eq!((actions, paused.shown(), paused.job), (vec![PAUSED, A::AnswerFreeze], Shown::Paused, None));
        assert_eq!(paused.step(Event::Pause), (paused, vec![A::Refuse(Refusal::Paused)]));
        assert_eq!(paused.step(Event::Start).1, [A::Refuse(Refusal::AlreadyStarted)]);
        assert_eq!(paused.step(Event::Remove { force: false }).1, [A::Refuse(Refusal::Running)]);
        assert_eq!(paused.step(Event::Resume).1, [A::Thaw]);
        let (resumed, actions) = after(phase, &[Event::Pause, done(true), Event::Resume, done(false)]);
        assert_eq!((resumed, actions), (Machine::new(phase, false), vec![RESUMED, A::AnswerFreeze]));
        assert_eq!(resumed.step(Event::Resume).1, [A::Refuse(Refusal::NotPaused)]);
        // What failed changed nothing, and nothing is told.
        assert_eq!(after(phase, &[Event::Pause, done(false)]), (Machine::new(phase, false), vec![A::AnswerFreeze]));
        let failed = after(phase, &[Event::Pause, done(true), Event::Resume, done(true)]);
        assert_eq!(failed, (paused, vec![A::AnswerFreeze]));
        // One at a time.
        for wish in [Event::Pause, Event::Resume] {
            assert_eq!(after(phase, &[Event::Pause, wish]).1, [A::Refuse(Refusal::Busy)]);
        }
    }
}

#[test]
fn what_others_do_is_told_once() {
    for phase in ALIVE {
        let (paused, actions) = after(phase, &[seen(true)]);
        assert_eq!((actions, paused.shown()), (vec![PAUSED], Shown::Paused));
        assert_eq!(paused, Machine::new(phase, false).frozen(true), "as it is found by the next collector");
        assert_eq!(paused.step(seen(true)), (paused, vec![]));
        assert_eq!(paused.step(seen(false)), (Machine::new(phase, false), vec![RESUMED]));
        assert_eq!(after(phase, &[Event::Pause, seen(true)]).1, [], "who is at it will say");
        assert_eq!(after(phase, &[Event::Stuck, seen(true)]).1, [], "who cleans it freezes it, too");
    }
    for phase in [P::Creating, P::Created, P::Stopping, P::Gc, P::Stopped, P::Gone] {
        let machine = Machine::new(phase, false);
        assert_eq!(machine.step(seen(true)), (machine, vec![]));
        assert_eq!(machine.frozen(true), machine);
    }
}

#[test]
fn what_is_to_end_does_not_stay_frozen() {
    for phase in ALIVE {
        let (stopping, actions) = after(phase, &[seen(true), Event::Stop]);
        assert_eq!(actions, [A::SignalThenKill, A::AwaitExit, A::ThawToEnd], "first the signal");
        assert_eq!(stopping.step(Event::Stop).1, [A::SignalThenKill, A::AwaitExit]);
        let (thawed, actions) = stopping.step(done(false));
        assert_eq!((actions, thawed.shown() == Shown::Paused), (vec![RESUMED, A::AnswerFreeze], false));
        assert_eq!(thawed.step(Event::Pause).1, [A::Refuse(Refusal::Busy)]);
        assert_eq!(stopping.step(done(true)).1, [A::AnswerFreeze], "once only");
        // It is being frozen when it is to stop.
        for wish in [Event::Stop, Event::Remove { force: true }] {
            let (machine, actions) = after(phase, &[Event::Pause, wish]);
            assert!(!actions.contains(&A::ThawToEnd), "the runtime is at it: {actions:?}");
            assert_eq!(machine.step(done(true)).1, [PAUSED, A::AnswerFreeze, A::ThawToEnd]);
            assert_eq!(machine.step(done(false)).1, [A::AnswerFreeze]);
        }
    }
}

#[test]
fn cleaning_waits_for_a_freeze_that_is_under_way() {
    let told = [A::Publish(EventKind::Exited), A::AnswerExit];
    for phase in ALIVE {
        for begun in [&[Event::Pause][..], &[seen(true), Event::Resume], &[seen(true), Event::Stop]] {
            let (dead, actions) = after(phase, &[begun, &[Event::Exit]].concat());
            assert_eq!((actions, dead.shown()), (told.into(), Shown::Stopping));
            for frozen in [false, true] {
                assert_eq!(dead.step(done(frozen)).1, [A::AnswerFreeze, A::Clean]);
            }
        }
        let (dead, actions) = after(phase, &[seen(true), Event::Exit]);
        assert_eq!((actions.last(), dead.shown()), (Some(&A::Clean), Shown::Stopping), "killed while it was paused");
    }
}
