//! The command line, checked as early as can be.

use crate::{
    report::Failure,
    stdio::{self, Streams},
    user::Who,
    workload::GivenWorkload,
};
use lexopt::{Arg, Parser, ValueExt};
use sexton_common::{
    ContainerId, Layout,
    cleanup::Cleanup,
    launch::{Mode, OnShimDeath, Stdio},
    restart::RestartPolicy,
    workload::Workload,
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

/// What `--help` says.
pub const HELP: &str = "\
Usage: sexton-shim run|create --id ID --bundle DIR [OPTION]...
       sexton-shim run|create --id ID [OPTION]... -- COMMAND [ARGUMENT]...

Creates an OCI container, or a plain program, with `run` starts it too, and stays behind as its parent. Prints
one line of JSON and returns once that is done; when the container's process ends, its exit record is written to
the file and to the FIFO that this line names.

  --id ID                  the container's name: letters, digits, '_', '+', '-' and '.'
  --env NAME=VALUE         of a program: one more variable; may be repeated
  --cwd DIR                of a program: its working directory (/)
  --user USER              of a program: who runs it, NAME or UID, with :GROUP or :GID if wanted (this user)
  --cgroup PATH            of a program: the cgroup below which it gets its own, `sexton-ID`, a path from the root of
                           every hierarchy (this command's)
  --bundle DIR             its OCI bundle, the directory with config.json
  --runtime PROGRAM        who creates it (runc)
  --runtime-root DIR       where the runtime keeps its state (the runtime's default)
  --runtime-arg ARG        one more global argument for the runtime; may be repeated
  --state-dir DIR          where Sexton keeps its state ($SEXTON_STATE_DIR, else /run/sexton)
  --data-dir DIR           where it keeps what outlives a reboot ($SEXTON_DATA_DIR, else /var/lib/sexton)
  --stdio null             the container's streams are /dev/null (the default),
          inherit          those of this command,
          file:PATH        output is appended to a file,
          fds:IN,OUT,ERR   three open descriptors
  --create-timeout TIME    how long the runtime may take for each step (120s)
  --on-shim-death adopt    if the shim is killed, the collector watches the container itself (the default),
                  kill     or kills it
  --cleanup-path PATH      after its end: remove this file or directory, with all that is in it
  --cleanup-mount PATH     unmount what is mounted here and below
  --cleanup-netns PATH     unmount and remove this bind-mounted network namespace
  --cleanup-exec COMMAND   run this with /bin/sh until it ends with 0; all four may be repeated
  --restart POLICY         no, on-failure[:N], always, unless-stopped or on-reboot: the collector starts it again
  --rm                     the collector removes the container once it is clean
  --help, --version

Exit codes: 0 done; 125 it failed; 126 the container's command is not executable; 127 it is not there.
";

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
    /// Launch a container.
    Launch(Box<Plan>),
}

/// What was asked for, complete and checked.
#[derive(Debug)]
pub struct Plan {
    /// The container.
    pub id: ContainerId,
    /// What it runs: a bundle, with its runtime found, or a program.
    pub workload: Workload,
    /// Who runs the program, if others than we.
    pub who: Option<Who>,
    /// Where our files lie.
    pub layout: Layout,
    /// As the `launch` fact has it.
    pub stdio: Stdio,
    /// The same, opened.
    pub streams: Streams,
    /// Who starts it.
    pub mode: Mode,
    /// Whether the collector removes it.
    pub auto_remove: bool,
    /// Whether the collector starts it again.
    pub restart: RestartPolicy,
    /// What the collector does should we die first.
    pub on_shim_death: OnShimDeath,
    /// How long the runtime may take for each step.
    pub timeout: Duration,
    /// What else is to be cleaned after its end.
    pub cleanup: Cleanup,
}

#[derive(Default)]
struct Given {
    id: Option<String>,
    workload: GivenWorkload,
    state: Option<PathBuf>,
    stdio: Option<String>,
    timeout: Option<String>,
    on_shim_death: OnShimDeath,
    auto_remove: bool,
    restart: RestartPolicy,
    data: Option<PathBuf>,
    cleanup: Cleanup,
}

/// The command of a command line.
///
/// # Errors
/// What a person has to change.
pub fn parse(mut parser: Parser) -> Result<Command, Failure> {
    let mut given = Given::default();
    let mut mode = None;
    loop {
        if let Some(mut rest) = parser.try_raw_args()
            && rest.next_if(|word| word == "--").is_some()
        {
            given.workload.command = Some(rest.map(|word| utf8_word(word, "the command")).collect::<Result<_, _>>()?);
            break;
        }
        let Some(arg) = parser.next().map_err(usage)? else { break };
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Command::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Command::Version),
            Arg::Value(verb) if mode.is_none() => {
                mode = Some(match verb.to_str() {
                    Some("run") => Mode::Run,
                    Some("create") => Mode::Create,
                    _ => return Err(usage(format!("unknown command {verb:?}: use run or create"))),
                });
            }
            Arg::Long("id") if given.id.is_some() => return Err(usage("--id is given twice")),
            Arg::Long("id") => given.id = Some(text(&mut parser, "--id")?),
            Arg::Long("bundle") => given.workload.bundle = Some(path(&mut parser)?),
            Arg::Long("runtime") => given.workload.runtime = Some(path(&mut parser)?),
            Arg::Long("runtime-root") => given.workload.root = Some(path(&mut parser)?),
            Arg::Long("runtime-arg") => given.workload.args.push(text(&mut parser, "--runtime-arg")?),
            Arg::Long("env") => given.workload.env.push(text(&mut parser, "--env")?),
            Arg::Long("cwd") => given.workload.cwd = Some(path(&mut parser)?),
            Arg::Long("user") => given.workload.user = Some(text(&mut parser, "--user")?),
            Arg::Long("cgroup") => given.workload.cgroup = Some(path(&mut parser)?),
            Arg::Long("state-dir") => given.state = Some(path(&mut parser)?),
            Arg::Long("data-dir") => given.data = Some(path(&mut parser)?),
            Arg::Long("cleanup-path") => given.cleanup.paths.push(full(path(&mut parser)?)?),
            Arg::Long("cleanup-mount") => given.cleanup.mounts.push(full(path(&mut parser)?)?),
            Arg::Long("cleanup-netns") => given.cleanup.netns.push(full(path(&mut parser)?)?),
            Arg::Long("cleanup-exec") => given.cleanup.exec.push(text(&mut parser, "--cleanup-exec")?),
            Arg::Long("stdio") => given.stdio = Some(text(&mut parser, "--stdio")?),
            Arg::Long("create-timeout") => given.timeout = Some(text(&mut parser, "--create-timeout")?),
            Arg::Long("on-shim-death") => given.on_shim_death = on_shim_death(&text(&mut parser, "--on-shim-death")?)?,
            Arg::Long("restart") => given.restart = text(&mut parser, "--restart")?.parse().map_err(usage)?,
            Arg::Long("rm") => given.auto_remove = true,
            other => return Err(usage(other.unexpected())),
        }
    }
    let mode = mode.ok_or_else(|| usage("what should be done is missing: run or create"))?;
    given.checked(mode).map(|plan| Command::Launch(Box::new(plan)))
}

