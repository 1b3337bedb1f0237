//! The command line, checked as early as can be.

use crate::{
    report::Failure,
    stdio::{self, Streams},
};
use lexopt::{Arg, Parser, ValueExt};
use sexton_common::{
    ContainerId, Layout,
    cleanup::Cleanup,
    launch::{Mode, OnShimDeath, Stdio},
    runtime::Runtime,
};
use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

/// What `--help` says.
pub const HELP: &str = "\
Usage: sexton-shim run|create --id ID --bundle DIR [OPTION]...

Creates an OCI container, with `run` starts it too, and stays behind as its parent. Prints one line of JSON
and returns once that is done; when the container's process ends, its exit record is written to the file and
to the FIFO that this line names.

  --id ID                  the container's name: letters, digits, '_', '+', '-' and '.'
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
    /// Its bundle, absolute.
    pub bundle: PathBuf,
    /// Its runtime, found.
    pub runtime: Runtime,
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
    bundle: Option<PathBuf>,
    runtime: Option<PathBuf>,
    root: Option<PathBuf>,
    args: Vec<String>,
    state: Option<PathBuf>,
    stdio: Option<String>,
    timeout: Option<String>,
    on_shim_death: OnShimDeath,
    auto_remove: bool,
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
    while let Some(arg) = parser.next().map_err(usage)? {
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
            Arg::Long("bundle") => given.bundle = Some(path(&mut parser)?),
            Arg::Long("runtime") => given.runtime = Some(path(&mut parser)?),
            Arg::Long("runtime-root") => given.root = Some(path(&mut parser)?),
            Arg::Long("runtime-arg") => given.args.push(text(&mut parser, "--runtime-arg")?),
            Arg::Long("state-dir") => given.state = Some(path(&mut parser)?),
            Arg::Long("data-dir") => given.data = Some(path(&mut parser)?),
            Arg::Long("cleanup-path") => given.cleanup.paths.push(full(path(&mut parser)?)?),
            Arg::Long("cleanup-mount") => given.cleanup.mounts.push(full(path(&mut parser)?)?),
            Arg::Long("cleanup-netns") => given.cleanup.netns.push(full(path(&mut parser)?)?),
            Arg::Long("cleanup-exec") => given.cleanup.exec.push(text(&mut parser, "--cleanup-exec")?),
            Arg::Long("stdio") => given.stdio = Some(text(&mut parser, "--stdio")?),
            Arg::Long("create-timeout") => given.timeout = Some(text(&mut parser, "--create-timeout")?),
            Arg::Long("on-shim-death") => given.on_shim_death = on_shim_death(&text(&mut parser, "--on-shim-death")?)?,
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
        let bundle = bundle(&self.bundle.ok_or_else(|| usage("--bundle is missing"))?)?;
        let program = self.runtime.unwrap_or_else(|| Runtime::default().program);
        let named = program.display().to_string();
        let runtime = Runtime { program, root: self.root, args: self.args };
        let runtime = runtime.resolve().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                Failure::ours(format!("runtime {named} not found: install it or name it with --runtime"))
            }
            io::ErrorKind::PermissionDenied => {
                Failure::ours(format!("runtime {named} is not executable: name a program with --runtime"))
            }
            _ => Failure::ours(format!("runtime {named}: {e}")),
        })?;
        let root = runtime.root.map(|root| utf8(root, "--runtime-root")).transpose()?;
        let runtime = Runtime { program: utf8(runtime.program, "--runtime")?, root, ..runtime };
        let layout = Layout::resolve(self.state, self.data);
        let state = utf8(absolute(layout.state(), "--state-dir")?, "--state-dir")?;
        let layout = Layout::new(state, layout.data().into());
        if layout.state() == layout.data() {
            return Err(usage("--state-dir and --data-dir must be two directories"));
        }
        let cleanup = self.cleanup.checked(&layout).map_err(usage)?;
        let (stdio, streams) = asked.open().map_err(Failure::ours)?;
        let Self { auto_remove, on_shim_death, .. } = self;
        Ok(Plan { id, bundle, runtime, layout, stdio, streams, mode, auto_remove, on_shim_death, timeout, cleanup })
    }
}

fn usage(problem: impl std::fmt::Display) -> Failure {
    Failure::ours(format!("{problem}\nTry 'sexton-shim --help'."))
}

fn text(parser: &mut Parser, option: &str) -> Result<String, Failure> {
    let not_utf8 = |raw: OsString| usage(format!("{option} {raw:?} is not UTF-8"));
    parser.value().map_err(usage)?.into_string().map_err(not_utf8)
}

fn path(parser: &mut Parser) -> Result<PathBuf, Failure> {
    let path: PathBuf = parser.value().map_err(usage)?.parse().map_err(usage)?;
    if path.as_os_str().is_empty() { Err(usage("a path is empty")) } else { Ok(path) }
}

/// Whoever removes it later may have another working directory.
fn full(path: PathBuf) -> Result<PathBuf, Failure> {
    absolute(&path, "--cleanup-*")
}

fn absolute(path: &Path, option: &str) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|e| usage(format!("{option} {}: {e}", path.display())))
}

fn utf8(path: PathBuf, option: &str) -> Result<PathBuf, Failure> {
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

fn bundle(given: &Path) -> Result<PathBuf, Failure> {
    let bundle = utf8(absolute(given, "--bundle")?, "--bundle")?;
    let shown = bundle.display();
    match std::fs::metadata(&bundle) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => {
            return Err(Failure::ours(format!("bundle {shown} is not a directory: name the one with config.json")));
        }
        Err(e) => return Err(Failure::ours(format!("bundle {shown}: {e}: name the directory with config.json"))),
    }
    let config = bundle.join("config.json");
    // A FIFO would be waited for, by us or by the runtime.
    let readable = std::fs::metadata(&config).and_then(|meta| match meta.is_file() {
        true => File::open(&config).map(|_| true),
        false => Ok(false),
    });
    match readable {
        Ok(true) => Ok(bundle),
        Ok(false) => Err(Failure::ours(format!("{} is not a file: is this an OCI bundle?", config.display()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(Failure::ours(format!("bundle {shown} has no config.json: write one, `runc spec` makes a first draft")))
        }
        Err(e) => Err(Failure::ours(format!("read {}: {e}", config.display()))),
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
        assert_eq!(plan.runtime.args, ["--debug", "-x"]);
        assert_eq!(plan.runtime.root.as_deref(), Some(Path::new("/r")));
        assert!(plan.runtime.program.is_absolute());
        assert_eq!((plan.timeout, plan.layout.state()), (Duration::from_millis(500), Path::new("/s")));
        let Command::Launch(plan) = run(&["--id=a", "create", "--bundle", bundle, "--runtime=sh"]).unwrap() else {
            panic!("a launch was expected")
        };
        assert_eq!((plan.mode, plan.timeout), (Mode::Create, Duration::from_secs(120)));
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
            (run(&["run", "--id", "a"]).unwrap_err(), "--bundle is missing"),
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
