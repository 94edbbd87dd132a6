//! Which values are black and which are white.

use std::str::FromStr;

use ndarray::{Array2, ArrayView2};

/// What `--scale` says: which maps share their black and white.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Scale {
    /// Every picture has its own.
    #[default]
    Map,
    /// All images of one layer of one fold.
    Layer,
    /// All images and all folds of one layer: `1_7.png` and `2_7.png` can be compared.
    Folds,
    /// The same two values for every picture.
    Fixed(Range),
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Scale, String> {
        match text {
            "map" => Ok(Scale::Map),
            "layer" => Ok(Scale::Layer),
            "folds" => Ok(Scale::Folds),
            _ => text
                .strip_prefix("fixed:")
                .and_then(|ends| ends.split_once(','))
                .and_then(|(low, high)| low.trim().parse().ok().zip(high.trim().parse().ok()))
                .map(|(low, high)| Range { low, high })
                .filter(|range| range.low.is_finite() && range.low < range.high && !range.is_flat())
                .map(Scale::Fixed)
                .ok_or_else(|| {
                    "it is map, layer, folds, or fixed:LOW,HIGH with LOW < HIGH".to_owned()
                }),
        }
    }
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Scale::Map => f.write_str("map"),
            Scale::Layer => f.write_str("layer"),
            Scale::Folds => f.write_str("folds"),
            Scale::Fixed(Range { low, high }) => write!(f, "fixed:{low},{high}"),
        }
    }
}

impl Scale {
    /// For people, on a sheet.
    pub fn in_words(self) -> &'static str {
        match self {
            Scale::Map => "a scale of its own for every picture",
            Scale::Layer => "one scale for all images of a fold's layer",
            Scale::Folds => "one scale for all folds and images of a layer",
            Scale::Fixed(_) => "one scale for all pictures",
        }
    }

    /// Whether a map's black and white are known without the other maps.
    pub fn is_local(self) -> bool {
        matches!(self, Scale::Map | Scale::Fixed(_))
    }
}

/// A range below this part of the largest magnitude is rounding, not structure: f32
/// has 24 bits, and a sum of many terms keeps about 20 of them.
const FLAT_BELOW: f64 = 1e-6;

/// The values at the ends of the colour map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The dark end.
    pub low: f32,
    /// The bright end.
    pub high: f32,
}

impl Range {
    /// From the smallest to the largest of the finite values; with `clip`, from the
    /// clip-th to the (100 - clip)-th percentile, interpolated linearly between the
    /// values as `numpy.percentile` does. 0 to 0 if there is no finite value.
    ///
    /// Where both percentiles are one value (a layer that is almost everywhere zero),
    /// clipping would hide all that there is to see: then nothing is clipped.
    pub fn of(values: impl Iterator<Item = f32>, clip: f32) -> Range {
        let finite = values.filter(|value| value.is_finite());
        if clip <= 0.0 {
            let ends = finite.fold(None, |ends: Option<(f32, f32)>, value| {
                let (low, high) = ends.unwrap_or((value, value));
                Some((low.min(value), high.max(value)))
            });
            let (low, high) = ends.unwrap_or((0.0, 0.0));
            return Range { low, high };
        }
        let mut sorted: Vec<f32> = finite.collect();
        sorted.sort_by(f32::total_cmp);
        let share = f64::from(clip) / 100.0;
        let clipped = Range { low: quantile(&sorted, share), high: quantile(&sorted, 1.0 - share) };
        if clipped.is_flat() { Range::of(sorted.into_iter(), 0.0) } else { clipped }
    }

    /// Whether low and high are the same but for rounding: they differ by no more than
    /// 1e-6 of their magnitude.
    pub fn is_flat(self) -> bool {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        high - low <= FLAT_BELOW * low.abs().max(high.abs())
    }

