//! A scenario's picture: a bar for each median, a whisker to p99.

use crate::{
    report::{Row, Scenario},
    summary::Summary,
};
use plotters::prelude::*;

const WIDTH: u32 = 960;
/// Of one bar, of a panel's title and axis, in pixels.
const BAR: u32 = 22;
const AROUND: u32 = 86;
/// Of one letter of a name, about; and what all names together may take.
const LETTER: usize = 7;
const NAMES: std::ops::RangeInclusive<usize> = 120..=480;
const LEGEND: &str = "bar: the median; line: to p99; green: Sexton";

/// SVG; one panel for each thing that was measured, one bar for each contestant and case.
pub fn draw(scenario: &Scenario) -> String {
    let panels = panels(scenario);
    let height = 64 + panels.iter().map(|rows| panel_height(rows)).sum::<u32>();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).unwrap();
        let rest = root.titled(&scenario.name, ("sans-serif", 22)).unwrap();
        let mut rest = rest.titled(LEGEND, ("sans-serif", 13).into_font().color(&BLACK.mix(0.6))).unwrap();
        for rows in panels {
            let (panel, below) = rest.split_vertically(panel_height(&rows));
            bars(&panel, &rows);
            rest = below;
        }
    }
    svg
}

fn panel_height(rows: &[&Row]) -> u32 {
    AROUND + BAR * u32::try_from(rows.len()).unwrap()
}

/// The rows by what they measure, in the order in which that first comes.
fn panels(scenario: &Scenario) -> Vec<Vec<&Row>> {
    let mut panels: Vec<Vec<&Row>> = Vec::new();
    for row in &scenario.rows {
        match panels.iter_mut().find(|panel| panel[0].what == row.what && panel[0].unit == row.unit) {
            Some(panel) => panel.push(row),
            None => panels.push(vec![row]),
        }
    }
    panels
}

fn bars(area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, rows: &[&Row]) {
    let most = rows.iter().map(|row| row.summary.p99.max(row.summary.median)).fold(0.0, f64::max);
    let least = rows.iter().map(|row| row.summary.median).filter(|&median| median > 0.0).fold(f64::INFINITY, f64::min);
    let names: Vec<String> = rows
        .iter()
        .map(|row| match row.case.as_str() {
            "" => row.contestant.clone(),
            case => format!("{}, {case}", row.contestant),
        })
        .collect();
    let letters = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let wide = u32::try_from((letters * LETTER + 20).clamp(*NAMES.start(), *NAMES.end())).unwrap();
    let mut builder = ChartBuilder::on(area);
    let (what, unit) = (&rows[0].what, rows[0].unit);
    let logarithmic = least.is_finite() && most / least > 50.0;
    let title = format!("{what}{}{}", suffix(unit.name()), if logarithmic { ", logarithmic" } else { "" });
    builder.caption(title, ("sans-serif", 16)).margin(8).x_label_area_size(26).y_label_area_size(wide);
    let count = i32::try_from(rows.len()).unwrap();
    // Bars from the top down, in the rows' order.
    let place = |index: usize| f64::from(count) - 1.0 - index as f64;
    let label = |y: &f64| {
        let index = (f64::from(count) - 1.0 - y).round();
        if index < 0.0 { String::new() } else { names.get(index as usize).cloned().unwrap_or_default() }
    };
    macro_rules! draw_on {
        ($range:expr, $floor:expr) => {{
            let mut chart = builder.build_cartesian_2d($range, -0.5..f64::from(count) - 0.5).unwrap();
            let mesh_labels = rows.len().max(2);
            chart
                .configure_mesh()
                .disable_y_mesh()
                .x_max_light_lines(1)
                .label_style(("sans-serif", 13))
                .y_labels(mesh_labels)
                .y_label_formatter(&label)
                .x_label_formatter(&|x: &f64| short(*x))
                .draw()
                .unwrap();
            chart
                .draw_series(rows.iter().enumerate().map(|(index, row)| {
                    let y = place(index);
                    let end = row.summary.median.max($floor);
                    Rectangle::new([($floor, y - 0.32), (end, y + 0.32)], colour(&row.contestant).filled())
                }))
                .unwrap();
            let line = BLACK.stroke_width(2);
            let whiskers = rows.iter().enumerate().filter(|(_, row)| row.summary.n > 1).flat_map(|(index, row)| {
                let (y, from) = (place(index), row.summary.median.max($floor));
                let to = row.summary.p99.max(from);
                [PathElement::new([(from, y), (to, y)], line), PathElement::new([(to, y - 0.16), (to, y + 0.16)], line)]
            });
            chart.draw_series(whiskers).unwrap();
            chart
                .draw_series(rows.iter().enumerate().map(|(index, row)| {
                    let end = row.summary.median.max($floor);
                    let end = if row.summary.n > 1 { row.summary.p99.max(end) } else { end };
                    let words = match row.summary {
                        Summary { n: 1, median, .. } => row.unit.show(median),
                        Summary { median, p99, .. } => {
                            format!("{} (p99 {})", row.unit.show(median), row.unit.show(p99))
                        }
                    };
                    EmptyElement::at((end, place(index))) + Text::new(words, (6, -6), ("sans-serif", 12))
                }))
                .unwrap();
        }};
    }
    if logarithmic {
        let floor = least / 2.0;
        // Room for the number behind the longest line.
        draw_on!((floor..most * (most / floor).powf(0.3)).log_scale(), floor);
    } else {
        draw_on!(0.0..(most * 1.3).max(f64::MIN_POSITIVE), 0.0);
    }
}

fn suffix(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { format!(", {unit}") }
}

fn short(x: f64) -> String {
    match x {
        x if x >= 1e6 => format!("{:.0}M", x / 1e6),
        x if x >= 10_000.0 => format!("{:.0}k", x / 1e3),
        x if x >= 10.0 || x == 0.0 => format!("{x:.0}"),
        x => format!("{x:.2}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

/// Ours stand out.
fn colour(contestant: &str) -> RGBColor {
    if contestant.contains("sexton") { RGBColor(0x2f, 0x6f, 0x4f) } else { RGBColor(0xa8, 0xb0, 0xb8) }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Unit, summary::Samples};

    /// Few and many orders of magnitude, one value and many, nothing at all.
    #[test]
    fn whatever_was_measured_everybody_is_named_with_his_figure() {
        let mut scenario = Scenario::new("exit", "");
        let many: Samples = (1..=100).map(f64::from).collect();
        scenario.row("latency", "idle", "sexton", Unit::Ms, &many);
        scenario.row("latency", "idle", "somebody with a rather long name of his own, twice", Unit::Ms, &many);
        scenario.value("latency", "idle", "quick", Unit::Ms, 0.01);
        scenario.value("memory", "", "sexton-shim", Unit::Kib, 42.0);
        scenario.value("lost", "", "sexton", Unit::Count, 0.0);
        let svg = draw(&scenario);
        for words in ["sexton, idle", "twice, idle", "sexton-shim", "50.0 ms (p99 99.0 ms)", "42.0 KiB", "logarithmic"]
        {
            assert!(svg.contains(words), "{words}: {svg}");
        }
        assert!(draw(&Scenario::new("skipped", "")).contains("skipped"));
    }
}
