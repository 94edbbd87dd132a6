//! Image file -> the numbers that the network is fed with.
//!
//! Pictures for people (PNG, JPEG and so on) are brought to 0..1 and normalised; arrays and
//! TIFF files of other values are taken as they are.

mod array;
mod decode;
mod file;
mod guard;
mod jpeg;
mod tiff;
mod whole;

use std::path::Path;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::DynamicImage;
use ndarray::{Array3, ArrayView2, ArrayViewMut3, Axis};

use crate::bundle::{Input, ResizeRule};
use crate::digest;
use crate::error::Error;
use crate::picture::Rgb;
use crate::terminal::count;

pub use array::AxisOrder;
pub use decode::{Decoded, File, decode};

/// What is not even tried to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// The longest file, in bytes.
    pub bytes: u64,
    /// The most pixels. The largest cameras have 150 million.
    pub pixels: u64,
}

impl Default for DecodeLimits {
    fn default() -> DecodeLimits {
        DecodeLimits { bytes: 1 << 30, pixels: 200_000_000 }
    }
}

/// How files are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// What is not even tried.
    pub limits: DecodeLimits,
    /// Where arrays have their channels; `None`: as their sizes tell.
    pub layout: Option<AxisOrder>,
    /// Subtracted from values that are taken as they are: none, one for all channels, or one
    /// for each.
    pub mean: Vec<f32>,
    /// What the difference is divided by, likewise.
    pub std: Vec<f32>,
}

/// Why a file gives no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    fn new(what: impl Into<String>) -> Problem {
        Problem { what: what.into(), hint: None }
    }

    fn with_hint(what: impl Into<String>, hint: impl Into<String>) -> Problem {
        Problem { what: what.into(), hint: Some(hint.into()) }
    }

    fn of(self, path: &Path) -> Error {
        Error::Image { path: path.to_owned(), problem: self.what, hint: self.hint }
    }
}

/// An image, decoded and brought to the network's size.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The file's SHA-256, in hexadecimal.
    pub sha256: String,
    /// What it shows.
    pub content: Content,
    /// How many frames or pages the file has.
    pub frames: usize,
}

/// What the network sees of an image.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// RGB, 0 to 255: height x width x 3, row by row.
    Rgb(Vec<u8>),
    /// As the network is fed: channels x height x width.
    Values(Vec<f32>),
}

/// Reads an image: the frame (from 1) that is asked for, else the first one. A picture is
/// turned as its EXIF data says, put on white where it is transparent, and brought to the
/// input's size with an antialiased triangle filter (that of PIL's BILINEAR, which rounds
/// otherwise: about one value in twenty differs by one of 255 levels). Values of arrays and
/// of TIFF files that hold no picture are taken as they are.
///
/// # Errors
/// [`Error::Image`] if it is none, is damaged, has no pixels, more than [`DecodeLimits`] allow, or
/// other channels than the network takes; [`Error::Io`] if it cannot be read.
pub fn prepare(
    path: &Path,
    frame: Option<usize>,
    input: &Input,
    reading: &Reading,
) -> Result<Prepared, Error> {
    let bytes = file::read(path, reading.limits)?;
    let File { decoded, frames } =
        decode(&bytes, input.channels, frame, reading).map_err(|problem| problem.of(path))?;
    // What is decoded may be large, and its file is not needed any more.
    let sha256 = digest::of_bytes(&bytes);
    drop(bytes);
    let content = content(decoded, input, reading).map_err(|problem| problem.of(path))?;
    Ok(Prepared { sha256, content, frames })
}

/// What the network sees of an image, at another size (width, height): for showing. Values
/// that are no colours are shown in grey, from the lowest to the highest.
///
/// # Errors
/// As [`prepare`].
pub fn preview_rgb(
    path: &Path,
    frame: Option<usize>,
    input: &Input,
    (width, height): (usize, usize),
    reading: &Reading,
) -> Result<Rgb, Error> {
    let input = Input { width, height, ..input.clone() };
    let pixels = match prepare(path, frame, &input, reading)?.content {
        Content::Rgb(pixels) => pixels,
        Content::Values(values) => colours(&values, input.channels, width * height),
    };
    Ok(Rgb { width, height, pixels })
}

/// How many frames or pages a file has: 1 for what cannot be read, which is told later.
pub fn count_frames(path: &Path, limits: DecodeLimits) -> usize {
    file::read(path, limits).map_or(1, |bytes| decode::count_frames(&bytes, limits))
}

