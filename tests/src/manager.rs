//! What systemd does with a service's descriptors, as far as sextond needs it.

use crate::{
    daemon::{Daemon, is_settled},
    node::Node,
    wait::{LONG, wait_for, wait_until},
};
use command_fds::{CommandFdExt, FdMapping};
use nix::{
    cmsg_space,
    sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg},
};
use rustix::process::{Pid, Signal, kill_process};
use sexton_common::{
    client::Client,
    wire::{Reply, Request},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::IoSliceMut,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::net::UnixDatagram,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// A service manager that has a descriptor store and reaps nobody.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    /// By name; systemd may hold several of one name.
    stored: BTreeMap<String, Vec<OwnedFd>>,
    child: Option<Child>,
    /// Every message, whole.
    pub heard: Vec<String>,
}

impl Manager {
    /// On a node without a collector; starts one.
    ///
    /// # Panics
    /// If it does not get ready.
    #[track_caller]
    #[must_use]
    pub fn start(node: &Node) -> Self {
        let path = node.dir().join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut manager = Self { socket, path, stored: BTreeMap::new(), child: None, heard: Vec::new() };
        manager.start_collector(node);
        manager
    }

    /// Starts a collector with all that is stored, and waits until it answers.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn start_collector(&mut self, node: &Node) {
        self.listen();
        let words = File::options().append(true).create(true).open(node.log()).unwrap();
        let plain = Daemon::command(node.layout(), &node.config());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "LISTEN_PID=$$; export LISTEN_PID; exec \"$@\"", "sh"]);
        command.arg(plain.get_program()).args(plain.get_args()).env("NOTIFY_SOCKET", &self.path);
        command.env("SEXTON_TEST_NODE", node.prefix()).env_remove("SEXTON_STATE_DIR").env_remove("SEXTON_DATA_DIR");
        let all = self.stored.iter().flat_map(|(name, fds)| fds.iter().map(move |fd| (name.clone(), fd)));
        let (names, fds): (Vec<_>, Vec<_>) = all.unzip();
        if !names.is_empty() {
            command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        let maps =
            fds.into_iter().zip(3..).map(|(fd, child_fd)| FdMapping { parent_fd: fd.try_clone().unwrap(), child_fd });
        command.fd_mappings(maps.collect()).unwrap();
        command.stdin(Stdio::null()).stdout(words.try_clone().unwrap()).stderr(words);
        let child = command.spawn().unwrap();
        let pid = child.id();
        self.child = Some(child);
        let answers = || {
            let mut client = Client::connect(node.layout()).ok()?;
            client.set_timeout(Some(LONG)).ok()?;
            client.call(&Request::Version {}).ok()
        };
        let ready = wait_until(LONG, || {
            matches!(answers(), Some(Reply::Version { pid: p, .. }) if p == pid) && is_settled(node.layout())
        });
        assert!(ready, "sextond does not answer: {}", node.words());
    }

    /// SIGKILL, and its end.
    ///
    /// # Panics
    /// If none runs.
    #[track_caller]
    pub fn kill_collector(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and its end, with 0.
    ///
    /// # Panics
    /// If none runs, or it ends otherwise.
    #[track_caller]
    pub fn stop_collector(&mut self) {
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        wait_for("sextond's end", LONG, || child.try_wait().unwrap().is_some());
        assert!(child.wait().unwrap().success());
    }

    /// The names of what is stored now.
    ///
    /// # Panics
    /// If the socket cannot be read.
    #[must_use]
    pub fn names(&mut self) -> Vec<String> {
        self.listen();
        self.stored.iter().flat_map(|(name, fds)| fds.iter().map(|_| name.clone())).collect()
    }

    fn listen(&mut self) {
        loop {
            let mut buffer = [0; 4096];
            let mut space = cmsg_space!([RawFd; 16]);
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
            let Ok(got) = recvmsg::<UnixAddr>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), flags) else {
                return;
            };
            let length = got.bytes;
            let mut fds = Vec::new();
            for message in got.cmsgs().unwrap() {
                if let ControlMessageOwned::ScmRights(raw) = message {
                    fds.extend(raw.into_iter().map(own));
                }
            }
            let words = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let line = |key: &str| words.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
            let name = line("FDNAME=").unwrap_or_else(|| "stored".into());
            if line("FDSTORE=").is_some() {
                assert_eq!(line("FDPOLL=").as_deref(), Some("0"), "systemd would drop it at the first event: {words}");
                self.stored.entry(name).or_default().extend(fds);
            } else if line("FDSTOREREMOVE=").is_some() {
                self.stored.remove(&name);
            }
            self.heard.push(words);
        }
    }
}

#[expect(unsafe_code, reason = "the kernel has just made the descriptor, for us alone")]
fn own(raw: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) makes a new descriptor, which nobody else knows.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
