//! Ctrl-C in the middle of hundreds of containers: what runs is cleaned up, as after any failure.

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP are only noted; the second one ends the process at once. By handlers, which
/// children do not inherit, as they would a mask.
pub fn watch() {
    let noted = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first one finds nothing noted yet.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(noted)).unwrap();
        flag::register(signal, Arc::clone(noted)).unwrap();
    }
}

/// Whoever is about to begin with something new asks here.
///
/// # Panics
/// If the user has had enough: everything is then dropped, and so cleaned up.
pub fn check() {
    let is_noted = INTERRUPTED.get().is_some_and(|noted| noted.load(Ordering::SeqCst));
    assert!(!is_noted, "interrupted");
}
