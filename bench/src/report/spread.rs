//! What repetitions come to: a median, and how far they lie apart.
//!
//! The spread is from the lowest to the highest, with nothing cut off: with few repetitions no finer word is honest.

use crate::result::{Measure, ScenarioResult, TargetResult};

/// The median of some repetitions with their lowest and highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number the mean of the middle two.
    pub median: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
    /// How many there were.
    pub count: usize,
}

impl Spread {
    /// The spread of these values; `None` of no values.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, low, high, count: values.len() })
    }

    /// Whether some value could be of either.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// The spread of a measure over the repetitions of a target, if it was taken.
pub(super) fn spread(target: &TargetResult, measure: Measure) -> Option<Spread> {
    Spread::of(target.values(measure))
}

/// `target` over `base`, pair by pair: a repetition in which either has no value, or the base has none above zero, is no pair.
pub(super) fn ratio(target: &TargetResult, base: &TargetResult, measure: Measure) -> Option<Spread> {
    let pairs = target.samples.iter().zip(&base.samples);
    let ratios = pairs.filter_map(|(over, under)| {
        let under = *under.get(&measure)?;
        (under > 0.0).then_some(*over.get(&measure)? / under)
    });
    Spread::of(ratios.collect())
}

/// The target of that name, if it ran in the scenario.
pub(super) fn ran<'a>(scenario: &'a ScenarioResult, name: &str) -> Option<&'a TargetResult> {
    scenario.targets.iter().find(|target| target.target == name && target.absent.is_none())
}
