//! What a run has measured: rows, and the ratios that are drawn from them.

use crate::{
    machine::Machine,
    summary::{Samples, Stat, Summary},
};
use serde::{Deserialize, Serialize};

/// One run of the benchmark.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// When it began, UTC.
    pub date: String,
    /// Fewer rounds and smaller fleets.
    pub quick: bool,
    /// How long it took.
    pub seconds: f64,
    /// Where it ran.
    pub machine: Machine,
    /// In the order in which they ran.
    pub scenarios: Vec<Scenario>,
}

/// One scenario of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// As `--only` has it.
    pub name: String,
    /// What is measured, from where to where, one sentence.
    pub title: String,
    /// How long it took.
    pub seconds: f64,
    /// Every figure.
    pub rows: Vec<Row>,
    /// What is concluded.
    pub ratios: Vec<Ratio>,
    /// What a reader must know to judge it: what was skipped, what a contestant's figure includes.
    pub notes: Vec<String>,
}

/// The samples of one contestant, in one case.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What was measured: "PSS", "exit to subscriber".
    pub what: String,
    /// In which surroundings: "200 idle neighbours"; may be empty.
    pub case: String,
    /// Who was measured.
    pub contestant: String,
    /// What the figures are in.
    pub unit: Unit,
    /// The figures.
    pub summary: Summary,
}

/// What a figure is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// KiB.
    Kib,
    /// Bytes.
    Bytes,
    /// How many.
    Count,
    /// How many a second.
    PerSecond,
    /// Of one core, or of a whole.
    Percent,
}

/// One of our figures against one of somebody else's, or against a limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ratio {
    /// [`Row::what`].
    pub what: String,
    /// [`Row::case`].
    pub case: String,
    /// Which of the figures.
    pub stat: Stat,
    /// Our contestant.
    pub ours: String,
    /// The other contestant, or what the limit is.
    pub against: String,
    /// What both are in.
    pub unit: Unit,
    /// Our figure.
    pub our_value: f64,
    /// The other.
    pub their_value: f64,
    /// Ours divided by the other.
    pub ratio: f64,
    /// The aim.
    pub at_most: Option<f64>,
}

impl Ratio {
    /// Whether the aim is met; `None` without one.
    pub fn is_met(&self) -> Option<bool> {
        // As it is printed: 1.004 is "1.00".
        self.at_most.map(|aim| self.ratio <= aim * 1.005)
    }

    /// By what a later run finds it again.
    pub fn key(&self) -> (&str, &str, Stat, &str, &str) {
        (&self.what, &self.case, self.stat, &self.ours, &self.against)
    }
}

impl Scenario {
    /// With nothing in it yet.
    pub fn new(name: &str, title: &str) -> Self {
        let (name, title) = (name.to_owned(), title.to_owned());
        Self { name, title, seconds: 0.0, rows: Vec::new(), ratios: Vec::new(), notes: Vec::new() }
    }

    /// Adds a contestant's samples, if there are any.
    pub fn row(&mut self, what: &str, case: &str, contestant: &str, unit: Unit, samples: &Samples) {
        let Some(summary) = samples.summary() else { return };
        let (what, case, contestant) = (what.to_owned(), case.to_owned(), contestant.to_owned());
        self.rows.push(Row { what, case, contestant, unit, summary });
    }

    /// One value that was counted, or read once.
    pub fn value(&mut self, what: &str, case: &str, contestant: &str, unit: Unit, value: f64) {
        self.row(what, case, contestant, unit, &Samples::from_iter([value]));
    }

    /// Something that a reader must know.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    fn find(&self, what: &str, case: &str, contestant: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.what == what && row.case == case && row.contestant == contestant)
    }

    /// Compares two contestants; nothing if one of them was not measured.
    pub fn compare(&mut self, what: &str, case: &str, stat: Stat, ours: &str, theirs: &str, at_most: Option<f64>) {
        let Some(their_value) = self.find(what, case, theirs).map(|row| row.summary.get(stat)) else { return };
        self.limit(what, case, stat, ours, (theirs, their_value), at_most);
    }

    /// Compares a contestant with a figure that has a name: a limit, or a figure of another case.
    pub fn limit(&mut self, what: &str, case: &str, stat: Stat, ours: &str, to: (&str, f64), at_most: Option<f64>) {
        let Some(row) = self.find(what, case, ours) else { return };
        let (unit, our_value, their_value) = (row.unit, row.summary.get(stat), to.1);
        self.ratios.push(Ratio {
            what: what.to_owned(),
            case: case.to_owned(),
            stat,
            ours: ours.to_owned(),
            against: to.0.to_owned(),
            unit,
            our_value,
            their_value,
            // Nothing against nothing is the same; something against nothing is finite, as all numbers of JSON are.
            ratio: if our_value == their_value { 1.0 } else { (our_value / their_value).clamp(f64::MIN, f64::MAX) },
            at_most,
        });
    }
}

impl Unit {
    /// The value as people read it.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Ms if value < 10.0 => format!("{value:.3} ms"),
            Self::Ms => format!("{value:.1} ms"),
            Self::Kib => format!("{value:.1} KiB"),
            Self::Bytes => format!("{value:.0} B"),
            Self::Count => format!("{value:.0}"),
            Self::PerSecond => format!("{value:.2}/s"),
            Self::Percent => format!("{value:.2} %"),
        }
    }

    /// For an axis.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Kib => "KiB",
            Self::Bytes => "bytes",
            Self::Count => "",
            Self::PerSecond => "1/s",
            Self::Percent => "%",
        }
    }
}
