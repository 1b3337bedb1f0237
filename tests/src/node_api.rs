//! What a test asks a node's collector.

use crate::{
    node::Node,
    subscriber::Subscriber,
    wait::{LONG, wait_until},
};
use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, Source,
    client::Client,
    durable,
    launch::{Mode, Stdio},
    restart::RestartPolicy,
    wire::{ApiError, ContainerInfo, LaunchRequest, Launched, Reply, Request, State},
};
use std::path::Path;

impl Node {
    /// A connection. Replies may take a minute and a half.
    ///
    /// # Panics
    /// If nobody listens.
    #[track_caller]
    #[must_use]
    pub fn client(&self) -> Client {
        let client = Client::connect(self.layout()).unwrap_or_else(|e| panic!("connect: {e}: {}", self.words()));
        client.set_timeout(Some(LONG * 3 / 2)).unwrap();
        client
    }

    /// Asks on a connection of its own; an error is [`Err`].
    ///
    /// # Errors
    /// What the collector answered.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn ask(&self, request: &Request) -> Result<Reply, ApiError> {
        let reply = self.client().call(request);
        match reply.unwrap_or_else(|e| panic!("{request:?}: {e}: {}", self.words())) {
            Reply::Error(error) => Err(error),
            reply => Ok(reply),
        }
    }

    /// What to ask for to launch a bundle with the node's runtime.
    #[must_use]
    pub fn launch_request(&self, id: &ContainerId, bundle: &Path, mode: Mode) -> LaunchRequest {
        LaunchRequest {
            id: id.clone(),
            bundle: bundle.into(),
            runtime: self.runtime(),
            stdio: Stdio::Null,
            mode,
            auto_remove: false,
            on_shim_death: Default::default(),
            timeout_ms: None,
            cleanup: sexton_common::cleanup::Cleanup::default(),
            restart: RestartPolicy::No,
            program: None,
        }
    }

    /// Launches.
    ///
    /// # Errors
    /// What the collector answered.
    ///
    /// # Panics
    /// If the answer makes no sense.
    #[track_caller]
    pub fn launch(&self, request: LaunchRequest) -> Result<Launched, ApiError> {
        match self.ask(&Request::Launch(request))? {
            Reply::Launched(launched) => Ok(launched),
            other => panic!("launch: {other:?}"),
        }
    }

    /// Creates and starts.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn run(&self, id: &ContainerId, bundle: &Path) -> Launched {
        let launched = self.launch(self.launch_request(id, bundle, Mode::Run));
        launched.unwrap_or_else(|e| panic!("run {id}: {e}: {}", self.words()))
    }

    /// Creates.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn create(&self, id: &ContainerId, bundle: &Path) -> Launched {
        let launched = self.launch(self.launch_request(id, bundle, Mode::Create));
        launched.unwrap_or_else(|e| panic!("create {id}: {e}: {}", self.words()))
    }

    /// Signals.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn kill(&self, id: &ContainerId, signal: i32) {
        let done = self.ask(&Request::Kill { id: id.clone(), signal });
        assert_eq!(done, Ok(Reply::Done {}), "kill {id}");
    }

    /// Waits for the exit.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn wait(&self, id: &ContainerId) -> ContainerInfo {
        container(self.ask(&Request::Wait { id: id.clone(), generation: None }), id)
    }

    /// The container as it is now.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    #[must_use]
    pub fn inspect(&self, id: &ContainerId) -> ContainerInfo {
        container(self.ask(&Request::Inspect { id: id.clone() }), id)
    }

    /// Waits until it has this state.
    ///
    /// # Panics
    /// If it never has.
    #[track_caller]
    pub fn wait_state(&self, id: &ContainerId, state: State) -> ContainerInfo {
        let mut last = None;
        let there = wait_until(LONG, || {
            last = Some(self.inspect(id));
            last.as_ref().is_some_and(|info| info.state == state)
        });
        assert!(there, "never {state:?}: {last:?}\nsextond said:\n{}", self.words());
        last.unwrap()
    }

    /// All containers.
    ///
    /// # Panics
    /// If the answer makes no sense.
    #[track_caller]
    #[must_use]
    pub fn list(&self, all: bool) -> Vec<ContainerInfo> {
        let mut client = self.client();
        let mut found = Vec::new();
        let mut reply = client.call(&Request::List { all });
        loop {
            match reply {
                Ok(Reply::Containers { containers, last }) => {
                    found.extend(containers);
                    if last {
                        return found;
                    }
                }
                other => panic!("list: {other:?}"),
            }
            reply = client.receive();
        }
    }

    /// Forgets a container.
    ///
    /// # Errors
    /// What the collector answered.
    #[track_caller]
    pub fn remove(&self, id: &ContainerId, force: bool) -> Result<(), ApiError> {
        self.ask(&Request::Remove { id: id.clone(), force }).map(|reply| assert_eq!(reply, Reply::Done {}))
    }

    /// Waits until every container is stopped, and forgets it.
    ///
    /// # Panics
    /// If one does not stop.
    #[track_caller]
    pub fn remove_all(&self) {
        for container in self.list(true) {
            self.wait_state(&container.id, State::Stopped);
            self.remove(&container.id, false).unwrap_or_else(|e| panic!("remove {}: {e}", container.id));
        }
        assert_eq!(self.list(true), []);
    }

    /// Every event from now on.
    ///
    /// # Panics
    /// If the collector does not answer.
    #[track_caller]
    #[must_use]
    pub fn subscribe(&self) -> Subscriber {
        Subscriber::start(self.client(), None)
    }

    /// The collector answers.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_alive(&self) {
        assert!(matches!(self.ask(&Request::Version {}), Ok(Reply::Version { .. })), "{}", self.words());
    }

    /// The exit record on disk.
    ///
    /// # Panics
    /// If it is damaged.
    #[track_caller]
    #[must_use]
    pub fn record(&self, id: &ContainerId) -> Option<ExitRecord> {
        durable::read(&self.layout().container(id).exit()).unwrap()
    }
}

#[track_caller]
fn container(reply: Result<Reply, ApiError>, id: &ContainerId) -> ContainerInfo {
    match reply {
        Ok(Reply::Container(info)) => *info,
        other => panic!("{id}: {other:?}"),
    }
}

/// How `signal` ends a process, without a core dump.
#[must_use]
pub fn killed_by(signal: u8) -> ExitStatus {
    ExitStatus::Signal { number: signal, core_dumped: false }
}

/// Nobody of ours has waited for it, and the kernel told how it ended: by its pidfd, or by its zombie where pid 1 reaps late.
///
/// # Panics
/// If it ended otherwise, or somebody else told.
#[track_caller]
pub fn assert_told_by_kernel(info: &ContainerInfo, status: ExitStatus) {
    assert_eq!(info.status, Some(status), "{info:?}");
    assert!(matches!(info.source, Some(Source::Pidfd | Source::Zombie)), "{info:?}");
}
