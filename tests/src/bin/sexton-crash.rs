//! `sexton-crash`: SIGKILL before and after every system call. See `--help`.

use sexton_tests::crash::{
    options::{Options, Program},
    reaper::{self, Interrupt},
    sweep::sweep,
};
use std::{process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    if sexton_tests::skipped() {
        return ExitCode::SUCCESS;
    }
    reaper::stay_above(Duration::from_millis(options.reap_after));
    let interrupt = Interrupt::hear();
    let sweep = |program: &Program| sweep(*program, &options, &interrupt).violations();
    let violations: u64 = options.programs.iter().map(sweep).sum();
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