impl Given {
    fn checked(self, mode: Mode) -> Result<Plan, Failure> {
        let id = self.id.ok_or_else(|| usage("--id is missing"))?;
        let id = id.parse().map_err(|e| usage(format!("--id {id:?}: {e}")))?;
        let timeout = timeout(self.timeout.as_deref().unwrap_or("120s"))?;
        let asked = stdio::Asked::parse(self.stdio.as_deref().unwrap_or("null")).map_err(usage)?;
        if self.auto_remove && self.restart != RestartPolicy::No {
            return Err(usage("--restart and --rm exclude each other: one that is removed cannot come back"));
        }
        let (workload, who) = self.workload.checked()?;
        let layout = Layout::resolve(self.state, self.data);
        let state = utf8(absolute(layout.state(), "--state-dir")?, "--state-dir")?;
        let layout = Layout::new(state, layout.data().into());
        if layout.state() == layout.data() {
            return Err(usage("--state-dir and --data-dir must be two directories"));
        }
        let cleanup = self.cleanup.checked(&layout).map_err(usage)?;
        let (stdio, streams) = asked.open().map_err(Failure::ours)?;
        let Self { auto_remove, restart, on_shim_death, .. } = self;
        Ok(Plan {
            id,
            workload,
            who,
            layout,
            stdio,
            streams,
            mode,
            auto_remove,
            restart,
            on_shim_death,
            timeout,
            cleanup,
        })
    }
}

pub(crate) fn usage(problem: impl std::fmt::Display) -> Failure {
    Failure::ours(format!("{problem}\nTry 'sexton-shim --help'."))
}

