//! Signals to `sexton run` are signals to its container.

use crate::{
    daemon::{Daemon, SIMPLE},
    failure::{Failure, system},
    output,
};
use nix::sys::signal::{SigSet, Signal};
use sexton_common::{
    ContainerId,
    wire::{ApiError, ErrorCode, Request},
};

/// Signals that are held from now on.
#[derive(Debug)]
pub struct Held(SigSet);

/// Holds back what is sent to a command to make it do something or end, in this thread and those that it starts, so that none is
/// lost between the container's start and [`Held::forward`].
pub fn hold() -> Result<Held, Failure> {
    let mut signals = SigSet::from_iter([
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGQUIT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
    ]);
    // nohup(1) ignores it on purpose.
    if !ignored(Signal::SIGHUP) {
        signals.add(Signal::SIGHUP);
    }
    signals.thread_block().map_err(system("block signals"))?;
    Ok(Held(signals))
}

fn ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal as i32 - 1)) != 0
}

impl Held {
    /// Sends each held signal, past and future, to the container.
    pub fn forward(self, daemon: Daemon, id: ContainerId) -> Result<(), Failure> {
        let forward = move || while self.forward_one(&daemon, &id).is_ok() {};
        std::thread::Builder::new().name("signals".into()).spawn(forward).map_err(system("start a thread"))?;
        Ok(())
    }

    /// Blocks until a signal comes.
    fn forward_one(&self, daemon: &Daemon, id: &ContainerId) -> nix::Result<()> {
        let signal = self.0.wait()?;
        match daemon.done(&Request::Kill { id: id.clone(), signal: signal as i32 }, SIMPLE) {
            Ok(()) => {}
            // It ended meanwhile, and its status is on its way.
            Err(Failure::Api(ApiError { code: ErrorCode::NotRunning | ErrorCode::NoSuchContainer, .. })) => {}
            Err(failure) => output::complain(format_args!("{signal} did not reach {id}: {failure}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use sexton_common::wire::Reply;
    use std::sync::mpsc;

    #[test]
    fn a_signal_from_before_is_forwarded_too() {
        let (sender, kills) = mpsc::sync_channel(4);
        let fake = Fake::start(move |request| {
            sender.send(request).unwrap();
            vec![Reply::Done {}]
        });
        let held = hold().unwrap();
        // To this thread, where it is held: before anybody waits for it.
        nix::sys::signal::raise(Signal::SIGQUIT).unwrap();
        let id: ContainerId = "c1".parse().unwrap();
        held.forward_one(&fake.daemon(), &id).unwrap();
        assert_eq!(kills.recv().unwrap(), Request::Kill { id, signal: Signal::SIGQUIT as i32 });
    }

    #[test]
    fn ignored_signals_are_known() {
        assert!(ignored(Signal::SIGPIPE), "Rust ignores it at start");
        assert!(!ignored(Signal::SIGTERM));
    }
}
