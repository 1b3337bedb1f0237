//! runc and whatever has its command line.
//!
//! The runtime is not trusted: it may hang, flood us with words, leave children behind, or say that all is
//! well when it is not. It runs in a process group of its own, which is killed at the deadline, and callers
//! look for themselves at what it has done (I5).

use crate::{
    gc::{FOR, MARK},
    sys,
};
use rustix::process::{Pid, Rlimit, Signal, kill_process_group};
use sexton_common::{ContainerId, ProcessIdentity, runtime::Runtime};
use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};

/// The most of a runtime's words that are kept.
const WORDS: usize = 4096;

/// How many runtimes run at once.
///
/// Each is some 10 MB and a good part of a core. The few places in the `fast` lane keep a thousand exits at
/// once from starting a thousand of them; whoever is not done after [`Lanes::SLOW`] leaves it, so that hung
/// ones do not hold up the others (I7), and only the wide lane bounds those.
#[derive(Clone, Debug)]
pub struct Lanes {
    fast: Arc<Semaphore>,
    wide: Arc<Semaphore>,
}

impl Lanes {
    const FAST: usize = 16;
    const SLOW: Duration = Duration::from_secs(1);

    /// With so many places in the wide lane.
    #[must_use]
    pub fn new(wide: usize) -> Self {
        Self { fast: Arc::new(Semaphore::new(wide.min(Self::FAST))), wide: Arc::new(Semaphore::new(wide)) }
    }

    /// A place in both lanes; the first is given back by itself once it was held for too long.
    pub async fn enter(&self) -> Place {
        let wide = self.wide.clone().acquire_owned().await.ok();
        let fast = self.fast.clone().acquire_owned().await.ok();
        Place { _wide: wide, fast }
    }
}

/// A place among those who may run a runtime.
#[derive(Debug)]
pub struct Place {
    _wide: Option<OwnedSemaphorePermit>,
    fast: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Does `work`, giving the fast lane's place back when it takes long.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if self.fast.is_some() {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(Lanes::SLOW) => self.fast = None,
            }
        }
        work.await
    }
}

/// How a runtime's command went.
#[derive(Debug)]
pub struct Outcome {
    /// Whether it ended with 0.
    pub ok: bool,
    /// Whether it ended by itself, with whatever code. One that could not be executed, was killed or hung has
    /// said nothing, not even no.
    pub answered: bool,
    /// What it said on stderr, trimmed, or what became of it.
    pub words: String,
    /// The end of what it said, whatever became of it.
    pub said: String,
    /// It was killed, and is not dead.
    pub left: Option<ProcessIdentity>,
}

impl Outcome {
    /// Of one that did not end by itself.
    fn none(words: String, said: String) -> Self {
        Self { ok: false, answered: false, words, said, left: None }
    }
}

/// What became of a program.
enum Ended {
    /// It ended by itself.
    Itself(Outcome),
    /// It had to be killed.
    Killed {
        /// What it had said.
        said: String,
        /// It, if it is not dead.
        left: Option<ProcessIdentity>,
    },
}

/// Runs runtimes.
#[derive(Clone, Debug)]
pub struct Runtimes {
    nofile: Rlimit,
    state: PathBuf,
}

impl Runtimes {
    /// Its children get `nofile` as their limit; those that clean up can be told by this state directory.
    #[must_use]
    pub fn new(nofile: Rlimit, state: &Path) -> Self {
        Self { nofile, state: state.into() }
    }

    /// The limit of descriptors for whatever is not the collector itself.
    #[must_use]
    pub fn nofile(&self) -> Rlimit {
        self.nofile
    }

    /// Runs `verb` for the container. Ends at the deadline at the latest: the process group is killed then,
    /// as it is when the future is dropped.
    pub async fn run(
        &self,
        runtime: &Runtime,
        verb: &str,
        options: &[&str],
        id: &ContainerId,
        deadline: Duration,
    ) -> Outcome {
        let options: Vec<OsString> = options.iter().map(OsString::from).collect();
        let mut command = Command::new(&runtime.program);
        command
            .args(runtime.arguments(&[], verb, &options, id))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .current_dir("/")
            .process_group(0);
        // Somebody waits for a start, and what its hooks leave running belongs to the container.
        if verb != "start" {
            command.env(MARK, &self.state).env(FOR, id.as_str());
        }
        let name = || format!("{} {verb} {id}", runtime.program.display());
        match self.spawn_and_wait(&mut command, deadline).await {
            Ok(Ended::Itself(mut outcome)) => {
                if !outcome.ok {
                    outcome.words = format!("{}: {}", name(), outcome.words);
                }
                outcome
            }
            Ok(Ended::Killed { said, left }) => {
                let colon = if said.is_empty() { "" } else { ": " };
                let words = format!("{} was not done after {deadline:?}: killed{colon}{said}", name());
                Outcome { left, ..Outcome::none(words, said) }
            }
            Err(e) => Outcome::none(format!("run {}: {e}", name()), String::new()),
        }
    }

