//! Runtimes that misbehave: scripts which stand between us and runc.

use crate::{binaries, node::Node};
use sexton_common::runtime::Runtime;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

impl Node {
    /// An executable script.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir().join(name);
        let draft = self.dir().join(format!("{name}.draft"));
        fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        self.copy(&draft, &path);
        path
    }

    /// Copies a program. Not by this process: another thread's fork may hold the copy open for writing for a
    /// moment, and what is open for writing cannot be executed (ETXTBSY).
    ///
    /// # Panics
    /// If it cannot be copied.
    pub fn copy(&self, from: &Path, to: &Path) {
        let copied = Command::new("cp").arg("-p").arg(from).arg(to).status().unwrap();
        assert!(copied.success(), "copy {}", from.display());
    }

    /// runc, but for one verb: that runs `instead`, in which `$runc` is the real one. It goes on as runc if
    /// `instead` does not end the script.
    #[must_use]
    pub fn runtime_but(&self, name: &str, verb: &str, instead: &str) -> Runtime {
        let runc = binaries::runc();
        let text = format!(
            "runc={}\nfor word in \"$@\"; do\n  if [ \"$word\" = {verb} ]; then\n    {instead}\n  fi\ndone\nexec $runc \"$@\"",
            runc.display()
        );
        Runtime { program: self.script(name, &text), ..self.runtime() }
    }
}
