//! A container's mailbox.

use super::{MAILBOX, Mailbox, Message};
use tokio::sync::mpsc;

/// A task's end of its mailbox.
pub struct Post(pub(super) mpsc::Receiver<Message>);

impl Post {
    /// A mailbox, and the end of it that a task reads.
    #[must_use]
    pub fn new() -> (Mailbox, Self) {
        let (mailbox, inbox) = mpsc::channel(MAILBOX);
        (mailbox, Self(inbox))
    }
}
