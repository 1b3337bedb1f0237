//! conmon, driven as Podman and CRI-O drive it: it creates the container and says the pid through a pipe, whereupon the
//! engine starts it; its exit code is a file that appears in a directory, which the engine watches by inotify.

use super::{Engine, Exit, Exits, Home, Listening, Running, command};
use crate::{
    guest::{Guest, now},
    plan::Plan,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify,
    io::{FdFlags, fcntl_setfd},
};
use sexton_common::ContainerId;
use sexton_tests::binaries;
use std::{
    fs,
    io::{BufRead, BufReader},
    mem::MaybeUninit,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

/// See the module.
pub struct Conmon {
    home: Home,
    exits: PathBuf,
    /// Pid files, a directory for each container.
    files: PathBuf,
    /// A pipe that is to be inherited must not get into another thread's child.
    spawning: Mutex<()>,
}

impl Conmon {
    /// Nothing runs as yet.
    pub fn new(plan: &Plan) -> Self {
        let home = Home::new(plan, false);
        let [exits, files] = ["exits", "conmon"].map(|name| home.volatile(name));
        Self { home, exits, files, spawning: Mutex::new(()) }
    }

    fn command(&self, guest: &Guest) -> Command {
        let (id, root, runc) = (guest.id.as_str(), self.node().runtime_root(), binaries::runc());
        let files = self.files.join(id);
        fs::create_dir(&files).unwrap();
        let mut command = self.home.command("conmon");
        command.args(["--api-version", "1", "--cid", id, "--cuuid", id, "--name", id, "--full-attach"]);
        command.arg("--runtime").arg(&runc).arg("--runtime-arg").arg("--root").arg("--runtime-arg").arg(&root);
        command.arg("--bundle").arg(&guest.bundle).arg("--persist-dir").arg(&files).arg("--exit-dir").arg(&self.exits);
        command.arg("--container-pidfile").arg(files.join("pidfile"));
        command.arg("--conmon-pidfile").arg(files.join("conmon.pid"));
        // The streams of this command are the container's: no pipes, no log.
        command.args(["--log-path", "passthrough", "--log-level", "error"]);
        command.arg("--exit-command").arg(&runc);
        for word in ["--root".as_ref(), root.as_os_str(), "delete".as_ref(), id.as_ref()] {
            command.arg("--exit-command-arg").arg(word);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Runs it: it returns once its child watches over the creation; the child says the pid.
    fn create(&self, mut command: Command) -> u32 {
        let (mut said, child) = {
            let _alone = self.spawning.lock().unwrap();
            let (reader, writer) = std::io::pipe().unwrap();
            fcntl_setfd(&writer, FdFlags::empty()).unwrap();
            command.env("_OCI_SYNCPIPE", writer.as_raw_fd().to_string());
            (BufReader::new(reader), command.spawn().unwrap())
        };
        assert!(command::ended(child), "{command:?} failed");
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        pid_in(&line).unwrap_or_else(|| panic!("{command:?} failed: {line}"))
    }
}

impl Engine for Conmon {
    fn home(&self) -> &Home {
        &self.home
    }

    fn run(&self, guest: &Guest) -> Running {
        let command = self.command(guest);
        let asked = now();
        let init = self.create(command);
        self.home.call_runc("start", &[guest.id.as_str()]);
        self.home.born(guest, asked, Some("conmon"), || init)
    }

    fn listen(&self) -> Option<Exits> {
        let inotify = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).unwrap();
        // conmon writes under another name, and renames.
        inotify::add_watch(&inotify, &self.exits, inotify::WatchFlags::MOVED_TO).unwrap();
        let dir = self.exits.clone();
        Some(Listening::until_told(move |stop, sender| {
            let mut buffer = [MaybeUninit::uninit(); 65_536];
            loop {
                let mut fds = [PollFd::new(&stop, PollFlags::IN), PollFd::new(&inotify, PollFlags::IN)];
                match poll(&mut fds, None) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(e) => panic!("poll: {e}"),
                }
                let at = now();
                if !fds[0].revents().is_empty() {
                    return;
                }
                let mut reader = inotify::Reader::new(&inotify, &mut buffer);
                while let Ok(event) = reader.next() {
                    let Some(id) = event.file_name().and_then(|name| name.to_str().ok()) else { continue };
                    let _ = sender.send(Exit { id: id.to_owned(), at, code: code_in(&dir.join(id)) });
                }
            }
        }))
    }

    fn remove(&self, id: &ContainerId) {
        self.home.kill(id);
        // conmon itself calls `runc delete` (--exit-command).
        let is_clean = || self.is_clean(id);
        assert!(sexton_tests::wait_until(sexton_tests::LONG, is_clean), "conmon does not clean up {id}");
        let _ = fs::remove_dir_all(self.files.join(id.as_str()));
        let _ = fs::remove_file(self.exits.join(id.as_str()));
        self.home.forget(id);
    }
}

/// What conmon says of a creation: a pid, or a negative number and why.
fn pid_in(line: &str) -> Option<u32> {
    let said: serde_json::Value = serde_json::from_str(line).ok()?;
    u32::try_from(said["data"].as_i64()?).ok().filter(|&pid| pid > 0)
}

fn code_in(file: &Path) -> Option<i32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conmon_is_understood() {
        assert_eq!(pid_in("{\"data\": 7374}\n"), Some(7374));
        assert_eq!(pid_in("{\"data\": -1, \"message\": \"no such file\"}\n"), None);
        assert_eq!(pid_in(""), None);
    }
}
