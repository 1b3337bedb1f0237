//! What sextond says to its keeper, as it would say it to systemd.

use rustix::{
    cmsg_space,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg, sockopt},
    process::geteuid,
};
use std::{
    fs, io,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{fs::PermissionsExt, net::UnixDatagram},
    },
    path::{Path, PathBuf},
};

/// The longest message; what systemd takes (`NOTIFY_BUFFER_MAX`).
const LONGEST: usize = 4096;
/// The kernel's most descriptors with one message (`SCM_MAX_FD`).
const MOST: usize = 253;

/// The socket that `NOTIFY_SOCKET` names.
#[derive(Debug)]
pub struct Inbox {
    socket: UnixDatagram,
    path: PathBuf,
}

/// What was said.
#[derive(Debug)]
pub enum Message {
    /// `FDSTORE=1`.
    Keep {
        /// `FDNAME`; `stored` if there is none, as systemd has it.
        name: String,
        /// The descriptor.
        fd: OwnedFd,
    },
    /// `FDSTOREREMOVE=1`.
    Release {
        /// `FDNAME`.
        name: String,
    },
    /// Anything else.
    State {
        /// Whether `READY=1` was among it.
        ready: bool,
        /// All of it.
        words: String,
    },
}

impl Inbox {
    /// Listens, in a directory that is private already.
    ///
    /// # Errors
    /// As bind(2).
    pub fn bind(path: &Path) -> io::Result<Self> {
        Ok(Self { socket: listen(path)?, path: path.into() })
    }

    /// Listens anew if somebody has removed the socket; what was said before and not heard goes with it.
    ///
    /// # Errors
    /// As [`Inbox::bind`].
    pub fn make_sure(&mut self) -> io::Result<()> {
        if fs::symlink_metadata(&self.path).is_err() {
            self.socket = listen(&self.path)?;
        }
        Ok(())
    }

    /// Where.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next message that makes sense, if there is one. Does not wait.
    pub fn receive(&self) -> Option<Message> {
        loop {
            match self.receive_any() {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(_empty) => return None,
            }
        }
    }

    fn receive_any(&self) -> io::Result<Option<Message>> {
        let mut buffer = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST), ScmCredentials(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = recvmsg(&self.socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags)?;
        let (length, cut) = (received.bytes, received.flags.contains(ReturnFlags::TRUNC));
        let mut fds: Vec<OwnedFd> = Vec::new();
        let mut sender = None;
        for message in control.drain() {
            match message {
                RecvAncillaryMessage::ScmRights(passed) => fds.extend(passed),
                RecvAncillaryMessage::ScmCredentials(credentials) => sender = Some(credentials.uid),
                _ => {}
            }
        }
        let trusted = sender.is_some_and(|uid| uid.is_root() || uid == geteuid());
        if cut || !trusted {
            return Ok(None);
        }
        Ok(understand(&String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()), fds))
    }
}

fn listen(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    socket.set_nonblocking(true)?;
    sockopt::set_socket_passcred(&socket, true)?;
    Ok(socket)
}

fn understand(words: &str, mut fds: Vec<OwnedFd>) -> Option<Message> {
    let value = |key: &str| words.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let name = value("FDNAME").unwrap_or("stored").to_owned();
    match () {
        () if value("FDSTOREREMOVE") == Some("1") => Some(Message::Release { name }),
        // One descriptor, one name: sextond sends no more.
        () if value("FDSTORE") == Some("1") => fds.pop().map(|fd| Message::Keep { name, fd }),
        () if value("BARRIER") == Some("1") => None,
        () => Some(Message::State { ready: value("READY") == Some("1"), words: words.trim_end().to_owned() }),
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::os::fd::{AsRawFd, RawFd};

    #[test]
    fn what_is_said_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::bind(&dir.path().join("s")).unwrap();
        assert!(inbox.receive().is_none());
        let sender = UnixDatagram::unbound().unwrap();
        sender.connect(inbox.path()).unwrap();
        let say = |words: &str, fd: Option<BorrowedFd<'_>>| {
            let fds: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
            let control = [ControlMessage::ScmRights(&fds)];
            let control = if fds.is_empty() { &control[..0] } else { &control };
            let parts = [io::IoSlice::new(words.as_bytes())];
            sendmsg::<()>(sender.as_raw_fd(), &parts, control, MsgFlags::empty(), None).unwrap();
        };
        let stdin = std::io::stdin();
        say("FDSTORE=1\nFDNAME=x\nFDPOLL=0\n", Some(stdin.as_fd()));
        assert!(matches!(inbox.receive(), Some(Message::Keep { name, .. }) if name == "x"));
        say("FDSTORE=1\nFDNAME=x\n", None);
        assert!(inbox.receive().is_none(), "nothing came along");
        say("FDSTOREREMOVE=1\nFDNAME=x\n", None);
        assert!(matches!(inbox.receive(), Some(Message::Release { name }) if name == "x"));
        say("BARRIER=1", Some(stdin.as_fd()));
        say(&"x".repeat(LONGEST + 1), None);
        say("STATUS=fine\n", None);
        assert!(matches!(inbox.receive(), Some(Message::State { ready: false, words }) if words == "STATUS=fine"));
        say("READY=1\nSTATUS=y", None);
        assert!(matches!(inbox.receive(), Some(Message::State { ready: true, .. })));
    }
}
