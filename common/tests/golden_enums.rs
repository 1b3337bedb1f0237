//! The names and numbers of the small enums.

mod support;

use sexton_common::{
    Source,
    launch::Mode,
    wire::{ErrorCode, EventKind, State},
};
use support::small_enum;

#[test]
fn names_and_numbers_of_the_small_enums() {
    use {ErrorCode as E, EventKind as K, State as S};
    let states = [
        S::Creating,
        S::Created,
        S::Running,
        S::Orphaned,
        S::Stopping,
        S::Gc,
        S::Stopped,
        S::Paused,
        S::Restarting,
        S::Pending,
    ];
    let names =
        ["creating", "created", "running", "orphaned", "stopping", "gc", "stopped", "paused", "restarting", "pending"];
    small_enum(&states, &names);
    assert_eq!(states.map(S::name), names);
    let kinds = [
        K::Created,
        K::Started,
        K::Orphaned,
        K::Exited,
        K::Delayed,
        K::Stopped,
        K::Removed,
        K::Paused,
        K::Resumed,
        K::Restarting,
        K::GaveUp,
    ];
    let names = [
        "created",
        "started",
        "orphaned",
        "exited",
        "delayed",
        "stopped",
        "removed",
        "paused",
        "resumed",
        "restarting",
        "gave_up",
    ];
    small_enum(&kinds, &names);
    assert_eq!(kinds.map(K::name), names);
    small_enum(
        &[
            E::Invalid,
            E::NoSuchContainer,
            E::AlreadyExists,
            E::AlreadyStarted,
            E::NotRunning,
            E::Running,
            E::InGc,
            E::Busy,
            E::RuntimeFailed,
            E::TimedOut,
            E::ShuttingDown,
            E::Denied,
            E::Internal,
            E::AlreadyStopped,
            E::Paused,
            E::NotPaused,
            E::Full,
            E::Maintenance,
        ],
        &[
            "invalid",
            "no_such_container",
            "already_exists",
            "already_started",
            "not_running",
            "running",
            "in_gc",
            "busy",
            "runtime_failed",
            "timed_out",
            "shutting_down",
            "denied",
            "internal",
            "already_stopped",
            "paused",
            "not_paused",
            "full",
            "maintenance",
        ],
    );
    small_enum(
        &[Source::Waited, Source::Pidfd, Source::Zombie, Source::Reported, Source::None],
        &["waited", "pidfd", "zombie", "reported", "none"],
    );
    small_enum(&[Mode::Create, Mode::Run], &["create", "run"]);
}
