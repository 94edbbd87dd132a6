//! A picture's file to pixels, within limits: a file of a few kilobytes can claim
//! billions of them.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader};

use crate::error::Error;

/// What is not even tried to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest file, in bytes.
    pub bytes: u64,
    /// The most pixels. The largest cameras have 150 million.
    pub pixels: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { bytes: 1 << 30, pixels: 200_000_000 }
    }
}

/// The widest pixel that pictures of cameras have: four channels of 16 bits.
const BYTES_A_PIXEL: u64 = 8;

/// The whole file, if it is one and not too long. A device or a pipe might never end.
///
/// # Errors
/// [`Error::Picture`] for what is no file, is empty or too long; [`Error::Io`].
pub(super) fn read(path: &Path, limits: Limits) -> Result<Vec<u8>, Error> {
    let bad = |problem: String| Err(Error::Picture { path: path.to_owned(), problem });
    let kind = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if !kind.is_file() {
        return bad("not a file".to_owned());
    }
    match kind.len() {
        0 => bad("the file is empty".to_owned()),
        length if length > limits.bytes => bad(format!(
            "the file has {length} bytes, more than the limit of {} (--max-image-size)",
            limits.bytes
        )),
        _ => std::fs::read(path).map_err(Error::io("read", path)),
    }
}

/// The first picture of a file's bytes, turned upright as its EXIF data says.
///
/// # Errors
/// Why not, in words: it is no picture, has no pixels, or more than the limits allow.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<DynamicImage, String> {
    let unreadable = |error: image::ImageError| match has_no_pixels(bytes) {
        true => "the picture has no pixels".to_owned(),
        false => format!("not a readable picture: {error}"),
    };
    if is_cut_off_jpeg(bytes) {
        return Err("the picture is cut off: its end is missing".to_owned());
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let reader = reader.map_err(|error| unreadable(error.into()))?;
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err("the picture has no pixels".to_owned());
    }
    if pixels > limits.pixels {
        return Err(format!(
            "the picture claims {width} x {height} pixels, more than the limit of {} \
             (--max-image-pixels)",
            limits.pixels
        ));
    }
    if decoder.total_bytes() > limits.pixels.saturating_mul(BYTES_A_PIXEL) {
        return Err(format!("the picture claims {} bytes", decoder.total_bytes()));
    }
    // A damaged note on which side is up is no reason to refuse the picture.
    let upright = decoder.orientation();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    if let Ok(orientation) = upright {
        picture.apply_orientation(orientation);
    }
    Ok(picture)
}

/// Whether a JPEG lacks the mark of its end (ITU-T T.81, B.1.1.3): the decoder would fill up
/// with grey what is missing. Within compressed data that mark cannot stand.
fn is_cut_off_jpeg(bytes: &[u8]) -> bool {
    const START: [u8; 3] = [0xff, 0xd8, 0xff];
    const END: [u8; 2] = [0xff, 0xd9];
    if !bytes.starts_with(&START) {
        return false;
    }
    // A small picture inside of the EXIF data has an end of its own: segments are skipped up
    // to the compressed data.
    let mut rest = &bytes[2..];
    loop {
        match *rest {
            [0xff, 0xda, ..] => return !rest.windows(2).any(|mark| mark == END),
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, 0x01 | 0xd0..=0xd7, ..] => rest = &rest[2..],
            [0xff, _, high, low, ..] => {
                let length = usize::from(u16::from_be_bytes([high, low]));
                match rest.get(2 + length..) {
                    Some(next) => rest = next,
                    None => return true,
                }
            }
            // No JPEG as it should be: that is for the decoder to say.
            _ => return rest.len() < 4,
        }
    }
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

#[cfg(test)]
mod tests {
    use image::{ImageFormat, RgbImage};

    use super::*;

    #[test]
    fn a_jpeg_without_its_end_is_an_error_wherever_it_is_cut() {
        let picture = RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 7]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).expect("a JPEG");
        let whole = bytes.into_inner();
        assert!(decode(&whole, Limits::default()).is_ok());
        assert!(decode(&[&whole[..], b"and more"].concat(), Limits::default()).is_ok());
        for length in 3..whole.len() {
            assert!(decode(&whole[..length], Limits::default()).is_err(), "{length}");
        }
    }
}
