//! What a run leaves: one table of ratios for people, and the files below `bench/results`.

use crate::{
    chart,
    report::{Ratio, Report, Row, Scenario},
    summary::Stat,
};
use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};
use std::{fmt::Write, fs, io, path::Path};

/// One row for each ratio.
pub fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEAD);
    for (scenario, ratio) in ratios(report) {
        let mut cells: Vec<Cell> = cells(scenario, ratio).into_iter().map(Cell::new).collect();
        if let (Some(met), Some(cell)) = (ratio.is_met(), cells.pop()) {
            let colour = if met { Color::Green } else { Color::Red };
            cells.push(cell.fg(colour).add_attribute(Attribute::Bold));
        }
        table.add_row(cells);
    }
    for column in [3, 5, 6] {
        table.column_mut(column).into_iter().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    }
    table
}

const HEAD: [&str; 9] = ["SCENARIO", "WHAT", "WHO", "FIGURE", "AGAINST", "FIGURE", "RATIO", "AIM", ""];

fn ratios(report: &Report) -> impl Iterator<Item = (&Scenario, &Ratio)> {
    report.scenarios.iter().flat_map(|scenario| scenario.ratios.iter().map(move |ratio| (scenario, ratio)))
}

fn cells(scenario: &Scenario, ratio: &Ratio) -> [String; 9] {
    let what = match (ratio.stat, ratio.case.as_str()) {
        (Stat::Median, "") => ratio.what.clone(),
        (Stat::Median, case) => format!("{}, {case}", ratio.what),
        (Stat::P99, "") => format!("{}, p99", ratio.what),
        (Stat::P99, case) => format!("{}, {case}, p99", ratio.what),
    };
    let met = ratio.is_met().map_or("", |met| if met { "met" } else { "MISSED" });
    [
        scenario.name.clone(),
        what,
        ratio.ours.clone(),
        ratio.unit.show(ratio.our_value),
        ratio.against.clone(),
        ratio.unit.show(ratio.their_value),
        shown(ratio.ratio),
        ratio.at_most.map(|aim| format!("≤ {}", shown(aim))).unwrap_or_default(),
        met.to_owned(),
    ]
}

/// Three digits that matter.
fn shown(ratio: f64) -> String {
    match ratio {
        r if r >= 1e6 => "∞".to_owned(),
        r if r >= 100.0 => format!("{r:.0}"),
        r if r >= 0.995 => format!("{r:.2}"),
        r if r >= 0.0995 => format!("{r:.3}"),
        r => format!("{r:.4}"),
    }
}

/// Writes `latest.json`, `latest.md` and `NAME.svg` for each scenario. Of scenarios that did not run this time the
/// earlier charts stay.
///
/// # Errors
/// What cannot be written.
pub fn write(report: &Report, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    fs::write(dir.join("latest.json"), json)?;
    fs::write(dir.join("latest.md"), markdown(report))?;
    for scenario in &report.scenarios {
        fs::write(dir.join(format!("{}.svg", scenario.name)), chart::draw(scenario))?;
    }
    Ok(())
}

/// The whole report, as it is published.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    let machine = &report.machine;
    let mut line = |words: String| {
        text.push_str(&words);
        text.push('\n');
    };
    line("# Sexton and its peers: what was measured\n".into());
    let quick = if report.quick { ", `--quick`" } else { "" };
    line(format!("{}{quick}, {:.0} s. Written by `make bench`; not by hand.\n", report.date, report.seconds));
    line(format!("- {}, {} cores, {} MiB, load {:.2}", machine.cpu, machine.cores, machine.memory_mib, machine.load));
    let [state, data] = &machine.file_systems;
    line(format!("- Linux {}, cgroups {}, state on {state}, data on {data}", machine.kernel, machine.cgroups));
    machine.versions.iter().for_each(|(name, version)| line(format!("- {name}: {version}")));
    line(
        "\nA ratio is our figure divided by the other one, medians where nothing else is said: less is better.\n"
            .into(),
    );
    line(row(&HEAD));
    line(row(&["---"; HEAD.len()]));
    ratios(report).for_each(|(scenario, ratio)| line(row(&cells(scenario, ratio))));
    for scenario in &report.scenarios {
        line(format!("\n## {}\n\n{} ({:.0} s)\n", scenario.name, scenario.title, scenario.seconds));
        line(format!("![{}]({}.svg)\n", scenario.title, scenario.name));
        line(row(&["what", "case", "who", "median", "p90", "p99", "p99.9", "min", "n"]));
        line(row(&["---"; 9]));
        scenario.rows.iter().for_each(|measured| line(row(&figures(measured))));
        if !scenario.notes.is_empty() {
            line(String::new());
        }
        scenario.notes.iter().for_each(|note| line(format!("- {note}")));
    }
    text
}

fn figures(row: &Row) -> [String; 9] {
    let (s, show) = (&row.summary, |value| row.unit.show(value));
    let (what, case, who) = (row.what.clone(), row.case.clone(), row.contestant.clone());
    [what, case, who, show(s.median), show(s.p90), show(s.p99), show(s.p999), show(s.min), s.n.to_string()]
}

fn row<S: AsRef<str>>(cells: &[S]) -> String {
    cells.iter().fold(String::from("|"), |mut line, cell| {
        // Nothing fails that writes to a string.
        let _ = write!(line, " {} |", cell.as_ref().replace('|', "\\|"));
        line
    })
}
