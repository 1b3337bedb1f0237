//! How soon a container runs: from just before its command is executed to the first instruction of its process.

use crate::{
    guest::{Guest, ms},
    peers::{Engine, Kind},
    plan::Plan,
    report::{Scenario, Unit},
    summary::{Samples, Stat},
};

const CONTESTANTS: [Kind; 7] = [
    Kind::RuncRun,
    Kind::RuncCreate,
    Kind::Shim,
    Kind::ShimWithCollector,
    Kind::Sexton,
    Kind::Conmon,
    Kind::Containerd,
];
const FIRST: &str = "first instruction";
const RETURNED: &str = "command has returned";

struct Contestant {
    kind: Kind,
    engine: Box<dyn Engine>,
    first: Samples,
    returned: Samples,
}

/// See the module.
pub fn measure(plan: &Plan, scenario: &mut Scenario) {
    let present = plan.present(&CONTESTANTS, scenario);
    let contestant = |kind: Kind| Contestant {
        kind,
        engine: kind.engine(plan),
        first: Samples::default(),
        returned: Samples::default(),
    };
    let mut contestants: Vec<_> = present.into_iter().map(contestant).collect();
    let mut turns: Vec<_> = contestants.iter_mut().map(|contestant| |round| contestant.turn(round)).collect();
    let mut turns: Vec<&mut dyn FnMut(usize)> = turns.iter_mut().map(|turn| turn as _).collect();
    // One more, which is not counted: files are read from disk for the first time, and daemons wake up.
    plan.turns("starting", plan.of(40, 10) + 1, &mut turns);
    for what in [FIRST, RETURNED] {
        for Contestant { kind, first, returned, .. } in &contestants {
            scenario.row(what, "", kind.name(), Unit::Ms, if what == FIRST { first } else { returned });
        }
    }
    let mut compare = |ours: Kind, theirs: Kind, aim| {
        scenario.compare(FIRST, "", Stat::Median, ours.name(), theirs.name(), aim);
    };
    compare(Kind::Shim, Kind::RuncCreate, Some(1.05));
    compare(Kind::ShimWithCollector, Kind::RuncCreate, Some(1.05));
    compare(Kind::Shim, Kind::RuncRun, None);
    compare(Kind::Shim, Kind::Conmon, None);
    compare(Kind::Sexton, Kind::Containerd, None);
    scenario.note(
        "conmon: from its start until `runc start`, called once it has said the pid; `runc create + start`: two \
         commands, one after the other; the others: one command.",
    );
}

impl Contestant {
    fn turn(&mut self, round: usize) {
        let guest = Guest::new(self.engine.node(), &format!("start-{round}"), 0);
        let running = self.engine.run(&guest);
        let began = guest.wait_began();
        if round > 0 {
            self.first.push(ms(running.asked, began));
            self.returned.push(ms(running.asked, running.returned));
        }
        self.engine.remove(&guest.id);
    }
}