/// Three channels as colours, others as the grey of their mean.
fn colours(values: &[f32], channels: usize, pixels: usize) -> Vec<u8> {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let level = |value: f32| match value.is_finite() && high > low {
        true => ((value - low) / (high - low) * 255.0).round() as u8,
        false => 0,
    };
    let of_pixel = |pixel: usize| -> [u8; 3] {
        let value = |channel: usize| values[channel * pixels + pixel];
        match channels {
            3 => [0, 1, 2].map(|channel| level(value(channel))),
            _ => [level((0..channels).map(value).sum::<f32>() / channels as f32); 3],
        }
    };
    (0..pixels).flat_map(of_pixel).collect()
}

fn content(decoded: Decoded, input: &Input, reading: &Reading) -> Result<Content, Problem> {
    let picture = match decoded {
        Decoded::Values(values) => {
            let values = resized_values(values, input)?;
            return Ok(Content::Values(normalised(values, &reading.mean, &reading.std)));
        }
        Decoded::Picture(picture) => picture,
    };
    if matches!(input.channels, 1 | 3) {
        let size = (input.width, input.height);
        return resized(on_white(picture), size, input.resize).map(Content::Rgb);
    }
    let own = picture.color().channel_count();
    if input.channels != 4 || own != 4 {
        return Err(Problem::with_hint(
            format!(
                "a picture of {}, the network takes {} channels",
                count(own.into(), "channel"),
                input.channels
            ),
            "give a .npy or .npz file, or a TIFF with as many channels or pages; --channels N \
             says how many the network takes",
        ));
    }
    let rgba = picture.into_rgba8();
    let (width, height) = (rgba.width() as usize, rgba.height() as usize);
    let raw = rgba.into_raw();
    let values = Array3::from_shape_fn((4, height, width), |(channel, y, x)| {
        f32::from(raw[(y * width + x) * 4 + channel]) / 255.0
    });
    let values = resized_values(values, input)?;
    Ok(Content::Values(normalised(values, &input.mean, &input.std)))
}

