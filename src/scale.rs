//! Which values are black and which are white.

use ndarray::{Array2, ArrayView2};

/// The values at the ends of the colour map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The dark end.
    pub low: f32,
    /// The bright end.
    pub high: f32,
}

impl Range {
    /// Brings a map to 0..1. What lies outside takes the ends, NaN stays NaN; a range
    /// without width gives 0 everywhere, not noise.
    pub fn apply(self, map: ArrayView2<'_, f32>) -> Array2<f32> {
        // In f64: the difference of two large f32 may overflow.
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        let width = high - low;
        map.mapv(|value| {
            if value.is_nan() {
                f32::NAN
            } else if width <= 0.0 {
                0.0
            } else {
                ((f64::from(value) - low) / width).clamp(0.0, 1.0) as f32
            }
        })
    }
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
    fn a_constant_map_is_dark_and_not_noise() {
        let scaled = Range { low: 2.0, high: 2.0 }.apply(arr2(&[[2.0, 2.0]]).view());
        assert_eq!(scaled, arr2(&[[0.0, 0.0]]));
    }

    #[test]
    fn huge_ranges_do_not_overflow() {
        let range = Range { low: f32::MIN, high: f32::MAX };
        assert_eq!(range.apply(arr2(&[[0.0]]).view()), arr2(&[[0.5]]));
    }
}
