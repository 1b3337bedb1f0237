//! The mailboxes of containers: a channel of tokio's takes ten times the room, and nearly all of them are empty.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Notify, mpsc::error::TrySendError};

/// How many messages wait for one container; past that a client hears "busy" (I7).
pub const MAILBOX: usize = 32;

/// Where a task gets its messages.
#[derive(Debug)]
pub struct Mailbox<T>(Arc<Shared<T>>);

/// A task's end of its mailbox; what lies in it goes with it.
#[derive(Debug)]
pub struct Post<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    /// `None` once nobody reads any more.
    queue: Mutex<Option<VecDeque<T>>>,
    /// Something came.
    came: Notify,
    /// There is room, or nobody reads any more.
    room: Notify,
}

impl<T> Shared<T> {
    fn queue(&self) -> MutexGuard<'_, Option<VecDeque<T>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Mailbox<T> {
    /// Puts a message in.
    ///
    /// # Errors
    /// Gives it back, if there is no room, or nobody who reads it.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        match self.0.queue().as_mut() {
            None => return Err(TrySendError::Closed(message)),
            Some(queue) if queue.len() >= MAILBOX => return Err(TrySendError::Full(message)),
            Some(queue) => queue.push_back(message),
        }
        self.0.came.notify_one();
        Ok(())
    }

    /// Puts a message in, once there is room. Whether somebody reads it.
    pub async fn send(&self, mut message: T) -> bool {
        loop {
            let mut room = pin!(self.0.room.notified());
            room.as_mut().enable();
            message = match self.try_send(message) {
                Ok(()) => return true,
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(message)) => message,
            };
            room.await;
        }
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.queue().is_none()
    }

    /// Whether both are one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Waits until nobody reads any more.
    pub async fn closed(&self) {
        loop {
            let mut room = pin!(self.0.room.notified());
            room.as_mut().enable();
            if self.is_closed() {
                return;
            }
            room.await;
        }
    }
}

impl<T> Post<T> {
    /// A mailbox, and the end of it that a task reads.
    #[must_use]
    pub fn new() -> (Mailbox<T>, Self) {
        let queue = Mutex::new(Some(VecDeque::new()));
        let shared = Arc::new(Shared { queue, came: Notify::new(), room: Notify::new() });
        (Mailbox(shared.clone()), Self(shared))
    }

    /// Waits for a message. Cancel-safe.
    pub async fn recv(&mut self) -> T {
        loop {
            if let Some(message) = self.try_recv() {
                return message;
            }
            self.0.came.notified().await;
        }
    }

    /// A message that is there.
    pub fn try_recv(&mut self) -> Option<T> {
        let message = {
            let mut queue = self.0.queue();
            let queue = queue.as_mut()?;
            let message = queue.pop_front()?;
            if queue.is_empty() {
                *queue = VecDeque::new();
            }
            message
        };
        self.0.room.notify_waiters();
        Some(message)
    }

    /// Nobody reads any more; what lies in it is dropped.
    pub fn close(&mut self) {
        // Outside the lock: it tells who sent it.
        let left = self.0.queue().take();
        drop(left);
        self.0.room.notify_waiters();
    }
}

impl<T> Drop for Post<T> {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{Message, Wish, WishKind};
    use std::time::Duration;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn full_is_said_and_room_is_waited_for() {
        let (mailbox, mut post) = Post::new();
        assert!(timeout(SOON, post.recv()).await.is_err());
        for _ in 0..MAILBOX {
            mailbox.try_send(Message::SeenKilled).unwrap();
        }
        assert!(matches!(mailbox.try_send(Message::SeenStarted), Err(TrySendError::Full(Message::SeenStarted))));
        let mut late = pin!(mailbox.send(Message::SeenStarted));
        assert!(timeout(SOON, late.as_mut()).await.is_err());
        assert!(matches!(post.recv().await, Message::SeenKilled));
        assert!(late.await);
        for _ in 1..MAILBOX {
            assert!(matches!(post.recv().await, Message::SeenKilled));
        }
        assert!(matches!(post.recv().await, Message::SeenStarted));
        assert!(timeout(SOON, post.recv()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_is_woken_and_who_waits_hears_of_the_end() {
        let (mailbox, mut post) = Post::new();
        let reader = tokio::spawn(async move {
            let message = post.recv().await;
            (message, post)
        });
        assert!(timeout(SOON, mailbox.closed()).await.is_err());
        assert!(mailbox.send(Message::LookForInit).await);
        let (message, post) = reader.await.unwrap();
        assert!(matches!(message, Message::LookForInit));
        let (reply, told) = tokio::sync::oneshot::channel();
        mailbox.try_send(Message::Wish(Box::new(Wish { kind: WishKind::Wait, reply }))).unwrap();
        let closed = mailbox.clone();
        let waits = tokio::spawn(async move { closed.closed().await });
        tokio::task::yield_now().await;
        drop(post);
        waits.await.unwrap();
        assert!(told.await.is_err(), "what was not read is dropped");
        assert!(!mailbox.send(Message::SeenStarted).await);
        assert!(matches!(mailbox.try_send(Message::SeenStarted), Err(TrySendError::Closed(_))));
    }
}
