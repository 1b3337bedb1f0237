//! The shim's own life: make itself at home, launch, tell, watch.

use crate::{
    args::Plan,
    home,
    lifecycle::{self, Failed},
    place::Grave,
    report::Teller,
    sys,
    watch::{FIRST_PAUSE, MAX_PAUSE, Watch},
};
use rustix::{event::poll, time::Timespec};
use std::os::fd::AsRawFd;

/// Lives until the container's exit record is on disk.
pub fn live(plan: Box<Plan>, teller: Teller) -> ! {
    match begin(plan, teller) {
        Ok(watch) => watch.until_the_end(),
        Err(code) => sys::leave(code),
    }
}

/// Launches, and says what came of it; the code to leave with if that was nothing.
#[inline(never)]
fn begin(plan: Box<Plan>, teller: Teller) -> Result<Watch, u8> {
    let settled = home::settle(&plan.streams, teller.0.as_raw_fd());
    let launched = settled.map_err(Failed::from).and_then(|home| lifecycle::launch(*plan, home));
    match launched {
        Ok((launched, watch)) => {
            teller.tell(&Ok(launched));
            Ok(watch)
        }
        Err(Failed(failure, grave)) => {
            let code = failure.code;
            teller.tell(&Err(failure));
            if let Some(grave) = grave {
                outlast(&grave);
            }
            Err(code)
        }
    }
}

/// Nobody else would find what was never in place, and what was would look as if it had run.
fn outlast(grave: &Grave) {
    let mut pause = FIRST_PAUSE;
    while grave.empty().is_err() {
        let Ok(time) = Timespec::try_from(pause) else { return };
        let _ = poll(&mut [], Some(&time));
        pause = pause.saturating_mul(2).min(MAX_PAUSE);
    }
}
