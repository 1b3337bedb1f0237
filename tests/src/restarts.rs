//! Containers that come back, and count their own runs: each run appends a line to a file, and says so if it met another.

use crate::{
    Bundle, Node, Subscriber,
    crash::containers::heard_by_now,
    proc,
    wait::{LONG, wait_for, wait_until},
};
use sexton_common::{
    ContainerId, durable,
    instance::Instance,
    launch::Mode,
    wire::{
        ApiError, ContainerInfo, ErrorCode, Event, EventKind, LaunchRequest, Launched, Reply, Request, RestartInfo,
        State,
    },
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Delays that a test can wait for; nothing else is hurried.
pub const QUICK: &str = "[restart]\nfirst = \"20ms\"\nmax = \"80ms\"\n";

/// A delay that no test lives to see the end of.
pub const SLOW: &str = "[restart]\nfirst = \"10m\"\nmax = \"10m\"\n";

/// What each run does first, in the host's pid namespace: who finds the one before him alive is the second one.
const COUNTED: &str = "p=; test -e /gate/pid && read p < /gate/pid; \
    test -n \"$p\" && test -d /proc/$p && echo $p >> /gate/doubled; \
    echo $$ > /gate/pid; echo run >> /gate/runs; ";

/// A container that comes back.
#[derive(Debug)]
pub struct Comer {
    /// Its name.
    pub id: ContainerId,
    /// Its bundle.
    pub bundle: PathBuf,
    share: PathBuf,
}

impl Comer {
    /// With a bundle of its own; `/gate` is its share, and `script` what it does once it has counted itself.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn new(node: &Node, name: &str, script: &str) -> Self {
        Self::with(node, name, script, |bundle| bundle)
    }

    /// With a bundle that is changed like this.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn with(node: &Node, name: &str, script: &str, change: impl FnOnce(Bundle) -> Bundle) -> Self {
        let share = node.dir().join("share").join(name);
        fs::create_dir_all(&share).unwrap();
        let bundle = Bundle::new(node, name).host_pids().bind(&share, "/gate").sh(&format!("{COUNTED}{script}"));
        Self { id: node.id(name), bundle: change(bundle).write(), share }
    }

    /// What it shares with the test.
    #[must_use]
    pub fn share(&self) -> &Path {
        &self.share
    }

    /// How many runs have begun.
    ///
    /// # Panics
    /// If two ran at once.
    #[track_caller]
    #[must_use]
    pub fn runs(&self) -> usize {
        assert!(!self.share.join("doubled").exists(), "two runs of {} at once", self.id);
        fs::read_to_string(self.share.join("runs")).unwrap_or_default().lines().count()
    }

    /// Waits for so many runs.
    ///
    /// # Panics
    /// If they do not come.
    #[track_caller]
    pub fn wait_runs(&self, runs: usize) {
        wait_for(&format!("{runs} runs of {}", self.id), LONG, || self.runs() >= runs);
    }

    /// Puts a file into its share.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn put(&self, name: &str, text: &str) {
        fs::write(self.share.join(name), text).unwrap();
    }

    /// What to ask for to launch it with a policy.
    ///
    /// # Panics
    /// If that is no policy.
    #[must_use]
    pub fn request(&self, node: &Node, policy: &str) -> LaunchRequest {
        LaunchRequest { restart: policy.parse().unwrap(), ..node.launch_request(&self.id, &self.bundle, Mode::Run) }
    }

    /// Launches it.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn launch(&self, node: &Node, policy: &str) -> Launched {
        node.launch(self.request(node, policy)).unwrap_or_else(|e| panic!("run {}: {e}: {}", self.id, node.words()))
    }
}

impl Node {
    /// With a collector that has this configuration.
    #[track_caller]
    #[must_use]
    pub fn configured(config: &str) -> Self {
        Self::with(crate::Options { config: config.into(), ..crate::Options::default() })
    }

    /// What is durable of a container that comes back.
    ///
    /// # Panics
    /// If it is damaged.
    #[track_caller]
    #[must_use]
    pub fn instance(&self, id: &ContainerId) -> Option<Instance> {
        durable::read(&self.layout().instance(id)).unwrap()
    }

