//! Accepting clients.

use super::{
    connection::{Connection, Incoming},
    requests,
};
use crate::{overseer::Overseer, watch::Names};
use rustix::{
    fs::inotify::WatchFlags,
    process::{Rlimit, getuid},
};
use sexton_common::{
    Layout,
    wire::{ApiError, ErrorCode, Reply},
};
use std::{fs, io, os::unix::fs::PermissionsExt, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// How long clients may take to hear that we are shutting down.
const FAREWELL: Duration = Duration::from_millis(50);
/// How long a client waits at the door while all places are taken; those behind it wait in the backlog.
const DOOR: Duration = Duration::from_secs(10);
/// What one that is turned away has for its request and for taking the answer: without a request it is not known
/// in which language to tell it.
const TURNED_AWAY_WITHIN: Duration = Duration::from_millis(200);
/// Who has just come has not been silent yet: its request is on its way.
const SILENT_FOR: Duration = Duration::from_millis(200);
/// When a client that could not be accepted is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// Binds the collector's socket. The caller holds the lock, so a socket that is there is a dead one's.
///
/// # Errors
/// As `bind(2)`; a path that is too long for a socket is named.
pub fn bind(layout: &Layout) -> io::Result<UnixListener> {
    let path = layout.socket();
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // The directory is 0700 already; the socket says it once more.
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Accepts until the collector stops.
pub async fn serve(overseer: Arc<Overseer>, mut listener: UnixListener, lost: Option<Names>, nofile: Rlimit) {
    let places = Arc::new(Semaphore::new(overseer.cx.budget.clients));
    let leave = Arc::new(Notify::new());
    let mut complained = false;
    let cancel = overseer.cx.cancel.clone();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
            () = unlinked(lost.as_ref(), &overseer.cx.layout) => {
                match bind(&overseer.cx.layout) {
                    Ok(anew) => {
                        tracing::warn!("somebody removed the socket: there is a new one");
                        listener = anew;
                    }
                    Err(e) => tracing::error!(error = %e, "somebody removed the socket, and there cannot be a new one: restart sextond"),
                }
                continue;
            }
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                // No descriptor is free. Clients wait in the backlog meanwhile.
                if !std::mem::replace(&mut complained, true) {
                    tracing::error!(error = %e, "clients cannot be accepted now: tried again and again");
                }
                sleep(AGAIN).await;
                continue;
            }
        };
        complained = false;
        let place = tokio::select! {
            () = cancel.cancelled() => return,
            place = place(&places, &leave) => place,
        };
        let Some(place) = place else {
            tracing::warn!(clients = overseer.cx.budget.clients, "all of them are busy: one more is turned away");
            let _ = timeout(TURNED_AWAY_WITHIN, turn_away(stream)).await;
            continue;
        };
        let leave = leave.clone();
        let overseer = overseer.clone();
        let tasks = overseer.tasks.clone();
        tasks.spawn(async move {
            let cancel = overseer.cx.cancel.clone();
            let mut client = pin!(client(&overseer, stream, &leave, nofile));
            tokio::select! {
                // Who waits for an answer is told; who only watches sees the end.
                () = cancel.cancelled() => drop(timeout(FAREWELL, client).await),
                () = &mut client => {}
            }
            drop(place);
        });
    }
}

/// Watches for the socket being removed under us, e.g. by a cleaner of temporary files.
pub fn watch_socket(layout: &Layout) -> Option<Names> {
    let watched = Names::watch(layout.state(), WatchFlags::DELETE | WatchFlags::MOVED_FROM);
    watched.inspect_err(|e| tracing::warn!(error = %e, "if the socket is removed, that will not be seen")).ok()
}

async fn unlinked(lost: Option<&Names>, layout: &Layout) {
    let Some(lost) = lost else { return std::future::pending().await };
    let socket = layout.socket();
    loop {
        match lost.next().await {
            // Whatever was removed: is it still there?
            Ok(_) if !socket.exists() => return,
            Ok(_) => {}
            Err(_) => return std::future::pending().await,
        }
    }
}

/// A place for a client. If all are taken, the one that has been silent for longest has to go.
async fn place(places: &Arc<Semaphore>, leave: &Notify) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = places.clone().try_acquire_owned() {
        return Some(place);
    }
    leave.notify_one();
    timeout(DOOR, places.clone().acquire_owned()).await.ok()?.ok()
}

async fn turn_away(stream: UnixStream) {
    let mut connection = Connection::new(stream);
    if !matches!(connection.next().await, Incoming::End) {
        let text = "sextond has as many clients as it has descriptors for: try again, or raise LimitNOFILE in sextond.service and restart it";
        let _ = connection.send(&Reply::Error(ApiError::new(ErrorCode::Busy, text))).await;
    }
}

async fn client(overseer: &Arc<Overseer>, stream: UnixStream, leave: &Notify, nofile: Rlimit) {
    let denied = denied(&stream);
    let mut connection = Connection::new(stream);
    loop {
        let silent = connection.is_silent();
        let incoming = tokio::select! {
            biased;
            incoming = connection.next() => incoming,
            () = leaves(leave), if silent => return,
        };
        let (error, last) = match incoming {
            Incoming::End => return,
            // Only now, since only now it is known in which language.
            _ if denied.is_some() => (denied.clone(), true),
            Incoming::Request(request, fds) => {
                if requests::answer(overseer, &mut connection, *request, fds, nofile).await.is_err() {
                    return;
                }
                (None, false)
            }
            Incoming::Nonsense(e) => (Some(e), false),
            Incoming::Broken(e) => (Some(e), true),
        };
        if let Some(error) = error
            && connection.send(&Reply::Error(error)).await.is_err()
        {
            return;
        }
        if last {
            return connection.close().await;
        }
    }
}

async fn leaves(leave: &Notify) {
    sleep(SILENT_FOR).await;
    leave.notified().await;
}

/// Root and the user that the collector runs as may come in (I9).
fn denied(stream: &UnixStream) -> Option<ApiError> {
    let own = getuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => None,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), "a client of another user was refused");
            Some(ApiError::new(
                ErrorCode::Denied,
                format!("user {} may not talk to sextond: only root and user {own} may", peer.uid()),
            ))
        }
        Err(e) => Some(ApiError::new(ErrorCode::Denied, format!("the client cannot be identified: {e}"))),
    }
}