    /// Runs a command of `/bin/sh`, with these variables and what it says kept, wherever it says it. Otherwise as
    /// [`Runtimes::run`].
    pub async fn shell(&self, text: &str, variables: &[(&str, String)], deadline: Duration) -> Outcome {
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("exec >&2\n{text}"))
            .env(MARK, &self.state)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .current_dir("/")
            .process_group(0);
        match self.spawn_and_wait(&mut command, deadline).await {
            Ok(Ended::Itself(outcome)) => outcome,
            Ok(Ended::Killed { said, left }) => {
                Outcome { left, ..Outcome::none(format!("not done after {deadline:?}: killed"), said) }
            }
            Err(e) => Outcome::none(format!("run /bin/sh: {e}"), String::new()),
        }
    }

    async fn spawn_and_wait(&self, command: &mut Command, deadline: Duration) -> io::Result<Ended> {
        sys::prepare_child(command, self.nofile);
        let mut child = command.spawn()?;
        let stderr = child.stderr.take();
        let mut group = Group(child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)));
        let mut words = Vec::new();
        let ended = {
            // A child of the runtime's may keep the pipe open: the runtime's own end is what counts.
            let mut reading = std::pin::pin!(read_some(stderr, &mut words));
            let work = async {
                tokio::select! {
                    status = child.wait() => {
                        let _ = timeout(Duration::from_millis(50), reading).await;
                        status
                    }
                    () = &mut reading => child.wait().await,
                }
            };
            timeout(deadline, work).await
        };
        let said = trimmed(&words);
        match ended {
            Ok(status) => {
                group.0 = None;
                let status = status?;
                let words = if said.is_empty() { status.to_string() } else { said.clone() };
                let (ok, answered) = (status.success(), status.code().is_some());
                Ok(Ended::Itself(Outcome { ok, answered, words, said, left: None }))
            }
            Err(_late) => {
                // It is not reaped yet, so its pid is nobody else's.
                let leader = child.id().and_then(|pid| ProcessIdentity::of(pid).ok());
                drop(group);
                // A process in D state does not die of SIGKILL; tokio reaps it when it does.
                let dead = timeout(Duration::from_millis(500), child.wait()).await.is_ok();
                Ok(Ended::Killed { said, left: leader.filter(|_| !dead) })
            }
        }
    }
}

async fn read_some(from: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) {
    if let Some(mut from) = from {
        // The last words are why it failed. All is read, or a talkative program would wait for us for ever.
        while from.read_buf(into).await.is_ok_and(|count| count > 0) {
            if into.len() > 4 * WORDS {
                into.drain(..into.len() - WORDS);
            }
        }
    }
}

/// The end of it.
fn trimmed(words: &[u8]) -> String {
    let end = words.get(words.len().saturating_sub(WORDS)..).unwrap_or_default();
    let text = String::from_utf8_lossy(end);
    let cut = if end.len() < words.len() { "..." } else { "" };
    format!("{cut}{}", text.trim())
}

/// A process group whose leader is not reaped yet; killed when this is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

    fn script(dir: &tempfile::TempDir, text: &str) -> Runtime {
        let [draft, program] = ["draft", "runtime"].map(|name| dir.path().join(name));
        fs::write(&draft, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        // Another test's fork may have what this process has written open for writing for a moment: ETXTBSY.
        let copied = std::process::Command::new("cp").arg("-p").args([&draft, &program]).status().unwrap();
        assert!(copied.success());
        Runtime { program, ..Runtime::default() }
    }

    async fn run(text: &str, deadline: Duration) -> Outcome {
        let dir = tempfile::tempdir().unwrap();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        Runtimes::new(limit, dir.path())
            .run(&script(&dir, text), "delete", &["--force"], &"c".parse().unwrap(), deadline)
            .await
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn words_and_status_come_back() {
        assert!(run("test \"$*\" = 'delete --force c'", LONG).await.ok);
        let outcome = run("echo no way >&2; exit 3", LONG).await;
        assert!(!outcome.ok && outcome.answered && outcome.words.ends_with("delete c: no way"), "{outcome:?}");
        let outcome = run("kill -9 $$", LONG).await;
        assert!(!outcome.ok && !outcome.answered, "{outcome:?}");
        let outcome = run("exit 3", LONG).await;
        assert!(outcome.words.contains('3'), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_flood_of_words_is_cut_and_does_not_block() {
        let outcome = run("yes | head -c 1000000 >&2; echo the reason >&2; exit 1", LONG).await;
        assert!(!outcome.ok && outcome.words.len() < 6000, "{}", outcome.words.len());
        assert!(outcome.words.ends_with("the reason"), "{}", outcome.words);
    }

    #[tokio::test]
    async fn who_keeps_the_pipe_open_does_not_hold_us() {
        let before = Instant::now();
        let outcome = run("sleep 20 & exit 0", LONG).await;
        assert!(outcome.ok && before.elapsed() < Duration::from_secs(10));
    }

    #[tokio::test]
    async fn a_hung_runtime_dies_with_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let [pid, draft] = ["pid", "pid.draft"].map(|name| dir.path().join(name));
        let (draft, at) = (draft.display(), pid.display());
        let text = format!("trap '' TERM; sleep 1000 & echo $! > {draft}; mv {draft} {at}; wait");
        // Longer until it has got that far.
        let mut deadline = Duration::from_millis(700);
        while !pid.exists() && deadline < LONG {
            let outcome = run(&text, deadline).await;
            assert!(!outcome.ok && !outcome.answered && outcome.words.contains("killed"), "{outcome:?}");
            deadline *= 3;
        }
        let pid: u32 = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
        let gone = async {
            while sexton_common::identity::Stat::of(pid).unwrap().is_some_and(|stat| !stat.is_dead()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, gone).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_leave_the_fast_lane() {
        let lanes = Lanes { fast: Arc::new(Semaphore::new(1)), wide: Arc::new(Semaphore::new(2)) };
        let mut place = lanes.enter().await;
        let slow = tokio::spawn(async move { place.during(sleep(Duration::from_secs(60))).await });
        tokio::task::yield_now().await;
        let before = tokio::time::Instant::now();
        let _next = lanes.enter().await;
        assert!(before.elapsed() < Duration::from_secs(2));
        assert!(timeout(Duration::from_secs(5), lanes.enter()).await.is_err(), "the wide lane is full");
        slow.await.unwrap();
    }
}
