//! `run` and `create`.

use super::{cleanup::CleanupOptions, process::ProgramOptions};
use crate::{
    args,
    daemon::{Connection, Daemon, SIMPLE, unexpected},
    failure::Failure,
    follow::{Ended, Follow},
    forward, output,
    removal::{self, Removal},
    show,
};
use clap::Args;
use sexton_common::{
    ContainerId,
    launch::{Mode, OnShimDeath, Stdio},
    restart::RestartPolicy,
    runtime::Runtime,
    wire::{LaunchRequest, Launched, Reply, Request},
};
use std::{os::fd::AsFd, path::PathBuf, time::Duration};

/// What sextond allows each step of the runtime if nobody says otherwise.
const STEP: Duration = Duration::from_secs(120);

/// What a container is launched with.
#[derive(Debug, Args)]
struct Options {
    /// The container's name: letters, digits, '_', '+', '-' and '.'
    id: ContainerId,
    /// The OCI bundle: a directory with config.json and the root file system
    #[arg(short, long, value_name = "DIR", value_parser = args::absolute, required_unless_present = "command")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    program: ProgramOptions,
    /// Whether it is started again: no, on-failure[:N], always, unless-stopped or on-reboot
    #[arg(long, value_name = "POLICY", default_value = "no")]
    restart: RestartPolicy,
    /// Remove the container once it has ended and is clean
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Where its standard streams go: null, inherit or file:PATH
    #[arg(long, value_name = "WHERE", value_parser = args::stdio)]
    stdio: Option<Stdio>,
    /// How long the runtime may take for each step [default: sextond's, 120s]
    #[arg(long, value_name = "TIME", value_parser = args::some_time)]
    timeout: Option<Duration>,
    /// If its shim is killed: adopt (watch it on) or kill
    #[arg(long, value_name = "POLICY", value_parser = args::on_shim_death, default_value = "adopt")]
    on_shim_death: OnShimDeath,
    /// Print what was launched as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cleanup: CleanupOptions,
}

/// Which runtime, and how it is called.
#[derive(Debug, Args)]
pub struct RuntimeOptions {
    /// The OCI runtime: a name or a path
    #[arg(long, value_name = "PROGRAM", default_value = "runc", value_parser = args::program)]
    runtime: PathBuf,
    /// Where the runtime keeps its state [default: its own]
    #[arg(long, value_name = "DIR", value_parser = args::absolute)]
    runtime_root: Option<PathBuf>,
    /// One more argument for the runtime, before its verb; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    runtime_arg: Vec<String>,
}

impl From<RuntimeOptions> for Runtime {
    fn from(options: RuntimeOptions) -> Self {
        Self { program: options.runtime, root: options.runtime_root, args: options.runtime_arg }
    }
}

/// `sexton run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Print the container's name and leave it running
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    options: Options,
}

/// `sexton create`.
#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    options: Options,
}

impl Create {
    /// Creates it and prints its name.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let json = self.options.json;
        let launched = self.options.launch(daemon, Mode::Create, Stdio::Null)?;
        told(&launched, json)
    }
}

impl Run {
    /// Launches it; in the foreground waits for its end too.
    pub fn execute(self, daemon: &Daemon) -> Result<u8, Failure> {
        let Self { detach, options } = self;
        let json = options.json;
        if detach {
            return told(&options.launch(daemon, Mode::Run, Stdio::Null)?, json);
        }
        // Before anything starts: a signal from now on is for the container.
        let held = forward::hold()?;
        let seen = if options.rm { Some(removal::last_event(daemon)?) } else { None };
        let launched = options.launch(daemon, Mode::Run, Stdio::Inherit)?;
        held.forward(daemon.clone(), launched.id.clone())?;
        if json {
            output::json(&launched)?;
        }
        let ended = Follow::launched(daemon, &launched).and_then(|follow| follow.wait(None));
        let removal = seen.map(|seen| Removal::of(daemon, &launched, seen));
        let ended = match (ended, &removal) {
            // It ended, was clean and removed before the question came.
            (Err(failure), Some(removal)) if failure.is_no_such_container() => removal.recall()?,
            (ended, _) => ended?.ok_or_else(|| Failure::UnknownStatus("the wait ended early".into()))?,
        };
        // The name is free when this returns, or somebody says why not; the status stands either way.
        if let Some(Err(failure)) = removal.map(|removal| removal.wait()) {
            output::complain(failure);
        }
        code_of(&launched.id, &ended)
    }
}

fn told(launched: &Launched, json: bool) -> Result<u8, Failure> {
    if json {
        output::json(launched)?
    } else {
        output::line(&launched.id)?
    }
    Ok(0)
}

/// What a shell would see; an error where nobody knows.
pub fn code_of(id: &ContainerId, ended: &Ended) -> Result<u8, Failure> {
    let status = ended.status();
    status.and_then(|status| status.shell_code()).ok_or_else(|| {
        let why = status.map_or_else(|| "unknown: sextond does not say it".into(), |status| show::status(&status));
        Failure::UnknownStatus(format!("the status of {id} is {why}"))
    })
}

