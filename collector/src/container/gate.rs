//! Starting a plain program: its gate is opened, and what comes of that is heard.

use crate::{context::Context, sys};
use rustix::event::Timespec;
use sexton_common::{
    ContainerId, Init,
    gate::{Gate, Opened, Refusal},
    layout::ContainerDir,
};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};
use tokio::time::timeout;

/// Lets its process go on, and waits until it is the program.
///
/// # Errors
/// Why it is not, and the exit code that a command line ends with.
pub async fn start(cx: &Context, id: &ContainerId, init: Option<&Init>, dir: ContainerDir) -> Result<(), Refusal> {
    let failed = |what: &str, e: io::Error| Refusal { code: 125, text: format!("start {id}: {what}: {e}") };
    let gone = || Refusal { code: 125, text: format!("start {id}: its process was killed before it was the program") };
    let opened = async {
        let pidfd = match init.map(|init| init.process.open()).transpose().map_err(|e| failed("open its process", e))? {
            Some(Some(pidfd)) => pidfd,
            Some(None) | None => return Err(gone()),
        };
        let open = move || Gate::open(&dir);
        let gate = match cx.tools.blocking.run(format!("open the gate of {id}"), open).await {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Refusal { code: 125, text: format!("start {id}: somebody has started it already") });
            }
            gate => gate.map_err(|e| failed("open its gate", e))?,
        };
        wait(gate, pidfd).await.map_err(|e| failed("wait for it", e))
    };
    let within = cx.launch_timeout;
    match timeout(within, opened).await {
        Ok(Ok(Opened::Begun)) => Ok(()),
        Ok(Ok(Opened::Refused(refusal))) => Err(Refusal { text: format!("start {id}: {}", refusal.text), ..refusal }),
        Ok(Ok(Opened::Dead)) => Err(gone()),
        Ok(Err(refusal)) => Err(refusal),
        Err(_late) => {
            let text = format!("start {id}: its process did not become the program within {within:?}: is it stopped?");
            Err(Refusal { code: 125, text })
        }
    }
}

async fn wait(gate: Gate, pidfd: OwnedFd) -> io::Result<Opened> {
    let bell = sys::watch_reading(gate.as_fd().try_clone_to_owned()?)?;
    let death = sys::watch_reading(pidfd.try_clone()?)?;
    loop {
        let mut rung = tokio::select! {
            rung = bell.readable() => rung?,
            rung = death.readable() => rung?,
        };
        // Only a look: nothing is waited for.
        if let Some(opened) = gate.look(&pidfd, &Timespec::default())? {
            return Ok(opened);
        }
        rung.clear_ready();
    }
}
