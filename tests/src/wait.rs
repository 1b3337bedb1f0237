//! Waiting for conditions. The only place where a test sleeps.

use std::time::{Duration, Instant};

/// Enough for anything that works, on a loaded machine whose pid 1 reaps orphans late.
pub const LONG: Duration = Duration::from_secs(60);

const STEP: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// Past the deadline, naming `what`.
#[track_caller]
pub fn wait_for(what: &str, deadline: Duration, condition: impl FnMut() -> bool) {
    assert!(wait_until(deadline, condition), "waited {deadline:?} in vain: {what}");
}

/// Waits until `condition` holds; whether it does.
pub fn wait_until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        pause(STEP);
    }
}

/// Waits until there is a value.
///
/// # Panics
/// Past the deadline, naming `what`.
#[track_caller]
pub fn wait_some<T>(what: &str, deadline: Duration, mut value: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    wait_for(what, deadline, || {
        found = value();
        found.is_some()
    });
    found.unwrap()
}

/// Lets time pass: only for what is measured over time, as an idle process' wake-ups are.
pub fn observe(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        pause(left.min(Duration::from_millis(100)));
    }
}

fn pause(time: Duration) {
    let time = rustix::event::Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap(),
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    // An interrupted wait is only a shorter one.
    let _ = rustix::event::poll(&mut [], Some(&time));
}