impl Options {
    fn launch(self, daemon: &Daemon, mode: Mode, usual: Stdio) -> Result<Launched, Failure> {
        let within = self.timeout.unwrap_or(STEP).saturating_mul(3).saturating_add(Duration::from_secs(10));
        let request = self.request(mode, usual)?;
        let mut connection = daemon.connect()?;
        send(&mut connection, request)?;
        match connection.receive(within)? {
            Reply::Launched(launched) => Ok(launched),
            other => Err(unexpected(&other)),
        }
    }

    fn request(self, mode: Mode, usual: Stdio) -> Result<LaunchRequest, Failure> {
        let stdio = self.stdio.unwrap_or(usual);
        if self.restart != RestartPolicy::No {
            if self.rm {
                let text = "--restart and --rm exclude each other: one that is removed cannot come back";
                return Err(Failure::Usage(text.into()));
            }
            if stdio == Stdio::Inherit {
                let text = format!(
                    "--restart {}: later runs cannot have the streams of this terminal: use -d, or --stdio null or file:PATH",
                    self.restart
                );
                return Err(Failure::Usage(text));
            }
        }
        Ok(LaunchRequest {
            id: self.id,
            bundle: self.bundle.unwrap_or_default(),
            runtime: self.runtime.into(),
            stdio,
            mode,
            auto_remove: self.rm,
            on_shim_death: self.on_shim_death,
            timeout_ms: self.timeout.map(args::millis),
            cleanup: self.cleanup.into(),
            restart: self.restart,
            program: self.program.into(),
        })
    }
}

