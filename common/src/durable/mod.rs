//! Facts: one file, one record, there as a whole or not at all.

mod disk;
mod put;
#[cfg(test)]
mod tests;

pub use put::{appear, quarantine, rename, sync_parent, write, write_new};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat2},
    io::Errno,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

const MAGIC: [u8; 4] = *b"SXTN";
/// Magic, kind, version, length, crc32.
const HEADER: usize = 4 + 1 + 2 + 4 + 4;
/// What is read at once: no fact that somebody waits for is longer.
const AT_ONCE: usize = 1024;
/// `TMPFS_MAGIC` (statfs(2)).
const TMPFS: rustix::fs::FsWord = 0x0102_1994;
/// The longest body. A launch has a few paths of at most 4 KiB each.
const MAX_BODY: usize = 64 * 1024;

/// Something that is kept in a file of its own.
///
/// On disk: `SXTN`, the kind (one byte), the version (u16), the body's length (u32), the crc32 of kind,
/// version and body (u32), all little-endian; then the body in postcard. Golden bytes in the tests guard it.
pub trait Fact: Serialize + DeserializeOwned {
    /// Tells a launch from an exit.
    const KIND: u8;
    /// Raised when the body changes; a reader refuses what is newer than itself.
    const VERSION: u16;
}

/// Why bytes are not a fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Shorter than it says, or than a header.
    #[error("it is truncated")]
    Truncated,
    /// Longer than it says, or than anything we write.
    #[error("it is longer than it should be")]
    TooLong,
    /// A FIFO, a directory, or what else is no plain file.
    #[error("it is not a plain file")]
    NotAFile,
    /// Not ours.
    #[error("it does not begin as a Sexton file")]
    Magic,
    /// Another kind of fact.
    #[error("it is of kind {0:?}, not {1:?}")]
    Kind(char, char),
    /// Written by a later release.
    #[error("it has version {found}, this release reads up to {known}: was it written by a newer one?")]
    Newer {
        /// In the file.
        found: u16,
        /// The newest that is understood.
        known: u16,
    },
    /// Bits were flipped.
    #[error("its checksum is wrong")]
    Checksum,
    /// The checksum is right, the content makes no sense.
    #[error("its content does not decode: {0}")]
    Body(String),
}

/// Why a fact could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is there but is not a fact: see [`quarantine`].
    #[error("{}: {damage}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        damage: Damage,
    },
    /// It could not be read.
    #[error("read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A fact's bytes.
///
/// # Errors
/// `InvalidData` if it cannot be encoded (a path that is not UTF-8) or is longer than 64 KiB.
pub fn encode<F: Fact>(fact: &F) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; HEADER];
    bytes = postcard::to_extend(fact, bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    let body = bytes.len() - HEADER;
    let length = u32::try_from(body).ok().filter(|_| body <= MAX_BODY);
    let Some(length) = length else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the record is longer than 64 KiB"));
    };
    let crc = checksum(F::KIND, F::VERSION, &bytes[HEADER..]);
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4] = F::KIND;
    bytes[5..7].copy_from_slice(&F::VERSION.to_le_bytes());
    bytes[7..11].copy_from_slice(&length.to_le_bytes());
    bytes[11..15].copy_from_slice(&crc.to_le_bytes());
    Ok(bytes)
}

/// The fact that `bytes` are.
///
/// # Errors
/// What is wrong with them. Never panics, whatever they are.
pub fn decode<F: Fact>(bytes: &[u8]) -> Result<F, Damage> {
    let body = body::<F>(bytes)?;
    let (fact, rest) = postcard::take_from_bytes(body).map_err(|e| Damage::Body(e.to_string()))?;
    if rest.is_empty() { Ok(fact) } else { Err(Damage::TooLong) }
}

/// What is in it, whole and of the right kind.
fn body<F: Fact>(bytes: &[u8]) -> Result<&[u8], Damage> {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER>() else { return Err(Damage::Truncated) };
    let [m0, m1, m2, m3, kind, v0, v1, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(Damage::Magic);
    }
    if kind != F::KIND {
        return Err(Damage::Kind(kind.into(), F::KIND.into()));
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version > F::VERSION {
        return Err(Damage::Newer { found: version, known: F::VERSION });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if body.len() < length {
        return Err(Damage::Truncated);
    }
    if body.len() > length || length > MAX_BODY {
        return Err(Damage::TooLong);
    }
    if checksum(kind, version, body) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(Damage::Checksum);
    }
    Ok(body)
}

fn checksum(kind: u8, version: u16, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&version.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// Reads a fact; `None` if the file does not exist. Blocks on the disk.
///
/// # Errors
/// [`ReadError::Damaged`] if it is not one, [`ReadError::Io`] if it could not be read.
pub fn read<F: Fact>(path: &Path) -> Result<Option<F>, ReadError> {
    let Some(bytes) = bytes_of(path)? else { return Ok(None) };
    decode(&bytes).map(Some).map_err(|damage| ReadError::Damaged { path: path.into(), damage })
}

/// A fact that is whole, read without waiting for anything: it lies in memory (tmpfs), where it is as durable as it gets.
/// `None` otherwise, or if there is none: [`read`] knows which.
#[must_use]
pub fn read_at_once<F: Fact>(path: &Path) -> Option<F> {
    // The name too: what is mounted there may be a disk that hangs.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok()?;
    if fstatfs(&file).ok()?.f_type != TMPFS {
        return None;
    }
    let mut bytes = [0; AT_ONCE];
    let length = rustix::io::read(&file, &mut bytes).ok()?;
    decode(bytes.get(..length)?).ok()
}

/// The first fields of a fact that is whole; `None` if there is none. For who has no use for the code that understands all
/// of it. Blocks on the disk.
pub fn read_head<F: Fact, H: DeserializeOwned>(path: &Path) -> Option<H> {
    let bytes = bytes_of(path).ok()??;
    postcard::take_from_bytes(body::<F>(&bytes).ok()?).ok().map(|(head, _)| head)
}

fn bytes_of(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    let io = |source| ReadError::Io { path: path.into(), source };
    let not_a_file = || ReadError::Damaged { path: path.into(), damage: Damage::NotAFile };
    // A FIFO of that name would keep us waiting for somebody who writes into it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A socket, or a device that is not there.
        Err(e) if Errno::from_io_error(&e) == Some(Errno::NXIO) => return Err(not_a_file()),
        Err(e) => return Err(io(e)),
    };
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(not_a_file());
    }
    const MOST: usize = HEADER + MAX_BODY + 1;
    // One more than it has, so that the end is seen without growing.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).map_or(MOST, |length| MOST.min(length + 1)));
    file.take(MOST as u64).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}
