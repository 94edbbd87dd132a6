//! A map in colours.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use super::{Rgb, hatch};
use crate::colormap::{self, Colours};
use crate::maps::Flag;

/// How a map is enlarged.
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
pub enum Interpolation {
    /// Smooth between the layer's own pixels.
    #[default]
    Bilinear,
    /// The layer's own pixels as squares.
    Nearest,
}

/// A map as a picture of `width` x `height` in these colours. `flags` says what is to
/// be marked: see docs/pictures.md.
pub fn heat(
    map: ArrayView2<'_, f32>,
    colours: &Colours,
    flags: &[Flag],
    (width, height): (usize, usize),
    interpolation: Interpolation,
) -> Rgb {
    let mut scaled = colours.range.apply(map);
    // Infinity is no end of the scale: it must not shine into its neighbours.
    scaled.zip_mut_with(&map, |scaled, value| {
        if !value.is_finite() {
            *scaled = f32::NAN;
        }
    });
    let enlarged = enlarge(scaled.view(), (width, height), interpolation);
    let mut pixels = vec![0; 3 * enlarged.len()];
    for (pixel, value) in pixels.as_chunks_mut::<3>().0.iter_mut().zip(&enlarged) {
        *pixel = colours.table[usize::from(colormap::entry(*value))];
    }
    let mut picture = Rgb { width, height, pixels };
    hatch::mark(&mut picture, map, flags);
    picture
}

/// Resamples values in 0..1 to `width` x `height`. NaN is left out: what is near it is
/// made of its other neighbours, and where there is none, 0.
pub fn enlarge(
    map: ArrayView2<'_, f32>,
    (width, height): (usize, usize),
    interpolation: Interpolation,
) -> Array2<f32> {
    let (rows, columns) = map.dim();
    if (rows, columns) == (height, width) {
        return map.to_owned();
    }
    let nearest = || {
        Array2::from_shape_fn((height, width), |(y, x)| {
            map[[y * rows / height, x * columns / width]]
        })
    };
    match interpolation {
        Interpolation::Nearest => nearest(),
        Interpolation::Bilinear => bilinear(map, width, height).unwrap_or_else(nearest),
    }
}

fn bilinear(map: ArrayView2<'_, f32>, width: usize, height: usize) -> Option<Array2<f32>> {
    if !map.iter().any(|value| value.is_nan()) {
        return resample(map, width, height);
    }
    // Normalised convolution (Knutsson and Westin 1993): sum of the numbers' shares
    // over the sum of their weights.
    let known = map.mapv(|value| if value.is_nan() { 0.0 } else { 1.0 });
    let values = map.mapv(|value| if value.is_nan() { 0.0 } else { value });
    let weights = resample(known.view(), width, height)?;
    let mut sums = resample(values.view(), width, height)?;
    sums.zip_mut_with(&weights, |sum, weight| {
        *sum = if *weight > 1e-6 { *sum / weight } else { 0.0 };
    });
    Some(sums)
}

fn resample(map: ArrayView2<'_, f32>, width: usize, height: usize) -> Option<Array2<f32>> {
    let (rows, columns) = map.dim();
    let bytes: Vec<u8> = map.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let source = Image::from_vec_u8(columns as u32, rows as u32, bytes, PixelType::F32).ok()?;
    let mut target = Image::new(width as u32, height as u32, PixelType::F32);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, &options).ok()?;
    let value = |bytes: &[u8]| f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let values = target.buffer().chunks_exact(4).map(value).collect();
    Array2::from_shape_vec((height, width), values).ok()
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;
    use crate::colormap::Colormap;
    use crate::scale::Range;

    #[test]
    fn enlarging_keeps_the_corners_and_stays_inside() {
        let map = arr2(&[[0.0, 1.0], [1.0, 0.0]]);
        let large = enlarge(map.view(), (64, 32), Interpolation::Bilinear);
        assert_eq!(large.dim(), (32, 64));
        assert!(large.iter().all(|value| (-1e-6..=1.0 + 1e-6).contains(value)));
        assert!(large[[0, 0]] < 0.01 && large[[0, 63]] > 0.99);
        let squares = enlarge(map.view(), (4, 4), Interpolation::Nearest);
        assert_eq!((squares[[1, 1]], squares[[1, 2]]), (0.0, 1.0));
    }

    #[test]
    fn nan_and_infinity_leave_their_neighbours_as_they_are() {
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut map = Array2::from_elem((5, 5), 2.0);
            map[[2, 2]] = odd;
            let colours = Colormap::Gray.colours_within(Range { low: 0.0, high: 4.0 });
            let picture = heat(map.view(), &colours, &[], (50, 50), Interpolation::Bilinear);
            let centre = |at: usize| (20..30).contains(&at);
            for (y, x) in (0..50).flat_map(|y| (0..50).map(move |x| (y, x))) {
                if !(centre(x) && centre(y)) {
                    assert_eq!(picture.get(x, y), [128; 3], "{odd} at {x}, {y}");
                }
            }
        }
    }

    #[test]
    fn a_constant_map_is_one_colour_below_its_lines() {
        let map = arr2(&[[0.3, 0.3_f32.next_up()], [0.3_f32.next_up(), 0.3]]);
        let colours = Colormap::Viridis.colours(Range::of(map.iter().copied(), 0.0));
        let picture = heat(map.view(), &colours, &[], (9, 9), Interpolation::Bilinear);
        assert!(picture.pixels.chunks(3).all(|pixel| pixel == colours.table[0]));
    }
}
