//! What is computed from a map: plain arithmetic on f32 arrays.

use ndarray::{ArrayView2, ArrayView3};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use crate::scale::Range;

/// What makes a map one that shows nothing, or not all.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    EnumString,
    VariantNames,
    Display,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Flag {
    /// Some values are NaN.
    Nan,
    /// Some values are infinite.
    Inf,
    /// All values are zero.
    Dead,
    /// The values differ by less than 1e-6 of their magnitude, and are not all zero.
    Constant,
}

impl Flag {
    /// Whether it speaks of values that are no numbers.
    pub fn is_non_finite(self) -> bool {
        matches!(self, Flag::Nan | Flag::Inf)
    }
}

/// What is to be said of a map. A map of one pixel is never constant: it has nothing
/// to differ from.
pub fn flags(map: ArrayView2<'_, f32>) -> Vec<Flag> {
    let found = statistics(map);
    let mut flags = Vec::new();
    if map.iter().any(|value| value.is_nan()) {
        flags.push(Flag::Nan);
    }
    if map.iter().any(|value| value.is_infinite()) {
        flags.push(Flag::Inf);
    }
    let range = Range { low: found.min, high: found.max };
    if found.non_finite == 0 && range == (Range { low: 0.0, high: 0.0 }) {
        flags.push(Flag::Dead);
    } else if map.len() - found.non_finite > 1 && range.is_flat() {
        flags.push(Flag::Constant);
    }
    flags
}

/// As [`flags`], of a map in which zero says that nothing differs: a deviation, or the
/// distance from a mean. There zero everywhere is constant, and no sign of a dead layer.
pub fn flags_of_differences(map: ArrayView2<'_, f32>) -> Vec<Flag> {
    let mut flags = flags(map);
    flags.retain(|flag| *flag != Flag::Dead || map.len() > 1);
    for flag in flags.iter_mut().filter(|flag| **flag == Flag::Dead) {
        *flag = Flag::Constant;
    }
    flags
}

/// What is to be said of a layer's channels (channels x height x width) together. A few
/// dead or constant ones are the rule, so that is said only if every channel is.
pub fn flags_of_channels(channels: ArrayView3<'_, f32>) -> Vec<Flag> {
    let each: Vec<Vec<Flag>> = channels.outer_iter().map(flags).collect();
    let some = |flag: Flag| each.iter().any(|flags| flags.contains(&flag));
    let all = |wanted: &[Flag]| each.iter().all(|own| own.iter().any(|f| wanted.contains(f)));
    let mut flags = [Flag::Nan, Flag::Inf].into_iter().filter(|f| some(*f)).collect::<Vec<_>>();
    if each.is_empty() {
        return flags;
    }
    if all(&[Flag::Dead]) {
        flags.push(Flag::Dead);
    } else if all(&[Flag::Dead, Flag::Constant]) {
        flags.push(Flag::Constant);
    }
    flags
}

/// A map's figures, as the manifest has them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// The smallest finite value; 0 if there is none.
    pub min: f32,
    /// The largest finite value; 0 if there is none.
    pub max: f32,
    /// The mean of the finite values; 0 if there is none.
    pub mean: f32,
    /// The standard deviation of the finite values (of the population).
    pub std: f32,
    /// The share of values that are exactly zero, 0 to 1.
    pub zeros: f32,
    /// How many values are NaN or infinite.
    pub non_finite: usize,
}

/// The figures of a map, summed in f64.
pub fn statistics(map: ArrayView2<'_, f32>) -> Statistics {
    let finite = || map.iter().copied().filter(|value| value.is_finite());
    let count = finite().count();
    let share = |part: f64| if count == 0 { 0.0 } else { part / count as f64 };
    let mean = share(finite().map(f64::from).sum());
    let variance = share(finite().map(|value| (f64::from(value) - mean).powi(2)).sum());
    let zeros = map.iter().filter(|value| **value == 0.0).count();
    Statistics {
        min: finite().reduce(f32::min).unwrap_or(0.0),
        max: finite().reduce(f32::max).unwrap_or(0.0),
        mean: mean as f32,
        std: variance.sqrt() as f32,
        zeros: (zeros as f64 / map.len().max(1) as f64) as f32,
        non_finite: map.len() - count,
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2, arr3};

    use super::*;

    #[test]
    fn figures_are_those_of_the_finite_values() {
        let map = arr2(&[[0.0, 1.0], [f32::NAN, 2.0]]);
        let found = statistics(map.view());
        assert_eq!((found.min, found.max, found.mean), (0.0, 2.0, 1.0));
        assert!((found.std - (2.0_f32 / 3.0).sqrt()).abs() < 1e-6);
        assert_eq!((found.zeros, found.non_finite), (0.25, 1));
    }

    #[test]
    fn a_map_of_nan_has_figures_of_zero_and_says_so() {
        let found = statistics(arr2(&[[f32::NAN, f32::INFINITY]]).view());
        assert_eq!((found.min, found.max, found.mean, found.non_finite), (0.0, 0.0, 0.0, 2));
    }

    #[test]
    fn maps_that_show_nothing_are_flagged() {
        let flags = |map| super::flags(Array2::from_shape_vec((1, 2), map).expect("a map").view());
        assert_eq!(flags(vec![0.0, 0.0]), [Flag::Dead]);
        assert_eq!(flags(vec![5.0, 5.0]), [Flag::Constant]);
        assert_eq!(flags(vec![5.0, 5.000_001]), [Flag::Constant]);
        assert_eq!(flags(vec![5.0, 5.0001]), []);
        assert_eq!(flags(vec![f32::NAN, 1.0]), [Flag::Nan]);
        assert_eq!(flags(vec![f32::NAN, f32::NEG_INFINITY]), [Flag::Nan, Flag::Inf]);
        assert_eq!(super::flags(arr2(&[[3.0]]).view()), []);
    }

    #[test]
    fn channels_are_dead_or_constant_only_together() {
        let flags = |channels: ndarray::Array3<f32>| flags_of_channels(channels.view());
        let of = |a: [f32; 2], b: [f32; 2]| flags(arr3(&[[a], [b]]));
        assert_eq!(of([0.0, 0.0], [0.0, 0.0]), [Flag::Dead]);
        assert_eq!(of([0.0, 0.0], [0.0, 1.0]), []);
        assert_eq!(of([0.0, 0.0], [0.7, 0.7]), [Flag::Constant]);
        assert_eq!(of([0.2, 0.2], [0.7, 0.7]), [Flag::Constant]);
        assert_eq!(of([0.0, 0.0], [f32::NAN, 0.7]), [Flag::Nan]);
        // One position differs from nothing.
        assert_eq!(flags(arr3(&[[[0.2]], [[0.7]]])), []);
    }

    #[test]
    fn a_map_of_differences_that_is_zero_is_constant_and_not_dead() {
        let zeros = Array2::<f32>::zeros((2, 2));
        assert_eq!(flags_of_differences(zeros.view()), [Flag::Constant]);
        assert_eq!(flags_of_differences(arr2(&[[0.0]]).view()), []);
    }
}
