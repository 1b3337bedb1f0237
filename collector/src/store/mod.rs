//! The descriptor store: inits' pidfds, held by whoever restarts us, so that an exit that nobody saw is known all the
//! same.
//!
//! systemd's (`FileDescriptorStoreMax=`, sd_pid_notify_with_fds(3)), or our own [`crate::keeper`]'s, which speaks the
//! same words. `FDPOLL=0`: systemd would else let go of a pidfd the moment that it becomes interesting.

mod name;

pub use name::Name;

use crate::{blocking::Blocking, notify};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

/// The longest that an announcement waits for the store, less than its shim waits for us: no container is held up by a
/// service manager.
const STORED_WITHIN: Duration = Duration::from_millis(800);
/// One message may take this long to be taken; then it is tried again.
const TOLD_WITHIN: Duration = Duration::from_millis(500);
/// The longest that all names together may be: they are passed on in one variable, which Linux limits to 128 KiB
/// (execve(2), `MAX_ARG_STRLEN`).
pub const NAMES: usize = 100 * 1024;
/// Words that wait to be said; the oldest go.
const WORDS: usize = 16;

/// See the module. Without a service manager it does nothing.
#[derive(Debug, Default)]
pub struct Store {
    state: Mutex<State>,
    changed: Notify,
    told: Notify,
}

#[derive(Debug, Default)]
struct State {
    there: bool,
    /// What lies in the store, or is on its way; and the length of all names.
    held: HashSet<Name>,
    length: usize,
    /// What came back from it and nobody has taken yet.
    inherited: HashMap<Name, OwnedFd>,
    /// What it is to be told: keep this, or let go. At most one entry for a run.
    pending: HashMap<Name, Option<OwnedFd>>,
    /// What else it is to be told, in this order.
    words: VecDeque<String>,
    failing: bool,
    full: bool,
}

impl State {
    fn hold(&mut self, name: Name) {
        self.length += name.cost();
        self.held.insert(name);
    }

    fn drop_name(&mut self, name: &Name) -> bool {
        let held = self.held.remove(name);
        self.length -= if held { name.cost() } else { 0 };
        held
    }
}

impl Store {
    /// With what an earlier sextond had stored; keeps on storing if there is somebody to tell.
    #[must_use]
    pub fn new(passed: Vec<(String, OwnedFd)>) -> Self {
        let mut state = State { there: notify::is_wanted(), ..State::default() };
        for (text, fd) in passed {
            match Name::parse(&text) {
                Some(name) => {
                    state.hold(name.clone());
                    state.inherited.insert(name, fd);
                }
                None => {
                    tracing::warn!(name = text, "a descriptor was passed on that is not ours: closed");
                    state.pending.insert(Name::foreign(text), None);
                }
            }
        }
        Self { state: Mutex::new(state), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the store had of this run, once.
    #[must_use]
    pub fn take(&self, name: &Name) -> Option<OwnedFd> {
        self.lock().inherited.remove(name)
    }

    /// How many descriptors lie there; `None` without a store that answers.
    #[must_use]
    pub fn len(&self) -> Option<usize> {
        let state = self.lock();
        (state.there && !state.failing).then(|| state.held.len())
    }

    /// Whoever held them is dead, and all that it held is gone.
    pub fn is_lost(&self) {
        *self.lock() = State::default();
        self.told.notify_waiters();
    }

    /// Says something, a line each, in order. Returns at once.
    pub fn say(&self, words: String) {
        let mut state = self.lock();
        if state.there {
            if state.words.len() == WORDS {
                state.words.pop_front();
            }
            state.words.push_back(words);
            self.changed.notify_one();
        }
    }

    /// Has it stored, unless it is. Returns at once.
    pub fn keep(&self, name: &Name, fd: BorrowedFd<'_>) {
        let mut state = self.lock();
        if !state.there || state.held.contains(name) {
            return;
        }
        if state.length + name.cost() > NAMES {
            if !std::mem::replace(&mut state.full, true) {
                tracing::warn!(
                    stored = state.held.len(),
                    "no more pidfds can be passed on to a later sextond: further exits are exact as long as shim or sextond lives"
                );
            }
            return;
        }
        match fd.try_clone_to_owned() {
            Ok(fd) => {
                state.hold(name.clone());
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
        if state.drop_name(name) {
            state.full = false;
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

    fn is_on_its_way(&self, name: &Name) -> bool {
        let state = self.lock();
        !state.failing && state.pending.contains_key(name)
    }

    /// Waits until the store has been told of this run, but not for long, and not for one that is known to be slow.
    pub async fn settled(&self, name: &Name) {
        let told = async {
            loop {
                let told = self.told.notified();
                tokio::pin!(told);
                told.as_mut().enable();
                if !self.is_on_its_way(name) {
                    return;
                }
                told.await;
            }
        };
        let _ = timeout(STORED_WITHIN, told).await;
    }

    /// Tells the store, until cancelled. What is pending then is told to nobody: it is of use only after a kill.
    pub async fn serve(&self, blocking: Blocking, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let Some(next) = self.next() else {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = self.changed.notified() => continue,
                }
            };
            let (what, message) = match next {
                Next::Words(words) => (None, Ok((words, None))),
                Next::Keep(name, fd) => {
                    let words = format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}\n");
                    (Some((name, true)), fd.map(|fd| (words, Some(fd))))
                }
                Next::Release(name) => {
                    let words = format!("FDSTOREREMOVE=1\nFDNAME={name}\n");
                    (Some((name, false)), Ok((words, None)))
                }
            };
            let say = move || {
                let (words, fd) = message?;
                notify::say(&words, fd.as_ref().map(AsFd::as_fd), TOLD_WITHIN)
            };
            let told = blocking.run("tell the service manager", say).await;
            self.was_told(what, told);
        }
    }

    fn next(&self) -> Option<Next> {
        let state = self.lock();
        if let Some(words) = state.words.front() {
            return Some(Next::Words(words.clone()));
        }
        let (name, fd) = state.pending.iter().next()?;
        Some(match fd {
            Some(fd) => Next::Keep(name.clone(), fd.try_clone()),
            None => Next::Release(name.clone()),
        })
    }

    fn was_told(&self, what: Option<(Name, bool)>, told: io::Result<()>) {
        let mut state = self.lock();
        let slow = told.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock);
        if let Err(e) = &told
            && !std::mem::replace(&mut state.failing, true)
        {
            tracing::warn!(error = %e, socket = ?std::env::var_os("NOTIFY_SOCKET").unwrap_or_default(), "the service manager cannot be told: without its descriptor store exits are exact as long as shim or sextond lives");
        }
        state.failing &= told.is_err();
        // A slow one is told again.
        match what {
            _ if slow => {}
            None => drop(state.words.pop_front()),
            Some((name, kept)) => {
                // It may have been released meanwhile: that is told next.
                if told.is_err() || state.pending.get(&name).is_some_and(|pending| pending.is_some() == kept) {
                    state.pending.remove(&name);
                }
                if told.is_err() {
                    state.drop_name(&name);
                }
            }
        }
        drop(state);
        self.told.notify_waiters();
    }
}

enum Next {
    Words(String),
    Keep(Name, io::Result<OwnedFd>),
    Release(Name),
}

#[cfg(test)]
mod tests;
