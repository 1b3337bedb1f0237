use super::*;
use Action as A;
use Phase as P;
use proptest::prelude::*;

const PHASES: [Phase; 8] = [P::Creating, P::Created, P::Running, P::Orphaned, P::Stopping, P::Gc, P::Stopped, P::Gone];

const EVENTS: [Event; 29] = [
    Event::Found,
    Event::InitKnown { run: false },
    Event::InitKnown { run: true },
    Event::SeenStarted,
    Event::Exit,
    Event::ShimGone,
    Event::InitGone,
    Event::InitLingers,
    Event::Vanished,
    Event::StartDone { ok: true },
    Event::StartDone { ok: false },
    Event::Cleaned,
    Event::InTheWay,
    Event::Stuck,
    Event::Forgotten,
    Event::Buried { ok: true },
    Event::Buried { ok: false },
    Event::Start,
    Event::Signal,
    Event::Stop,
    Event::Remove { force: false },
    Event::Remove { force: true },
    Event::Pause,
    Event::Resume,
    Event::FreezeDone { frozen: true },
    Event::FreezeDone { frozen: false },
    Event::SeenFrozen { frozen: true },
    Event::SeenFrozen { frozen: false },
    Event::MakeRoom,
];

fn machines() -> impl Iterator<Item = Machine> {
    let jobs = [Job::Start, Job::Freeze, Job::Thaw, Job::ThawToEnd, Job::Clean, Job::Bury].map(Some);
    let flags = [(false, false, false), (true, false, false), (false, true, false), (true, true, true)];
    PHASES.into_iter().flat_map(move |phase| {
        [None].into_iter().chain(jobs).flat_map(move |job| {
            flags.map(|(yes, paused, ending)| Machine {
                job,
                kill_orphan: yes,
                paused: paused && matches!(phase, P::Running | P::Orphaned),
                ending,
                silent: yes,
                ..Machine::new(phase, yes)
            })
        })
    })
}

fn alive(phase: Phase) -> bool {
    matches!(phase, P::Creating | P::Created | P::Running | P::Orphaned)
}

fn asks(event: Event) -> bool {
    matches!(
        event,
        Event::Start
            | Event::Signal
            | Event::Stop
            | Event::Remove { .. }
            | Event::Pause
            | Event::Resume
            | Event::MakeRoom
    )
}

/// The whole table: where each (phase, event) pair leads without a job under way, one line a phase, in the
/// order of `EVENTS`. `.` stays, `!` refuses.
#[test]
fn every_pair_has_its_stated_outcome() {
    let table = [
        // found init init-run seen exit shim- init- lingers vanish start+ start- clean way stuck forgot buried+ - | start sig stop rm rm-f pause resume | freeze+ - seen+ - | room
        (P::Creating, ". Created Running . Stopping . . . Gone . . . . . . . . ! ! ! ! ! ! ! . . . . !"),
        (P::Created, ". . . Running Stopping Orphaned . . Gone . . . . . . . . . . . ! . ! ! . . . . !"),
        (P::Running, ". . . . Stopping Orphaned . . Gone . . . . . . . . ! . . ! . . ! . . . . !"),
        (P::Orphaned, ". . . . Stopping . . . . . . . . . . . . ! . . ! . . ! . . . . !"),
        (P::Stopping, ". . . . . . . . . . . . . . . . . ! ! . . . ! ! . . . . !"),
        (P::Gc, ". . . . . . . . . . . . . . . . . ! ! ! ! . ! ! . . . . !"),
        (P::Stopped, ". . . . . . . . . . . . . . . . . ! ! ! . . ! ! . . . . ."),
        (P::Gone, ". . . . . . . . . . . . . . . . . ! ! ! ! ! ! ! . . . . !"),
    ];
    for (phase, row) in table {
        let outcomes: Vec<&str> = row.split(' ').collect();
        assert_eq!(outcomes.len(), EVENTS.len());
        for (event, outcome) in EVENTS.into_iter().zip(outcomes) {
            let (next, actions) = Machine::new(phase, false).step(event);
            let refused = matches!(actions[..], [A::Refuse(_)]);
            let got = match () {
                () if refused => "!".to_owned(),
                () if next.phase == phase => ".".to_owned(),
                () => format!("{:?}", next.phase),
            };
            assert_eq!(got, outcome, "{phase:?} {event:?}: {actions:?}");
        }
    }
}