/// `(value - mean) / std` for each channel; one number counts for all of them.
fn normalised(mut values: Array3<f32>, mean: &[f32], std: &[f32]) -> Vec<f32> {
    for (channel, mut plane) in values.outer_iter_mut().enumerate() {
        let of = |numbers: &[f32]| numbers.get(channel).or(numbers.first()).copied();
        if let Some(mean) = of(mean) {
            plane -= mean;
        }
        if let Some(std) = of(std) {
            plane /= std;
        }
    }
    values.into_raw_vec_and_offset().0
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

fn resized(
    picture: image::RgbImage,
    (width, height): (usize, usize),
    rule: ResizeRule,
) -> Result<Vec<u8>, Problem> {
    let (across, down) = picture.dimensions();
    let source = Image::from_vec_u8(across, down, picture.into_raw(), PixelType::U8x3)
        .map_err(|error| Problem::new(error.to_string()))?;
    let mut target = Image::new(width as u32, height as u32, PixelType::U8x3);
    Resizer::new()
        .resize(&source, &mut target, &how_to_resize(rule))
        .map_err(|error| Problem::new(error.to_string()))?;
    Ok(target.into_vec())
}

fn how_to_resize(rule: ResizeRule) -> ResizeOptions {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    match rule {
        ResizeRule::Stretch => options,
        ResizeRule::Crop => options.fit_into_destination(None),
    }
}

/// The same for values, channel by channel; those of the right size stay what they are.
fn resized_values(values: Array3<f32>, input: &Input) -> Result<Array3<f32>, Problem> {
    let (channels, height, width) = values.dim();
    if (width, height) == (input.width, input.height) {
        return Ok(values);
    }
    let mut target = Array3::zeros((channels, input.height, input.width));
    for (plane, mut target) in values.outer_iter().zip(target.axis_iter_mut(Axis(0))) {
        target.assign(&resized_plane(plane, input)?);
    }
    Ok(target)
}

fn resized_plane(
    plane: ArrayView2<'_, f32>,
    input: &Input,
) -> Result<ndarray::Array2<f32>, Problem> {
    let problem = |error: String| Problem::new(error);
    let (down, across) = plane.dim();
    let bytes: Vec<u8> = plane.iter().flat_map(|value| value.to_ne_bytes()).collect();
    // Bytes of a vector may lie anywhere; the resizer wants them at multiples of four.
    let mut source = Image::new(across as u32, down as u32, PixelType::F32);
    source.buffer_mut().copy_from_slice(&bytes);
    let mut target = Image::new(input.width as u32, input.height as u32, PixelType::F32);
    Resizer::new()
        .resize(&source, &mut target, &how_to_resize(input.resize))
        .map_err(|error| problem(error.to_string()))?;
    let values = target
        .buffer()
        .chunks_exact(4)
        .map(|bytes| f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    ndarray::Array2::from_shape_vec((input.height, input.width), values)
        .map_err(|error| problem(error.to_string()))
}

impl Prepared {
    /// Writes the image into `target` (channels x height x width) as the network wants it.
    /// Of a picture: `(value / 255 - mean) / std`; one channel gets the luma of ITU-R BT.601,
    /// as PIL's `convert("L")` does.
    pub fn write_into(&self, mut target: ArrayViewMut3<'_, f32>, input: &Input) {
        let pixels = match &self.content {
            Content::Rgb(pixels) => pixels,
            Content::Values(values) => {
                target.iter_mut().zip(values).for_each(|(into, value)| *into = *value);
                return;
            }
        };
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
        for (index, rgb) in pixels.chunks_exact(3).enumerate() {
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

impl Content {
    /// As bytes of this machine's byte order.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Content::Rgb(pixels) => pixels.clone(),
            Content::Values(values) => {
                values.iter().flat_map(|value| value.to_ne_bytes()).collect()
            }
        }
    }

    /// The content that these bytes were made of.
    pub fn from_bytes(bytes: Vec<u8>, is_values: bool) -> Content {
        if !is_values {
            return Content::Rgb(bytes);
        }
        let value = |bytes: &[u8]| f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Content::Values(bytes.chunks_exact(4).map(value).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(channels: usize, width: usize, height: usize, resize: ResizeRule) -> Input {
        let (mean, std) = (vec![0.5; channels], vec![0.25; channels]);
        Input { channels, width, height, mean, std, resize }
    }

    fn ready(path: &Path, input: &Input) -> Result<Prepared, Error> {
        prepare(path, None, input, &Reading::default())
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
        let array = ready(file.path(), &input).expect("a picture").normalised(&input);
        assert_eq!(array[[0, 0, 0]], 2.0);
        assert_eq!(array[[1, 1, 1]], -2.0);
    }

    #[test]
    fn transparent_pixels_are_laid_on_white() {
        let clear = image::RgbaImage::from_pixel(3, 3, image::Rgba([0, 0, 0, 0]));
        let file = saved(clear.into());
        let prepared = ready(file.path(), &input(3, 3, 3, ResizeRule::Stretch)).expect("a picture");
        assert!(prepared.content.to_bytes().iter().all(|value| *value == 255));
    }

    #[test]
    fn crop_keeps_the_centre_and_stretch_keeps_everything() {
        // Left and right thirds black, the middle third white.
        let picture = image::GrayImage::from_fn(30, 10, |x, _| {
            image::Luma([if (10..20).contains(&x) { 255 } else { 0 }])
        });
        let file = saved(picture.into());
        let crop = ready(file.path(), &input(3, 10, 10, ResizeRule::Crop)).expect("a picture");
        assert!(crop.content.to_bytes().iter().all(|value| *value == 255));
        let stretch =
            ready(file.path(), &input(3, 30, 10, ResizeRule::Stretch)).expect("a picture");
        assert_eq!(stretch.content.to_bytes()[0], 0);
    }

    #[test]
    fn grey_is_the_luma_of_bt_601() {
        let green = image::RgbImage::from_pixel(2, 2, image::Rgb([0, 255, 0]));
        let file = saved(green.into());
        let input = input(1, 2, 2, ResizeRule::Stretch);
        let array = ready(file.path(), &input).expect("a picture").normalised(&input);
        assert!((array[[0, 0, 0]] - (0.587 - 0.5) / 0.25).abs() < 1e-5);
    }

    #[test]
    fn a_file_that_is_no_picture_is_named() {
        let file = tempfile::Builder::new().suffix(".png").tempfile().expect("a file");
        let input = input(3, 2, 2, ResizeRule::Stretch);
        let empty = ready(file.path(), &input).expect_err("empty");
        assert!(empty.to_string().contains("empty"), "{empty}");
        std::fs::write(file.path(), b"hello").expect("a file");
        let text = ready(file.path(), &input).expect_err("text");
        assert!(text.to_string().contains("not a readable picture"), "{text}");
    }
}
