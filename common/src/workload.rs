//! What a container runs.

use crate::runtime::Runtime;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

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
    /// Its cgroup, as a path below the root of every hierarchy; one of its own below the shim's if `None`.
    #[serde(default)]
    pub cgroup: Option<PathBuf>,
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
