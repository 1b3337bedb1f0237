//! Waiting for a container's end, through restarts of sextond.

use crate::{
    daemon::{Connection, Daemon, SIMPLE, unexpected},
    failure::Failure,
    output,
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, durable,
    time::boot_ns,
    wire::{ApiError, ContainerInfo, ErrorCode, Launched, Reply, Request},
};
use std::{
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How often sextond is looked for at least while it is away; inotify is usually faster.
const LOOK_AGAIN: u16 = 250;

/// One run, and the wait for its end.
#[derive(Debug)]
pub struct Follow {
    daemon: Daemon,
    id: ContainerId,
    /// This run, or whichever there was at `began`.
    generation: Option<u64>,
    began: u64,
    exit_file: Option<PathBuf>,
    connection: Connection,
}

/// How a run ended.
#[derive(Debug)]
pub enum Ended {
    /// As sextond says.
    Told(Box<ContainerInfo>),
    /// As its exit record says, while sextond is away.
    Read(ExitStatus),
}

impl Ended {
    /// The status.
    pub fn status(&self) -> Option<ExitStatus> {
        match self {
            Self::Told(container) => container.status,
            Self::Read(status) => Some(*status),
        }
    }
}

impl Follow {
    /// Begins to wait for the present run of `id`.
    pub fn present(daemon: &Daemon, id: &ContainerId) -> Result<Self, Failure> {
        Self::begin(daemon, id, None, None)
    }

    /// Begins to wait for what was launched.
    pub fn launched(daemon: &Daemon, launched: &Launched) -> Result<Self, Failure> {
        Self::begin(daemon, &launched.id, Some(launched.generation), Some(launched.exit_file.clone()))
    }

    fn begin(
        daemon: &Daemon,
        id: &ContainerId,
        generation: Option<u64>,
        exit_file: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let began = boot_ns() / 1000;
        let connection = ask(daemon, id, generation)?;
        Ok(Self { daemon: daemon.clone(), id: id.clone(), generation, began, exit_file, connection })
    }

    /// Blocks until the run's status is known; `None` once `deadline` has passed.
    pub fn wait(mut self, deadline: Option<Instant>) -> Result<Option<Ended>, Failure> {
        loop {
            match self.connection.receive_by(deadline) {
                Ok(None) => return Ok(None),
                Ok(Some(Reply::Container(container))) if self.is_successor(&container) => return Err(self.missed()),
                Ok(Some(Reply::Container(container))) => return Ok(Some(Ended::Told(container))),
                Ok(Some(other)) => return Err(unexpected(&other)),
                Err(failure) if is_away(&failure) => {
                    output::complain(format_args!(
                        "sextond went away while {} was waited for; waiting on until it is back",
                        self.id
                    ));
                    if let Some(ended) = self.rejoin(deadline)? {
                        return Ok(ended);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A generation is its creation's boot-time in microseconds, so one that is later than the question is
    /// a later run.
    fn is_successor(&self, container: &ContainerInfo) -> bool {
        self.generation.is_none() && container.generation > self.began
    }

    fn missed(&self) -> Failure {
        Failure::UnknownStatus(format!(
            "the status of {} is unknown: it was removed while sextond could not be asked, and runs anew",
            self.id
        ))
    }

    /// Waits for sextond to come back and asks again: `None` then. `Some` if there is nothing to wait for any more.
    fn rejoin(&mut self, deadline: Option<Instant>) -> Result<Option<Option<Ended>>, Failure> {
        let doorbell = self.doorbell();
        loop {
            if let Some(status) = self.record() {
                return Ok(Some(Some(Ended::Read(status))));
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Some(None));
            }
            pause(doorbell.as_ref());
            match ask(&self.daemon, &self.id, self.generation) {
                Ok(connection) => {
                    self.connection = connection;
                    return Ok(None);
                }
                Err(failure) if is_away(&failure) => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    fn record(&self) -> Option<ExitStatus> {
        // Damage is sextond's to quarantine and to tell.
        let record = durable::read::<ExitRecord>(self.exit_file.as_ref()?).ok()??;
        (Some(record.generation) == self.generation).then_some(record.status)
    }

    fn doorbell(&self) -> Option<Inotify> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
        let container = self.exit_file.as_deref().and_then(Path::parent);
        for dir in [Some(self.daemon.layout.state()), container].into_iter().flatten() {
            // Without it the look every quarter of a second is enough.
            let _ = inotify.add_watch(dir, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO);
        }
        Some(inotify)
    }
}

fn ask(daemon: &Daemon, id: &ContainerId, generation: Option<u64>) -> Result<Connection, Failure> {
    let mut connection = daemon.connect()?;
    connection.send(&Request::Wait { id: id.clone(), generation }, &[], SIMPLE)?;
    Ok(connection)
}

fn is_away(failure: &Failure) -> bool {
    match failure {
        Failure::Lost { .. } | Failure::NotRunning(_) => true,
        Failure::Api(ApiError { code, .. }) => *code == ErrorCode::ShuttingDown,
        _ => false,
    }
}

/// Until something new is in one of the directories, or it is time to look anyway.
fn pause(doorbell: Option<&Inotify>) {
    let mut fds: Vec<_> = doorbell.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    // An early return only means an early look.
    let _ = poll(&mut fds, PollTimeout::from(LOOK_AGAIN));
    if let Some(doorbell) = doorbell {
        let _ = doorbell.read_events();
    }
}

/// Seconds from now, if that many were given.
pub fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Fake, stopped};
    use sexton_common::Stamp;

    fn launched(exit_file: PathBuf) -> Launched {
        Launched {
            id: "c1".parse().unwrap(),
            generation: 7,
            pid: 1,
            shim_pid: 2,
            exit_fifo: "/dev/null".into(),
            exit_file,
        }
    }

    #[test]
    fn a_restart_of_the_daemon_does_not_end_the_wait() {
        let fake = Fake::start(|_| vec![]);
        let follow = Follow::present(&fake.daemon(), &"c1".parse().unwrap()).unwrap();
        fake.again(|_| vec![Reply::Container(Box::new(stopped("c1", ExitStatus::Code(3))))]);
        let ended = follow.wait(None).unwrap().unwrap();
        assert_eq!(ended.status(), Some(ExitStatus::Code(3)));
    }

    #[test]
    fn a_later_run_is_not_mistaken_for_this_one() {
        let fake = Fake::start(|_| {
            let later = ContainerInfo { generation: u64::MAX, ..stopped("c1", ExitStatus::Code(0)) };
            vec![Reply::Container(Box::new(later))]
        });
        let follow = Follow::present(&fake.daemon(), &"c1".parse().unwrap()).unwrap();
        assert!(matches!(follow.wait(None), Err(Failure::UnknownStatus(_))));
    }

    #[test]
    fn the_record_is_enough_while_the_daemon_is_away() {
        let fake = Fake::start(|_| vec![]);
        let dir = tempfile::tempdir().unwrap();
        let launched = launched(dir.path().join("exit"));
        let follow = Follow::launched(&fake.daemon(), &launched).unwrap();
        let record = ExitRecord {
            id: launched.id.clone(),
            generation: 7,
            process: None,
            status: ExitStatus::Code(9),
            source: sexton_common::Source::Waited,
            oom_killed: None,
            started: None,
            exited: Some(Stamp::now()),
            usage: None,
            memory_peak: None,
            cpu_ns: None,
        };
        durable::write(&launched.exit_file, &record).unwrap();
        assert_eq!(follow.wait(None).unwrap().unwrap().status(), Some(ExitStatus::Code(9)));
    }

    #[test]
    fn deadlines_hold_with_and_without_a_daemon() {
        let soon = || Some(Instant::now() + Duration::from_millis(20));
        let id = "c1".parse().unwrap();
        let silent = Fake::silent();
        assert!(Follow::present(&silent.daemon(), &id).unwrap().wait(soon()).unwrap().is_none());
        let gone = Fake::start(|_| vec![]);
        let follow = Follow::present(&gone.daemon(), &id).unwrap();
        std::fs::remove_file(gone.daemon().layout.socket()).unwrap();
        assert!(follow.wait(soon()).unwrap().is_none());
    }
}
