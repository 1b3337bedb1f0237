//! `sexton-shim`, called as an engine calls it.

use crate::{
    binaries,
    command::{Ended, run},
    node::Node,
};
use sexton_common::{ContainerId, wire::Launched};
use std::{path::Path, process::Command};

impl Node {
    /// `sexton-shim VERB` with the node's directories, an id and a bundle.
    #[must_use]
    pub fn shim_command(&self, verb: &str, id: &str, bundle: &Path) -> Command {
        let mut command = Command::new(binaries::shim());
        command.args([verb, "--id", id, "--bundle"]).arg(bundle);
        command.arg("--runtime-root").arg(self.runtime_root());
        command.arg("--state-dir").arg(self.layout().state());
        command.arg("--data-dir").arg(self.layout().data());
        command.env("SEXTON_TEST_NODE", self.prefix()).env_remove("SEXTON_STATE_DIR");
        command
    }

    /// Runs `sexton-shim VERB`, which must succeed; what it printed.
    ///
    /// # Panics
    /// If it fails, or prints more or less than one JSON line.
    #[track_caller]
    pub fn shim(&self, verb: &str, id: &ContainerId, bundle: &Path) -> Launched {
        launched(&run(&mut self.shim_command(verb, id.as_str(), bundle)).ok())
    }

    /// It failed with that code, said those words and nothing else, and nothing is left.
    ///
    /// # Panics
    /// If it did not, or something is.
    #[track_caller]
    pub fn assert_failed(&self, ended: &Ended, code: i32, words: &str) {
        assert_eq!(ended.code(), code, "{ended:?}");
        assert_eq!(ended.stdout, "", "{ended:?}");
        assert!(ended.stderr.contains(words), "{words:?} is not in {ended:?}");
        assert!(ended.stderr.ends_with('\n'), "{ended:?}");
        self.assert_clean();
    }

    /// `runc VERB ARGS` on the node's root.
    #[must_use]
    pub fn runc(&self, verb: &str, args: &[&str]) -> Command {
        let mut command = Command::new(binaries::runc());
        command.arg("--root").arg(self.runtime_root()).arg(verb).args(args);
        command
    }

    /// What an engine without a collector does after an exit: the runtime forgets it, and its record goes.
    ///
    /// # Panics
    /// If something is not there.
    #[track_caller]
    pub fn bury(&self, id: &ContainerId) {
        let _ = run(&mut self.runc("delete", &[id.as_str()])).ok();
        std::fs::remove_dir_all(self.layout().container(id).path()).unwrap();
    }

    /// `sexton ARGS` on the node's state directory.
    #[must_use]
    pub fn sexton_command<A: AsRef<std::ffi::OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(binaries::sexton());
        command.arg("--state-dir").arg(self.layout().state()).args(args);
        command.envs(self.env.iter().cloned()).env_remove("SEXTON_STATE_DIR");
        command
    }

    /// Runs `sexton ARGS` to its end.
    #[track_caller]
    pub fn sexton<A: AsRef<std::ffi::OsStr>>(&self, args: &[A]) -> Ended {
        run(&mut self.sexton_command(args))
    }
}

/// The one line that the shim printed.
///
/// # Panics
/// If it is more or less than one JSON line.
#[track_caller]
#[must_use]
pub fn launched(ended: &Ended) -> Launched {
    assert_eq!(ended.stdout.matches('\n').count(), 1, "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"))
}
