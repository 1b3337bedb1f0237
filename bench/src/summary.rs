//! Samples, and what is said of them.

use serde::{Deserialize, Serialize};

/// Measured values, all in one unit, in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// One more.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// Each less than it was by `value`.
    pub fn above(&self, value: f64) -> Self {
        self.0.iter().map(|sample| sample - value).collect()
    }

    /// What is said of them; `None` if there are none.
    pub fn summary(&self) -> Option<Summary> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        // The nearest rank: a value that was measured, never one between two.
        let rank = |q: f64| sorted[((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1];
        let [median, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(rank);
        Some(Summary { n: sorted.len(), min, median, p90, p99, p999, max })
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

/// Of `n` samples. A quantile is the nearest rank: with few samples p99 is the largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// How many samples.
    pub n: usize,
    /// The smallest.
    pub min: f64,
    /// Half of them are at most this.
    pub median: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// 99 of 100 are.
    pub p99: f64,
    /// 999 of 1,000 are.
    pub p999: f64,
    /// The largest.
    pub max: f64,
}

/// One figure of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stat {
    /// [`Summary::median`].
    Median,
    /// [`Summary::p99`].
    P99,
}

impl Summary {
    /// The figure.
    pub fn get(&self, stat: Stat) -> f64 {
        match stat {
            Stat::Median => self.median,
            Stat::P99 => self.p99,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred: Samples = (1..=100).rev().map(f64::from).collect();
        let of = hundred.summary().unwrap();
        assert_eq!(
            (of.n, of.min, of.median, of.p90, of.p99, of.p999, of.max),
            (100, 1.0, 50.0, 90.0, 99.0, 100.0, 100.0)
        );
        let one = Samples::from_iter([7.0]).summary().unwrap();
        assert_eq!((one.min, one.median, one.p999, one.max), (7.0, 7.0, 7.0, 7.0));
        assert_eq!(Samples::default().summary(), None);
    }
}
