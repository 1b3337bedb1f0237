//! Before the shim is one: the roots of the state directory, and the forks.

use crate::{
    report::{Failure, Teller},
    sys,
};
use rustix::{
    fs::Mode,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, WaitOptions, setsid, umask, waitpid},
};
use sexton_common::{Layout, private::private_dir};
use std::{io, os::fd::OwnedFd};

/// Who this process is after the forks.
#[derive(Debug)]
pub enum Side {
    /// The one that was called: it hears the outcome.
    First(OwnedFd),
    /// The shim.
    Shim(Teller),
}

/// The caller's umask may be anything: modes are given explicitly, and 022 is what the container should see.
pub fn plain_umask() {
    umask(Mode::WGRP | Mode::WOTH);
}

/// Makes the state root and `containers/`, 0700 and ours (I9); with `lasting` the data root and its `containers/` too.
pub fn roots(layout: &Layout, lasting: bool) -> Result<(), Failure> {
    let made = private_dir(layout.state()).and_then(|()| private_dir(&layout.containers()));
    made.map_err(|e| Failure::ours(format!("state {e}, with --state-dir")))?;
    if lasting {
        let made = private_dir(layout.data()).and_then(|()| private_dir(&layout.lasting()));
        made.map_err(|e| Failure::ours(format!("data {e}, with --data-dir")))?;
    }
    Ok(())
}

/// Forks twice: the middle process opens a session, so that neither a terminal nor the caller's process
/// group reaches the shim, and dies at once, so that the shim is nobody's child.
pub fn fork_twice() -> Result<Side, Failure> {
    let failed = |e: io::Error| Failure::ours(format!("start the shim: {e}"));
    let (ear, mouth) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    if let Some(middle) = sys::fork().map_err(failed)? {
        drop(mouth);
        if let Some(middle) = i32::try_from(middle).ok().and_then(Pid::from_raw) {
            // It may be gone already, if our caller made us ignore SIGCHLD.
            let _ = waitpid(Some(middle), WaitOptions::empty());
        }
        return Ok(Side::First(ear));
    }
    drop(ear);
    // From here on only SIGKILL ends us.
    sys::mask(u64::MAX);
    let _ = setsid();
    match sys::fork() {
        Ok(None) => {
            let teller = Teller(mouth);
            teller.introduce();
            Ok(Side::Shim(teller))
        }
        Ok(Some(_)) => sys::leave(0),
        Err(e) => {
            let teller = Teller(mouth);
            teller.introduce();
            teller.tell(&Err(failed(e)));
            sys::leave(125)
        }
    }
}
