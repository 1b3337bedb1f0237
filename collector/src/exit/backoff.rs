//! When a failed attempt is tried again.
//!
//! The numbers are containerd's CRI event monitor's: 1 s, doubling, at most 5 min.

use crate::container::{Mailbox, Message};
use std::{future::poll_fn, time::Duration};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, time::DelayQueue};

/// A doubling delay with a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// From `first` to `max`; `max` is at least `first`.
    #[must_use]
    pub const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max: if max.as_nanos() < first.as_nanos() { first } else { max } }
    }

    /// The delay after the `failures`th failure in a row, counted from one.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }
}

/// Where tasks leave word when they want to be woken.
#[derive(Clone, Debug)]
pub struct Retries(mpsc::Sender<(Duration, Mailbox)>);

impl Retries {
    /// The handle, and the loop that serves it until `cancel`.
    pub fn new(cancel: CancellationToken) -> (Self, impl Future<Output = ()>) {
        let (sender, receiver) = mpsc::channel(256);
        (Self(sender), serve(receiver, cancel))
    }

    /// Sends [`Message::RetryDue`] to `mailbox` after `delay`. Waits while the queue of wishes is full.
    pub async fn after(&self, delay: Duration, mailbox: Mailbox) {
        // The loop ends only when the collector does.
        let _ = self.0.send((delay, mailbox)).await;
    }
}

/// A full mailbox is tried again after this.
const FULL: Duration = Duration::from_millis(100);

async fn serve(mut wishes: mpsc::Receiver<(Duration, Mailbox)>, cancel: CancellationToken) {
    let mut queue: DelayQueue<Mailbox> = DelayQueue::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            wish = wishes.recv() => match wish {
                Some((delay, mailbox)) => { queue.insert(mailbox, delay); }
                None => return,
            },
            Some(due) = poll_fn(|cx| queue.poll_expired(cx)), if !queue.is_empty() => {
                let mailbox = due.into_inner();
                if let Err(mpsc::error::TrySendError::Full(_)) = mailbox.try_send(Message::RetryDue) {
                    queue.insert(mailbox, FULL);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_its_cap() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));
        let seconds: Vec<u64> = (1..=11).map(|n| backoff.delay(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.delay(u32::MAX), Duration::from_secs(300));
        assert_eq!(Backoff::new(Duration::from_secs(9), Duration::ZERO).delay(5), Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn wishes_come_due_in_order_and_a_full_mailbox_is_not_forgotten() {
        let cancel = CancellationToken::new();
        let (retries, serve) = Retries::new(cancel.clone());
        let server = tokio::spawn(serve);
        let (slow, mut slow_in) = mpsc::channel(1);
        let (fast, mut fast_in) = mpsc::channel(1);
        slow.try_send(Message::RetryDue).unwrap();
        retries.after(Duration::from_secs(1), slow).await;
        retries.after(Duration::from_secs(2), fast).await;
        let before = tokio::time::Instant::now();
        assert!(matches!(fast_in.recv().await, Some(Message::RetryDue)));
        assert_eq!(before.elapsed().as_secs(), 2);
        assert!(slow_in.recv().await.is_some());
        assert!(slow_in.recv().await.is_some(), "the wish behind the full mailbox");
        cancel.cancel();
        server.await.unwrap();
    }
}