#[test]
fn the_ends_of_jobs_lead_on() {
    let with = |phase, job| Machine { job: Some(job), ..Machine::new(phase, false) };
    let (next, actions) = with(P::Stopping, Job::Clean).step(Event::Cleaned);
    assert_eq!((next, &actions[..]), (Machine::new(P::Stopped, false), &[A::Publish(EventKind::Stopped)][..]));
    let (next, actions) = with(P::Stopping, Job::Clean).step(Event::InTheWay);
    assert_eq!(next, with(P::Gc, Job::Clean), "it is tried again by the GC, until it says that it is clean");
    assert_eq!(actions, [A::Publish(EventKind::Delayed), A::AnswerRemoval]);
    let (next, actions) = with(P::Gc, Job::Clean).step(Event::Cleaned);
    assert_eq!((next, &actions[..]), (Machine::new(P::Stopped, false), &[A::Publish(EventKind::Stopped)][..]));
    let (next, _) = with(P::Gc, Job::Clean).step(Event::Forgotten);
    assert_eq!(next, Machine::new(P::Stopped, false));
    let (next, _) = with(P::Created, Job::Start).step(Event::StartDone { ok: true });
    assert_eq!(next.phase, P::Running);
    let (next, actions) = with(P::Created, Job::Start).step(Event::StartDone { ok: false });
    assert_eq!((next, &actions[..]), (Machine::new(P::Created, false), &[A::AnswerStart][..]));
    let (next, actions) = with(P::Stopped, Job::Bury).step(Event::Buried { ok: true });
    assert_eq!(next.phase, P::Gone);
    assert!(actions.contains(&A::End));
    let (next, _) = with(P::Stopped, Job::Bury).step(Event::Buried { ok: false });
    assert_eq!(next, Machine::new(P::Stopped, false));
}

#[test]
fn what_is_found_dead_is_cleaned_or_removed_and_not_told_again() {
    assert_eq!(Machine::new(P::Stopping, false).step(Event::Found).1, [A::Clean]);
    assert_eq!(Machine::new(P::Stopped, true).step(Event::Found).1, [A::Bury]);
    assert_eq!(Machine::new(P::Stopped, false).step(Event::Found).1, []);
}

#[test]
fn an_orphan_is_killed_where_that_is_its_policy() {
    let told = A::Publish(EventKind::Orphaned);
    for phase in [P::Created, P::Running] {
        let machine = Machine::new(phase, false);
        assert_eq!(machine.on_shim_death(OnShimDeath::Adopt).step(Event::ShimGone).1, [told]);
        assert_eq!(machine.on_shim_death(OnShimDeath::Kill).step(Event::ShimGone).1, [told, A::SignalKill]);
    }
    // It was orphaned while nobody was there to kill it.
    let found = Machine::new(P::Orphaned, false);
    assert_eq!(found.step(Event::Found).1, []);
    assert_eq!(found.on_shim_death(OnShimDeath::Kill).step(Event::Found).1, [A::SignalKill]);
}

#[test]
fn cleaning_waits_for_a_start_that_is_under_way() {
    let starting = Machine { job: Some(Job::Start), ..Machine::new(P::Created, false) };
    let (dead, actions) = starting.step(Event::Exit);
    let told = [A::Publish(EventKind::Started), A::Publish(EventKind::Exited), A::AnswerExit];
    assert_eq!(actions, told, "and it is not cleaned yet");
    let (_, actions) = dead.step(Event::StartDone { ok: false });
    assert_eq!(actions, [A::AnswerStart, A::Clean]);
}

