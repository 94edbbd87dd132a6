//! How fine the structure of a map is: the spatial frequencies that carry its power.

use std::f64::consts::PI;

use ndarray::{Array2, ArrayView2, Axis};
use rustfft::FftPlanner;
use rustfft::num_complex::Complex64;

/// The share of the power that lies at or below the detail.
pub const SHARE: f64 = 0.9;
/// A side with fewer values has no spectrum to speak of once it is windowed.
pub const SMALLEST_SIDE: usize = 4;
/// Power below this part of the map's own is rounding of f32, not structure.
const NOTHING: f64 = 1e-12;

/// The spatial frequency, in cycles per image, at or below which 90 % of the map's power
/// lies: the radial *spectral roll-off*, as audio analysis defines it along one axis.
///
/// The map's weighted mean is taken away, so that nothing is left at frequency zero; a
/// periodic Hann window on both axes keeps its borders from counting as edges (F. J.
/// Harris, "On the use of windows for harmonic analysis with the discrete Fourier
/// transform", 1978); the power of the 2-D DFT is summed by the distance of its
/// frequencies from zero, both counted in cycles per image.
///
/// `None` where there is no structure to measure: a side shorter than
/// [`SMALLEST_SIDE`], a constant map, a value that is no number.
pub fn detail(map: ArrayView2<'_, f32>) -> Option<f64> {
    let (height, width) = map.dim();
    if height.min(width) < SMALLEST_SIDE || map.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let windowed = windowed(map);
    let mut by_radius = power(windowed.view());
    let total: f64 = by_radius.iter().map(|(_, power)| power).sum();
    let magnitude: f64 = map.iter().map(|value| f64::from(*value).powi(2)).sum();
    // Parseval: the power of the spectrum is that of the map, times its size.
    if total <= NOTHING * magnitude * map.len() as f64 {
        return None;
    }
    by_radius.sort_by_key(|(squared, _)| *squared);
    let mut sum = 0.0;
    let reached = by_radius.iter().find(|(_, power)| {
        sum += power;
        // The last sums may miss the total by rounding.
        sum >= SHARE * total * (1.0 - 1e-12)
    });
    reached.map(|(squared, _)| (*squared as f64).sqrt())
}

/// The highest frequency that a grid carries along its longer side: half of it, in
/// cycles per image (Nyquist). Along a diagonal it carries up to sqrt(2) times that.
pub fn limit(height: usize, width: usize) -> f64 {
    height.max(width) as f64 / 2.0
}

fn windowed(map: ArrayView2<'_, f32>) -> Array2<f64> {
    let hann = |at: usize, side: usize| 0.5 - 0.5 * (2.0 * PI * at as f64 / side as f64).cos();
    let (height, width) = map.dim();
    let window = Array2::from_shape_fn((height, width), |(y, x)| hann(y, height) * hann(x, width));
    let values = map.mapv(f64::from);
    let mean = (&values * &window).sum() / window.sum();
    (values - mean) * window
}

/// The power at each frequency, with the square of its distance from zero.
fn power(map: ArrayView2<'_, f64>) -> Vec<(usize, f64)> {
    let (height, width) = map.dim();
    let mut planner = FftPlanner::new();
    let mut spectrum = map.mapv(|value| Complex64::new(value, 0.0));
    for axis in [Axis(1), Axis(0)] {
        let fft = planner.plan_fft_forward(map.len_of(axis));
        for mut lane in spectrum.lanes_mut(axis) {
            let mut values = lane.to_vec();
            fft.process(&mut values);
            lane.assign(&ndarray::ArrayView1::from(&values));
        }
    }
    let frequency = |index: usize, side: usize| index.min(side - index);
    spectrum
        .indexed_iter()
        .map(|((y, x), value)| {
            let (v, u) = (frequency(y, height), frequency(x, width));
            (v * v + u * u, value.norm_sqr())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(side: usize, cycles: f64) -> Array2<f32> {
        Array2::from_shape_fn((side, side), |(_, x)| {
            (2.0 * PI * cycles * x as f64 / side as f64).sin() as f32
        })
    }

    #[test]
    fn the_detail_of_a_wave_is_its_frequency() {
        // The window spreads a wave by one cycle to either side.
        for cycles in [5.0, 12.0] {
            let found = detail(wave(64, cycles).view()).expect("structure");
            assert!((found - cycles).abs() <= 1.1, "{found}");
        }
    }

    #[test]
    fn detail_is_in_cycles_per_image_whatever_the_grid() {
        let (small, large) = (detail(wave(32, 4.0).view()), detail(wave(128, 4.0).view()));
        assert!((small.expect("s") - large.expect("l")).abs() < 1e-9);
    }

    #[test]
    fn neither_gain_nor_offset_changes_the_detail() {
        let map = wave(32, 6.0);
        assert_eq!(detail(map.view()), detail(map.mapv(|v| 8.0 * v).view()));
        let moved = detail(map.mapv(|v| v + 0.5).view()).expect("structure");
        assert!((moved - detail(map.view()).expect("structure")).abs() < 1e-9);
    }

    #[test]
    fn what_has_no_structure_has_no_detail() {
        assert_eq!(detail(Array2::from_elem((8, 8), 0.1).view()), None);
        assert_eq!(detail(Array2::zeros((8, 8)).view()), None);
        assert_eq!(detail(wave(3, 1.0).view()), None);
        let mut map = wave(8, 2.0);
        map[[1, 1]] = f32::NAN;
        assert_eq!(detail(map.view()), None);
    }
}
