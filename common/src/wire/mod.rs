//! What goes over the collector's socket.
//!
//! A client's first byte decides: `{` means JSON, one object a line; anything else means frames, a length
//! (u32, big-endian, at most [`MAX_FRAME`]) and that many bytes of postcard. Both carry the same types.
//! Variants and fields are only ever appended.

mod error;
mod gc;
mod info;
mod reply;
mod request;
mod stats;

pub use error::{ApiError, ErrorCode};
pub use gc::{Finding, FindingKind, GcAddRequest, GcFigures, GcInfo, GcWhy, Holder, Obstacle};
pub use info::{ContainerInfo, Event, EventKind, LastRun, RestartInfo, State};
pub use reply::{Launched, Node, Reply};
pub use request::{LaunchRequest, Request, WatchRequest};
pub use stats::{ContainerStats, DiskUse, IoUse, NodeState, NodeStats, Room};

use serde::{Serialize, de::DeserializeOwned};
use std::{io, time::Duration};

/// The longest frame's body, and the longest JSON line, in bytes.
pub const MAX_FRAME: usize = 64 * 1024;
/// Raised when an old client would misunderstand a new collector.
pub const PROTOCOL: u32 = 1;

/// A frame: length and body.
///
/// # Errors
/// `InvalidData` if it would be longer than [`MAX_FRAME`] or has a path that is not UTF-8.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut frame =
        postcard::to_extend(message, vec![0; 4]).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let body = frame.len() - 4;
    let length = u32::try_from(body).ok().filter(|_| body <= MAX_FRAME);
    let length =
        length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the message is longer than 64 KiB"))?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The message in a frame's body. Bytes after it are an error.
///
/// # Errors
/// `InvalidData` if it is none. Never panics, whatever the bytes are.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    let invalid = |e: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    let (message, rest) = postcard::take_from_bytes(body).map_err(|e| invalid(&e))?;
    if rest.is_empty() { Ok(message) } else { Err(invalid(&"bytes after the message")) }
}

/// How long the shim waits for the collector's answer to its announcement.
pub const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(1);