    /// As wide as need be for zero to be in the middle.
    pub fn around_zero(self) -> Range {
        let end = self.low.abs().max(self.high.abs());
        Range { low: -end, high: end }
    }

    /// Brings a map to 0..1. What lies outside takes the ends, NaN stays NaN; a flat
    /// range ([`Range::is_flat`]) gives 0 everywhere, not noise.
    pub fn apply(self, map: ArrayView2<'_, f32>) -> Array2<f32> {
        // In f64: the difference of two large f32 may overflow.
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        let (width, flat) = (high - low, self.is_flat());
        map.mapv(|value| {
            if value.is_nan() {
                f32::NAN
            } else if flat {
                0.0
            } else {
                ((f64::from(value) - low) / width).clamp(0.0, 1.0) as f32
            }
        })
    }
}

/// Hyndman and Fan's definition 7 of a sample quantile, which NumPy and R use.
fn quantile(sorted: &[f32], share: f64) -> f32 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (below, rest) = (at.floor() as usize, at.fract());
    let (a, b) = (f64::from(sorted[below]), f64::from(sorted[(below + 1).min(last)]));
    (a + (b - a) * rest) as f32
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn the_ends_become_zero_and_one() {
        let range = Range { low: -1.0, high: 3.0 };
        let scaled = range.apply(arr2(&[[-1.0, 1.0, 3.0], [-9.0, 9.0, f32::INFINITY]]).view());
        assert_eq!(scaled, arr2(&[[0.0, 0.5, 1.0], [0.0, 1.0, 1.0]]));
    }

    #[test]
    fn a_range_without_width_is_dark_and_not_noise() {
        let scaled = Range { low: 2.0, high: 2.0 }.apply(arr2(&[[2.0, 2.0]]).view());
        assert_eq!(scaled, arr2(&[[0.0, 0.0]]));
    }

    #[test]
    fn what_differs_by_rounding_alone_is_one_colour_too() {
        let map = arr2(&[[0.3, 0.3 + f32::EPSILON / 4.0, 0.300_000_1]]);
        let scaled = Range::of(map.iter().copied(), 0.0).apply(map.view());
        assert_eq!(scaled, arr2(&[[0.0, 0.0, 0.0]]));
    }

    #[test]
    fn clipping_does_not_hide_the_only_active_positions() {
        let sparse = (0..200).map(|at| if at == 7 { 2.0 } else { 0.0 });
        assert_eq!(Range::of(sparse, 1.0), Range { low: 0.0, high: 2.0 });
    }

    #[test]
    fn huge_ranges_do_not_overflow() {
        let range = Range { low: f32::MIN, high: f32::MAX };
        assert_eq!(range.apply(arr2(&[[0.0]]).view()), arr2(&[[0.5]]));
    }

    #[test]
    fn only_finite_values_make_a_range() {
        let values = [3.0, f32::NAN, -1.0, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(Range::of(values.into_iter(), 0.0), Range { low: -1.0, high: 3.0 });
        for clip in [0.0, 5.0] {
            let none = Range::of([f32::NAN].into_iter(), clip);
            assert_eq!(none, Range { low: 0.0, high: 0.0 });
        }
    }

    #[test]
    fn zero_comes_into_the_middle() {
        let range = Range { low: -1.0, high: 4.0 }.around_zero();
        assert_eq!(range, Range { low: -4.0, high: 4.0 });
        assert_eq!(range.apply(arr2(&[[0.0]]).view()), arr2(&[[0.5]]));
    }

    #[test]
    fn scales_are_read_and_written_the_same() {
        for text in ["map", "layer", "folds", "fixed:-1,2.5"] {
            assert_eq!(text.parse::<Scale>().expect(text).to_string(), text);
        }
        for text in
            ["fold", "fixed:1", "fixed:2,1", "fixed:nan,1", "fixed:1,1", "fixed:1e6,1000000.1"]
        {
            assert!(text.parse::<Scale>().is_err(), "{text}");
        }
    }
}
