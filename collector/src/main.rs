//! sextond: hears every shim, handles exits in parallel, cleans up, serves the API.

mod api;

mod backend;
mod births;
mod blocking;
mod board;
mod budget;
mod config;
mod container;
mod context;
mod daemon;
mod exit;
mod foreign;
mod gc;
mod instance;
mod keeper;
mod launch;
mod logging;
mod mailbox;
mod node;
mod notify;
mod orphans;
mod overseer;
mod packed;
mod probe;
mod recover;
mod runtimes;
mod seats;
mod stats;
mod store;
mod surplus;
mod sys;
mod watch;
mod zombies;

use clap::Parser;
use nix::sys::signal::SigSet;
use std::{
    io::{self, Write},
    os::fd::OwnedFd,
    process::ExitCode,
    time::Duration,
};
use store::Store;

/// What is idle for this long goes.
const THREAD_KEEP_ALIVE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    // Before anything is opened: what was passed is where it was passed.
    let passed = notify::passed();
    sys::default_sigchld();
    let args = config::Args::parse();
    if args.probe {
        return print_probe();
    }
    if args.keeper {
        drop(passed);
        return keeper::run(&args);
    }
    match start(&args, passed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            let _ = writeln!(io::stderr(), "sextond: {text}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &config::Args, passed: Vec<(String, OwnedFd)>) -> Result<(), String> {
    let config = config::Config::load(args).map_err(|e| e.to_string())?;
    if let Some(boot_id) = config.boot_id {
        sexton_common::identity::BootId::pretend(boot_id);
    }
    let levels = logging::init(&config.log)?;
    // Whoever started us may have blocked the very signals that stop us.
    if let Err(e) = SigSet::empty().thread_set_mask() {
        tracing::warn!(error = %e, "the signal mask stays as it was inherited");
    }
    let (budget, children_nofile) = budget::raise(passed.len());
    if budget::limit() < budget::LEAST {
        let words = "raise LimitNOFILE in sextond.service, or `ulimit -n`";
        return Err(format!(
            "{} descriptors are too few to work with, {} are the least: {words}",
            budget::limit(),
            budget::LEAST
        ));
    }
    let store = Store::new(passed);
    // One thread does everything that does not block: containers are many, cores are the containers'.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // One of them only stays.
        .max_blocking_threads(budget.threads + 1)
        .thread_keep_alive(THREAD_KEEP_ALIVE)
        .build()
        .map_err(|e| format!("start the event loop: {e}"))?;
    let ended = runtime.block_on(daemon::run(args, config, &levels, budget, children_nofile, store));
    // What hangs in the kernel is left behind: it has been named.
    runtime.shutdown_background();
    ended.map_err(|e| e.to_string())
}

fn print_probe() -> ExitCode {
    let probe = probe::Probe::run();
    let printed =
        serde_json::to_string(&probe).map_err(io::Error::from).and_then(|json| writeln!(io::stdout(), "{json}"));
    if printed.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
