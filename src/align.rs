//! Which channel of one fold is which channel of another.
//!
//! Channel 5 of fold 1 is not channel 5 of fold 2: each network numbers what it has
//! learnt in an order of its own. Channels that are active at the same places of the
//! same images are taken for the same.

use ndarray::{Array1, Array2, ArrayView3, Axis};
use pathfinding::kuhn_munkres::kuhn_munkres;
use pathfinding::matrix::Matrix;

/// Correlations are compared as whole numbers of this part.
const UNIT: f64 = 1e9;

/// Sums over images for the correlation of every channel of one fold with every
/// channel of another.
#[derive(Clone, Debug)]
pub struct Aligner {
    count: f64,
    sums: (Array1<f64>, Array1<f64>),
    squares: (Array1<f64>, Array1<f64>),
    products: Array2<f64>,
}

impl Aligner {
    /// For layers of this many channels.
    pub fn new(channels: usize) -> Aligner {
        let zeros = || (Array1::zeros(channels), Array1::zeros(channels));
        Aligner {
            count: 0.0,
            sums: zeros(),
            squares: zeros(),
            products: Array2::zeros((channels, channels)),
        }
    }

    /// Adds one image: the layer's channels (channels x height x width) in both folds,
    /// of one shape. What is no number counts as zero.
    pub fn add(&mut self, reference: ArrayView3<'_, f32>, other: ArrayView3<'_, f32>) {
        let (a, b) = (rows(reference), rows(other));
        self.count += a.ncols() as f64;
        self.sums.0 += &a.sum_axis(Axis(1));
        self.sums.1 += &b.sum_axis(Axis(1));
        self.squares.0 += &a.mapv(|value| value * value).sum_axis(Axis(1));
        self.squares.1 += &b.mapv(|value| value * value).sum_axis(Axis(1));
        self.products += &a.dot(&b.t());
    }

    /// For each channel of the reference, in order, the other fold's channel (both from
    /// 1), so that the sum of Pearson's correlations is the largest that there is (Kuhn
    /// 1955, Munkres 1957). A constant channel correlates with nothing.
    pub fn best(&self) -> Vec<usize> {
        let channels = self.products.nrows();
        if channels == 0 {
            return Vec::new();
        }
        let variance = |sums: &Array1<f64>, squares: &Array1<f64>, c: usize| {
            (squares[c] - sums[c] * sums[c] / self.count).max(0.0)
        };
        let correlation = |i: usize, j: usize| {
            let scale = variance(&self.sums.0, &self.squares.0, i)
                * variance(&self.sums.1, &self.squares.1, j);
            let shared = self.products[[i, j]] - self.sums.0[i] * self.sums.1[j] / self.count;
            if scale > 0.0 { (shared / scale.sqrt()).clamp(-1.0, 1.0) } else { 0.0 }
        };
        let weights =
            Matrix::from_fn(channels, channels, |(i, j)| (correlation(i, j) * UNIT).round() as i64);
        kuhn_munkres(&weights).1.into_iter().map(|channel| channel + 1).collect()
    }
}

fn rows(channels: ArrayView3<'_, f32>) -> Array2<f64> {
    let (count, height, width) = channels.dim();
    Array2::from_shape_fn((count, height * width), |(c, p)| {
        let value = f64::from(channels[[c, p / width, p % width]]);
        if value.is_finite() { value } else { 0.0 }
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn a_permutation_is_found_again_whatever_the_scale() {
        let pattern = |c: usize, y: usize, x: usize| ((c * 7 + 3) * (y * 5 + x + 1) % 11) as f32;
        let reference = Array3::from_shape_fn((5, 4, 4), |(c, y, x)| pattern(c, y, x));
        let moved = [3, 0, 4, 1, 2];
        // Channel j of the other fold is three times channel moved[j] of the first.
        let other =
            Array3::from_shape_fn((5, 4, 4), |(c, y, x)| 3.0 * pattern(moved[c], y, x) + 1.0);
        let mut aligner = Aligner::new(5);
        aligner.add(reference.view(), other.view());
        let best = aligner.best();
        for (channel, found) in best.iter().enumerate() {
            assert_eq!(moved[found - 1], channel, "{best:?}");
        }
    }

    #[test]
    fn dead_channels_are_matched_with_what_is_left() {
        let reference = Array3::zeros((3, 2, 2));
        let mut aligner = Aligner::new(3);
        aligner.add(reference.view(), reference.view());
        let mut best = aligner.best();
        best.sort_unstable();
        assert_eq!(best, [1, 2, 3]);
    }
}
