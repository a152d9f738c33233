//! The range of an axis: from zero, or logarithmic where the highest value lies so far above the middle one that most would vanish.

use super::super::spread::Spread;

/// From so many times the middle median on the axis is logarithmic. Not the smallest: a difference may be noise about zero.
const FAR_APART: f64 = 20.0;
/// How far below the middle median a logarithmic axis reaches at most.
const DEPTH: f64 = 1000.0;

/// An axis for some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    /// Whether each step is a multiple.
    pub(super) logarithmic: bool,
    /// Its lower end.
    pub(super) low: f64,
    /// Its upper end.
    pub(super) high: f64,
}

impl Axis {
    /// An axis that all these values fit on, with room for a label beyond the highest. Values that a logarithmic axis cannot
    /// show, those of noise about zero, lie at its lower end.
    pub(super) fn of(spreads: &[Spread]) -> Self {
        let highest = spreads.iter().map(|spread| spread.high).fold(0.0, f64::max);
        let lowest = spreads.iter().map(|spread| spread.low).fold(0.0, f64::min);
        let medians: Vec<f64> = spreads.iter().map(|spread| spread.median).filter(|median| *median > 0.0).collect();
        if let Some(medians) = Spread::of(medians).filter(|medians| medians.high > FAR_APART * medians.median) {
            let low = 10_f64.powf(medians.low.max(medians.median / DEPTH).log10().floor());
            return Self { logarithmic: true, low, high: highest * (highest / low).powf(0.15) };
        }
        let length = if highest > lowest { highest - lowest } else { 1.0 };
        Self { logarithmic: false, low: lowest, high: highest + 0.15 * length }
    }

    /// Where a value is drawn.
    pub(super) fn clamp(&self, value: f64) -> f64 {
        value.clamp(self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::{Axis, Spread};

    fn at(median: f64) -> Spread {
        Spread { median, low: median * 0.9, high: median * 1.1, count: 3 }
    }

    #[test]
    fn an_axis_starts_at_zero_unless_values_lie_far_apart() {
        let near = Axis::of(&[at(30.0), at(45.0)]);
        assert!(!near.logarithmic && near.low == 0.0 && near.high > 49.5, "{near:?}");
        let far = Axis::of(&[at(30.0), at(4500.0), at(20.0), at(-0.1)]);
        assert!(far.logarithmic && far.low == 10.0 && far.high > 4950.0, "{far:?}");
        assert_eq!(far.clamp(-0.1), 10.0);
        let noise = Axis::of(&[at(0.001), at(0.2), at(0.3)]);
        assert!(!noise.logarithmic, "{noise:?}");
        let below = Axis::of(&[at(0.2), Spread { median: -0.01, low: -0.1, high: 0.05, count: 3 }]);
        assert!(!below.logarithmic && below.low == -0.1, "{below:?}");
        assert!(Axis::of(&[at(0.0)]).high > 0.0);
    }
}
