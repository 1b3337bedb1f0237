use super::*;
use Action as A;
use Phase as P;

#[test]
fn one_that_does_not_die_is_in_gc_once_and_its_exit_counts_as_any_other() {
    let delayed = A::Publish(EventKind::Delayed);
    for phase in [P::Created, P::Running, P::Orphaned] {
        let (stuck, actions) = Machine::new(phase, false).step(Event::Stuck);
        assert_eq!((actions, stuck.shown()), (vec![A::CleanAlive], Shown::Gc));
        assert_eq!(stuck.step(Event::Stuck), (stuck, vec![]));
        assert_eq!(stuck.step(Event::InTheWay), (stuck, vec![delayed]));
        assert_eq!(stuck.step(Event::Cleaned), (stuck, vec![]), "nothing is clean that lives");
        for wish in [Event::Start, Event::Remove { force: false }] {
            assert_eq!(stuck.step(wish).1, [A::Refuse(Refusal::InGc)]);
        }
        let (removed, actions) = stuck.step(Event::Remove { force: true });
        assert_eq!(actions, [A::SignalKill, A::AwaitRemoval, A::Retry], "its entry has the wish too");
        let (given_up, actions) = stuck.step(Event::Forgotten);
        assert_eq!((given_up, actions), (Machine::new(phase, false), vec![]));
        assert_eq!(given_up.step(Event::InTheWay), (given_up, vec![]), "told late");
        for (machine, remove) in [(stuck, false), (removed, true)] {
            let (dead, actions) = machine.step(Event::Exit);
            assert_eq!(actions, [A::Publish(EventKind::Exited), A::AnswerExit, A::Clean]);
            assert_eq!((dead.shown(), dead.remove), (Shown::Stopping, remove));
            let (clean, actions) = dead.step(Event::Cleaned);
            let buried = remove.then_some(A::Bury);
            assert_eq!(actions, [A::Publish(EventKind::Stopped)].into_iter().chain(buried).collect::<Vec<_>>());
            assert_eq!(clean.phase, P::Stopped);
        }
        let (vanished, _) = stuck.step(Event::Vanished);
        assert!(phase == P::Orphaned || vanished.shown() == Shown::Stopped, "gone is not in GC");
    }
}
