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
    sync::Semaphore,
    time::{sleep, timeout},
};

/// How long clients may take to hear that we are shutting down.
const FAREWELL: Duration = Duration::from_millis(50);
/// Clients at once. Waiting ones and subscribers count.
const CLIENTS: usize = 4096;

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
    let places = Arc::new(Semaphore::new(CLIENTS));
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
                tracing::error!(error = %e, "a client cannot be accepted");
                sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::warn!("{CLIENTS} clients are connected: one more is turned away");
            continue;
        };
        let overseer = overseer.clone();
        let tasks = overseer.tasks.clone();
        tasks.spawn(async move {
            let cancel = overseer.cx.cancel.clone();
            let mut client = pin!(client(&overseer, stream, nofile));
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

async fn client(overseer: &Arc<Overseer>, stream: UnixStream, nofile: Rlimit) {
    let denied = denied(&stream);
    let mut connection = Connection::new(stream);
    loop {
        let (error, last) = match connection.next().await {
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
