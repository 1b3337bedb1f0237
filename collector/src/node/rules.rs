//! Whether a node takes new containers: figures and watermarks in, a word and its reasons out. Pure.

use super::marks::{Marks, Watermarks};
use bytesize::ByteSize;
use sexton_common::{WallTime, wire::NodeState};

/// What there is. `None`: nobody can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Bytes of memory that could be had without swapping.
    pub memory: Option<u64>,
    /// Bytes that root may still write where the data directory lies.
    pub disk: Option<u64>,
    /// Descriptors that may still watch containers.
    pub descriptors: u64,
    /// Containers that run or are about to.
    pub containers: u64,
}

/// The node's state, and a reason for each thing that is not as it should be.
#[must_use]
pub fn state(figures: &Figures, marks: &Watermarks, maintenance: Option<WallTime>) -> (NodeState, Vec<String>) {
    let mut why = Vec::new();
    why.extend(maintenance.map(|since| format!("in maintenance since {since}: all starts are refused")));
    why.extend(short("memory", figures.memory, marks.memory, bytes));
    why.extend(short("disk", figures.disk, marks.disk, bytes));
    why.extend(short("descriptors", Some(figures.descriptors), marks.descriptors, |count| count.to_string()));
    let (count, full, max) = (figures.containers, marks.containers_full, marks.containers_max);
    why.extend(match () {
        () if max > 0 && count >= max => {
            Some(format!("containers: {count} of {max} (node.containers_max): starts are refused"))
        }
        () if full > 0 && count >= full => {
            Some(format!("containers: {count}, full from {full} on (node.containers_full)"))
        }
        () => None,
    });
    let state = match () {
        () if maintenance.is_some() => NodeState::Maintenance,
        () if why.is_empty() => NodeState::Ready,
        () => NodeState::Full,
    };
    (state, why)
}

fn short(what: &str, left: Option<u64>, Marks { high, low }: Marks, shown: fn(u64) -> String) -> Option<String> {
    match left {
        None if high > 0 || low > 0 => Some(format!("{what}: it cannot be told how much is left")),
        Some(left) if left < low => Some(format!("{}: starts are refused", below(what, left, "low", low, shown))),
        Some(left) if left < high => Some(below(what, left, "high", high, shown)),
        _ => None,
    }
}

fn below(what: &str, left: u64, which: &str, mark: u64, shown: fn(u64) -> String) -> String {
    format!("{what}: {} left, below the {which} watermark of {} (node.{what}_{which})", shown(left), shown(mark))
}

fn bytes(count: u64) -> String {
    ByteSize::b(count).to_string()
}