#[test]
fn every_wish_gets_exactly_one_answer_or_a_place_to_wait() {
    for machine in machines() {
        for event in EVENTS.into_iter().filter(|&event| asks(event)) {
            let (_, actions) = machine.step(event);
            let answers = actions.iter().filter(|action| {
                matches!(
                    action,
                    A::Accept
                        | A::Refuse(_)
                        | A::AwaitExit
                        | A::AwaitRemoval
                        | A::Signal
                        | A::RuntimeStart
                        | A::Freeze
                        | A::Thaw
                )
            });
            assert_eq!(answers.count(), 1, "{machine:?} {event:?} {actions:?}");
        }
    }
}

#[test]
fn from_death_no_event_leads_back_and_no_job_overlaps() {
    for machine in machines() {
        for event in EVENTS {
            let (next, actions) = machine.step(event);
            assert!(alive(machine.phase) || !alive(next.phase), "{machine:?} {event:?}");
            let begins =
                |a: &&Action| matches!(a, A::RuntimeStart | A::Freeze | A::Thaw | A::ThawToEnd | A::Clean | A::Bury);
            let begun = actions.iter().filter(begins).count();
            assert!(begun <= 1, "{machine:?} {event:?}");
            if begun == 1 {
                assert!(next.job.is_some());
                let ended = matches!(
                    event,
                    Event::StartDone { .. } | Event::FreezeDone { .. } | Event::Cleaned | Event::Forgotten
                );
                assert!(machine.job.is_none() || ended, "{machine:?} {event:?}");
            }
        }
    }
}

/// A world that does the actions: it knows when the process dies, loses and doubles doorbells, and lets
/// jobs end in any order.
#[derive(Default)]
struct World {
    exited: u32,
    stopped: u32,
    removed: u32,
    record: bool,
}

impl World {
    fn perform(&mut self, machine: &mut Machine, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let (next, actions) = machine.step(event);
            *machine = next;
            for action in actions {
                match action {
                    A::Publish(EventKind::Exited) => self.exited += 1,
                    A::Publish(EventKind::Stopped) => self.stopped += 1,
                    A::Publish(EventKind::Removed) => self.removed += 1,
                    A::Look if self.record => events.push(Event::Exit),
                    A::RecordFromKernel | A::RecordNeverStarted => {
                        self.record = true;
                        events.push(Event::Exit);
                    }
                    _ => {}
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_the_order_an_exit_is_told_once_and_ends_clean(
        noise in prop::collection::vec(0..EVENTS.len(), 0..60), run: bool, shim_dies: bool,
    ) {
        let mut world = World::default();
        let mut machine = Machine::new(P::Creating, false);
        world.perform(&mut machine, Event::InitKnown { run });
        for index in noise {
            let event = EVENTS[index];
            // The environment never says these unless they are so.
            match event {
                Event::Vanished | Event::ShimGone | Event::Buried { ok: true } => continue,
                Event::Exit => world.record = true,
                _ => {}
            }
            world.perform(&mut machine, event);
        }
        // Whatever was lost: in the end the process dies and one way of learning it is left.
        if shim_dies {
            world.perform(&mut machine, Event::ShimGone);
            world.perform(&mut machine, Event::InitGone);
        } else {
            world.record = true;
            world.perform(&mut machine, Event::InitGone);
        }
        if machine.phase == P::Orphaned {
            world.perform(&mut machine, Event::InitGone);
        }
        for _ in 0..6 {
            match machine.job {
                Some(Job::Start) => world.perform(&mut machine, Event::StartDone { ok: false }),
                Some(Job::Freeze | Job::Thaw | Job::ThawToEnd) => {
                    world.perform(&mut machine, Event::FreezeDone { frozen: true });
                }
                Some(Job::Clean) => world.perform(&mut machine, Event::Cleaned),
                Some(Job::Bury) => world.perform(&mut machine, Event::Buried { ok: true }),
                None => {}
            }
        }
        prop_assert_eq!(world.exited, 1);
        prop_assert_eq!(world.stopped, 1);
        prop_assert!(world.removed <= 1);
        prop_assert!(matches!(machine.phase, P::Stopped | P::Gone), "{:?}", machine);
        prop_assert_eq!(machine.phase == P::Gone && !machine.silent, world.removed == 1);
    }
}
