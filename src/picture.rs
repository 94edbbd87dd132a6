//! Map -> picture: enlarge, colour, encode.

use std::str::FromStr;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use ndarray::{Array2, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use crate::colormap::{self, Table};

/// NaN and infinity are drawn in this grey, which is in no colour map but gray's.
const NOT_A_NUMBER: [u8; 3] = [128, 128, 128];

/// The pictures' size, as `--size` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// As large as the network's input.
    #[default]
    Input,
    /// The layer's own resolution.
    Native,
    /// The longer side in pixels.
    Longer(usize),
}

/// The largest side of a picture that can be asked for.
const LARGEST: usize = 16_384;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        match (text, text.parse()) {
            ("input", _) => Ok(Size::Input),
            ("native", _) => Ok(Size::Native),
            (_, Ok(pixels)) if (1..=LARGEST).contains(&pixels) => Ok(Size::Longer(pixels)),
            _ => Err(format!("it is input, native, or pixels from 1 to {LARGEST}")),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Size::Input => f.write_str("input"),
            Size::Native => f.write_str("native"),
            Size::Longer(pixels) => write!(f, "{pixels}"),
        }
    }
}

impl Size {
    /// Width and height of the picture of a map of `map` for an input of `input`
    /// (width, height each). A picture has the input's proportions, unless native.
    pub fn of(self, map: (usize, usize), input: (usize, usize)) -> (usize, usize) {
        match self {
            Size::Native => map,
            Size::Input => input,
            Size::Longer(pixels) => {
                let longer = input.0.max(input.1).max(1);
                let scaled = |side: usize| ((side * pixels + longer / 2) / longer).max(1);
                (scaled(input.0), scaled(input.1))
            }
        }
    }
}

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

/// An RGB picture, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// `width * height * 3` bytes.
    pub pixels: Vec<u8>,
}

/// A map of values in 0..1 (NaN: no value) as a picture of `width` x `height`.
pub fn heat(
    scaled: ArrayView2<'_, f32>,
    (width, height): (usize, usize),
    interpolation: Interpolation,
    table: &Table,
) -> Rgb {
    let enlarged = enlarge(scaled, (width, height), interpolation);
    let colour = |value: &f32| {
        if value.is_nan() { NOT_A_NUMBER } else { table[usize::from(colormap::entry(*value))] }
    };
    Rgb { width, height, pixels: enlarged.iter().flat_map(colour).collect() }
}

/// Resamples values in 0..1 to `width` x `height`. A pixel whose nearest value is NaN
/// is NaN; NaN spreads no further.
pub fn enlarge(
    map: ArrayView2<'_, f32>,
    (width, height): (usize, usize),
    interpolation: Interpolation,
) -> Array2<f32> {
    let (rows, columns) = map.dim();
    if (rows, columns) == (height, width) {
        return map.to_owned();
    }
    let nearest = |y: usize, x: usize| map[[y * rows / height, x * columns / width]];
    if interpolation == Interpolation::Nearest {
        return Array2::from_shape_fn((height, width), |(y, x)| nearest(y, x));
    }
    let numbers = map.mapv(|value| if value.is_nan() { 0.0 } else { value });
    let Some(mut smooth) = bilinear(&numbers, width, height) else {
        return Array2::from_shape_fn((height, width), |(y, x)| nearest(y, x));
    };
    if map.iter().any(|value| value.is_nan()) {
        smooth.indexed_iter_mut().for_each(|((y, x), value)| {
            if nearest(y, x).is_nan() {
                *value = f32::NAN;
            }
        });
    }
    smooth
}

fn bilinear(map: &Array2<f32>, width: usize, height: usize) -> Option<Array2<f32>> {
    let (rows, columns) = map.dim();
    let bytes: Vec<u8> = map.iter().flat_map(|value| value.to_ne_bytes()).collect();
    let source = Image::from_vec_u8(columns as u32, rows as u32, bytes, PixelType::F32).ok()?;
    let mut target = Image::new(width as u32, height as u32, PixelType::F32);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, &options).ok()?;
    let values = target
        .buffer()
        .chunks_exact(4)
        .map(|bytes| f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    Array2::from_shape_vec((height, width), values).ok()
}

/// The picture as a PNG file's bytes. The same pixels give the same bytes.
pub fn png(picture: &Rgb) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width as u32, picture.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // Thousands of small pictures: time counts more than the last kilobyte.
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&picture.pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;
    use crate::colormap::Colormap;

    #[test]
    fn a_size_keeps_the_inputs_proportions() {
        assert_eq!(Size::Longer(100).of((7, 7), (300, 150)), (100, 50));
        assert_eq!(Size::Input.of((7, 7), (300, 150)), (300, 150));
        assert_eq!(Size::Native.of((7, 5), (300, 150)), (7, 5));
    }

    #[test]
    fn enlarging_keeps_the_corners_and_stays_inside() {
        let map = arr2(&[[0.0, 1.0], [1.0, 0.0]]);
        let large = enlarge(map.view(), (64, 32), Interpolation::Bilinear);
        assert_eq!(large.dim(), (32, 64));
        assert!(large.iter().all(|value| (-1e-6..=1.0 + 1e-6).contains(value)));
        assert!(large[[0, 0]] < 0.01 && large[[0, 63]] > 0.99);
        let squares = enlarge(map.view(), (4, 4), Interpolation::Nearest);
        assert_eq!(squares[[1, 1]], 0.0);
        assert_eq!(squares[[1, 2]], 1.0);
    }

    #[test]
    fn nan_is_grey_and_does_not_spread() {
        let map = arr2(&[[0.0, f32::NAN], [1.0, 1.0]]);
        let table = Colormap::Viridis.table();
        let picture = heat(map.view(), (8, 8), Interpolation::Bilinear, &table);
        let grey = picture.pixels.chunks(3).filter(|pixel| *pixel == NOT_A_NUMBER).count();
        assert_eq!(grey, 16);
    }

    #[test]
    fn a_png_decodes_to_the_same_pixels_and_encodes_to_the_same_bytes() {
        let map = Array2::from_shape_fn((9, 7), |(y, x)| (y * 7 + x) as f32 / 62.0);
        let table = Colormap::Magma.table();
        let picture = heat(map.view(), (70, 90), Interpolation::Bilinear, &table);
        let bytes = png(&picture).expect("a PNG");
        let decoded = image::load_from_memory(&bytes).expect("a picture").to_rgb8();
        assert_eq!(decoded.as_raw(), &picture.pixels);
        assert_eq!(png(&picture).expect("a PNG"), bytes);
    }
}