fn text(parser: &mut Parser, option: &str) -> Result<String, Failure> {
    utf8_word(parser.value().map_err(usage)?, option)
}

fn utf8_word(word: OsString, what: &str) -> Result<String, Failure> {
    word.into_string().map_err(|raw| usage(format!("{what} {raw:?} is not UTF-8")))
}

fn path(parser: &mut Parser) -> Result<PathBuf, Failure> {
    let path: PathBuf = parser.value().map_err(usage)?.parse().map_err(usage)?;
    if path.as_os_str().is_empty() { Err(usage("a path is empty")) } else { Ok(path) }
}

/// Whoever removes it later may have another working directory.
fn full(path: PathBuf) -> Result<PathBuf, Failure> {
    absolute(&path, "--cleanup-*")
}

pub(crate) fn absolute(path: &Path, option: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| usage(format!("{option} {}: {e}", path.display())))
}

pub(crate) fn utf8(path: PathBuf, option: &str) -> Result<PathBuf, Failure> {
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(usage(format!("{option} {}: the path is not UTF-8", path.display()))),
    }
}

fn on_shim_death(text: &str) -> Result<OnShimDeath, Failure> {
    match text {
        "adopt" => Ok(OnShimDeath::Adopt),
        "kill" => Ok(OnShimDeath::Kill),
        _ => Err(usage(format!("--on-shim-death {text:?}: use adopt or kill"))),
    }
}

