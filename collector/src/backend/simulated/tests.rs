use super::*;
use sexton_common::{ExitStatus, UnknownReason, restart::RestartPolicy};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const TERM: i32 = 15;
const BY_KILL: ExitStatus = ExitStatus::Signal { number: 9, core_dumped: false };
const BY_TERM: ExitStatus = ExitStatus::Signal { number: 15, core_dumped: false };

fn launch(id: &str) -> Launch {
    super::launch(id.parse().unwrap(), RestartPolicy::Always)
}

fn of(plan: Plan) -> (Simulated, Launch) {
    (Simulated::new(move |_, _| plan), launch("c"))
}

fn code<T>(result: Result<T, ApiError>) -> Option<ErrorCode> {
    result.err().map(|e| e.code)
}

/// How its present run ended, and after how long the world saw that.
async fn end(world: &Simulated, id: &ContainerId) -> (ExitStatus, Duration) {
    let mut seen = world.watch(id);
    let ended = seen.wait_for(|seen| seen.ended.is_some()).await.unwrap().ended.unwrap();
    (ended.status, Duration::from_nanos(ended.ran_ns.unwrap_or(0)))
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_by_its_plan() {
    let ends = Plan::ends(3 * SECOND, ExitStatus::Code(7));
    let plan = Plan { hidden: SECOND, creation: Creation::Takes(2 * SECOND), clean: SECOND, in_gc: 5 * SECOND, ..ends };
    let (world, launch) = of(plan);
    let mut seen = world.watch(&launch.id);
    let begun = Instant::now();
    let launched = {
        let mut create = world.create(&launch);
        assert!(timeout(999 * MS, &mut create).await.is_err());
        assert_eq!(
            (world.state(&launch.id), *seen.borrow_and_update()),
            (None, Seen::default()),
            "nothing is seen yet"
        );
        assert!(timeout(SECOND, &mut create).await.is_err());
        assert_eq!(world.state(&launch.id), Some(State::Creating));
        create.await.unwrap()
    };
    assert_eq!((begun.elapsed(), world.state(&launch.id)), (3 * SECOND, Some(State::Running)));
    assert_eq!(seen.borrow_and_update().generation, launched.generation);
    assert_eq!(end(&world, &launch.id).await, (ExitStatus::Code(7), 3 * SECOND));
    assert_eq!((begun.elapsed(), world.state(&launch.id)), (6 * SECOND, Some(State::Stopping)));
    seen.wait_for(|seen| seen.in_gc).await.unwrap();
    assert_eq!((begun.elapsed(), world.state(&launch.id)), (7 * SECOND, Some(State::Gc)));
    assert_eq!(code(world.delete(&launch.id, false).await), Some(ErrorCode::InGc));
    assert!(seen.wait_for(|seen| seen.clean).await.unwrap().ended.is_some());
    assert_eq!((begun.elapsed(), world.state(&launch.id)), (12 * SECOND, Some(State::Stopped)));
    let again = world.create(&launch).await.unwrap();
    assert!(again.generation > launched.generation);
    assert_eq!(world.violations(), [""; 0]);
    assert_eq!(world.figures(), Figures { creations: 2, starts: 2, exits: 1, alive: 1, most_alive: 1, violations: 0 });
}

#[tokio::test(start_paused = true)]
async fn creations_that_fail() {
    let script = |_: &ContainerId, number| {
        let after = 2 * SECOND;
        let creation = match number {
            0 => Creation::Fails { after, code: ErrorCode::RuntimeFailed, in_gc: Duration::ZERO },
            1 => Creation::Fails { after, code: ErrorCode::Busy, in_gc: 9 * SECOND },
            2 => Creation::Hangs,
            _ => Creation::Takes(after),
        };
        Plan { creation, ..Plan::default() }
    };
    let (world, launch) = (Simulated::new(script), launch("c"));
    let mut seen = world.watch(&launch.id);
    let begun = Instant::now();
    assert_eq!(code(world.create(&launch).await), Some(ErrorCode::RuntimeFailed));
    assert_eq!((begun.elapsed(), world.state(&launch.id)), (2 * SECOND, None));
    assert!(seen.borrow_and_update().gone, "nothing is left");
    assert_eq!(code(world.create(&launch).await), Some(ErrorCode::Busy));
    assert!(seen.borrow_and_update().in_gc);
    let never = ExitStatus::Unknown { reason: UnknownReason::NeverStarted };
    assert_eq!(end(&world, &launch.id).await, (never, Duration::ZERO));
    seen.wait_for(|seen| seen.clean).await.unwrap();
    assert_eq!(begun.elapsed(), 13 * SECOND);
    assert_eq!(code(world.create(&launch).await), Some(ErrorCode::TimedOut));
    assert_eq!((begun.elapsed(), world.state(&launch.id)), (133 * SECOND, None));
    world.create(&launch).await.unwrap();
    assert_eq!((world.created(&launch.id), world.figures().starts, world.violations().len()), (4, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn signals_and_stops() {
    for (term, dies, ended, took) in [
        (Some(200 * MS), Duration::ZERO, BY_TERM, 200 * MS),
        (None, Duration::ZERO, BY_KILL, SECOND),
        (None, 3 * SECOND, BY_KILL, 4 * SECOND),
        (Some(5 * SECOND), Duration::ZERO, BY_KILL, SECOND),
    ] {
        let (world, launch) = of(Plan { term, dies, ..Plan::default() });
        let id = &launch.id;
        assert_eq!(code(world.stop(id, TERM, SECOND).await), Some(ErrorCode::NoSuchContainer));
        world.create(&launch).await.unwrap();
        assert_eq!(code(world.start(id).await), Some(ErrorCode::AlreadyStarted));
        world.kill(id, 1).await.unwrap();
        assert_eq!(code(world.delete(id, false).await), Some(ErrorCode::Running));
        let begun = Instant::now();
        world.stop(id, TERM, SECOND).await.unwrap();
        assert_eq!((begun.elapsed(), end(&world, id).await.0), (took, ended));
        world.watch(id).wait_for(|seen| seen.clean).await.unwrap();
        for refused in [world.stop(id, TERM, SECOND).await, world.kill(id, 9).await, world.start(id).await] {
            assert!(matches!(code(refused), Some(ErrorCode::AlreadyStopped | ErrorCode::NotRunning)));
        }
        world.delete(id, false).await.unwrap();
        assert_eq!((world.watch(id).borrow().gone, world.state(id), world.violations().len()), (true, None, 0));
    }
    let (world, launch) = of(Plan { dies: 60 * SECOND, term: None, ..Plan::default() });
    world.create(&launch).await.unwrap();
    assert_eq!(code(world.stop(&launch.id, TERM, SECOND).await), Some(ErrorCode::TimedOut));
    assert_eq!(end(&world, &launch.id).await, (BY_KILL, 61 * SECOND), "and it dies all the same");
}

#[tokio::test(start_paused = true)]
async fn frozen_time_does_not_count() {
    let (world, launch) = of(Plan { term: Some(100 * MS), ..Plan::ends(10 * SECOND, ExitStatus::Code(0)) });
    let id = &launch.id;
    world.create(&launch).await.unwrap();
    assert_eq!(code(world.resume(id).await), Some(ErrorCode::NotPaused));
    tokio::time::sleep(4 * SECOND).await;
    world.pause(id).await.unwrap();
    assert_eq!(code(world.pause(id).await), Some(ErrorCode::Paused));
    let info = std::sync::Arc::new(sexton_common::wire::ContainerInfo::pending(id.clone()));
    let (rows, _) = world.stats(vec![info], Default::default()).await.unwrap();
    assert_eq!(rows[0].state, State::Paused);
    tokio::time::sleep(60 * SECOND).await;
    world.resume(id).await.unwrap();
    assert_eq!(end(&world, id).await, (ExitStatus::Code(0), 70 * SECOND), "by the clock it ran while it was frozen");
    assert_eq!(code(world.pause(id).await), Some(ErrorCode::NotRunning));
    // SIGTERM waits for the thaw, SIGKILL does not; a stop thaws.
    world.create(&launch).await.unwrap();
    world.pause(id).await.unwrap();
    world.kill(id, TERM).await.unwrap();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(world.state(id), Some(State::Paused));
    world.resume(id).await.unwrap();
    assert_eq!(end(&world, id).await, (BY_TERM, 60 * SECOND + 100 * MS));
    for by in [BY_TERM, BY_KILL] {
        world.create(&launch).await.unwrap();
        world.pause(id).await.unwrap();
        match by {
            BY_TERM => world.stop(id, TERM, SECOND).await.unwrap(),
            _ => world.kill(id, 9).await.unwrap(),
        }
        assert_eq!(end(&world, id).await.0, by);
    }
    assert_eq!(world.violations(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn deletions() {
    let (world, launch) = of(Plan { clean: SECOND, ..Plan::default() });
    world.create(&launch).await.unwrap();
    world.delete(&launch.id, true).await.unwrap();
    assert_eq!(world.state(&launch.id), None);
    let (world, launch) = of(Plan { in_gc: 20 * SECOND, ..Plan::default() });
    world.create(&launch).await.unwrap();
    assert_eq!(code(world.delete(&launch.id, true).await), Some(ErrorCode::InGc));
    world.watch(&launch.id).wait_for(|seen| seen.gone).await.unwrap();
    let (world, launch) = of(Plan { undeletable: Some(ErrorCode::Internal), ..Plan::default() });
    world.create(&launch).await.unwrap();
    assert_eq!(code(world.delete(&launch.id, true).await), Some(ErrorCode::Internal));
    assert_eq!(world.state(&launch.id), Some(State::Stopped));
    assert_eq!(code(world.delete(&"other".parse().unwrap(), true).await), Some(ErrorCode::NoSuchContainer));
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_must_not_do_is_noted() {
    let plan = Plan { creation: Creation::Takes(SECOND), clean: SECOND, ..Plan::ends(SECOND, ExitStatus::Code(0)) };
    let (world, launch) = of(plan);
    let id = &launch.id;
    // While it is created, runs, and is cleaned.
    let (first, second) = tokio::join!(world.create(&launch), world.create(&launch));
    assert_eq!((code(first), code(second)), (None, Some(ErrorCode::AlreadyExists)));
    assert_eq!(world.violations()[0], "create of c while its create is under way");
    assert_eq!(code(world.create(&launch).await), Some(ErrorCode::AlreadyExists));
    assert!(world.violations().last().unwrap().ends_with("is Running"), "{:?}", world.violations());
    end(&world, id).await;
    assert_eq!(code(world.create(&launch).await), Some(ErrorCode::AlreadyExists));
    assert!(world.violations().last().unwrap().ends_with("is Dead"));
    let before = world.figures().violations;
    world.watch(id).wait_for(|seen| seen.clean).await.unwrap();
    world.create(&launch).await.unwrap();
    assert_eq!(world.figures().violations, before);
    // What is done to a run waits for its turn; its next one does not.
    let _ = tokio::join!(world.stop(id, TERM, SECOND), world.kill(id, 9), world.pause(id));
    assert_eq!(world.figures().violations, before);
    world.watch(id).wait_for(|seen| seen.clean).await.unwrap();
    let _ = tokio::join!(world.create(&launch), world.delete(id, true));
    assert_eq!(world.violations().last().unwrap(), "delete of c while its create is under way");
    assert_eq!(world.figures().most_alive, 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_goes_on_without_the_collector() {
    let (world, launch) = of(Plan { hidden: SECOND, creation: Creation::Takes(SECOND), term: None, ..Plan::default() });
    let id = &launch.id;
    assert!(timeout(500 * MS, world.create(&launch)).await.is_err());
    world.collector_dies();
    // The next collector sees nothing yet; if it tries, it is refused, and no fault of its own.
    assert_eq!((world.state(id), code(world.create(&launch).await)), (None, Some(ErrorCode::AlreadyExists)));
    assert_eq!(world.violations(), [""; 0]);
    world.watch(id).wait_for(|seen| seen.generation > 0).await.unwrap();
    assert_eq!(code(world.create(&launch).await), Some(ErrorCode::AlreadyExists));
    assert_eq!(world.violations().len(), 1, "that it could have seen");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(world.state(id), Some(State::Running));
    // Of a stop, SIGTERM was sent; nobody is left for SIGKILL.
    assert!(timeout(500 * MS, world.stop(id, TERM, SECOND)).await.is_err());
    world.collector_dies();
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(world.state(id), Some(State::Running));
    world.stop(id, TERM, SECOND).await.unwrap();
}

#[test]
fn the_same_seed_is_the_same_story() {
    let story = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let script = move |id: &ContainerId, number| {
                let chance = chance(seed, id, number);
                Plan::ends(Duration::from_millis(chance % 5000), ExitStatus::Code((chance >> 32) as u8))
            };
            let world = Simulated::new(script);
            let mut told = Vec::new();
            for name in ["a", "b", "c"] {
                let launch = launch(name);
                for _ in 0..5 {
                    let generation = world.create(&launch).await.unwrap().generation;
                    told.push((generation, world.watch(&launch.id).wait_for(|s| s.clean).await.unwrap().ended));
                }
            }
            told
        })
    };
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}

/// Prints what 100,000 cost.
#[tokio::test(start_paused = true)]
async fn a_hundred_thousand() {
    const COUNT: usize = 100_000;
    let rss = || -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let (before, clock) = (rss(), std::time::Instant::now());
    let plan = Plan { creation: Creation::Takes(10 * MS), ..Plan::ends(SECOND, ExitStatus::Code(3)) };
    let world = Arc::new(Simulated::new(move |_, _| plan));
    let template = launch("c");
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..COUNT {
        let (world, mut launch) = (world.clone(), template.clone());
        launch.id = format!("c{number}").parse().unwrap();
        tasks.spawn(async move {
            world.create(&launch).await.unwrap();
            assert_eq!(end(&world, &launch.id).await, (ExitStatus::Code(3), SECOND));
        });
    }
    tokio::time::sleep(500 * MS).await;
    let most = rss();
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let figures = world.figures();
    assert_eq!((figures.starts, figures.exits, figures.most_alive), (100_000, 100_000, 100_000));
    assert_eq!(world.violations(), [""; 0]);
    let each = most.saturating_sub(before) / COUNT as u64;
    println!("{COUNT} created and ended in {:?}, {each} bytes each, the waiting task too", clock.elapsed());
}
