//! More orders than wait for one container.

use super::*;
use crate::backend::simulated::{Creation, Plan};
use crate::instance::MAILBOX;
use sexton_common::{ExitStatus, wire::ErrorCode};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

fn id(text: &str) -> ContainerId {
    text.parse().unwrap()
}

/// Asks for as many stops as there may be and one more; who is not "busy" then waits.
async fn flood(collector: &Arc<Collector>, id: &ContainerId) -> usize {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 * MAILBOX {
        let (collector, id) = (collector.clone(), id.clone());
        tasks.spawn(async move { timeout(SECOND, collector.instances.stop(&id, 15, SECOND)).await });
    }
    let mut busy = 0;
    while let Some(stopped) = tasks.join_next().await {
        match stopped.unwrap() {
            Ok(Err(e)) if e.code == ErrorCode::Busy => busy += 1,
            other => assert!(other.is_err(), "nobody is answered while it hangs: {other:?}"),
        }
    }
    busy
}

/// Its disk hangs, or its runtime: the mailbox fills, whoever comes then hears so at once, and others do not notice.
#[tokio::test(start_paused = true)]
async fn a_full_mailbox_answers_busy_and_holds_nobody_else_up() {
    let script = |id: &ContainerId, number: u32| match (id.as_str(), number) {
        ("creating", 1..) => {
            Plan { creation: Creation::Takes(3600 * SECOND), ..Plan::ends(SECOND, ExitStatus::Code(1)) }
        }
        _ => Plan::ends(SECOND, ExitStatus::Code(1)),
    };
    let mut machine = Machine::new(Simulated::new(script), RestartPolicy::Always);
    machine.slow = |id| if id.as_str() == "hangs" { 5 * SECOND } else { Duration::ZERO };
    let collector = Arc::new(machine.collector());
    for name in ["creating", "other"] {
        machine.launch(&collector, &id(name)).await;
    }
    sleep(5 * SECOND).await;
    assert_eq!(flood(&collector, &id("creating")).await, 3 * MAILBOX);
    machine.launch(&collector, &id("hangs")).await;
    sleep(2 * SECOND).await;
    // The first order, or the run's end, is with the disk; as many as there is room for are behind it.
    let busy = flood(&collector, &id("hangs")).await;
    assert!((3 * MAILBOX - 1..=3 * MAILBOX).contains(&busy), "{busy}");
    timeout(SECOND, collector.instances.stop(&id("other"), 15, SECOND)).await.unwrap().unwrap();
    assert_eq!(machine.world.violations(), Vec::<String>::new());
}
