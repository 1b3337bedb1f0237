//! The descriptor store: inits' pidfds, held by whoever restarts us, so that an exit that nobody saw is known all the
//! same.
//!
//! systemd's (`FileDescriptorStoreMax=`, sd_pid_notify_with_fds(3)), or our own [`crate::keeper`]'s, which speaks the
//! same words. `FDPOLL=0`: systemd would else let go of a pidfd the moment that it becomes interesting.

use crate::{blocking::Blocking, sys};
use sd_notify::NotifyState;
use sexton_common::ContainerId;
use std::{
    collections::{HashMap, HashSet},
    fmt, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

/// The longest that an announcement waits for the store, less than its shim waits for us: no container is held up by a
/// service manager.
const STORED_WITHIN: Duration = Duration::from_millis(800);

/// A stored descriptor's name: one of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// The container.
    pub id: ContainerId,
    /// Which run of it.
    pub generation: u64,
}

impl Name {
    const PREFIX: &str = "pidfd-";

    /// From the name in the store; `None` if it is not one of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (generation, id) = text.strip_prefix(Self::PREFIX)?.split_once('-')?;
        Some(Self { id: id.parse().ok()?, generation: generation.parse().ok()? })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}-{}", Self::PREFIX, self.generation, self.id)
    }
}

/// See the module. Without a service manager it does nothing.
#[derive(Debug, Default)]
pub struct Store {
    there: bool,
    state: Mutex<State>,
    changed: Notify,
    told: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What lies in the store, or is on its way.
    held: HashSet<Name>,
    /// What came back from it and nobody has taken yet.
    inherited: HashMap<Name, OwnedFd>,
    /// What it is to be told: keep this, or let go. At most one entry for a run.
    pending: HashMap<Name, Option<OwnedFd>>,
    failing: bool,
}