    /// What is shown of its coming back, once it is known.
    ///
    /// # Panics
    /// If nothing is.
    #[track_caller]
    #[must_use]
    pub fn restart_of(&self, id: &ContainerId) -> RestartInfo {
        *self.wait_shown(id, "comes back", |info| info.restart.is_some()).restart.unwrap()
    }

    /// Waits until what is shown of it is as wanted.
    ///
    /// # Panics
    /// If it never is.
    #[track_caller]
    pub fn wait_shown(
        &self,
        id: &ContainerId,
        what: &str,
        mut is: impl FnMut(&ContainerInfo) -> bool,
    ) -> ContainerInfo {
        let mut last = None;
        let there = wait_until(LONG, || {
            last = self.list(true).into_iter().find(|info| info.id == *id);
            last.as_ref().is_some_and(&mut is)
        });
        assert!(there, "{id} never {what}: {last:?}\nsextond said:\n{}", self.words());
        last.unwrap()
    }

    /// Waits until it has stopped for good: nothing is to come.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn wait_rest(&self, id: &ContainerId) -> ContainerInfo {
        self.wait_shown(id, "rests", |info| info.state == State::Stopped && !info.may_come_back())
    }

    /// Waits for a run that has become `/bin/sleep`: of any other that runs nobody knows how long it does.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn wait_stays(&self, id: &ContainerId) -> ContainerInfo {
        let sleeps = |pid| proc::command_line(pid).starts_with("/bin/sleep");
        self.wait_shown(id, "stays", |info| info.state == State::Running && info.pid.is_some_and(sleeps))
    }

    /// SIGTERM, and SIGKILL after 50 ms.
    ///
    /// # Errors
    /// What the collector answered.
    ///
    /// # Panics
    /// If the answer makes no sense.
    #[track_caller]
    pub fn stop(&self, id: &ContainerId) -> Result<ContainerInfo, ApiError> {
        match self.ask(&Request::Stop { id: id.clone(), signal: 15, timeout_ms: 50 })? {
            Reply::Container(info) => Ok(*info),
            other => panic!("stop {id}: {other:?}"),
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// What the collector answered.
    #[track_caller]
    pub fn start(&self, id: &ContainerId) -> Result<(), ApiError> {
        self.ask(&Request::Start { id: id.clone() }).map(|reply| assert_eq!(reply, Reply::Done {}))
    }

    /// Restarts it.
    ///
    /// # Errors
    /// What the collector answered.
    ///
    /// # Panics
    /// If the answer makes no sense.
    #[track_caller]
    pub fn restart(&self, id: &ContainerId) -> Result<Launched, ApiError> {
        match self.ask(&Request::Restart { id: id.clone(), signal: 15, timeout_ms: 50 })? {
            Reply::Launched(launched) => Ok(launched),
            other => panic!("restart {id}: {other:?}"),
        }
    }

    /// Stops what runs or would come back, removes all, and looks for leftovers: see [`Node::finish`].
    ///
    /// # Panics
    /// If something stays.
    #[track_caller]
    pub fn finish_all(self) {
        for container in self.list(true) {
            match self.remove(&container.id, true) {
                Err(e) if e.code != ErrorCode::NoSuchContainer => {
                    panic!("rm -f {}: {e}: {}", container.id, self.words())
                }
                _ => {}
            }
        }
        self.finish();
    }
}

/// All events of one container, of what has happened by now.
#[must_use]
pub fn told(node: &Node, events: &Subscriber, id: &ContainerId) -> Vec<Event> {
    let heard = heard_by_now(node, events);
    heard.events.into_iter().map(|(_, event)| event).filter(|event| event.container.id == *id).collect()
}

/// The generations of the runs whose event of that kind was told.
#[must_use]
pub fn generations(events: &[Event], kind: EventKind) -> Vec<u64> {
    events.iter().filter(|event| event.kind == kind).map(|event| event.container.generation).collect()
}

/// Each of so many runs was started and told to have exited exactly once, and each has a generation of its own.
///
/// # Panics
/// If not.
#[track_caller]
pub fn assert_told_once(events: &[Event], runs: usize) {
    let [started, exited] = [EventKind::Started, EventKind::Exited].map(|kind| generations(events, kind));
    let mut distinct = exited.clone();
    distinct.dedup();
    assert_eq!((exited.len(), &distinct), (runs, &exited), "{events:#?}");
    assert_eq!(started, exited, "{events:#?}");
    assert!(exited.is_sorted(), "{exited:?}");
}
