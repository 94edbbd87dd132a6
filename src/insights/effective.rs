//! How much of its receptive field a layer really looks at.

use ndarray::ArrayView2;
use ndarray::{Array2, Array3, Axis};

/// The share of the gradient's energy that the effective field holds.
pub const SHARE: f64 = 0.9;

/// The places of a layer at which it is measured, as shares of height and width: the
/// centre, and the centres of the four quarters.
pub const PLACES: [(f64, f64); 5] =
    [(0.5, 0.5), (0.25, 0.25), (0.25, 0.75), (0.75, 0.25), (0.75, 0.75)];

/// The energy of a gradient by the image (channels x height x width): squares, summed over
/// the image's channels. height x width.
pub fn energy(gradient: &Array3<f32>) -> Array2<f32> {
    gradient.mapv(|value| value * value).sum_axis(Axis(0))
}

/// The side, in pixels, of the smallest square around `centre` (row, column, in pixels)
/// that holds 90 % of the gradient's energy; `None` if there is none (a dead unit).
///
/// After W. Luo and others, "Understanding the effective receptive field in deep
/// convolutional neural networks", 2016, who take the gradient of a unit by the image.
pub fn side(energy: ArrayView2<'_, f32>, centre: [f64; 2]) -> Option<f64> {
    let total: f64 = energy.iter().map(|value| f64::from(*value)).sum();
    if !total.is_finite() || total <= 0.0 {
        return None;
    }
    let mut by_distance: Vec<(f64, f64)> = energy
        .indexed_iter()
        .map(|((y, x), value)| (distance((y, x), centre), f64::from(*value)))
        .collect();
    by_distance.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut sum = 0.0;
    let reached = by_distance.iter().find(|(_, value)| {
        sum += value;
        sum >= SHARE * total * (1.0 - 1e-9)
    });
    reached.map(|(distance, _)| 2.0 * distance + 1.0)
}

/// The share of the energy inside a field of this size around `centre`.
pub fn inside(energy: ArrayView2<'_, f32>, centre: [f64; 2], size: [f64; 2]) -> Option<f64> {
    let total: f64 = energy.iter().map(|value| f64::from(*value)).sum();
    let is_inside = |y: usize, x: usize| {
        (y as f64 - centre[0]).abs() <= size[0] / 2.0
            && (x as f64 - centre[1]).abs() <= size[1] / 2.0
    };
    let sum: f64 = energy
        .indexed_iter()
        .filter(|((y, x), _)| is_inside(*y, *x))
        .map(|(_, value)| f64::from(*value))
        .sum();
    (total > 0.0 && total.is_finite()).then(|| sum / total)
}

/// The larger of the distances along the axes, in pixels.
fn distance((y, x): (usize, usize), centre: [f64; 2]) -> f64 {
    (y as f64 - centre[0]).abs().max((x as f64 - centre[1]).abs())
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    #[test]
    fn the_square_grows_until_it_holds_nine_tenths() {
        let mut energy = Array2::zeros((9, 9));
        energy[[4, 4]] = 8.0;
        energy[[4, 6]] = 2.0;
        assert_eq!(side(energy.view(), [4.0, 4.0]), Some(5.0));
        energy[[4, 6]] = 0.5;
        assert_eq!(side(energy.view(), [4.0, 4.0]), Some(1.0));
        assert_eq!(inside(energy.view(), [4.0, 4.0], [3.0; 2]), Some(8.0 / 8.5));
        assert_eq!(side(Array2::zeros((3, 3)).view(), [1.0, 1.0]), None);
    }
}
