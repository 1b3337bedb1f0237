//! Telling the service manager (sd_notify(3)), which may be slow, or stand still: never for longer than one allows.

use crate::sys;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, sendmsg, socket_with, sockopt,
};
use std::{
    env,
    ffi::OsString,
    io,
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    time::Duration,
};

/// Where passed descriptors begin (sd_listen_fds(3)).
pub const FIRST: i32 = 3;

/// Whether there is somebody to tell.
#[must_use]
pub fn is_wanted() -> bool {
    address().is_some()
}

fn address() -> Option<OsString> {
    env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Says `words`, a line each, with a descriptor if there is one, within that time; does nothing where nobody wants to hear.
///
/// # Errors
/// `WouldBlock` if its queue stayed full; otherwise as socket(7).
pub fn say(words: &str, fd: Option<BorrowedFd<'_>>, within: Duration) -> io::Result<()> {
    let Some(address) = address() else { return Ok(()) };
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(address)?,
    };
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let flags = if within.is_zero() { SendFlags::DONTWAIT } else { SendFlags::empty() };
    if !within.is_zero() {
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(within))?;
    }
    connect(&socket, &address)?;
    let fds: Vec<_> = fd.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let sent = sendmsg(&socket, &[io::IoSlice::new(words.as_bytes())], &mut control, flags | SendFlags::NOSIGNAL)?;
    if sent == words.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// The descriptors that whoever started us passes on, with their names; those that are open, and only if they are meant
/// for us. To be called once, before anything is opened.
#[must_use]
pub fn passed() -> Vec<(String, OwnedFd)> {
    let number = |name| env::var(name).ok()?.parse::<i32>().ok();
    let ours = number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
    let count = number("LISTEN_FDS").filter(|count| ours && *count > 0).unwrap_or(0);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').map(str::to_owned).chain(std::iter::repeat("unknown".to_owned()));
    let raw = (FIRST..FIRST.saturating_add(count)).take_while(|raw| *raw < sys::DESCRIPTORS);
    names.zip(raw).filter_map(|(name, raw)| Some((name, sys::own_passed(raw)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_where_nobody_listens() {
        // No test of this program sets it.
        assert!(!is_wanted());
        say("READY=1", None, Duration::ZERO).unwrap();
        assert!(passed().is_empty());
    }
}
