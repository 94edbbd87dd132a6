//! A file's bytes to pixels or values, within limits: a file of a few kilobytes can claim
//! billions of them.

use std::io::Cursor;

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{AnimationDecoder, DynamicImage, ImageDecoder, ImageFormat, ImageReader};
use ndarray::Array3;

use super::guard::{check_memory, guarded};
use super::{DecodeLimits, Problem, Reading, array, jpeg, tiff, whole};

/// What is in a file.
#[derive(Clone, Debug)]
pub enum Decoded {
    /// A picture for people, upright.
    Picture(DynamicImage),
    /// Values as they are, channels x height x width.
    Values(Array3<f32>),
}

/// A file's image, and how many it has.
#[derive(Clone, Debug)]
pub struct File {
    /// The frame that was asked for, or the first one.
    pub decoded: Decoded,
    /// Frames of an animation, or pages.
    pub frames: usize,
}

/// The widest pixel that pictures of cameras have: four channels of 16 bits.
const BYTES_A_PIXEL: u64 = 8;

/// One image of a file's bytes: the frame (from 1) that is asked for, else the first one,
/// turned upright as its EXIF data says. What values mean may depend on the network's number
/// of channels.
///
/// # Errors
/// Why not, in words: it is no picture, is damaged, has no pixels, or more than the limits
/// allow.
pub fn decode(
    bytes: &[u8],
    channels: usize,
    frame: Option<usize>,
    reading: &Reading,
) -> Result<File, Problem> {
    let limits = reading.limits;
    guarded(|| {
        if bytes.starts_with(array::NPY) {
            check_frame(frame, 1)?;
            let values = array::npy(bytes, channels, reading.layout, limits)?;
            return Ok(File { decoded: Decoded::Values(values), frames: 1 });
        }
        if bytes.starts_with(array::NPZ) {
            check_frame(frame, 1)?;
            let values = array::npz(bytes, channels, reading.layout, limits)?;
            return Ok(File { decoded: Decoded::Values(values), frames: 1 });
        }
        if tiff::STARTS.iter().any(|start| bytes.starts_with(start)) {
            return tiff::read(bytes, channels, frame, limits);
        }
        let frames = whole::frames(bytes);
        let chosen = check_frame(frame, frames)?;
        let picture = match chosen {
            _ if bytes.starts_with(jpeg::START) => {
                let (mut picture, orientation) = jpeg::read(bytes, limits)?;
                picture.apply_orientation(orientation);
                picture
            }
            0 => first(bytes, limits)?,
            later => animated(bytes, later, limits)?,
        };
        Ok(File { decoded: Decoded::Picture(picture), frames })
    })
}

/// How many images a file has, so far as that can be told: 1 for what cannot be read.
pub fn count_frames(bytes: &[u8], limits: DecodeLimits) -> usize {
    let count = guarded(|| match tiff::STARTS.iter().any(|start| bytes.starts_with(start)) {
        true => tiff::count(bytes, limits),
        false => Ok(whole::frames(bytes)),
    });
    count.unwrap_or(1)
}

fn first(bytes: &[u8], limits: DecodeLimits) -> Result<DynamicImage, Problem> {
    let unreadable = |error: image::ImageError| match has_no_pixels(bytes) {
        true => Problem::new("the picture has no pixels"),
        false => whole::problem(bytes, &error),
    };
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = reader.map_err(|error| unreadable(error.into()))?;
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, BYTES_A_PIXEL, limits)?;
    if decoder.total_bytes() > limits.pixels.saturating_mul(BYTES_A_PIXEL) {
        return Err(Problem::new(format!("the picture claims {} bytes", decoder.total_bytes())));
    }
    // A damaged note on which side is up is no reason to refuse the picture.
    let upright = orientation(&mut decoder);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    whole::check(bytes)?;
    picture.apply_orientation(upright);
    Ok(picture)
}

/// A later frame of an animation, from 1, as it is seen over those before it.
fn animated(bytes: &[u8], later: usize, limits: DecodeLimits) -> Result<DynamicImage, Problem> {
    let unreadable = |error: image::ImageError| whole::problem(bytes, &error);
    let cursor = || Cursor::new(bytes);
    let (size, frames) = match image::guess_format(bytes).map_err(unreadable)? {
        ImageFormat::Gif => {
            let decoder = GifDecoder::new(cursor()).map_err(unreadable)?;
            (decoder.dimensions(), decoder.into_frames())
        }
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(cursor()).map_err(unreadable)?;
            (decoder.dimensions(), decoder.into_frames())
        }
        _ => {
            let decoder = PngDecoder::new(cursor()).map_err(unreadable)?;
            let size = decoder.dimensions();
            (size, decoder.apng().map_err(unreadable)?.into_frames())
        }
    };
    check_size(size.0, size.1, BYTES_A_PIXEL, limits)?;
    let mut last = None;
    for frame in frames.take(later + 1) {
        last = Some(frame.map_err(unreadable)?);
    }
    whole::check(bytes)?;
    let frame = last.ok_or_else(|| Problem::new("the animation has no such frame"))?;
    Ok(frame.into_buffer().into())
}

/// What the EXIF data says. In WebP and PNG they are to begin with a TIFF header, and are
/// often written with the prefix that JPEG has.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    const PREFIX: &[u8] = b"Exif\0\0";
    let exif = decoder.exif_metadata().ok().flatten();
    let plain = exif.as_deref().map(|exif| exif.strip_prefix(PREFIX).unwrap_or(exif));
    plain.and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

/// The place of a frame, from 0.
///
/// # Errors
/// If the file has no such frame.
pub(super) fn check_frame(frame: Option<usize>, frames: usize) -> Result<usize, Problem> {
    match frame {
        None => Ok(0),
        Some(frame) if (1..=frames).contains(&frame) => Ok(frame - 1),
        Some(frame) => Err(Problem::with_hint(
            match frames {
                1 => format!("there is no frame {frame}: the file has one"),
                _ => format!("there is no frame {frame}: the file has {frames}"),
            },
            "--frame N counts from 1; --frame all draws every frame",
        )),
    }
}

/// # Errors
/// If a picture of this size has no pixels, or more than are allowed.
pub(super) fn check_size(
    width: u32,
    height: u32,
    bytes_a_pixel: u64,
    limits: DecodeLimits,
) -> Result<(), Problem> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(Problem::new("the picture has no pixels"));
    }
    if pixels > limits.pixels {
        return Err(Problem::new(format!(
            "the picture claims {width} x {height} pixels, more than the limit of {} \
             (--max-image-pixels)",
            limits.pixels
        )));
    }
    // Once as it is decoded, once as RGB.
    check_memory(pixels.saturating_mul(bytes_a_pixel + 3))
}

/// Whether a PNG, GIF or BMP says that it is 0 pixels wide or high: the decoders have words
/// of their own for it.
fn has_no_pixels(bytes: &[u8]) -> bool {
    let zero =
        |at: std::ops::Range<usize>| bytes.get(at).is_some_and(|b| b.iter().all(|b| *b == 0));
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => zero(16..20) || zero(20..24),
        [b'G', b'I', b'F', ..] => zero(6..8) || zero(8..10),
        [b'B', b'M', ..] => zero(18..22) || zero(22..26),
        _ => false,
    }
}
