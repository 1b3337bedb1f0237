//! A container in words.

use crate::{signal, table::Tone};
use sexton_common::{
    ExitStatus, WallTime,
    wire::{ContainerInfo, State},
};
use std::time::Duration;

/// How it ended.
pub fn status(status: &ExitStatus) -> String {
    match status {
        ExitStatus::Signal { number, core_dumped } => {
            let core = if *core_dumped { " (core dumped)" } else { "" };
            format!("killed by {}{core}", signal::name(*number))
        }
        other => other.to_string(),
    }
}

/// How it is, in one line. `now` in nanoseconds since boot.
pub fn condition(container: &ContainerInfo, now: u64) -> String {
    let up = || container.started_ns.map_or_else(|| "up".to_owned(), |at| format!("up {}", age(at, now)));
    let exited_ns = || Some(container.started_ns?.saturating_add(container.ran_ns?));
    let mut text = match (&container.status, container.state) {
        (Some(ended), _) => match exited_ns() {
            Some(at) => format!("{}, {} ago", status(ended), age(at, now)),
            None => status(ended),
        },
        (None, State::Creating) => "being created".into(),
        (None, State::Created) => "not started".into(),
        (None, State::Running) => up(),
        (None, State::Paused) => format!("{}, paused", up()),
        (None, State::Restarting) => "will be started again".into(),
        (None, State::Pending) => "being looked at".into(),
        (None, State::Orphaned) => format!("{}, its shim is dead", up()),
        (None, State::Stopping | State::Gc | State::Stopped) => "ended".into(),
    };
    if container.oom_killed == Some(true) {
        text += ", out of memory";
    }
    if let Some(obstacle) = &container.in_the_way {
        text += &format!("; in the way: {obstacle}");
    }
    text
}

/// Whether and when it comes back, in one line; `None` if it never does and never did.
pub fn restart(container: &ContainerInfo, now: WallTime) -> Option<String> {
    let restart = container.restart.as_ref()?;
    let mut text = restart.policy.to_string();
    if restart.count > 0 {
        text += &format!(", {} so far", restart.count);
    }
    if let Some(at) = restart.next_start {
        let left = Duration::from_nanos(at.0.saturating_sub(now.0));
        text += &format!(", next in {:.1}s", left.as_secs_f64());
    }
    if restart.stopped_by_user {
        text += ", stopped by user";
    }
    Some(text)
}

/// How a state is meant.
pub fn tone(state: State) -> Tone {
    match state {
        State::Running => Tone::Good,
        State::Orphaned | State::Gc | State::Paused | State::Restarting | State::Pending => Tone::Warn,
        State::Creating | State::Created | State::Stopping | State::Stopped => Tone::Plain,
    }
}

/// How long ago `then` was, in its largest unit; both in nanoseconds since boot, since the wall clock may jump.
pub fn age(then: u64, now: u64) -> String {
    let seconds = Duration::from_nanos(now.saturating_sub(then)).as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A duration to the millisecond.
pub fn duration(ns: u64) -> String {
    humantime::format_duration(Duration::from_millis(ns / 1_000_000)).to_string()
}

/// Bytes in the largest binary unit, to one digit.
pub fn bytes(count: u64) -> String {
    let mut unit = "B";
    let mut value = count as f64;
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") }
}

/// A command on one line; what a shell would take apart is in quotes.
pub fn command(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    let shown = words.iter().map(|word| match word.as_str() {
        plainly if !plainly.is_empty() && plainly.chars().all(plain) => plainly.to_owned(),
        other => format!("'{}'", other.escape_debug()),
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;
    use sexton_common::UnknownReason;

    const NOW: u64 = 240_500_000_000;

    #[test]
    fn conditions() {
        let running = fake::running("c1");
        assert_eq!(condition(&running, NOW), "up 4m");
        let orphaned = ContainerInfo { state: State::Orphaned, ..running.clone() };
        assert_eq!(condition(&orphaned, NOW), "up 4m, its shim is dead");
        assert_eq!(condition(&ContainerInfo { state: State::Created, ..running }, NOW), "not started");
        assert_eq!(condition(&fake::stopped("c1", ExitStatus::Code(7)), NOW), "exited with 7, 3m ago");
        let killed = ContainerInfo {
            state: State::Gc,
            oom_killed: Some(true),
            in_the_way: Some("runc delete takes too long".into()),
            ..fake::stopped("c1", ExitStatus::Signal { number: 9, core_dumped: true })
        };
        assert_eq!(
            condition(&killed, NOW),
            "killed by SIGKILL (core dumped), 3m ago, out of memory; in the way: runc delete takes too long"
        );
        let unknown = ExitStatus::Unknown { reason: UnknownReason::ShimKilled };
        let lost = ContainerInfo { exited_at: None, ran_ns: None, ..fake::stopped("c1", unknown) };
        assert_eq!(condition(&lost, NOW), "unknown: its shim was killed");
    }

    #[test]
    fn ages_durations_and_sizes() {
        let ago = |seconds: u64| age(NOW, NOW + seconds * 1_000_000_000);
        assert_eq!([ago(0), ago(59), ago(60), ago(7199)], ["0s", "59s", "1m", "1h"]);
        assert_eq!([ago(172_799), ago(172_800)], ["47h", "2d"]);
        assert_eq!(age(NOW, 0), "0s");
        assert_eq!(duration(61_234_567_890), "1m 1s 234ms");
        assert_eq!([bytes(0), bytes(1023), bytes(1536), bytes(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}
