//! What the channels of a layer do: how many are silent, how many say something new.

use nalgebra::DMatrix;
use ndarray::{ArrayView3, Axis};

/// The share of values that are exactly zero, 0 to 1; `None` of no values.
pub fn zeros(channels: ArrayView3<'_, f32>) -> Option<f64> {
    let count = channels.iter().filter(|value| **value == 0.0).count();
    (!channels.is_empty()).then(|| count as f64 / channels.len() as f64)
}

/// Which channels are active somewhere: have a value above zero.
pub fn active(channels: ArrayView3<'_, f32>) -> Vec<bool> {
    channels.axis_iter(Axis(0)).map(|map| map.iter().any(|value| *value > 0.0)).collect()
}

/// How many channels it would take to say the same without repetition: the effective
/// rank of the channels' correlation matrix, `exp(-sum(p ln p))` where p are its
/// eigenvalues over their sum. 1 if all channels show one pattern (or its negative), as
/// many as there are channels if no two correlate.
///
/// O. Roy and M. Vetterli, "The effective rank: a measure of effective dimensionality",
/// 2007. Constant channels correlate with nothing and are left out. `None` if fewer than
/// two channels are left, or a value is no number.
pub fn effective_rank(channels: ArrayView3<'_, f32>) -> Option<f64> {
    let rows: Vec<Vec<f64>> = channels
        .axis_iter(Axis(0))
        .filter_map(|map| standardised(map.iter().map(|value| f64::from(*value)).collect()))
        .collect();
    if rows.len() < 2 || channels.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let matrix = DMatrix::from_fn(rows.len(), rows[0].len(), |row, column| rows[row][column]);
    // Both products have the same eigenvalues but for zeros; the smaller is taken.
    let product = if matrix.nrows() <= matrix.ncols() {
        &matrix * matrix.transpose()
    } else {
        matrix.transpose() * &matrix
    };
    let total = product.trace();
    let entropy: f64 = product
        .symmetric_eigenvalues()
        .iter()
        .map(|value| value / total)
        .filter(|share| *share > 1e-15)
        .map(|share| -share * share.ln())
        .sum();
    Some(entropy.exp())
}

/// Of mean zero and length one; `None` if the values do not differ.
fn standardised(mut values: Vec<f64>) -> Option<Vec<f64>> {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    values.iter_mut().for_each(|value| *value -= mean);
    let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    if length <= 1e-6 * mean.abs() * (values.len() as f64).sqrt() {
        return None;
    }
    values.iter_mut().for_each(|value| *value /= length);
    Some(values)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn channels_that_repeat_each_other_count_once() {
        let same = Array3::from_shape_fn((5, 4, 4), |(c, y, x)| {
            (c as f32 - 2.5) * ((y * 7 + x * 3) % 5) as f32
        });
        assert!((effective_rank(same.view()).expect("a rank") - 1.0).abs() < 1e-6);
    }

    #[test]
    fn channels_that_share_nothing_all_count() {
        let waves = Array3::from_shape_fn((3, 8, 8), |(c, _, x)| {
            (2.0 * std::f32::consts::PI * (c + 1) as f32 * x as f32 / 8.0).sin()
        });
        // The third wave is the alias of none of the others.
        assert!((effective_rank(waves.view()).expect("a rank") - 3.0).abs() < 1e-6);
    }

    #[test]
    fn silent_channels_are_seen_and_left_out() {
        let mut maps = Array3::zeros((3, 4, 4));
        maps[[1, 2, 2]] = 1.0;
        assert_eq!(active(maps.view()), [false, true, false]);
        assert_eq!(zeros(maps.view()), Some(47.0 / 48.0));
        assert_eq!(effective_rank(maps.view()), None);
    }
}
