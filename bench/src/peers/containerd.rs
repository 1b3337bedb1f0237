//! containerd with a configuration of its own, `ctr run -d` and `ctr events`. Without the CRI plugin, which would be
//! memory that nobody else has either.

use super::{Engine, Exit, Exits, Home, Listening, Running, command::call};
use crate::{
    guest::{Guest, now},
    plan::Plan,
};
use sexton_common::ContainerId;
use sexton_tests::{LONG, binaries, leftovers, wait_until};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

const NAMESPACE: &str = "bench";
/// Here, whatever the configuration says, shims have their sockets.
const SOCKETS: [&str; 2] = ["/run/containerd/s", "/run/containerd"];

/// See the module.
pub struct Containerd {
    home: Home,
    daemon: Child,
    socket: PathBuf,
    state: PathBuf,
    roots: PathBuf,
    /// Which of [`SOCKETS`] were there before.
    foreign: [bool; 2],
}

impl Containerd {
    /// With a daemon of its own, which answers.
    pub fn new(plan: &Plan) -> Self {
        let foreign = SOCKETS.map(|dir| Path::new(dir).exists());
        let mut home = Home::new(plan, false);
        let (state, roots) = (home.volatile("containerd"), home.volatile("containerd-runc"));
        home.states_in(roots.join(NAMESPACE));
        let (dir, socket) = (home.node().dir().join("containerd"), state.join("containerd.sock"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("config.toml"), configuration(&dir, &state, &socket)).unwrap();
        let log = File::create(dir.join("log")).unwrap();
        let mut command = home.command("containerd");
        command.arg("--config").arg(dir.join("config.toml")).env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let daemon = command.spawn().unwrap();
        let this = Self { home, daemon, socket, state, roots, foreign };
        let answers = || this.ctr(&["version"]).output().is_ok_and(|output| output.status.success());
        let words = || fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(wait_until(LONG, answers), "containerd does not answer: {}", words());
        call(&mut this.ctr(&["namespaces", "create", NAMESPACE]));
        this
    }

    fn ctr(&self, args: &[&str]) -> Command {
        let mut command = self.home.command("ctr");
        command.arg("--address").arg(&self.socket).args(["--namespace", NAMESPACE]).args(args);
        command
    }

    fn bundle(&self, id: &str) -> PathBuf {
        self.state.join("io.containerd.runtime.v2.task").join(NAMESPACE).join(id)
    }
}

impl Engine for Containerd {
    fn home(&self) -> &Home {
        &self.home
    }

    fn run(&self, guest: &Guest) -> Running {
        let mut command = self.ctr(&["run", "-d", "--null-io", "--runc-binary"]);
        command.arg(binaries::runc()).arg("--runc-root").arg(&self.roots);
        command.arg("--config").arg(guest.bundle.join("config.json")).arg(guest.id.as_str());
        let asked = now();
        call(&mut command);
        let pid = || fs::read_to_string(self.bundle(guest.id.as_str()).join("init.pid")).unwrap();
        self.home.born(guest, asked, Some("containerd-shim-runc-v2"), || pid().trim().parse().unwrap())
    }

    fn daemon(&self) -> Option<u32> {
        Some(self.daemon.id())
    }

    fn listen(&self) -> Option<Exits> {
        let mut child = self.ctr(&["events"]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let heard = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&heard);
        let stop = move || {
            let _ = child.kill();
            let _ = child.wait();
        };
        let exits = Listening::start(stop, move |sender| {
            for line in lines.map_while(Result::ok) {
                let at = now();
                counter.fetch_add(1, Ordering::SeqCst);
                if let Some((id, code)) = exit_in(&line) {
                    let _ = sender.send(Exit { id, at, code });
                }
            }
        });
        // It does not say when it begins to listen: something happens until it has heard of it.
        let mut number = 0;
        let hears = || {
            number += 1;
            call(&mut self.ctr(&["namespaces", "label", NAMESPACE, &format!("heard={number}")]));
            heard.load(Ordering::SeqCst) > 0
        };
        assert!(wait_until(LONG, hears), "ctr events says nothing");
        Some(exits)
    }

    fn clean(&self, id: &ContainerId) {
        call(&mut self.ctr(&["tasks", "delete", id.as_str()]));
    }

    fn clean_all(&self, ids: &[ContainerId]) {
        call(self.ctr(&["tasks", "delete"]).args(ids.iter().map(ContainerId::as_str)));
    }

    fn remove(&self, id: &ContainerId) {
        self.home.kill(id);
        if self.bundle(id.as_str()).exists() {
            call(&mut self.ctr(&["tasks", "delete", "--force", id.as_str()]));
        }
        call(&mut self.ctr(&["containers", "delete", id.as_str()]));
        self.home.forget(id);
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        // Its shims are killed next, and killed they leave their sockets.
        for bundle in leftovers::entries(&self.bundle("")) {
            let address = fs::read_to_string(bundle.join("address")).unwrap_or_default();
            if let Some(socket) = address.trim().strip_prefix("unix://") {
                let _ = fs::remove_file(socket);
            }
        }
        for (dir, _) in SOCKETS.iter().zip(self.foreign).filter(|(_, foreign)| !foreign) {
            // Only if nobody else has anything there.
            let _ = fs::remove_dir(dir);
        }
    }
}

fn configuration(root: &Path, state: &Path, socket: &Path) -> String {
    let [root, state, socket] = [root, state, socket].map(|path| format!("{:?}", path.display().to_string()));
    // "opt" would make /opt/containerd.
    format!(
        "version = 2\nroot = {root}\nstate = {state}\n\
         disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
         [grpc]\naddress = {socket}\n"
    )
}

/// The container, and the code, of a line of `ctr events`: time, namespace, topic and a JSON object. `None` for other
/// events, and for the end of what was executed in a container later.
fn exit_in(line: &str) -> Option<(String, Option<i32>)> {
    let (_, event) = line.split_once(" /tasks/exit ")?;
    let event: serde_json::Value = serde_json::from_str(event).ok()?;
    let id = event["container_id"].as_str().filter(|id| event["id"].as_str() == Some(id))?;
    // Zero is left out.
    let code = event.get("exit_status").map_or(Some(0), serde_json::Value::as_i64);
    Some((id.to_owned(), code.and_then(|code| i32::try_from(code).ok())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_are_found_among_the_events() {
        let line = |topic: &str, event: &str| format!("2026-11-21 23:15:42.514 +0000 UTC bench {topic} {event}");
        let exit = r#"{"container_id":"a-1","id":"a-1","pid":7212,"exit_status":137,"exited_at":"2026-11-21T23:15Z"}"#;
        assert_eq!(exit_in(&line("/tasks/exit", exit)), Some(("a-1".into(), Some(137))));
        assert_eq!(exit_in(&line("/tasks/delete", exit)), None);
        let zero = r#"{"container_id":"a","id":"a","pid":1}"#;
        assert_eq!(exit_in(&line("/tasks/exit", zero)), Some(("a".into(), Some(0))));
        let executed = r#"{"container_id":"a","id":"shell","pid":1}"#;
        assert_eq!(exit_in(&line("/tasks/exit", executed)), None);
        assert_eq!(exit_in(""), None);
        assert_eq!(exit_in(&line("/tasks/exit", "{")), None);
    }
}
