//! List, then watch.

use super::connection::Connection;
use crate::{
    board::{Board, Next},
    overseer::Overseer,
};
use serde::Serialize;
use sexton_common::wire::Reply;
use std::{io, sync::Arc};

/// A part of a list is at most about this long, so that with the largest container it stays within a frame.
const PART: usize = 32 * 1024;

/// Sends a list in parts; `wrap` makes a reply of a part and whether it is the last.
///
/// # Errors
/// If the client is gone.
pub async fn send_list<T: Serialize>(
    connection: &mut Connection,
    all: impl IntoIterator<Item = T>,
    wrap: impl Fn(Vec<T>, bool) -> Reply,
) -> io::Result<()> {
    let mut part = Vec::new();
    let mut size = 0;
    for one in all {
        let length = connection.size(&one)?;
        if size + length > PART && !part.is_empty() {
            connection.send_patiently(&wrap(std::mem::take(&mut part), false)).await?;
            size = 0;
        }
        size += length;
        part.push(one);
    }
    connection.send_patiently(&wrap(part, true)).await
}

/// Serves a subscriber until it goes. It may be as slow as it likes: it costs a place in the ring, no more.
///
/// # Errors
/// If the client is gone.
pub async fn subscribe(overseer: &Arc<Overseer>, connection: &mut Connection, since: Option<u64>) -> io::Result<()> {
    overseer.ready().await;
    overseer.look_around(None).await;
    let board = &overseer.cx.board;
    let mut latest = board.latest();
    let mut seen = match since {
        Some(since) => since,
        None => send_snapshot(board, connection).await?,
    };
    loop {
        match board.after(seen) {
            Next::Event(event) => {
                seen = event.seq;
                connection.send_patiently(&Reply::Event(event)).await?;
            }
            Next::Lagged => {
                connection.send_patiently(&Reply::Lagged { seen }).await?;
                seen = send_snapshot(board, connection).await?;
            }
            Next::Wait => {
                tokio::select! {
                    changed = latest.changed() => {
                        if changed.is_err() {
                            return Ok(());
                        }
                    }
                    () = connection.gone() => return Err(io::ErrorKind::BrokenPipe.into()),
                }
            }
        }
    }
}

async fn send_snapshot(board: &Board, connection: &mut Connection) -> io::Result<u64> {
    let (seq, containers) = board.snapshot(|_| true);
    send_list(connection, containers, |containers, last| Reply::Snapshot { seq, containers, last }).await?;
    Ok(seq)
}
