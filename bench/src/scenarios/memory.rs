//! What an idle container costs in memory and wake-ups: its monitor, and its share of the daemon.

use crate::{
    fleet::Fleet,
    peers::Kind,
    plan::Plan,
    report::{Scenario, Unit},
    summary::{Samples, Stat},
    usage::Usage,
};
use sexton_tests::wait::observe;
use std::time::Duration;

/// Whose monitors, and daemons, are what.
const CONTESTANTS: [(Kind, &str, Option<&str>); 3] = [
    (Kind::Sexton, OURS, Some("sextond")),
    (Kind::Conmon, "conmon", None),
    (Kind::Containerd, "containerd-shim-runc-v2", Some("containerd")),
];
const OURS: &str = "sexton-shim";
/// Aims for the PSS where there are this many.
const AT: usize = 200;
const AIMS: [(&str, f64); 2] = [("conmon", 1.0 / 12.0), ("containerd-shim-runc-v2", 1.0 / 60.0)];
/// What counts as none, a second, of all monitors together: less than one in the time that they are watched.
const NO_WAKE_UPS: f64 = 1.0 / 60.0;

/// See the module.
pub fn measure(plan: &Plan, scenario: &mut Scenario) {
    let present = plan.present(&CONTESTANTS.map(|(kind, ..)| kind), scenario);
    let contestants: Vec<_> = CONTESTANTS.into_iter().filter(|(kind, ..)| present.contains(kind)).collect();
    // New ones, whatever others have left: the first container counts, too.
    let mut fleets: Vec<_> = contestants.iter().map(|(kind, ..)| Fleet::new(*kind, plan)).collect();
    observe(Duration::from_secs(1));
    let empty: Vec<_> = fleets.iter().map(|fleet| fleet.engine().daemon().map(Usage::of)).collect();
    let sizes: &[usize] = plan.of(&[1, 50, AT], &[1, 50]);
    for &size in sizes {
        for fleet in &mut fleets {
            fleet.grow(plan, size);
        }
        plan.say(format!("watching {size} each"));
        let watched = Duration::from_secs(if size == AT { 10 } else { 3 });
        let before: Vec<_> = fleets.iter().map(monitors).collect();
        observe(watched);
        let after: Vec<_> = fleets.iter().map(monitors).collect();
        for (n, &(_, monitor, daemon)) in contestants.iter().enumerate() {
            monitors_rows(scenario, size, monitor, [&before[n], &after[n]], watched);
            if let (Some(name), Some(empty), Some(pid)) = (daemon, &empty[n], fleets[n].engine().daemon()) {
                daemon_rows(scenario, size, name, empty, &Usage::of(pid));
            }
        }
    }
    compare(scenario, sizes);
    scenario.note(
        "A daemon's own memory for each container is what it has with them less what it had with none, divided by \
         their number. conmon has no daemon: whoever executes it has one of its own, which is not measured.",
    );
    scenario.note(
        "Nobody has pipes or logs for the container's streams, which are /dev/null (conmon: --log-path passthrough; ctr: \
         --null-io). containerd is without its CRI plugin.",
    );
    fleets.into_iter().for_each(|fleet| plan.keep(fleet));
}

fn monitors(fleet: &Fleet) -> Vec<Usage> {
    fleet.members.iter().map(|member| Usage::of(member.running.monitor.unwrap())).collect()
}

fn case(size: usize) -> String {
    if size == 1 { "1 container".into() } else { format!("{size} containers") }
}

fn monitors_rows(scenario: &mut Scenario, size: usize, name: &str, at: [&Vec<Usage>; 2], watched: Duration) {
    let ([before, after], case) = (at, case(size));
    let mut row = |what: &str, unit: Unit, value: &dyn Fn(&Usage) -> u64| {
        let samples: Samples = after.iter().map(|usage| value(usage) as f64).collect();
        scenario.row(what, &case, name, unit, &samples);
    };
    row("PSS", Unit::Kib, &|usage| usage.pss_kib);
    row("RSS", Unit::Kib, &|usage| usage.rss_kib);
    row("private dirty", Unit::Kib, &|usage| usage.private_dirty_kib);
    row("page tables", Unit::Kib, &|usage| usage.page_tables_kib);
    row("threads", Unit::Count, &|usage| usage.threads);
    let switches = |all: &Vec<Usage>| all.iter().map(|usage| usage.switches).sum::<u64>();
    // A thread that has ended took its count with it.
    let woken = switches(after).saturating_sub(switches(before)) as f64 / watched.as_secs_f64();
    scenario.value("context switches of all monitors", &case, name, Unit::PerSecond, woken);
}

fn daemon_rows(scenario: &mut Scenario, size: usize, name: &str, empty: &Usage, now: &Usage) {
    let case = case(size);
    scenario.value("the daemon's PSS", &case, name, Unit::Kib, now.pss_kib as f64);
    // Of one the difference would be chance.
    if size > 1 {
        let each = (now.pss_kib as f64 - empty.pss_kib as f64) / size as f64;
        scenario.value("the daemon's PSS for each container", &case, name, Unit::Kib, each);
    }
}

fn compare(scenario: &mut Scenario, sizes: &[usize]) {
    for &size in sizes {
        let case = case(size);
        for (theirs, aim) in AIMS {
            scenario.compare("PSS", &case, Stat::Median, OURS, theirs, (size == AT).then_some(aim));
        }
    }
    let case = case(*sizes.last().unwrap());
    for what in ["RSS", "private dirty", "page tables"] {
        for (theirs, _) in AIMS {
            scenario.compare(what, &case, Stat::Median, OURS, theirs, None);
        }
    }
    let what = "context switches of all monitors";
    scenario.limit(what, &case, Stat::Median, OURS, ("none in a minute", NO_WAKE_UPS), Some(1.0));
    let what = "the daemon's PSS for each container";
    scenario.compare(what, &case, Stat::Median, "sextond", "containerd", None);
}
