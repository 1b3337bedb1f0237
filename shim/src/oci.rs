//! A container that a runtime creates and starts.

use crate::{
    announce,
    args::Plan,
    child::{Answer, Call, End},
    exec_fifo::{ExecFifo, Opened},
    lifecycle::{Birth, Trouble},
    report::Failure,
    stdio::Streams,
    undo, words,
};
use sexton_common::{ContainerId, ExitStatus, Init, Stamp, launch::Mode, runtime::Runtime};
use std::{ffi::OsString, fs, io, os::fd::OwnedFd, path::Path};

impl Birth {
    /// Has `runtime` create what is in `bundle`, and start it if we are to.
    pub fn give_to(&mut self, runtime: &Runtime, bundle: &Path) -> Result<(Init, Option<Stamp>), Trouble> {
        self.create(runtime, bundle)?;
        let (init, pidfd) = self.init()?;
        announce::announce(&self.plan.layout, &self.plan.id, self.generation, &pidfd);
        if self.plan.mode == Mode::Create {
            return Ok((init, None));
        }
        // The moment that is on disk: whoever makes the record, it says the same.
        let started = init.ready;
        match ExecFifo::start(runtime, &self.plan.id, init.process.pid, &pidfd, self.plan.timeout) {
            Some(opened) => self.judge(runtime, opened)?,
            None => self.start(runtime)?,
        }
        Ok((init, Some(started)))
    }

    fn judge(&self, runtime: &Runtime, opened: io::Result<Opened>) -> Result<(), Failure> {
        let doing = doing(runtime, "start", &self.plan.id);
        match opened {
            Ok(Opened::Begun) => Ok(()),
            Ok(Opened::Dead) => Err(Failure::ours(format!("{doing}: its process died before it was the program"))),
            Ok(Opened::Late) => Err(self.too_late(&doing)),
            Err(e) => Err(Failure::ours(format!("{doing}: read its exec FIFO: {e}"))),
        }
    }

    fn start(&mut self, runtime: &Runtime) -> Result<(), Trouble> {
        // Its stderr is not the container's, so it can be heard at once.
        let hear = !matches!(self.plan.streams, Streams::Given(_));
        let answer = self.call(runtime, "start", &[], hear);
        self.verdict(runtime, "start", answer, None)?;
        let _ = fs::remove_file(self.place.files.runtime_log());
        Ok(())
    }

    fn too_late(&self, doing: &str) -> Failure {
        let time = humantime::format_duration(self.plan.timeout);
        let hint = "is something in its way, or does it need a longer --create-timeout?";
        Failure::ours(format!("{doing} did not finish within {time}: {hint}"))
    }

    fn create(&mut self, runtime: &Runtime, bundle: &Path) -> Result<(), Trouble> {
        let dir = self.plan.layout.container(&self.plan.id);
        let options = ["--bundle".into(), bundle.into(), "--pid-file".into(), dir.pid_file().into()];
        let before = self.plan.streams.length();
        let answer = self.call(runtime, "create", &options, false);
        self.verdict(runtime, "create", answer, Some((before, &options)))
    }

    /// The process in the runtime's pid file.
    fn init(&mut self) -> Result<(Init, OwnedFd), Failure> {
        let id = &self.plan.id;
        let failed = |what: &str, e: io::Error| Failure::ours(format!("create {id}: {what}: {e}"));
        let file = self.place.files.pid_file();
        let text = fs::read_to_string(&file).map_err(|e| failed("read the runtime's pid file", e))?;
        let pid = text.trim().parse::<u32>();
        let pid =
            pid.map_err(|e| failed(&format!("understand the runtime's pid file {text:?}"), io::Error::other(e)))?;
        let _ = fs::remove_file(file);
        let _ = fs::remove_file(self.place.files.runtime_log());
        self.known(pid)
    }

    fn call(&self, runtime: &Runtime, verb: &str, options: &[OsString], hear: bool) -> Answer {
        let Plan { id, layout, streams, timeout, .. } = &self.plan;
        let log = layout.container(id).runtime_log();
        let globals = ["--log".into(), log.into(), "--log-format".into(), "json".into()];
        let args = runtime.arguments(&globals, verb, options, id);
        Call { program: &runtime.program, args, streams, hear, timeout: *timeout }.run(&self.home)
    }

    /// What the runtime's end means. Of a creation: how long the output file was before it, and its options.
    fn verdict(
        &mut self,
        runtime: &Runtime,
        verb: &str,
        answer: Answer,
        creation: Option<(u64, &[OsString])>,
    ) -> Result<(), Trouble> {
        let name = name(runtime);
        let doing = doing(runtime, verb, &self.plan.id);
        let (end, status) = match answer.end {
            End::Exited(ExitStatus::Code(0)) => return Ok(()),
            End::TimedOut(cgroups) => {
                self.cgroups.extend(cgroups);
                return Err(Trouble::Failed(self.too_late(&doing)));
            }
            End::NotRun(e) => {
                let program = runtime.program.display();
                return Err(Trouble::Failed(Failure::ours(format!("{doing}: execute {program}: {e}"))));
            }
            End::Exited(status) => (format!("{name} {status}"), status),
        };
        let words = words::of_log(&self.place.files.runtime_log())
            .or_else(|| words::of_output(&answer.words))
            .or_else(|| words::of_output(&self.plan.streams.since(creation.map_or(0, |(before, _)| before))))
            .or_else(|| self.heard_again(runtime, creation?.1));
        let Some(words) = words else {
            let hint = match self.plan.streams {
                Streams::Given(_) => "if it said why, then on the stderr that it was given",
                _ => "it did not say why",
            };
            return Err(Trouble::Failed(Failure::ours(format!("{doing}: {end}: {hint}"))));
        };
        // The same words twice help nobody.
        let plain = words.strip_prefix(&format!("{name} {verb} failed: ")).unwrap_or(&words);
        let code = if matches!(status, ExitStatus::Code(_)) { words::exit_code(&words) } else { 125 };
        let failure = Failure { code, message: format!("{doing}: {plain}") };
        // We looked before, but somebody may have been as quick as we were.
        let not_ours = verb == "create" && words::say_exists(&words);
        Err(if not_ours { Trouble::NotOurs(failure) } else { Trouble::Failed(failure) })
    }

    /// Creates once more, only to hear why that fails: the container's output goes to `/dev/null`, the
    /// runtime's stderr is the same stream, and its words were lost there. A pipe at the first attempt
    /// would have become the container's stderr for good.
    fn heard_again(&self, runtime: &Runtime, options: &[OsString]) -> Option<String> {
        if !matches!(self.plan.streams, Streams::Null) {
            return None;
        }
        undo::delete(runtime, &self.plan.id, &self.home);
        let answer = self.call(runtime, "create", options, true);
        // Whatever came of it, success too: the first attempt has failed and that is what was told.
        undo::delete(runtime, &self.plan.id, &self.home);
        words::of_output(&answer.words)
    }
}

fn name(runtime: &Runtime) -> String {
    runtime.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn doing(runtime: &Runtime, verb: &str, id: &ContainerId) -> String {
    format!("{} {verb} {id}", name(runtime))
}
