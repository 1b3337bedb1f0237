//! `sexton-storm`: many containers die in one instant. See `--help`.

use sexton_tests::storm::{options, weather::weather};
use std::process::ExitCode;

fn main() -> ExitCode {
    let storms = match options::parse(std::env::args().skip(1)) {
        Ok(storms) => storms,
        Err(words) => {
            eprintln!("{words}");
            return ExitCode::from(2);
        }
    };
    if sexton_tests::skipped() {
        return ExitCode::SUCCESS;
    }
    let mut code = ExitCode::SUCCESS;
    for storm in storms {
        let report = weather(&storm);
        let killed =
            storm.kill_collector.map_or_else(String::new, |every| format!(", collector killed every {every:?}"));
        println!("{}{killed}, seed {}: {report}", storm.kind.name(), storm.seed);
        for lost in report.lost.iter().take(20) {
            println!("  LOST {lost}");
        }
        if report.doubled > 0 || !report.lost.is_empty() {
            code = ExitCode::FAILURE;
        }
    }
    println!("no exec storm: there is no exec yet");
    code
}
