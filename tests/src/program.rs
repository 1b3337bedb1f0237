//! Plain programs, launched by a node's collector or by a shim alone.

use crate::{Ended, Node, binaries, run, shim::launched};
use rustix::fs::{CWD, FileType, mknodat};
use sexton_common::{
    ContainerId,
    launch::Mode,
    runtime::Runtime,
    wire::{ApiError, LaunchRequest, Launched},
    workload::Program,
};
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

impl Node {
    /// What to ask for to launch a program.
    #[must_use]
    pub fn program_request(&self, id: &ContainerId, mode: Mode, words: &[&str]) -> LaunchRequest {
        let command = words.iter().map(ToString::to_string).collect();
        LaunchRequest {
            runtime: Runtime::default(),
            program: Some(Program { command, ..Program::default() }),
            ..self.launch_request(id, Path::new(""), mode)
        }
    }

    /// Launches it, changed as one likes.
    ///
    /// # Errors
    /// What the collector answered.
    #[track_caller]
    pub fn launch_program(
        &self,
        id: &ContainerId,
        mode: Mode,
        words: &[&str],
        change: impl FnOnce(&mut Program),
    ) -> Result<Launched, ApiError> {
        let mut request = self.program_request(id, mode, words);
        change(request.program.as_mut().unwrap());
        self.launch(request)
    }

    /// Has the collector run a shell's script as a plain program.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn run_sh(&self, id: &ContainerId, script: &str) -> Launched {
        let launched = self.launch_program(id, Mode::Run, &["sh", "-c", script], |_| ());
        launched.unwrap_or_else(|e| panic!("run {id}: {e}: {}", self.words()))
    }

    /// `sexton-shim VERB` with the node's directories and an id; the program is still missing.
    #[must_use]
    pub fn shim_alone(&self, verb: &str, id: &ContainerId) -> Command {
        let mut command = Command::new(binaries::shim());
        command.args([verb, "--id", id.as_str(), "--state-dir"]).arg(self.layout().state());
        command.arg("--data-dir").arg(self.layout().data());
        command.env("SEXTON_TEST_NODE", self.prefix()).env_remove("SEXTON_STATE_DIR");
        command
    }

    /// Runs a shell's script as a plain program of a shim that this test has executed.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn shim_sh(&self, verb: &str, id: &ContainerId, script: &str) -> Launched {
        launched(&run(self.shim_alone(verb, id).args(["--", "sh", "-c", script])).ok())
    }

    /// `sexton VERB ID OPTIONS -- WORDS`, to its end.
    #[track_caller]
    pub fn sexton_program(&self, verb: &str, id: &ContainerId, options: &[&str], words: &[&str]) -> Ended {
        self.sexton(&[&[verb, id.as_str()], options, &["--"], words].concat())
    }

    /// A FIFO of the node's that stays open for both directions until it is dropped.
    ///
    /// # Panics
    /// If it cannot be made.
    #[track_caller]
    #[must_use]
    pub fn door(&self, name: &str) -> Door {
        let path = self.dir().join(name);
        mknodat(CWD, &path, FileType::Fifo, rustix::fs::Mode::from(0o666), 0).unwrap();
        Door { fifo: File::options().read(true).write(true).open(&path).unwrap(), path }
    }
}

/// What programs wait at.
#[derive(Debug)]
pub struct Door {
    fifo: File,
    path: PathBuf,
}

impl Door {
    /// A script that ends as the test says.
    #[must_use]
    pub fn script(&self) -> String {
        format!("read code < {}; exit $code", self.path.display())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Nobody writes there any more: who reads is at an end.
    pub fn end(self) {
        drop(self.fifo);
    }

    /// One of those who read there gets this code.
    ///
    /// # Panics
    /// If it cannot be told.
    pub fn exit(&self, code: u8) {
        (&self.fifo).write_all(format!("{code}\n").as_bytes()).unwrap();
    }
}
