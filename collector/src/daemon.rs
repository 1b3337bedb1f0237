//! The order of starting and stopping.

use crate::{
    api,
    births::Births,
    blocking::Blocking,
    budget::Budget,
    config::{Args, Config},
    context::{Context, Tools},
    gc::{self, Gc},
    instance::Disk,
    keeper,
    logging::Levels,
    notify, orphans,
    overseer::Overseer,
    probe::Probe,
    runtimes::{Lanes, Runtimes},
    store::Store,
};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::Rlimit,
};
use sd_notify::NotifyState;
use sexton_common::{
    Layout,
    identity::BootId,
    private::{NotPrivate, private_dir},
    unborn::has_open,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    sync::Arc,
    time::Duration,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Stopping takes at most this.
const STOP_WITHIN: Duration = Duration::from_millis(900);
/// How long the look for what a killed predecessor has left may take.
const PREDECESSOR_WITHIN: Duration = Duration::from_secs(5);

/// How long the lock of a dead sextond may still be held by a child of its that has not execed yet.
const INHERITED_FOR: Duration = Duration::from_secs(2);

/// How long one that lives may still be about to die.
const DYING_FOR: Duration = Duration::from_millis(300);

/// Why the collector did not start, or did not stop as it should.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// Something failed.
    #[error("{what}: {source}")]
    Io {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// There is one already.
    #[error("another sextond{pid} serves {state}: stop it first, or use another --state-dir")]
    Second {
        /// Its pid, as it wrote it down.
        pid: String,
        /// The state directory.
        state: String,
    },
    /// Its entries and launches are of containers that we do not see, and may live.
    #[error("another sextond has its data in {0}: stop it first, or use another --data-dir")]
    SharedData(String),
    /// Somebody else could write where we trust what we read.
    #[error("{0}, with --state-dir or --data-dir")]
    NotPrivate(#[from] NotPrivate),
    /// It had to be left.
    #[error("stopped, but not all of it: {0}")]
    Stuck(String),
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Fatal {
    let what = what.into();
    move |source| Fatal::Io { what, source }
}

/// Runs until a signal ends it.
///
/// # Errors
/// See [`Fatal`].
pub async fn run(
    args: &Args,
    config: Config,
    levels: &Levels,
    budget: Budget,
    children_nofile: Rlimit,
    store: Store,
) -> Result<(), Fatal> {
    let layout = &config.layout;
    for dir in [
        layout.state(),
        layout.data(),
        &layout.containers(),
        &layout.quarantine(),
        &layout.gc(),
        &layout.lasting(),
        &layout.instances(),
    ] {
        private_dir(dir)?;
    }
    let _thread = Blocking::keep_a_thread();
    let _lock = lock(layout).await?;
    let _data = lock_data(layout).await?;
    if config.shim.components().count() > 1 && !config.shim.is_file() {
        tracing::warn!(shim = %config.shim.display(), "there is no sexton-shim: launching is refused until there is one");
    }
    // Before the scan: a shim that is born meanwhile finds us listening, or is found (design, section 5).
    let listener = api::bind(layout).map_err(failed(format!("listen on {}", layout.socket().display())))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed("wait for SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed("wait for SIGINT"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed("wait for SIGHUP"))?;

    let cancel = CancellationToken::new();
    let runtimes = Runtimes::new(children_nofile, layout.state());
    let (first, again) = (budget.runtimes.div_ceil(2), budget.runtimes / 2);
    let tools = Tools { runtimes, lanes: Lanes::new(first), blocking: Blocking::default() };
    let tasks = TaskTracker::new();
    // Whatever hangs in the kernel, as many threads are left for everything else.
    let (threads, lanes) = ((budget.threads / 2).max(1), Lanes::new(again));
    let gc = Gc::new(layout.clone(), threads, lanes, config.command_timeout, tasks.clone());
    let info_exit = config.pidfd_info_exit && Probe::run().pidfd_info_exit;
    let context = Context::new(&config, tools, gc, cancel.clone(), store, info_exit, budget);
    let instances = Disk::load(layout).map_err(failed(format!("read {}", layout.instances().display())))?;
    let boot = BootId::current().map_err(failed("read the boot id"))?;
    let overseer = Overseer::new(context, tasks, boot, config.restart, instances);
    let cx = overseer.cx.clone();
    overseer.tasks.spawn(async move {
        tokio::select! {
            () = cx.cancel.cancelled() => {}
            () = cx.gc.sources.serve() => {}
        }
    });
    let (surplus, blocking) = (overseer.cx.surplus.clone(), overseer.cx.tools.blocking.clone());
    overseer.tasks.spawn(surplus.serve(blocking, cancel.clone()));
    let cx = overseer.cx.clone();
    overseer.tasks.spawn(async move { cx.store.serve(cx.tools.blocking.clone(), cx.cancel.clone()).await });
    if let Some(pid) = overseer.cx.keeper {
        overseer.tasks.spawn(keeper::miss(pid, overseer.cx.clone()));
    }
    if !info_exit {
        orphans::adopt(&overseer).map_err(failed("become the subreaper of the shims"))?;
    }
    overseer.tasks.spawn(api::serve(overseer.clone(), listener, api::watch_socket(layout), children_nofile));
    let births =
        Births::watch(&layout.containers()).map_err(failed(format!("watch {}", layout.containers().display())))?;
    // Before anything of ours runs: never two at once for one container.
    let ended = overseer.cx.tools.blocking.run("end what a killed sextond has left", {
        let (cx, state) = (overseer.cx.clone(), layout.state().to_owned());
        move || cx.gc.lingering.end_all(&state)
    });
    if tokio::time::timeout(PREDECESSOR_WITHIN, ended).await.is_err() {
        tracing::warn!("what a killed sextond has left cannot be looked for: /proc hangs");
    }
    overseer
        .cx
        .tools
        .blocking
        .run("read whether there is maintenance", {
            let cx = overseer.cx.clone();
            move || cx.node.load(&cx.layout)
        })
        .await;
    // Before the scan: what an earlier collector was at is taken up by the containers' own tasks.
    let left = overseer.cx.tools.blocking.run("read what is to be cleaned", {
        let cx = overseer.cx.clone();
        move || cx.gc.entries.load()
    });
    let left = left.await.map_err(failed(format!("read {}", layout.gc().display())))?;
    gc::restore(&overseer.cx, left.entries);
    overseer.rediscover().await.map_err(failed(format!("scan {}", layout.containers().display())))?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), state = %layout.state().display(), containers = overseer.cx.board.figures().0, pending = overseer.cx.board.pending().len(), pidfd_info_exit = info_exit, stored = overseer.cx.store.len(), "ready");
    gc::take_up(&overseer.cx, left.launches).await;
    overseer.take_up();
    overseer.tasks.spawn(births.serve(overseer.clone()));
    let store = &overseer.cx.store;
    store.say("READY=1\n".into());

    loop {
        tokio::select! {
            got = terminate.recv() => if got.is_some() { break },
            got = interrupt.recv() => if got.is_some() { break },
            () = reload_wanted(&mut hangup) => reload(args, &config, levels, store),
        }
    }
    tracing::info!("stopping; containers stay as they are");
    // Once, and at once: whoever does not hear it sees us end.
    let _ = notify::say("STOPPING=1\n", None, Duration::ZERO);
    stop(&overseer, &cancel).await
}

async fn reload_wanted(hangup: &mut Signal) {
    if hangup.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

async fn stop(overseer: &Arc<Overseer>, cancel: &CancellationToken) -> Result<(), Fatal> {
    cancel.cancel();
    overseer.tasks.close();
    let blocking = &overseer.cx.tools.blocking;
    let ended = async {
        overseer.tasks.wait().await;
        while !blocking.stuck().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(STOP_WITHIN, ended).await.is_ok() {
        return Ok(());
    }
    let mut stuck: Vec<String> =
        blocking.stuck().into_iter().map(|(name, since)| format!("{name} (for {since:.1?})")).collect();
    if stuck.is_empty() {
        stuck.push(format!("{} tasks that do not say where", overseer.tasks.len()));
    }
    Err(Fatal::Stuck(stuck.join(", ")))
}

fn reload(args: &Args, running: &Config, levels: &Levels, store: &Store) {
    let now = NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Status("reloading"));
    store.say(format!("{}\n{now}\n", NotifyState::Reloading));
    match Config::load(args) {
        Ok(new) => {
            match levels.set(&new.log) {
                Ok(()) => tracing::info!(log = %new.log, "configuration read again"),
                Err(e) => tracing::error!(error = %e, "the log level stays as it was"),
            }
            let fixed = |c: &Config| {
                (c.layout.clone(), c.shim.clone(), c.launch_timeout, c.deadline, c.backoff_first, c.backoff_max)
            };
            if fixed(&new) != fixed(running) {
                tracing::warn!(
                    "only the log level changes while sextond runs: restart it for the rest; containers do not mind"
                );
            }
        }
        Err(e) => tracing::error!(error = %e, "the configuration stays as it was"),
    }
    store.say("READY=1\n".into());
}

/// Held until the process ends, however it ends.
async fn lock(layout: &Layout) -> Result<File, Fatal> {
    let path = layout.lock();
    let name = || format!("lock {}", path.display());
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options.open(&path).map_err(failed(name()))?;
    let since = std::time::Instant::now();
    while let Err(e) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if e != Errno::WOULDBLOCK {
            return Err(failed(name())(e.into()));
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let pid = text.trim().parse::<u32>().ok();
        // One that lives has it open; another process that has its pid by now, as we may ourselves, has nothing to do
        // with it.
        let holder = pid.filter(|&pid| pid != std::process::id() && has_open(pid, &path));
        // One that has just been killed may need a moment to be dead.
        let patience = if holder.is_some() { DYING_FOR } else { INHERITED_FOR };
        if since.elapsed() > patience {
            let pid = holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            return Err(Fatal::Second { pid, state: layout.state().display().to_string() });
        }
        // A child of a killed sextond's has its lock until it has execed.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // For people, and for whoever finds the lock taken; the lock itself is what counts.
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(e) = written {
        tracing::warn!(file = %path.display(), error = %e, "the pid cannot be noted");
    }
    Ok(file)
}

/// The data directory itself, which may be read-only. Held until the process ends.
async fn lock_data(layout: &Layout) -> Result<Option<File>, Fatal> {
    let (path, since) = (layout.data(), std::time::Instant::now());
    let dir = File::open(path).map_err(failed(format!("open {}", path.display())))?;
    loop {
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(dir)),
            // As with the state directory.
            Err(Errno::WOULDBLOCK) if since.elapsed() < INHERITED_FOR => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(Errno::WOULDBLOCK) => return Err(Fatal::SharedData(path.display().to_string())),
            Err(e) => {
                tracing::warn!(directory = %path.display(), error = %io::Error::from(e), "cannot be locked: no other sextond may have its data there");
                return Ok(None);
            }
        }
    }
}
