//! What may happen to a container, and what may follow.

use sexton_common::wire::EventKind;

/// What happened, or was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The collector begins to look after it.
    Found,
    /// The shim has announced its init.
    InitKnown {
        /// Whether the shim starts it at once.
        run: bool,
    },
    /// Somebody else was seen to have started it.
    SeenStarted,
    /// Its exit record is at hand.
    Exit,
    /// The shim is dead and left no record.
    ShimGone,
    /// The kernel says that init is dead and reaped (or dead, where the kernel does not tell of reaping).
    InitGone,
    /// Init has been dead for long and nobody reaps it: its shim is stopped, or hangs.
    InitLingers,
    /// The shim is gone and so is the container's directory.
    Vanished,
    /// The runtime has started it, or not.
    StartDone {
        /// Whether it has.
        ok: bool,
    },
    /// Freezing or thawing it is over; so it was seen then.
    FreezeDone {
        /// Whether it is frozen.
        frozen: bool,
    },
    /// Somebody else may have frozen or thawed it: so it was seen.
    SeenFrozen {
        /// Whether it is frozen.
        frozen: bool,
    },
    /// Everything it owned was observed gone.
    Cleaned,
    /// Something was in the way.
    InTheWay,
    /// It was killed, and does not die.
    Stuck,
    /// Somebody gave up cleaning it.
    Forgotten,
    /// Its files are removed, or not.
    Buried {
        /// Whether they are.
        ok: bool,
    },
    /// A client wants it started.
    Start,
    /// A client wants it signalled.
    Signal,
    /// A client wants it stopped.
    Stop,
    /// Its next run is about to be created.
    MakeRoom,
    /// A client wants it frozen.
    Pause,
    /// A client wants it thawed.
    Resume,
    /// A client wants it removed.
    Remove {
        /// Whatever its state.
        force: bool,
    },
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Tell the subscribers.
    Publish(EventKind),
    /// See whether an exit record is there.
    Look,
    /// Ask the kernel how init ended and write the record.
    RecordFromKernel,
    /// Write a record that says that it was never started.
    RecordNeverStarted,
    /// Have the runtime start it; ends in [`Event::StartDone`].
    RuntimeStart,
    /// Have it frozen; ends in [`Event::FreezeDone`], as the next two.
    Freeze,
    /// Have it thawed.
    Thaw,
    /// Thaw it so that it can end, without the runtime.
    ThawToEnd,
    /// Have it cleaned up: [`Event::InTheWay`] after each attempt that fails, [`Event::Cleaned`] in the end.
    Clean,
    /// Have it cleaned up as far as that goes before its exit is known.
    CleanAlive,
    /// Try again now.
    Retry,
    /// Remove its files; ends in [`Event::Buried`].
    Bury,
    /// Send the client's signal.
    Signal,
    /// Send SIGKILL.
    SignalKill,
    /// Send the client's signal, and SIGKILL when the client's time-out is over.
    SignalThenKill,
    /// The client waits for the exit.
    AwaitExit,
    /// The client waits for the removal.
    AwaitRemoval,
    /// The client's wish is fulfilled.
    Accept,
    /// The client's wish is refused.
    Refuse(Refusal),
    /// Those who wait for the exit get it.
    AnswerExit,
    /// Those who wait for the start hear how it went.
    AnswerStart,
    /// Who waits for it to be frozen or thawed hears how it went.
    AnswerFreeze,
    /// Those who wait for the removal hear how it went.
    AnswerRemoval,
    /// Take it off the board, telling nobody.
    Forget,
    /// Leave it on the board without a run, telling nobody.
    Hollow,
    /// The task ends.
    End,
}

/// Why a wish is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The runtime is at it.
    Busy,
    /// It runs already, or has run.
    AlreadyStarted,
    /// It has exited, or was never started.
    NotRunning,
    /// It has stopped already.
    AlreadyStopped,
    /// It is paused already.
    Paused,
    /// It is not paused.
    NotPaused,
    /// It runs; stop it first.
    Running,
    /// It is in GC.
    InGc,
    /// It is gone.
    NoSuchContainer,
}
