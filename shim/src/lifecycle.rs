//! From nothing to a container that runs, or back to nothing.

use crate::{
    announce,
    args::Plan,
    child::{Answer, Call, End},
    home::Home,
    lasting,
    place::{Grave, NoPlace, Place},
    report::Failure,
    stdio::Streams,
    sys::{self, Which},
    undo,
    watch::Watch,
    words,
};
use sexton_common::{
    ExitStatus, Init, Launch, ProcessIdentity, Stamp,
    cgroup::{self, CgroupDir},
    durable,
    identity::Executable,
    launch::{Mode, Origin},
    restart::RestartPolicy,
    wire::Launched,
    workload::Workload,
};
use std::{ffi::OsString, fs, io};

/// Why nothing was launched, and what of it could not be removed from a disk that fails.
#[derive(Debug)]
pub struct Failed(pub Failure, pub Option<Box<Grave>>);

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self(failure, None)
    }
}

/// Launches the container. On failure nothing is left of it, or what is named.
pub fn launch(plan: Plan, home: Home) -> Result<(Launched, Watch), Failed> {
    let doing = format!("launch {}", plan.id);
    let failed = |e: io::Error| Failure::ours(format!("{doing}: {e}"));
    // The runtime knows it then too, but the way out is another.
    let there = |path: &std::path::Path| path.symlink_metadata().is_ok();
    // What is in GC cannot be removed either: that is said first.
    if there(plan.layout.container(&plan.id).path()) && !there(&plan.layout.gc_entry(&plan.id)) {
        return Err(Failure::ours(NoPlace::Taken(plan.id).to_string()).into());
    }
    if lasting::in_gc(&plan) {
        return Err(Failure::ours(NoPlace::InGc(plan.id).to_string()).into());
    }
    if undo::is_known(&plan.runtime, &plan.id, &home) {
        return Err(Failure::ours(format!(
            "container {} exists in runtime {} already: delete it there, or choose another id",
            plan.id,
            plan.runtime.program.display()
        ))
        .into());
    }
    let created = Stamp::now();
    let launch = Launch {
        id: plan.id.clone(),
        generation: created.boot_ns / 1000,
        workload: Workload::Oci { bundle: plan.bundle.clone(), runtime: plan.runtime.clone() },
        stdio: plan.stdio.clone(),
        mode: plan.mode,
        auto_remove: plan.auto_remove,
        on_shim_death: plan.on_shim_death,
        shim: ProcessIdentity::of(home.pid).map_err(failed)?,
        origin: Origin::Sexton,
        cgroups: cgroup::own().map_err(failed)?,
        created,
        cleanup: plan.cleanup.clone(),
        restart: RestartPolicy::No,
        timeout_ms: Launch::TIMEOUT_MS,
    };
    let state = plan.layout.state();
    let place = Place::prepare(&plan, &launch).map_err(|(e, grave)| {
        let failure = match e {
            NoPlace::Taken(_) | NoPlace::InGc(_) => Failure::ours(e.to_string()),
            NoPlace::Failed(..) => {
                Failure::ours(format!("{doing}: {e}: is {} writable, with space left?", state.display()))
            }
        };
        Failed(failure, grave)
    })?;
    let Launch { generation, shim, .. } = launch;
    let mut birth = Birth { plan, home, place, generation, shim, cgroups: Vec::new() };
    match birth.give() {
        Ok((init, started)) => Ok(birth.grow_up(init, started)),
        Err(trouble) => Err(birth.undone(trouble)),
    }
}

/// A container in the making.
struct Birth {
    plan: Plan,
    home: Home,
    place: Place,
    generation: u64,
    shim: ProcessIdentity,
    /// What must be gone if it fails.
    cgroups: Vec<CgroupDir>,
}

/// Why it failed.
enum Trouble {
    /// This, and there is something to clean.
    Failed(Failure),
    /// The runtime has a container of this name, and it is not ours to delete.
    NotOurs(Failure),
}

impl Birth {
    fn give(&mut self) -> Result<(Init, Option<Stamp>), Trouble> {
        self.create()?;
        let (init, pidfd) = self.init().map_err(Trouble::Failed)?;
        announce::announce(&self.plan.layout, &self.plan.id, self.generation, &pidfd);
        if self.plan.mode == Mode::Create {
            return Ok((init, None));
        }
        // The moment that is on disk: whoever makes the record, it says the same.
        let started = init.ready;
        // Its stderr is not the container's, so it can be heard at once.
        let hear = !matches!(self.plan.streams, Streams::Given(_));
        let answer = self.call("start", &[], hear);
        self.verdict("start", answer, 0)?;
        let _ = fs::remove_file(self.place.files.runtime_log());
        Ok((init, Some(started)))
    }

    fn create(&mut self) -> Result<(), Trouble> {
        let options = self.create_options();
        let before = self.plan.streams.length();
        let answer = self.call("create", &options, false);
        self.verdict("create", answer, before)
    }

    fn create_options(&self) -> [OsString; 4] {
        let dir = self.plan.layout.container(&self.plan.id);
        ["--bundle".into(), self.plan.bundle.clone().into(), "--pid-file".into(), dir.pid_file().into()]
    }

