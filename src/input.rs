//! Picture file -> the numbers that the network is fed with.

mod decode;

use std::path::Path;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::DynamicImage;
use ndarray::{Array3, ArrayViewMut3};

use crate::bundle::{Input, ResizeRule};
use crate::digest;
use crate::error::Error;
use crate::picture::Rgb;

pub use decode::{Limits, decode};

/// A picture, decoded and brought to the network's size.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The file's SHA-256, in hexadecimal.
    pub sha256: String,
    /// RGB, 0 to 255: height x width x 3, row by row.
    pub pixels: Vec<u8>,
}

/// Reads a picture, turns it as its EXIF data says, puts it on white where it is
/// transparent, and brings it to the input's size with an antialiased triangle
/// filter (that of PIL's BILINEAR, which rounds otherwise: about one value in twenty differs
/// by one of 255 levels). Of an animation, the first picture.
///
/// # Errors
/// [`Error::Picture`] if it is none, has no pixels, or more than [`Limits`] allow;
/// [`Error::Io`] if it cannot be read.
pub fn prepare(path: &Path, input: &Input) -> Result<Prepared, Error> {
    prepare_within(path, input, Limits::default())
}

/// [`prepare`] with limits of one's own.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_within(path: &Path, input: &Input, limits: Limits) -> Result<Prepared, Error> {
    let bad = |problem: String| Error::Picture { path: path.to_owned(), problem };
    let bytes = decode::read(path, limits)?;
    let picture = decode(&bytes, limits).map_err(bad)?;
    let size = (input.width, input.height);
    let pixels = resize(on_white(picture), size, input.resize).map_err(bad)?;
    Ok(Prepared { sha256: digest::of_bytes(&bytes), pixels })
}

/// What the network sees of a picture, at another size (width, height): for showing.
///
/// # Errors
/// As [`prepare`].
pub fn shown(
    path: &Path,
    input: &Input,
    (width, height): (usize, usize),
    limits: Limits,
) -> Result<Rgb, Error> {
    let pixels = prepare_within(path, &Input { width, height, ..input.clone() }, limits)?.pixels;
    Ok(Rgb { width, height, pixels })
}

/// RGB, with transparent pixels laid on white.
fn on_white(picture: DynamicImage) -> image::RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let source = picture.into_rgba8();
    image::RgbImage::from_fn(source.width(), source.height(), |x, y| {
        let [red, green, blue, alpha] = source.get_pixel(x, y).0;
        let blend = |value: u8| {
            let (value, alpha) = (u32::from(value), u32::from(alpha));
            // Rounded to nearest: (v a + 255 (255 - a)) / 255.
            ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        };
        image::Rgb([blend(red), blend(green), blend(blue)])
    })
}

fn resize(
    picture: image::RgbImage,
    (width, height): (usize, usize),
    rule: ResizeRule,
) -> Result<Vec<u8>, String> {
    let (across, down) = picture.dimensions();
    let source = Image::from_vec_u8(across, down, picture.into_raw(), PixelType::U8x3)
        .map_err(|error| error.to_string())?;
    let mut options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    if rule == ResizeRule::Crop {
        options = options.fit_into_destination(None);
    }
    let mut target = Image::new(width as u32, height as u32, PixelType::U8x3);
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| error.to_string())?;
    Ok(target.into_vec())
}

impl Prepared {
    /// Writes the picture into `target` (channels x height x width) as the network
    /// wants it: `(value / 255 - mean) / std`. One channel gets the luma of ITU-R
    /// BT.601, as PIL's `convert("L")` does.
    pub fn write_into(&self, mut target: ArrayViewMut3<'_, f32>, input: &Input) {
        let value = |rgb: &[u8], channel: usize| -> f32 {
            let raw = match input.channels {
                1 => {
                    0.299 * f32::from(rgb[0])
                        + 0.587 * f32::from(rgb[1])
                        + 0.114 * f32::from(rgb[2])
                }
                _ => f32::from(rgb[channel]),
            };
            (raw / 255.0 - input.mean[channel]) / input.std[channel]
        };
        for (index, rgb) in self.pixels.chunks_exact(3).enumerate() {
            let (y, x) = (index / input.width, index % input.width);
            for channel in 0..input.channels {
                target[[channel, y, x]] = value(rgb, channel);
            }
        }
    }

    /// The same as an array of its own.
    pub fn normalised(&self, input: &Input) -> Array3<f32> {
        let mut array = Array3::zeros((input.channels, input.height, input.width));
        self.write_into(array.view_mut(), input);
        array
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(channels: usize, width: usize, height: usize, resize: ResizeRule) -> Input {
        let (mean, std) = (vec![0.5; channels], vec![0.25; channels]);
        Input { channels, width, height, mean, std, resize }
    }

    fn saved(picture: DynamicImage) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".png").tempfile().expect("a file");
        picture.save(file.path()).expect("a picture");
        file
    }

    #[test]
    fn values_are_scaled_then_normalised_per_channel() {
        let red = image::RgbImage::from_pixel(4, 4, image::Rgb([255, 0, 0]));
        let file = saved(red.into());
        let input = input(3, 2, 2, ResizeRule::Stretch);
        let array = prepare(file.path(), &input).expect("a picture").normalised(&input);
        assert_eq!(array[[0, 0, 0]], 2.0);
        assert_eq!(array[[1, 1, 1]], -2.0);
    }

    #[test]
    fn transparent_pixels_are_laid_on_white() {
        let clear = image::RgbaImage::from_pixel(3, 3, image::Rgba([0, 0, 0, 0]));
        let file = saved(clear.into());
        let prepared =
            prepare(file.path(), &input(3, 3, 3, ResizeRule::Stretch)).expect("a picture");
        assert!(prepared.pixels.iter().all(|value| *value == 255));
    }

    #[test]
    fn crop_keeps_the_centre_and_stretch_keeps_everything() {
        // Left and right thirds black, the middle third white.
        let picture = image::GrayImage::from_fn(30, 10, |x, _| {
            image::Luma([if (10..20).contains(&x) { 255 } else { 0 }])
        });
        let file = saved(picture.into());
        let crop = prepare(file.path(), &input(3, 10, 10, ResizeRule::Crop)).expect("a picture");
        assert!(crop.pixels.iter().all(|value| *value == 255));
        let stretch =
            prepare(file.path(), &input(3, 30, 10, ResizeRule::Stretch)).expect("a picture");
        assert_eq!(stretch.pixels[0], 0);
    }

    #[test]
    fn grey_is_the_luma_of_bt_601() {
        let green = image::RgbImage::from_pixel(2, 2, image::Rgb([0, 255, 0]));
        let file = saved(green.into());
        let input = input(1, 2, 2, ResizeRule::Stretch);
        let array = prepare(file.path(), &input).expect("a picture").normalised(&input);
        assert!((array[[0, 0, 0]] - (0.587 - 0.5) / 0.25).abs() < 1e-5);
    }

    #[test]
    fn a_file_that_is_no_picture_is_named() {
        let file = tempfile::Builder::new().suffix(".png").tempfile().expect("a file");
        let input = input(3, 2, 2, ResizeRule::Stretch);
        let empty = prepare(file.path(), &input).expect_err("empty");
        assert!(empty.to_string().contains("empty"), "{empty}");
        std::fs::write(file.path(), b"hello").expect("a file");
        let text = prepare(file.path(), &input).expect_err("text");
        assert!(text.to_string().contains("not a readable picture"), "{text}");
    }
}
