//! From a layer's channels to one map.

use ndarray::{Array2, ArrayView3, Axis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

/// How a layer's C channels become one map.
///
/// The reduction is done where the tensor lives, so that only the small map
/// leaves the device.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    EnumString,
    VariantNames,
    Display,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Reduce {
    /// The mean over the channels.
    #[default]
    Mean,
    /// The largest value over the channels; NaN if one of them is NaN.
    Max,
    /// The L2 norm over the channels: `sqrt(sum(x^2))`.
    L2,
    /// The standard deviation over the channels (of the population).
    Std,
}

impl Reduce {
    /// Channels x height x width -> height x width. NaN stays NaN.
    ///
    /// An engine does the same on its device; this is for channels that are already here.
    pub fn apply(self, channels: ArrayView3<'_, f32>) -> Array2<f32> {
        let count = channels.len_of(Axis(0)).max(1) as f32;
        let max = |a: f32, b: f32| if a.is_nan() || a > b { a } else { b };
        channels.map_axis(Axis(0), |values| match self {
            Reduce::Mean => values.sum() / count,
            Reduce::Max => values.iter().copied().fold(f32::NEG_INFINITY, max),
            Reduce::L2 => values.iter().map(|value| value * value).sum::<f32>().sqrt(),
            Reduce::Std => {
                // In f64: the mean of equal values is then that value, and they deviate by 0.
                let count = f64::from(count);
                let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
                let squares = values.iter().map(|value| (f64::from(*value) - mean).powi(2));
                (squares.sum::<f64>() / count).sqrt() as f32
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::arr3;

    use super::*;

    #[test]
    fn reductions_follow_their_definitions() {
        let channels = arr3(&[[[3.0, -1.0]], [[4.0, f32::NAN]]]);
        assert_eq!(Reduce::Mean.apply(channels.view())[[0, 0]], 3.5);
        assert_eq!(Reduce::Max.apply(channels.view())[[0, 0]], 4.0);
        assert_eq!(Reduce::L2.apply(channels.view())[[0, 0]], 5.0);
        assert_eq!(Reduce::Std.apply(channels.view())[[0, 0]], 0.5);
        for how in [Reduce::Mean, Reduce::Max, Reduce::L2, Reduce::Std] {
            assert!(how.apply(channels.view())[[0, 1]].is_nan(), "{how:?}");
        }
    }

    #[test]
    fn equal_channels_deviate_by_nothing_and_not_by_rounding() {
        let channels = ndarray::Array3::from_elem((7, 2, 2), 0.7);
        let map = Reduce::Std.apply(channels.view());
        assert_eq!(map, Array2::<f32>::zeros((2, 2)));
    }
}
