//! Before the shim is one: the roots of the state directory, and the forks.

use crate::{
    report::{Failure, Teller},
    sys,
};
use rustix::{
    fs::Mode,
    pipe::{PipeFlags, pipe_with},
    process::{Pid, WaitOptions, geteuid, setsid, umask, waitpid},
};
use sexton_common::Layout;
use std::{
    fs::{DirBuilder, Permissions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::Path,
};

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

/// Makes the state root and `containers/`, 0700 and ours (I9).
pub fn roots(layout: &Layout) -> Result<(), Failure> {
    private_dir(layout.state())?;
    private_dir(&layout.containers())
}

fn private_dir(dir: &Path) -> Result<(), Failure> {
    let shown = dir.display();
    let failed = |e: io::Error| Failure::ours(format!("state directory {shown}: {e}: choose one with --state-dir"));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let meta = dir.metadata().map_err(failed)?;
    if meta.uid() != geteuid().as_raw() {
        return Err(Failure::ours(format!(
            "state directory {shown} belongs to user {}, who could forge exit records: choose another with --state-dir",
            meta.uid()
        )));
    }
    if meta.mode() & 0o077 != 0 {
        std::fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
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
        Ok(None) => Ok(Side::Shim(Teller(mouth))),
        Ok(Some(_)) => sys::leave(0),
        Err(e) => {
            Teller(mouth).tell(&Err(failed(e)));
            sys::leave(125)
        }
    }
}
