//! What Sexton costs, measured beside what it is measured against, in one run.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that cannot be taken ends with its reason")]

mod rediscover;
mod size;
mod start;

use clap::{Parser, Subcommand};

/// Measures Sexton. Needs root and runc.
#[derive(Parser)]
#[command(name = "sexton-bench", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
    /// One JSON object instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Copy, Subcommand)]
enum Command {
    /// The files' sizes, and the memory of idle shims
    Size {
        /// How many shims
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        shims: u32,
    },
    /// How soon a collector that comes back knows every container
    Rediscover {
        /// How many that run, and how many that have stopped
        #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
        containers: u32,
    },
    /// All scenarios: size, and start against `runc create` and `runc start`
    Run {
        /// How many starts of each contestant
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
        starts: u32,
    },
}

fn main() {
    let args = Args::parse();
    if let Command::Rediscover { containers } = args.command {
        let rediscover = rediscover::measure(containers as usize);
        match args.json {
            true => println!("{}", serde_json::json!({ "rediscover": rediscover })),
            false => println!("{}", rediscover.table()),
        }
        return;
    }
    let (shims, starts) = match args.command {
        Command::Size { shims } => (shims, None),
        Command::Run { starts } => (50, Some(starts)),
        Command::Rediscover { .. } => return,
    };
    let size = size::measure(shims);
    let start = starts.map(start::measure);
    if args.json {
        println!("{}", serde_json::json!({ "size": size, "start": start }));
        return;
    }
    println!("{}", size.table());
    if let Some(start) = start {
        println!("\n{}", start.table());
    }
}
