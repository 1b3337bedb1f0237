//! Ctrl-C in the middle of hundreds of containers: what runs is cleaned up, as after any failure.

use nix::sys::signal::{SigSet, Signal};
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP are only noted; the second one ends the process at once. To be called before
/// there are other threads. Children are not affected: the standard library gives them an empty mask.
pub fn watch() {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
    signals.thread_block().unwrap();
    std::thread::spawn(move || {
        while signals.wait().is_ok() {
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        }
    });
}

/// Whoever is about to begin with something new asks here.
///
/// # Panics
/// If the user has had enough: everything is then dropped, and so cleaned up.
pub fn check() {
    assert!(!INTERRUPTED.load(Ordering::SeqCst), "interrupted");
}
