//! A node and the containers of one point: each leaves a mark as its first act, and ends as it is told.

use crate::{bundle::Bundle, node::Node};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sexton_common::ContainerId;
use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
};

const SCRIPT: &str = ": > /gate/marker; read code < /gate/code; exit $code";

/// A container of a point.
#[derive(Debug)]
pub struct Party {
    /// Its name.
    pub id: ContainerId,
    /// What it is to exit with.
    pub code: u8,
    bundle: PathBuf,
    share: PathBuf,
    gate: Option<File>,
}

impl Party {
    /// With a bundle of its own.
    #[must_use]
    pub fn new(node: &Node, name: &str) -> Self {
        Self::with(node, name, |bundle| bundle)
    }

    /// With a bundle that is changed like this.
    #[must_use]
    pub fn with(node: &Node, name: &str, change: impl FnOnce(Bundle) -> Bundle) -> Self {
        let share = node.dir().join("share").join(name);
        fs::create_dir_all(&share).unwrap();
        let bundle = change(Bundle::new(node, name).bind(&share, "/gate").sh(SCRIPT)).write();
        Self { id: node.id(name), code: 0, bundle, share, gate: None }
    }

    /// Its bundle.
    #[must_use]
    pub fn bundle(&self) -> &std::path::Path {
        &self.bundle
    }

    /// What it does, as a plain program.
    #[must_use]
    pub fn words(&self) -> [String; 3] {
        ["sh".into(), "-c".into(), SCRIPT.replace("/gate/", &format!("{}/", self.share.display()))]
    }

    /// Its next run exits with `code` at once.
    pub fn exits(&mut self, code: u8) {
        self.forget(code);
        fs::write(self.share.join("code"), format!("{code}\n")).unwrap();
    }

    /// Its next run lives until [`Party::open`], and exits with `code` then.
    pub fn waits(&mut self, code: u8) {
        self.forget(code);
        let path = self.share.join("code");
        mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        self.gate = Some(File::options().read(true).write(true).open(path).unwrap());
    }

    fn forget(&mut self, code: u8) {
        self.code = code;
        self.gate = None;
        for name in ["marker", "code"] {
            let _ = fs::remove_file(self.share.join(name));
        }
    }

    /// Lets it exit, if it waits.
    pub fn open(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.write_all(format!("{}\n", self.code).as_bytes()).unwrap();
        }
    }

    /// Whether its user's process has run.
    #[must_use]
    pub fn has_run(&self) -> bool {
        self.share.join("marker").exists()
    }
}
