//! What a container runs.

use crate::runtime::Runtime;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

/// What a container runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Workload {
    /// An OCI bundle, created by a runtime.
    Oci {
        /// The bundle.
        bundle: PathBuf,
        /// The runtime that has it.
        runtime: Runtime,
    },
    /// A plain program of the host, a child of the shim.
    Process(Program),
}

/// A plain program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The program and its arguments; one without a `/` is looked for in its `PATH`.
    pub command: Vec<String>,
    /// Variables, `NAME=VALUE`, besides those that its shim has.
    #[serde(default)]
    pub env: Vec<String>,
    /// Its working directory, an absolute path; `/` if `None`.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Who runs it: `NAME`, `UID`, either with `:GROUP` or `:GID`; the shim's user if `None`.
    #[serde(default)]
    pub user: Option<String>,
    /// The cgroup below which it gets one of its own, as a path from the root of every hierarchy; the shim's if `None`.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
}

/// Why a program cannot be run as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProgram {
    /// There is none.
    #[error("the command is empty: give a program, and its arguments after it")]
    NoCommand,
    /// It takes more room than a state file has.
    #[error("command, variables and paths take {0} bytes together, and {max} are allowed: put some of it into a file", max = Program::BYTES)]
    TooLong(usize),
    /// The kernel knows no such text.
    #[error("{0} has a NUL byte in it: no program can get that")]
    Nul(&'static str),
    /// A variable without a value, or without a name.
    #[error("the variable {0:?} is not NAME=VALUE: write NAME= for an empty one")]
    NoVariable(String),
    /// The collector has another working directory than whoever asks.
    #[error("the working directory {} must be an absolute path", .0.display())]
    RelativeCwd(PathBuf),
    /// It would not be its own.
    #[error("the cgroup {0:?} must be a path below the root of the hierarchies, without '..': as /jobs/nightly")]
    BadCgroup(PathBuf),
    /// Nobody.
    #[error("the user {0:?} must be NAME or UID, with :GROUP or :GID if wanted")]
    BadUser(String),
}

impl Program {
    /// How long all of it together may be, with one byte more for each word.
    pub const BYTES: usize = 24 * 1024;

    /// Whether it makes sense; nothing is looked up.
    ///
    /// # Errors
    /// What a person has to change.
    pub fn check(&self) -> Result<(), BadProgram> {
        let Self { command, env, cwd, user, cgroup } = self;
        let paths = [("the working directory", cwd), ("the cgroup", cgroup)];
        let paths = paths.into_iter().filter_map(|(what, path)| Some((what, path.as_ref()?.to_string_lossy())));
        let words = command.iter().map(|word| ("the command", word)).chain(env.iter().map(|v| ("a variable", v)));
        let words = words.chain(user.iter().map(|user| ("the user", user)));
        let words = words.map(|(what, word)| (what, word.into())).chain(paths);
        let mut length = 0;
        for (what, word) in words {
            length += word.len() + 1;
            if word.contains('\0') {
                return Err(BadProgram::Nul(what));
            }
        }
        if command.first().is_none_or(String::is_empty) {
            return Err(BadProgram::NoCommand);
        }
        if length > Self::BYTES {
            return Err(BadProgram::TooLong(length));
        }
        if let Some(bad) = env.iter().find(|variable| variable.find('=').is_none_or(|at| at == 0)) {
            return Err(BadProgram::NoVariable(bad.clone()));
        }
        if let Some(cwd) = cwd.as_ref().filter(|cwd| !cwd.is_absolute()) {
            return Err(BadProgram::RelativeCwd(cwd.clone()));
        }
        let names = |path: &Path| path.components().any(|part| matches!(part, Component::Normal(_)));
        let climbs = |path: &Path| path.components().any(|part| part == Component::ParentDir);
        if let Some(bad) = cgroup.as_ref().filter(|path| !names(path) || climbs(path)) {
            return Err(BadProgram::BadCgroup(bad.clone()));
        }
        let halves = |user: &str| user.split(':').count() <= 2 && user.split(':').all(|half| !half.is_empty());
        if let Some(bad) = user.as_ref().filter(|user| !halves(user)) {
            return Err(BadProgram::BadUser(bad.clone()));
        }
        Ok(())
    }
}

impl Workload {
    /// Who has it, if a runtime does.
    #[must_use]
    pub fn runtime(&self) -> Option<&Runtime> {
        match self {
            Self::Oci { runtime, .. } => Some(runtime),
            Self::Process(_) => None,
        }
    }

    /// Its bundle, if it has one.
    #[must_use]
    pub fn bundle(&self) -> Option<&Path> {
        match self {
            Self::Oci { bundle, .. } => Some(bundle),
            Self::Process(_) => None,
        }
    }

    /// The program, if it is one.
    #[must_use]
    pub fn program(&self) -> Option<&Program> {
        match self {
            Self::Oci { .. } => None,
            Self::Process(program) => Some(program),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_said() {
        let good = Program {
            command: vec!["sh".into(), String::new()],
            env: vec!["A=".into(), "B=x=y".into()],
            cwd: Some("/".into()),
            user: Some("1:2".into()),
            cgroup: Some("jobs/./x".into()),
        };
        assert_eq!(good.check(), Ok(()));
        let with = |change: &dyn Fn(&mut Program)| {
            let mut program = good.clone();
            change(&mut program);
            program.check().map_err(|e| e.to_string())
        };
        type Change<'a> = &'a dyn Fn(&mut Program);
        let wrong: [(Change<'_>, &str); 17] = [
            (&|p| p.command.clear(), "is empty"),
            (&|p| p.command = vec![String::new()], "is empty"),
            (&|p| p.command.push("a\0b".into()), "the command has a NUL"),
            (&|p| p.command.push("x".repeat(Program::BYTES)), "bytes together"),
            (&|p| p.command = vec!["x".into(); Program::BYTES], "bytes together"),
            (&|p| p.env.push("A=\0".into()), "a variable has a NUL"),
            (&|p| p.env.push("A".into()), "not NAME=VALUE"),
            (&|p| p.env.push("=A".into()), "not NAME=VALUE"),
            (&|p| p.cwd = Some("tmp".into()), "absolute"),
            (&|p| p.cwd = Some("/a\0".into()), "NUL"),
            (&|p| p.cgroup = Some("/a/../../b".into()), "'..'"),
            (&|p| p.cgroup = Some("/".into()), "below the root"),
            (&|p| p.cgroup = Some("".into()), "below the root"),
            (&|p| p.user = Some("".into()), "NAME or UID"),
            (&|p| p.user = Some(":1".into()), "NAME or UID"),
            (&|p| p.user = Some("1:".into()), "NAME or UID"),
            (&|p| p.user = Some("a:b:c".into()), "NAME or UID"),
        ];
        for (change, part) in wrong {
            let said = with(change).unwrap_err();
            assert!(said.contains(part), "{said:?} lacks {part:?}");
        }
    }
}