fn send(connection: &mut Connection, request: LaunchRequest) -> Result<(), Failure> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let streams = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let fds = if request.stdio == Stdio::Inherit { &streams[..] } else { &[] };
    connection.send(&Request::Launch(request), fds, SIMPLE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::{Cli, Command},
        fake::{self, Fake},
    };
    use clap::Parser;
    use sexton_common::{
        ExitStatus, UnknownReason, WallTime,
        cleanup::Cleanup,
        wire::{ApiError, ErrorCode, Event, EventKind, Node},
        workload::Program,
    };

    fn run(line: &str) -> Run {
        match Cli::try_parse_from(["sexton", "run"].into_iter().chain(line.split(' '))).unwrap().command {
            Command::Run(run) => run,
            _ => unreachable!(),
        }
    }

    #[test]
    fn options_become_a_request() {
        let parsed = run(
            "c1 --bundle /b --rm --runtime crun --runtime-arg --debug --runtime-arg x --timeout 1500ms --on-shim-death kill",
        );
        assert!(!parsed.detach);
        let expected = LaunchRequest {
            id: "c1".parse().unwrap(),
            bundle: "/b".into(),
            runtime: Runtime { program: "crun".into(), root: None, args: vec!["--debug".into(), "x".into()] },
            stdio: Stdio::Inherit,
            mode: Mode::Run,
            auto_remove: true,
            on_shim_death: OnShimDeath::Kill,
            timeout_ms: Some(1500),
            cleanup: Cleanup::default(),
            restart: RestartPolicy::No,
            program: None,
        };
        assert_eq!(parsed.options.request(Mode::Run, Stdio::Inherit).unwrap(), expected);
        let request = run("-d c1 -b /b --stdio file:/o").options.request(Mode::Run, Stdio::Null).unwrap();
        assert_eq!((request.stdio, request.timeout_ms), (Stdio::File("/o".into()), None));
    }

    #[test]
    fn whatever_follows_two_dashes_is_a_program() {
        let line =
            "c1 -e A=1 --env B=-x=y -w /tmp -u 1:2 --cgroup jobs/c1 --restart on-failure:3 --stdio null -- sh -c -d --";
        let request = run(line).options.request(Mode::Run, Stdio::Inherit).unwrap();
        let expected = Program {
            command: ["sh", "-c", "-d", "--"].map(str::to_owned).to_vec(),
            env: vec!["A=1".into(), "B=-x=y".into()],
            cwd: Some("/tmp".into()),
            user: Some("1:2".into()),
            cgroup: Some("jobs/c1".into()),
        };
        assert_eq!((request.program, request.bundle.as_os_str().is_empty()), (Some(expected), true));
        assert_eq!(request.restart, "on-failure:3".parse().unwrap());
        for bad in [
            "c1",
            "c1 sh",
            "c1 -b /b -- sh",
            "c1 --runtime crun -- sh",
            "c1 --runtime-root /r -- sh",
            "c1 -b /b -e A=1",
            "c1 -b /b -w /",
            "c1 -b /b --restart sometimes",
        ] {
            let words = ["sexton", "run"].into_iter().chain(bad.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_come_back_is_not_to() {
        let refused = |line: &str, usual| run(line).options.request(Mode::Run, usual).map_err(|e| e.to_string());
        assert!(refused("c1 --rm --restart always -- sh", Stdio::Null).unwrap_err().contains("exclude each other"));
        assert!(refused("c1 --restart always -- sh", Stdio::Inherit).unwrap_err().contains("use -d"));
        assert!(refused("c1 --restart always --stdio inherit -b /b", Stdio::Null).unwrap_err().contains("use -d"));
        for good in ["c1 --rm --restart no -- sh", "c1 --restart always --stdio file:/o -- sh"] {
            assert!(refused(good, Stdio::Inherit).is_ok(), "{good}");
        }
        assert!(refused("c1 --restart unless-stopped -- sh", Stdio::Null).is_ok());
    }

    #[test]
    fn what_is_to_be_cleaned_is_registered_in_its_order() {
        let line = "-d c1 -b /b --cleanup-path x --cleanup-exec -false --cleanup-path /a/b --cleanup-mount /m/1 \
            --cleanup-netns /run/netns/c1 --cleanup-exec true";
        let expected = Cleanup {
            paths: vec![std::env::current_dir().unwrap().join("x"), "/a/b".into()],
            mounts: vec!["/m/1".into()],
            netns: vec!["/run/netns/c1".into()],
            exec: vec!["-false".into(), "true".into()],
        };
        assert_eq!(run(line).options.request(Mode::Run, Stdio::Null).unwrap().cleanup, expected);
    }

    #[test]
    fn statuses_become_exit_codes() {
        let id = "c1".parse().unwrap();
        let of = |status| code_of(&id, &Ended::Told(Box::new(fake::stopped("c1", status))));
        assert_eq!(of(ExitStatus::Code(7)).unwrap(), 7);
        assert_eq!(of(ExitStatus::Signal { number: 9, core_dumped: false }).unwrap(), 137);
        let unknown = of(ExitStatus::Unknown { reason: UnknownReason::ShimKilled }).unwrap_err();
        assert_eq!(unknown.to_string(), "the status of c1 is unknown: its shim was killed");
        assert_eq!(unknown.exit_code(false), 125);
        assert!(code_of(&id, &Ended::Told(Box::new(fake::running("c1")))).is_err());
    }

    /// Launches `c1` as generation 7, which ends at once; `removed` before anybody can ask for it.
    fn daemon(removed: bool) -> Fake {
        Fake::start(move |request| {
            let ended = fake::stopped("c1", ExitStatus::Code(42));
            vec![match request {
                Request::Node {} => Reply::Node(Node {
                    version: String::new(),
                    pid: 1,
                    since: WallTime(0),
                    containers: 0,
                    descriptors: 0,
                    descriptor_limit: 0,
                    quarantined: 0,
                    seq: 30,
                    seats: 0,
                    seats_taken: 0,
                    surplus: 0,
                    stored: None,
                    gc: sexton_common::wire::GcFigures::default(),
                }),
                Request::Launch(request) if request.bundle.as_os_str() == "/bad" => Reply::Error(ApiError {
                    exit_code: 127,
                    ..ApiError::new(ErrorCode::RuntimeFailed, "no such command")
                }),
                Request::Launch(request) => Reply::Launched(Launched {
                    id: request.id,
                    generation: 7,
                    pid: 4242,
                    shim_pid: 4241,
                    exit_fifo: "/nonexistent/exit.fifo".into(),
                    exit_file: "/nonexistent/exit".into(),
                }),
                Request::Wait { generation: Some(7), .. } if !removed => Reply::Container(Box::new(ended)),
                Request::Subscribe { since: Some(30) } => Reply::Event(Box::new(Event {
                    seq: 31,
                    at: WallTime(0),
                    kind: EventKind::Removed,
                    container: ended,
                })),
                _ => Reply::Error(ApiError::new(ErrorCode::NoSuchContainer, "there is no c1")),
            }]
        })
    }

    #[test]
    fn the_foreground_ends_as_the_container_does() {
        assert_eq!(run("c1 -b /b").execute(&daemon(false).daemon()).unwrap(), 42);
        assert_eq!(run("c1 -b /b --rm").execute(&daemon(false).daemon()).unwrap(), 42);
        let failure = run("c1 -b /bad").execute(&daemon(false).daemon()).unwrap_err();
        assert_eq!((failure.to_string().as_str(), failure.exit_code(true)), ("no such command", 127));
    }

    #[test]
    fn one_that_was_removed_at_once_still_has_its_status() {
        assert_eq!(run("c1 -b /b --rm").execute(&daemon(true).daemon()).unwrap(), 42);
        let lost = run("c1 -b /b").execute(&daemon(true).daemon()).unwrap_err();
        assert_eq!(lost.exit_code(true), 125, "nobody asked for it to be removed, so somebody else did");
    }
}