impl Store {
    /// Takes back what an earlier sextond had stored (`LISTEN_FDS`), and keeps on storing if there is somebody to tell.
    #[must_use]
    pub fn inherit() -> Self {
        let there = std::env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
        let mut state = State::default();
        let passed = match sd_notify::listen_fds_with_names() {
            Ok(passed) => passed.collect(),
            Err(e) => {
                tracing::error!(error = %e, "the descriptors that the service manager passes on cannot be understood");
                Vec::new()
            }
        };
        for (raw, text) in passed {
            let fd = sys::own_fd(raw);
            match Name::parse(&text) {
                Some(name) => {
                    state.held.insert(name.clone());
                    state.inherited.insert(name, fd);
                }
                None => tracing::warn!(name = text, "the service manager passes on a descriptor that is not ours"),
            }
        }
        Self { there, state: Mutex::new(state), changed: Notify::new(), told: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store had of this run, once.
    #[must_use]
    pub fn take(&self, name: &Name) -> Option<OwnedFd> {
        self.lock().inherited.remove(name)
    }

    /// How many descriptors lie there; `None` without a store.
    #[must_use]
    pub fn len(&self) -> Option<usize> {
        self.there.then(|| self.lock().held.len())
    }

    /// Has it stored, unless it is. Returns at once.
    pub fn keep(&self, name: &Name, fd: BorrowedFd<'_>) {
        let mut state = self.lock();
        if !self.there || state.held.contains(name) {
            return;
        }
        match fd.try_clone_to_owned() {
            Ok(fd) => {
                state.held.insert(name.clone());
                state.pending.insert(name.clone(), Some(fd));
                self.changed.notify_one();
            }
            Err(e) => tracing::warn!(%name, error = %e, "cannot be stored: exact as long as its shim or sextond lives"),
        }
    }

    /// Has the store let go of it, if it has it. Returns at once.
    pub fn release(&self, name: &Name) {
        let mut state = self.lock();
        state.inherited.remove(name);
        if state.held.remove(name) {
            state.pending.insert(name.clone(), None);
            self.changed.notify_one();
        }
    }

    /// Everything has been found: what nobody took belongs to nobody.
    pub fn release_strangers(&self) {
        let strangers: Vec<Name> = self.lock().inherited.keys().cloned().collect();
        for name in strangers {
            tracing::info!(%name, "stored by an earlier sextond, and no such container is there any more");
            self.release(&name);
        }
    }

    /// Waits until the store has been told of this run, but not for long.
    pub async fn settled(&self, name: &Name) {
        let told = async {
            loop {
                let told = self.told.notified();
                tokio::pin!(told);
                told.as_mut().enable();
                if !self.lock().pending.contains_key(name) {
                    return;
                }
                told.await;
            }
        };
        let _ = timeout(STORED_WITHIN, told).await;
    }

    /// Tells the store, until cancelled. What is pending then is told to nobody: it is of use only after a kill.
    pub async fn serve(&self, blocking: Blocking, cancel: CancellationToken) {
        loop {
            let next = {
                let state = self.lock();
                let next = state.pending.iter().next();
                next.map(|(name, fd)| (name.clone(), fd.as_ref().map(|fd| fd.try_clone()).transpose()))
            };
            let Some((name, fd)) = next else {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = self.changed.notified() => continue,
                }
            };
            let keeps = matches!(fd, Ok(Some(_)));
            let subject = name.clone();
            let told = blocking.run(format!("store {name}"), move || tell(&subject, fd?)).await;
            self.was_told(&name, keeps, told);
        }
    }

    fn was_told(&self, name: &Name, kept: bool, told: io::Result<()>) {
        let mut state = self.lock();
        // It may have been released meanwhile: that is told next.
        if state.pending.get(name).is_some_and(|pending| pending.is_some() == kept) || told.is_err() {
            state.pending.remove(name);
        }
        match told {
            Ok(()) => state.failing = false,
            Err(e) => {
                state.held.remove(name);
                if !std::mem::replace(&mut state.failing, true) {
                    tracing::warn!(%name, error = %e, "the descriptor store cannot be told: exits are exact as long as shim or sextond lives");
                }
            }
        }
        self.told.notify_waiters();
    }
}

fn tell(name: &Name, fd: Option<OwnedFd>) -> io::Result<()> {
    let name = name.to_string();
    match &fd {
        Some(fd) => {
            let words = [NotifyState::FdStore, NotifyState::FdName(&name), NotifyState::Custom("FDPOLL=0")];
            sd_notify::notify_with_fds(&words, &[fd.as_fd()])
        }
        None => sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_understood() {
        let name = Name { id: "-a-1.b".parse().unwrap(), generation: 17 };
        assert_eq!(name.to_string(), "pidfd-17--a-1.b");
        assert_eq!(Name::parse("pidfd-17--a-1.b"), Some(name));
        for bad in ["", "stored", "pidfd-", "pidfd-1", "pidfd-x-a", "pidfd-1-", "pidfd-1-a/b", "pidfd--1-a"] {
            assert_eq!(Name::parse(bad), None, "{bad}");
        }
        // systemd takes at most 255 characters, without colons.
        let long = Name { id: "x".repeat(128).parse().unwrap(), generation: u64::MAX };
        assert!(long.to_string().len() <= 255);
    }

    #[test]
    fn without_a_service_manager_nothing_is_kept() {
        let store = Store::default();
        let name = Name { id: "a".parse().unwrap(), generation: 1 };
        store.keep(&name, std::io::stdin().as_fd());
        assert_eq!((store.len(), store.lock().pending.len()), (None, 0));
    }

    #[tokio::test]
    async fn a_release_overtakes_what_was_not_told_yet() {
        let store = Store { there: true, ..Store::default() };
        let name = Name { id: "a".parse().unwrap(), generation: 1 };
        let (fd, _other) = std::io::pipe().unwrap();
        store.keep(&name, fd.as_fd());
        store.keep(&name, fd.as_fd());
        assert!(store.lock().pending[&name].is_some());
        store.release(&name);
        assert!(store.lock().pending[&name].is_none());
        // The keep was on its way when the release came: the release is still to be told.
        store.was_told(&name, true, Ok(()));
        assert!(store.lock().pending.contains_key(&name));
        store.was_told(&name, false, Ok(()));
        store.settled(&name).await;
        assert_eq!(store.len(), Some(0));
        store.release(&name);
        assert!(store.lock().pending.is_empty(), "it is not there: nothing to be told");
    }
}
