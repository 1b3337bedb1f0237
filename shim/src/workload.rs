//! What the command line says is to be run, checked as early as can be.

use crate::{
    args::{absolute, usage, utf8},
    report::Failure,
    user::{self, Who},
};
use sexton_common::{
    runtime::Runtime,
    workload::{Program, Workload},
};
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

/// As it was given.
#[derive(Debug, Default)]
pub struct GivenWorkload {
    pub bundle: Option<PathBuf>,
    pub runtime: Option<PathBuf>,
    pub root: Option<PathBuf>,
    pub args: Vec<String>,
    pub command: Option<Vec<String>>,
    pub env: Vec<String>,
    pub cwd: Option<PathBuf>,
    pub user: Option<String>,
    pub cgroup: Option<PathBuf>,
}

impl GivenWorkload {
    /// What is run, and who runs it if not we.
    pub fn checked(self) -> Result<(Workload, Option<Who>), Failure> {
        let Self { bundle, runtime, root, args, command, env, cwd, user, cgroup } = self;
        match (bundle, command) {
            (None, None) => Err(usage("what to run is missing: --bundle DIR, or -- COMMAND")),
            (Some(_), Some(_)) => Err(usage("--bundle and a command exclude each other")),
            (Some(given), None) => {
                let is_given = [
                    ("--env", !env.is_empty()),
                    ("--cwd", cwd.is_some()),
                    ("--user", user.is_some()),
                    ("--cgroup", cgroup.is_some()),
                ];
                if let Some((option, _)) = is_given.into_iter().find(|(_, given)| *given) {
                    return Err(usage(format!("{option} is for a program: of a bundle, config.json says that")));
                }
                Ok((oci(&given, runtime, root, args)?, None))
            }
            (None, Some(command)) => {
                if runtime.is_some() || root.is_some() || !args.is_empty() {
                    return Err(usage(
                        "--runtime, --runtime-root and --runtime-arg are for a bundle: a program has no runtime",
                    ));
                }
                let cwd = cwd.map(|cwd| utf8(cwd, "--cwd")).transpose()?;
                let cgroup = cgroup.map(|cgroup| utf8(cgroup, "--cgroup")).transpose()?;
                let program = Program { command, env, cwd, user, cgroup };
                program.check().map_err(usage)?;
                let who = program.user.as_deref().map(user::find).transpose().map_err(Failure::ours)?;
                Ok((Workload::Process(program), who))
            }
        }
    }
}

fn oci(given: &Path, runtime: Option<PathBuf>, root: Option<PathBuf>, args: Vec<String>) -> Result<Workload, Failure> {
    let bundle = bundle(given)?;
    let program = runtime.unwrap_or_else(|| Runtime::default().program);
    let named = program.display().to_string();
    let runtime = Runtime { program, root, args };
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
    Ok(Workload::Oci { bundle, runtime })
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
