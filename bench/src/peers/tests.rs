use super::*;
use sexton_tests::{LONG, leftovers, proc, skip, skipped, wait_for};

const ALL: [Kind; 9] = [
    Kind::Sexton,
    Kind::SextonEvents,
    Kind::Shim,
    Kind::ShimWithCollector,
    Kind::Conmon,
    Kind::Containerd,
    Kind::RuncRun,
    Kind::RuncCreate,
    Kind::Floor,
];

#[test]
fn everybody_runs_tells_cleans_and_leaves_nothing() {
    if skipped() {
        return;
    }
    let plan = Plan::new(true);
    for kind in ALL {
        match kind.missing() {
            Some(program) => skip(&format!("{} needs {program}, which is not installed", kind.name())),
            None => run_with(kind, &plan),
        }
    }
}

fn run_with(kind: Kind, plan: &Plan) {
    // Another containerd may have some.
    let sockets = || leftovers::entries("/run/containerd/s".as_ref());
    let (name, others) = (kind.name(), sockets());
    let engine = kind.engine(plan);
    let [before, ended, running] = [("before", 3), ("ended", 7), ("running", 0)].map(|(name, code)| {
        let guest = Guest::new(engine.node(), name, code);
        let running = engine.run(&guest);
        let began = guest.wait_began();
        assert!(running.asked < began && running.asked < running.returned, "{name}");
        assert!(!engine.is_clean(&guest.id), "{name}");
        (guest, running)
    });
    let end = |(guest, running): &(Guest, Running)| {
        guest.end();
        wait_for("the guest's end", LONG, || proc::is_dead(running.init));
    };
    end(&before);
    engine.remove(&before.0.id);
    let exits = engine.listen();
    end(&ended);
    if let Some(exits) = &exits {
        let exit = exits.heard.recv_timeout(LONG).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((exit.id.as_str(), exit.code), (ended.0.id.as_str(), Some(7)), "{name}");
        assert!(exit.at > ended.0.ended().unwrap(), "{name}");
    }
    engine.clean(&ended.0.id);
    wait_for("it is clean", LONG, || engine.is_clean(&ended.0.id));
    engine.remove(&ended.0.id);
    if let Some(exits) = &exits {
        assert_eq!(exits.heard.try_recv().ok(), None, "{name}: one exit, told once");
    }
    drop(exits);

    let (prefix, dirs) =
        (engine.node().prefix().to_owned(), [engine.node().dir().to_owned(), engine.home().volatile("")]);
    let alive = [Some(running.1.init), running.1.monitor, engine.daemon()];
    drop(engine);
    wait_for("all of its processes are gone", LONG, || alive.iter().flatten().all(|&pid| proc::is_dead(pid)));
    assert_eq!(leftovers::cgroups(&prefix), Vec::<std::path::PathBuf>::new(), "{name}");
    for dir in dirs {
        assert!(!dir.exists(), "{name}: {}", dir.display());
    }
    assert_eq!(sockets(), others, "{name}");
}
