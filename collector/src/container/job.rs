//! What is done for a container outside its machine, one at a time.

use super::event::Event;
use std::pin::Pin;

/// What is being done for the container.
pub(super) type Job = Pin<Box<dyn Future<Output = JobEnd> + Send>>;

/// The end of a job.
pub(super) struct JobEnd {
    /// For the machine.
    pub(super) event: Event,
    /// For people, if it failed.
    pub(super) words: Option<String>,
    /// For a command line, if another than usual.
    pub(super) exit_code: Option<u8>,
}

impl JobEnd {
    pub(super) fn new(event: Event, words: Option<String>) -> Self {
        Self { event, words, exit_code: None }
    }

    pub(super) fn done(event: Event) -> Self {
        Self::new(event, None)
    }

    pub(super) fn failed(event: Event, words: String) -> Self {
        Self::new(event, Some(words))
    }
}
