//! What Sexton costs, measured beside what it is measured against, in one run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot be taken ends with its reason"
)]

mod chart;
mod check;
mod fleet;
mod guest;
mod interrupt;
mod jam;
mod listen;
mod machine;
mod output;
mod peers;
mod plan;
mod report;
mod scenarios;
mod size;
mod summary;
mod usage;

use crate::{
    machine::Machine,
    plan::Plan,
    report::{Report, Scenario},
    scenarios::Known,
};
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode, time::Instant};

/// Measures Sexton and its peers: the same containers, in one run. Needs root; `make bench` installs the rest.
#[derive(Parser)]
#[command(name = "sexton-bench", version)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
    /// One JSON object instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// The files' sizes, and the memory of idle shims
    Size {
        /// How many shims
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        shims: u32,
    },
}

#[derive(clap::Args)]
struct Run {
    /// Less than 90 seconds instead of less than ten minutes: fewer rounds, smaller fleets
    #[arg(long)]
    quick: bool,
    /// Only this scenario; may be given several times
    #[arg(long, value_name = "NAME", value_parser = scenario)]
    only: Vec<Known>,
    /// Compares with the stored run, and fails if a ratio is worse beyond its band; writes nothing
    #[arg(long)]
    check: bool,
    /// Where the results lie
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
}

fn scenario(name: &str) -> Result<Known, String> {
    let found = scenarios::ALL.iter().find(|known| known.name == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = scenarios::ALL.iter().map(|known| known.name).collect();
        format!("there is no such scenario: there are {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !nix::unistd::geteuid().is_root() {
        eprintln!("sexton-bench: containers need root: run it as root, or `make bench`, which uses sudo");
        return ExitCode::FAILURE;
    }
    if let Some(missing) = machine::missing() {
        eprintln!("sexton-bench: {missing}");
        return ExitCode::FAILURE;
    }
    match args.command {
        Some(Command::Size { shims }) => {
            let size = size::measure(shims);
            match args.json {
                true => println!("{}", serde_json::json!({ "size": size })),
                false => println!("{}", size.table()),
            }
            ExitCode::SUCCESS
        }
        None => run(&args.run, args.json),
    }
}

fn run(run: &Run, json: bool) -> ExitCode {
    let latest = run.results.join("latest.json");
    // Before minutes of measuring, not after them.
    let before = match run.check.then(|| check::stored(&latest)).transpose() {
        Ok(before) => before,
        Err(words) => {
            eprintln!("sexton-bench: {words}");
            return ExitCode::FAILURE;
        }
    };
    let report = measure(run);
    match json {
        true => println!("{}", serde_json::to_string(&report).unwrap()),
        false => println!("{}", output::table(&report)),
    }
    if let Some(before) = before {
        return checked(&report, &before);
    }
    // A part of the scenarios must not replace the whole's results.
    if run.only.is_empty()
        && let Err(e) = output::write(&report, &run.results)
    {
        eprintln!("sexton-bench: {}: {e}: --results names another directory", run.results.display());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn measure(run: &Run) -> Report {
    interrupt::watch();
    let plan = Plan::new(run.quick);
    let (begun, date) = (Instant::now(), humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string());
    let state = plan::in_memory().unwrap_or_else(std::env::temp_dir);
    let machine = Machine::here(&state, &std::env::temp_dir());
    let wanted = scenarios::ALL
        .iter()
        .filter(|known| run.only.is_empty() || run.only.iter().any(|only| only.name == known.name));
    let scenarios = wanted.map(|known| {
        plan.begin(known.name);
        let (begun, mut scenario) = (Instant::now(), Scenario::new(known.name, known.title));
        (known.measure)(&plan, &mut scenario);
        scenario.seconds = begun.elapsed().as_secs_f64();
        scenario
    });
    let scenarios = scenarios.collect();
    plan.end();
    Report { date, quick: run.quick, seconds: begun.elapsed().as_secs_f64(), machine, scenarios }
}

fn checked(now: &Report, before: &Report) -> ExitCode {
    let compared = check::compare(now, before);
    let worse: Vec<_> = compared.iter().filter(|compared| compared.is_worse()).collect();
    for each in &worse {
        eprintln!(
            "WORSE {}: {} {}: {} against {}: {:.3}, stored {:.3}, {:.0} % are allowed",
            each.scenario,
            each.now.what,
            each.now.case,
            each.now.ours,
            each.now.against,
            each.now.ratio,
            each.before,
            check::band(each.scenario) * 100.0
        );
    }
    eprintln!("{} ratios compared with the run of {}, {} are worse", compared.len(), before.date, worse.len());
    // Nothing compared is nothing checked.
    if worse.is_empty() && !compared.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
