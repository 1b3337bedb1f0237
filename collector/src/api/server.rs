//! Accepting clients.

use super::{
    connection::{Connection, Incoming},
    requests,
};
use crate::overseer::Overseer;
use rustix::process::{Rlimit, getuid};
use sexton_common::{
    Layout,
    wire::{ApiError, ErrorCode, Reply},
};
use std::{fs, io, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::sleep,
};

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
pub async fn serve(overseer: Arc<Overseer>, listener: UnixListener, nofile: Rlimit) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    let cancel = overseer.cx.cancel.clone();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
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
            tokio::select! {
                () = cancel.cancelled() => {}
                () = client(&overseer, stream, nofile) => {}
            }
            drop(place);
        });
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
