//! A look at many containers because somebody asks: none waits for another one whose disk hangs, and nobody waits for all.

use super::Overseer;
use crate::container::Message;
use sexton_common::{ContainerId, layout::ContainerDir};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time::timeout};

/// Who asks is answered then with what is known.
pub(super) const WITHIN: Duration = Duration::from_secs(1);
/// Threads of one look.
const AT_ONCE: usize = 2;

/// Those that a look has not come back from: each has a thread until its disk answers, and no second one.
#[derive(Debug, Default)]
pub(super) struct Awaited(Mutex<HashSet<ContainerId>>);

impl Awaited {
    fn lock(&self) -> MutexGuard<'_, HashSet<ContainerId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is still to be looked at.
type Queue<T> = Mutex<VecDeque<(ContainerId, T)>>;

fn queue<T>(queue: &Queue<T>) -> MutexGuard<'_, VecDeque<(ContainerId, T)>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Overseer {
    /// Looks at each, off the event loop, and tells its task what there is to tell. Returns once all were looked at, or after
    /// [`WITHIN`]: what hangs then tells it when it has come back, and the rest is looked at when somebody asks again.
    pub(super) async fn glance<T: Send + 'static>(
        self: &Arc<Self>,
        what: &'static str,
        at: Vec<(ContainerId, T)>,
        look: impl Fn(T, &ContainerDir) -> Option<Message> + Copy + Send + 'static,
    ) {
        let threads = at.len().min(AT_ONCE);
        let (left, mut looking) = (Arc::new(Queue::new(at.into())), JoinSet::new());
        for _ in 0..threads {
            // None is left where as many hang as there may be.
            let Some(permit) = self.readers.permit() else { break };
            let (overseer, left) = (self.clone(), left.clone());
            let blocking = self.cx.tools.blocking.clone();
            let work = move || {
                let _permit = permit;
                while let Some((id, known)) = overseer.next(&left) {
                    let _stuck = overseer.cx.tools.blocking.begin(format!("{what} {id}"));
                    let news = look(known, &overseer.cx.layout.container(&id));
                    overseer.awaited.lock().remove(&id);
                    overseer.pass_on(&id, news);
                }
            };
            looking.spawn(async move { blocking.run(format!("{what} containers"), work).await });
        }
        if timeout(WITHIN, async { while looking.join_next().await.is_some() {} }).await.is_err() {
            queue(&left).clear();
        }
    }

    /// A full mailbox has it looked at soon enough.
    pub(super) fn pass_on(&self, id: &ContainerId, news: Option<Message>) {
        if let (Some(message), Some(mailbox)) = (news, self.mailbox(id)) {
            let _ = mailbox.try_send(message);
        }
    }

    /// The next that nobody is at.
    fn next<T>(&self, left: &Queue<T>) -> Option<(ContainerId, T)> {
        loop {
            let (id, known) = queue(left).pop_front()?;
            if self.awaited.lock().insert(id.clone()) {
                return Some((id, known));
            }
        }
    }
}