    fn call(&self, verb: &str, options: &[OsString], hear: bool) -> Answer {
        let Plan { runtime, id, layout, streams, timeout, .. } = &self.plan;
        let log = layout.container(id).runtime_log();
        let globals = ["--log".into(), log.into(), "--log-format".into(), "json".into()];
        let args = runtime.arguments(&globals, verb, options, id);
        Call { program: &runtime.program, args, streams, hear, timeout: *timeout }.run(&self.home)
    }

    /// What the runtime's end means. `before`: how long the output file was then.
    fn verdict(&mut self, verb: &str, answer: Answer, before: u64) -> Result<(), Trouble> {
        let name = self.plan.runtime.program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let doing = format!("{name} {verb} {}", self.plan.id);
        let (end, status) = match answer.end {
            End::Exited(ExitStatus::Code(0)) => return Ok(()),
            End::TimedOut(cgroups) => {
                self.cgroups.extend(cgroups);
                let time = humantime::format_duration(self.plan.timeout);
                let hint = "is something in its way, or does it need a longer --create-timeout?";
                return Err(Trouble::Failed(Failure::ours(format!("{doing} did not finish within {time}: {hint}"))));
            }
            End::NotRun(e) => {
                let program = self.plan.runtime.program.display();
                return Err(Trouble::Failed(Failure::ours(format!("{doing}: execute {program}: {e}"))));
            }
            End::Exited(status) => (format!("{name} {status}"), status),
        };
        let words = words::of_log(&self.place.files.runtime_log())
            .or_else(|| words::of_output(&answer.words))
            .or_else(|| words::of_output(&self.plan.streams.since(before)))
            .or_else(|| self.heard_again(verb));
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
    fn heard_again(&self, verb: &str) -> Option<String> {
        if verb != "create" || !matches!(self.plan.streams, Streams::Null) {
            return None;
        }
        undo::delete(&self.plan.runtime, &self.plan.id, &self.home);
        let answer = self.call("create", &self.create_options(), true);
        // Whatever came of it, success too: the first attempt has failed and that is what was told.
        undo::delete(&self.plan.runtime, &self.plan.id, &self.home);
        words::of_output(&answer.words)
    }

    /// Finds out what was created and makes it known on disk.
    fn init(&mut self) -> Result<(Init, impl std::os::fd::AsFd + use<>), Failure> {
        let id = &self.plan.id;
        let failed = |what: &str, e: io::Error| Failure::ours(format!("create {id}: {what}: {e}"));
        let files = &self.place.files;
        let text = fs::read_to_string(files.pid_file()).map_err(|e| failed("read the runtime's pid file", e))?;
        let pid = text.trim().parse::<u32>();
        let pid =
            pid.map_err(|e| failed(&format!("understand the runtime's pid file {text:?}"), io::Error::other(e)))?;
        let (process, pidfd) = ProcessIdentity::open_pid(pid).map_err(|e| failed(&format!("open process {pid}"), e))?;
        sys::look(Which::Pid(pid)).map_err(|_| {
            Failure::ours(format!("create {id}: process {pid} did not become the shim's child: its exit status would be lost with this runtime"))
        })?;
        let cgroups = cgroup::of_process(pid).map_err(|e| failed("find its cgroups", e))?;
        self.cgroups.clone_from(&cgroups);
        let _ = fs::remove_file(files.pid_file());
        let _ = fs::remove_file(files.runtime_log());
        let init = Init {
            id: id.clone(),
            generation: self.generation,
            process,
            cgroups,
            ready: Stamp::now(),
            executable: Executable::of(pid),
            shim: self.shim,
            workload: Workload::Oci { bundle: self.plan.bundle.clone(), runtime: self.plan.runtime.clone() },
        };
        durable::write(&files.init(), &init).map_err(|e| failed("write `init` in the state directory", e))?;
        Ok((init, pidfd))
    }

    fn undone(self, trouble: Trouble) -> Failed {
        let Self { plan, home, place, generation, cgroups, .. } = self;
        let (mut failure, ours) = match trouble {
            Trouble::Failed(failure) => (failure, true),
            Trouble::NotOurs(failure) => (failure, false),
        };
        let Err((left, grave)) = undo::undo(&plan, &home, place, generation, cgroups, ours) else {
            return failure.into();
        };
        let (id, who) = (&plan.id, if grave.is_some() { "shim" } else { "collector" });
        failure.message += &format!("\nNot cleaned yet: {left}. The {who} goes on trying; see `sexton inspect {id}`.");
        Failed(failure, grave)
    }

    /// Keeps what the watch needs and drops all else.
    fn grow_up(self, init: Init, started: Option<Stamp>) -> (Launched, Watch) {
        let dir = self.plan.layout.container(&self.plan.id);
        let launched = Launched {
            id: self.plan.id,
            generation: self.generation,
            pid: init.process.pid,
            shim_pid: self.home.pid,
            exit_fifo: dir.exit_fifo(),
            exit_file: dir.exit(),
        };
        (launched, Watch { init, started, place: self.place, signals: self.home.signals })
    }
}
