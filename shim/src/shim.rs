//! The shim's own life: make itself at home, launch, tell, watch.

use crate::{args::Plan, home, lifecycle, report::Teller, sys};
use std::os::fd::AsRawFd;

/// Lives until the container's exit record is on disk.
pub fn live(plan: Plan, teller: Teller) -> ! {
    let launched = home::settle(&plan.streams, teller.0.as_raw_fd()).and_then(|home| lifecycle::launch(plan, home));
    match launched {
        Ok((launched, watch)) => {
            teller.tell(&Ok(launched));
            watch.until_the_end()
        }
        Err(failure) => {
            let code = failure.code;
            teller.tell(&Err(failure));
            sys::leave(code)
        }
    }
}
