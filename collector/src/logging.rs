//! Where the log goes, and how much of it.

use std::{os::unix::fs::MetadataExt, sync::Arc};
use tracing_subscriber::{EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// Changes the level later.
#[derive(Clone)]
pub struct Levels(Arc<dyn Fn(EnvFilter) -> bool + Send + Sync>);

/// Begins to log: to journald where stderr is its socket, else to stderr.
///
/// # Errors
/// If the filter makes no sense.
pub fn init(filter: &str) -> Result<Levels, String> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let journal = stderr_is_journal().then(tracing_journald::layer).and_then(Result::ok);
    let plain = journal.is_none().then(|| {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal).with_target(false)
    });
    Registry::default().with(filter).with(journal).with(plain).init();
    Ok(Levels(Arc::new(move |filter| handle.reload(filter).is_ok())))
}

impl Levels {
    /// From now on this much.
    ///
    /// # Errors
    /// If the filter makes no sense; the old one stays then.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let filter = parse(filter)?;
        if (self.0)(filter) { Ok(()) } else { Err("the log is gone".into()) }
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|e| format!("the log level {filter:?}: {e}; try error, warn, info, debug or trace"))
}

/// systemd names the socket by device and inode (sd_journal(3), `JOURNAL_STREAM`).
fn stderr_is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let Ok(own) = std::fs::metadata("/proc/self/fd/2") else { return false };
    named == format!("{}:{}", own.dev(), own.ino())
}