fn timeout(text: &str) -> Result<Duration, Failure> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) => Err(usage("--create-timeout must be longer than zero: write it as 120s or 500ms")),
        Err(e) => Err(usage(format!("--create-timeout {text:?}: {e}: write it as 120s or 500ms"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Result<Command, Failure> {
        parse(Parser::from_args(words))
    }

    fn bundle() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        dir
    }

    #[test]
    fn a_whole_command_line_is_understood() {
        let dir = bundle();
        let bundle = dir.path().to_str().unwrap();
        let words = [
            "run",
            "--id",
            "-web",
            "--bundle",
            bundle,
            "--runtime",
            "sh",
            "--runtime-root=/r",
            "--runtime-arg",
            "--debug",
            "--runtime-arg=-x",
            "--state-dir",
            "/s",
            "--stdio",
            "null",
            "--create-timeout",
            "500ms",
            "--rm",
        ];
        let Command::Launch(plan) = run(&words).unwrap() else { panic!("a launch was expected") };
        assert_eq!((plan.id.as_str(), plan.mode, plan.auto_remove), ("-web", Mode::Run, true));
        let runtime = plan.workload.runtime().unwrap();
        assert_eq!(runtime.args, ["--debug", "-x"]);
        assert_eq!(runtime.root.as_deref(), Some(Path::new("/r")));
        assert!(runtime.program.is_absolute());
        assert_eq!((plan.timeout, plan.layout.state()), (Duration::from_millis(500), Path::new("/s")));
        let Command::Launch(plan) = run(&["--id=a", "create", "--bundle", bundle, "--runtime=sh"]).unwrap() else {
            panic!("a launch was expected")
        };
        assert_eq!((plan.mode, plan.timeout), (Mode::Create, Duration::from_secs(120)));
        assert_eq!((plan.restart, plan.who.is_none()), (RestartPolicy::No, true));
    }

    #[test]
    fn whatever_follows_two_dashes_is_the_program_s() {
        let words = ["run", "--id=a", "--env", "A=1", "--env=B=x=y", "--cwd=/tmp", "--user=0:0", "--cgroup", "jobs/a"];
        let rest = ["--restart", "on-failure:3", "--", "sh", "-c", "--", "--rm", ""];
        let Command::Launch(plan) = run(&[&words[..], &rest].concat()).unwrap() else {
            panic!("a launch was expected")
        };
        let program = plan.workload.program().unwrap();
        assert_eq!(program.command, ["sh", "-c", "--", "--rm", ""]);
        assert_eq!(program.env, ["A=1", "B=x=y"]);
        assert_eq!(
            (program.cwd.as_deref(), program.cgroup.as_deref()),
            (Some("/tmp".as_ref()), Some("jobs/a".as_ref()))
        );
        assert_eq!(plan.restart, "on-failure:3".parse().unwrap());
        assert_eq!((plan.who.unwrap().uid, plan.auto_remove), (0, false));
    }

    #[test]
    fn what_is_wrong_with_a_program_is_named() {
        let long = "x".repeat(25_000);
        for (words, part) in [
            (&["--"][..], "the command is empty"),
            (&["--", ""], "the command is empty"),
            (&["--", &long], "bytes together"),
            (&["--bundle", "/b", "--", "sh"], "--bundle and a command"),
            (&["--runtime", "runc", "--", "sh"], "--runtime"),
            (&["--runtime-arg", "-x", "--", "sh"], "--runtime"),
            (&["--runtime-root", "/r", "--", "sh"], "--runtime"),
            (&["--env", "A", "--", "sh"], "NAME=VALUE"),
            (&["--cwd", "tmp", "--", "sh"], "absolute"),
            (&["--cgroup", "a/../b", "--", "sh"], "'..'"),
            (&["--user", "no-such-user", "--", "sh"], "no-such-user"),
            (&["--user", "0:no-such-group", "--", "sh"], "no-such-group"),
            (&["--user", "4294967295", "--", "sh"], "4294967295"),
            (&["--restart", "sometimes", "--", "sh"], "sometimes"),
            (&["--restart", "always", "--rm", "--", "sh"], "exclude each other"),
            (&["--env", "A=1", "--bundle", "/b"], "--env"),
            (&["--user", "0", "--bundle", "/b"], "--user"),
            (&["sh"], "sh"),
            (&[], "--bundle"),
        ] {
            let failure = run(&[&["run", "--id", "a"], words].concat()).unwrap_err();
            assert!(failure.message.contains(part), "{:?} lacks {part:?}", failure.message);
            assert_eq!(failure.code, 125);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let dir = bundle();
        let bundle = dir.path().to_str().unwrap();
        let good = ["run", "--id", "a", "--bundle", bundle, "--runtime", "sh"];
        let with = |more: &[&str]| run(&[&good[..], more].concat()).unwrap_err();
        for (failure, part) in [
            (run(&[]).unwrap_err(), "run or create"),
            (run(&["walk"]).unwrap_err(), "walk"),
            (run(&["run", "again"]).unwrap_err(), "again"),
            (run(&["run", "--id", "a", "--id", "b"]).unwrap_err(), "twice"),
            (run(&["run", "--bundle", bundle]).unwrap_err(), "--id is missing"),
            (run(&["run", "--id", "a"]).unwrap_err(), "what to run is missing: --bundle"),
            (run(&["run", "--id", "a/b", "--bundle", bundle]).unwrap_err(), "'/'"),
            (run(&["run", "--id", "a", "--bundle", "/nonexistent"]).unwrap_err(), "/nonexistent"),
            (run(&["run", "--id", "a", "--bundle", "/etc/passwd"]).unwrap_err(), "not a directory"),
            (run(&["run", "--id", "a", "--bundle", "/etc"]).unwrap_err(), "no config.json"),
            (with(&["--runtime", "no-such-runtime"]), "runtime no-such-runtime not found: install it or name it"),
            (with(&["--runtime", "/etc/passwd"]), "not executable"),
            (with(&["--create-timeout", "0s"]), "longer than zero"),
            (with(&["--create-timeout", "soon"]), "120s"),
            (with(&["--stdio", "tty"]), "tty"),
            (with(&["--on-shim-death", "cry"]), "adopt or kill"),
            (with(&["--state-dir", "/s", "--data-dir", "/s"]), "two directories"),
            (with(&["--cleanup-path", "/etc"]), "top level"),
            (with(&["--cleanup-mount", "/"]), "root directory"),
            (with(&["--cleanup-netns", "/a/../b"]), "'..'"),
            (with(&["--cleanup-exec", ""]), "--cleanup-exec"),
            (with(&["--stdio", "fds:0,1"]), "fds:IN,OUT,ERR"),
            (with(&["--stdio", "fds:0,1,1000000"]), "1000000"),
            (with(&["--stdio", "file:/nonexistent/x"]), "/nonexistent/x"),
            (with(&["--unknown"]), "--unknown"),
            (with(&["--id"]), "--id"),
        ] {
            assert!(failure.message.contains(part), "{:?} lacks {part:?}", failure.message);
            assert_eq!(failure.code, 125);
        }
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        assert!(matches!(run(&["--help"]), Ok(Command::Help)));
        assert!(matches!(run(&["run", "--version"]), Ok(Command::Version)));
    }
}
