//! A map in colours, and how a map looks that has nothing to show.

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use super::Rgb;
use crate::colormap::{self, Table};
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

/// The hatches: in no colour map, and told apart by direction as well.
const DEAD: ([u8; 3], [u8; 3]) = ([40, 40, 40], [96, 96, 96]);
const CONSTANT_LINE: [u8; 3] = [160, 160, 160];
const NAN: ([u8; 3], [u8; 3]) = ([255, 0, 255], [0, 0, 0]);
const INFINITE: ([u8; 3], [u8; 3]) = ([0, 255, 255], [0, 0, 0]);
/// Pixels from one line of a hatch to the next.
const PITCH: usize = 8;

/// A map as a picture of `width` x `height`. `scaled` holds values in 0..1, NaN where
/// there is no number; `map` the values before scaling, `flags` what was found in it.
///
/// A dead map is dark grey with rising lines, a constant one its colour with falling
/// lines; NaN is a magenta check, infinity a cyan one, exactly where they are.
pub fn heat(
    map: ArrayView2<'_, f32>,
    scaled: ArrayView2<'_, f32>,
    flags: &[Flag],
    (width, height): (usize, usize),
    interpolation: Interpolation,
    table: &Table,
) -> Rgb {
    let enlarged = enlarge(scaled, (width, height), interpolation);
    let colour = |value: &f32| table[usize::from(colormap::entry(*value))];
    let mut picture = Rgb { width, height, pixels: enlarged.iter().flat_map(colour).collect() };
    let rising = |x: usize, y: usize| (x + y) % PITCH < 2;
    let falling = |x: usize, y: usize| (x + PITCH * height - y) % PITCH < 2;
    let check = |x: usize, y: usize| (x / 4 + y / 4).is_multiple_of(2);
    if flags.contains(&Flag::Dead) {
        paint(&mut picture, |x, y| Some(if rising(x, y) { DEAD.1 } else { DEAD.0 }));
    } else if flags.contains(&Flag::Constant) {
        paint(&mut picture, |x, y| falling(x, y).then_some(CONSTANT_LINE));
    }
    if flags.contains(&Flag::Nan) || flags.contains(&Flag::Inf) {
        let (rows, columns) = map.dim();
        paint(&mut picture, |x, y| {
            let value = map[[y * rows / height, x * columns / width]];
            let (first, second) = if value.is_nan() { NAN } else { INFINITE };
            (!value.is_finite()).then_some(if check(x, y) { first } else { second })
        });
    }
    picture
}

fn paint(picture: &mut Rgb, colour: impl Fn(usize, usize) -> Option<[u8; 3]>) {
    for y in 0..picture.height {
        for x in 0..picture.width {
            if let Some(colour) = colour(x, y) {
                picture.set(x, y, colour);
            }
        }
    }
}

/// Resamples values in 0..1 to `width` x `height`. NaN counts as 0: it is drawn over.
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
    let (rows, columns) = map.dim();
    let number = |value: &f32| if value.is_nan() { 0.0 } else { *value };
    let bytes: Vec<u8> = map.iter().flat_map(|value| number(value).to_ne_bytes()).collect();
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

    fn drawn(map: Array2<f32>, flags: &[Flag]) -> Rgb {
        let scaled = Range::of(map.iter().copied(), 0.0).apply(map.view());
        let table = Colormap::Viridis.table();
        heat(map.view(), scaled.view(), flags, (16, 16), Interpolation::Bilinear, &table)
    }

    fn count(picture: &Rgb, colour: [u8; 3]) -> usize {
        picture.pixels.chunks(3).filter(|pixel| *pixel == colour).count()
    }

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
    fn nan_and_infinity_are_checked_exactly_where_they_are() {
        let map = arr2(&[[0.0, f32::NAN], [1.0, f32::INFINITY]]);
        let picture = drawn(map, &[Flag::Nan, Flag::Inf]);
        assert_eq!((count(&picture, NAN.0), count(&picture, INFINITE.0)), (32, 32));
        assert_eq!(count(&picture, [0; 3]), 64);
    }

    #[test]
    fn dead_and_constant_maps_are_hatched_in_other_directions() {
        let dead = drawn(Array2::zeros((4, 4)), &[Flag::Dead]);
        let constant = drawn(Array2::from_elem((4, 4), 3.0), &[Flag::Constant]);
        assert_eq!(count(&dead, DEAD.0) + count(&dead, DEAD.1), 256);
        assert_eq!(count(&constant, CONSTANT_LINE), 64);
        // Rising lines run through (x, -x), falling ones through (x, x).
        assert_eq!(dead.get(3, 5), dead.get(4, 4));
        assert_eq!(constant.get(3, 3), constant.get(5, 5));
        assert_ne!(dead.get(0, 0), dead.get(4, 4).map(|v| v ^ 255));
    }
}