/// Why there is no room for one more, which needs so many `descriptors`; `None` if there is. What nobody can tell
/// refuses nothing.
#[must_use]
pub fn refusal(figures: &Figures, marks: &Watermarks, descriptors: u64) -> Option<String> {
    let low = |what, left: Option<u64>, low, shown: fn(u64) -> String| {
        left.filter(|left| *left < low).map(|left| below(what, left, "low", low, shown))
    };
    let after = figures.descriptors.saturating_sub(descriptors);
    low("memory", figures.memory, marks.memory.low, bytes)
        .or_else(|| low("disk", figures.disk, marks.disk.low, bytes))
        .or_else(|| {
            (after < marks.descriptors.low).then(|| {
                let (left, low) = (figures.descriptors, marks.descriptors.low);
                format!("descriptors: {left} left, {after} with one more container, below the low watermark of {low} (node.descriptors_low)")
            })
        })
        .or_else(|| {
            let (count, max) = (figures.containers, marks.containers_max);
            (max > 0 && count >= max)
                .then(|| format!("containers: {count} run or are about to, of {max} that may (node.containers_max)"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;
    const ROOMY: Figures = Figures { memory: Some(1 << 40), disk: Some(1 << 40), descriptors: 1000, containers: 0 };

    fn marks() -> Watermarks {
        Watermarks {
            memory: Marks { high: 100 * MIB, low: 10 * MIB },
            disk: Marks { high: 200 * MIB, low: 20 * MIB },
            descriptors: Marks { high: 8, low: 4 },
            containers_full: 5,
            containers_max: 7,
        }
    }

    #[test]
    fn each_figure_and_its_watermarks() {
        let cases = [
            (Figures { memory: Some(100 * MIB), ..ROOMY }, "", false),
            (
                Figures { memory: Some(99 * MIB), ..ROOMY },
                "memory: 99.0 MiB left, below the high watermark of 100.0 MiB (node.memory_high)",
                false,
            ),
            (Figures { memory: Some(10 * MIB), ..ROOMY }, "memory: 10.0 MiB left, below the high", false),
            (
                Figures { memory: Some(10 * MIB - 1), ..ROOMY },
                "memory: 10.0 MiB left, below the low watermark of 10.0 MiB (node.memory_low): starts are refused",
                true,
            ),
            (Figures { disk: Some(199 * MIB), ..ROOMY }, "disk: 199.0 MiB left, below the high", false),
            (Figures { disk: Some(0), ..ROOMY }, "disk: 0 B left, below the low watermark of 20.0 MiB", true),
            (Figures { disk: None, ..ROOMY }, "disk: it cannot be told how much is left", false),
            (Figures { descriptors: 7, ..ROOMY }, "descriptors: 7 left, below the high watermark of 8", false),
            (Figures { descriptors: 5, ..ROOMY }, "descriptors: 5 left, below the high", true),
            (Figures { descriptors: 3, ..ROOMY }, "descriptors: 3 left, below the low", true),
            (Figures { containers: 4, ..ROOMY }, "", false),
            (Figures { containers: 5, ..ROOMY }, "containers: 5, full from 5 on (node.containers_full)", false),
            (Figures { containers: 6, ..ROOMY }, "containers: 6, full", false),
            (Figures { containers: 7, ..ROOMY }, "containers: 7 of 7 (node.containers_max): starts are refused", true),
        ];
        for (figures, reason, refused) in cases {
            let (state, why) = state(&figures, &marks(), None);
            assert_eq!(state, if reason.is_empty() { NodeState::Ready } else { NodeState::Full }, "{figures:?}");
            assert!(why.iter().all(|why| why.starts_with(reason)) && why.len() == usize::from(!reason.is_empty()));
            assert_eq!(refusal(&figures, &marks(), 2).is_some(), refused, "{figures:?}");
        }
        // One that is watched already needs no more descriptors.
        assert_eq!(refusal(&Figures { descriptors: 5, ..ROOMY }, &marks(), 0), None);
    }

    #[test]
    fn maintenance_goes_before_full_and_says_both() {
        let (state, why) = state(&Figures { containers: 7, ..ROOMY }, &marks(), Some(WallTime(0)));
        assert_eq!(state, NodeState::Maintenance);
        assert_eq!(why.len(), 2);
        assert!(why[0].starts_with("in maintenance since 1970-01-01T00:00:00"), "{why:?}");
    }

    #[test]
    fn what_is_off_says_nothing() {
        let nothing = Figures { memory: None, disk: None, descriptors: 0, containers: u64::MAX };
        assert_eq!(state(&nothing, &Watermarks::default(), None), (NodeState::Ready, Vec::new()));
        assert_eq!(refusal(&nothing, &Watermarks::default(), 2), None);
    }

    fn mark() -> impl Strategy<Value = Marks> {
        (0u64..10, 0u64..10).prop_map(|(a, b)| Marks { high: a.max(b), low: a.min(b) })
    }

    proptest! {
        /// A node that refuses for what it lacks now says that it is full.
        #[test]
        fn who_refuses_is_not_ready(
            memory in prop::option::of(0u64..10), disk in prop::option::of(0u64..10), descriptors in 0u64..10,
            containers in 0u64..10, marked in (mark(), mark(), mark()), full in 0u64..10, max in 0u64..10,
        ) {
            let figures = Figures { memory, disk, descriptors, containers };
            let marks = Watermarks {
                memory: marked.0, disk: marked.1, descriptors: marked.2,
                containers_full: full, containers_max: max,
            };
            if refusal(&figures, &marks, 0).is_some() {
                prop_assert_eq!(state(&figures, &marks, None).0, NodeState::Full);
            }
        }
    }
}
