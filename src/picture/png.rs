//! PNG files that carry what they show.

use std::path::Path;

use image::{DynamicImage, ImageDecoder, codecs::png::PngDecoder};

use super::Rgb;
use crate::input::DecodeLimits;

/// What is read at most of a picture of ours: a file of a few kilobytes can claim billions of
/// pixels. The same as of images.
pub(crate) const LIMITS: DecodeLimits = DecodeLimits { bytes: 1 << 30, pixels: 200_000_000 };
/// The longest text that is unpacked, in bytes; ours have a few kilobytes.
const LONGEST_TEXT: usize = 4 << 20;

/// The keyword of the text chunk with the picture's JSON.
pub const KEYWORD: &str = "actviz";

/// The picture as a PNG file's bytes, with `about` (JSON) in a text chunk. The same
/// pixels and text give the same bytes: there is no time stamp in them.
///
/// # Errors
/// If the picture is too large for PNG.
pub fn encode(picture: &Rgb, about: &str) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width as u32, picture.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // Thousands of small pictures: time counts more than the last kilobyte.
    encoder.set_compression(png::Compression::Fast);
    // What the adaptive filter chooses for nearly every row of a map, and a sixth faster.
    encoder.set_filter(png::Filter::Paeth);
    let mut writer = encoder.write_header()?;
    // International text: layer and file names are UTF-8.
    writer.write_text_chunk(&png::text_metadata::ITXtChunk::new(KEYWORD, about))?;
    writer.write_image_data(&picture.pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// The JSON that [`encode`] put into a file; `None` if it carries none.
///
/// # Errors
/// Why not, in words: the bytes are no PNG, or the text is longer than 4 MiB.
pub fn about(bytes: &[u8]) -> Result<Option<String>, String> {
    let not_a_png = |error: png::DecodingError| format!("not a PNG: {error}");
    let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().map_err(not_a_png)?;
    let mut texts = reader.info().utf8_text.iter();
    let Some(own) = texts.find(|chunk| chunk.keyword == KEYWORD) else { return Ok(None) };
    let mut own = own.clone();
    let too_long = format!("its text has more than {} MiB", LONGEST_TEXT >> 20);
    own.decompress_text_with_limit(LONGEST_TEXT).map_err(|_| too_long.clone())?;
    let text = own.get_text().map_err(not_a_png)?;
    if text.len() > LONGEST_TEXT { Err(too_long) } else { Ok(Some(text)) }
}

/// The bytes of a file that is to be decoded, if it is a file and not too long.
///
/// # Errors
/// Why not, in words.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > LIMITS.bytes {
        return Err(format!("it has {length} bytes, more than the limit of {}", LIMITS.bytes));
    }
    crate::output::read_file(path).map_err(|error| error.to_string())
}

/// The picture in a PNG file's bytes.
///
/// # Errors
/// Why there is none, in words: it is no PNG, is damaged, or claims too many pixels.
pub(crate) fn decode(bytes: &[u8]) -> Result<DynamicImage, String> {
    decode_within(bytes, LIMITS.pixels)
}

/// [`decode`] for a picture of at most so many pixels.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_within(bytes: &[u8], most: u64) -> Result<DynamicImage, String> {
    let decoder = PngDecoder::with_limits(std::io::Cursor::new(bytes), image::Limits::default());
    let decoder = decoder.map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > most {
        return Err(format!("it claims {width} x {height} pixels, more than the limit of {most}"));
    }
    let memory = image::Limits::default().max_alloc.unwrap_or(u64::MAX);
    if decoder.total_bytes() > memory {
        return Err(format!("it claims {} bytes, more than {memory}", decoder.total_bytes()));
    }
    DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())
}

/// How many pixels the header of a PNG claims; 0 for what has none.
pub(crate) fn pixels(bytes: &[u8]) -> u64 {
    // Signature, length and name of the first chunk, width, height (W3C PNG, 5.2 and 11.2.1).
    let side = |from: usize| -> Option<u64> {
        let side = bytes.get(from..from + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_be_bytes(side)))
    };
    side(16).zip(side(20)).map_or(0, |(width, height)| width * height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_text_come_back_and_bytes_are_the_same_again() {
        let mut picture = Rgb::filled(9, 7, [1, 2, 3]);
        picture.set(4, 4, [200, 100, 0]);
        let bytes = encode(&picture, "{\"layer\":\"größe\"}").expect("a PNG");
        let decoded = image::load_from_memory(&bytes).expect("a picture").to_rgb8();
        assert_eq!(decoded.as_raw(), &picture.pixels);
        assert_eq!(about(&bytes).expect("a PNG").as_deref(), Some("{\"layer\":\"größe\"}"));
        assert_eq!(encode(&picture, "{\"layer\":\"größe\"}").expect("a PNG"), bytes);
    }

    /// A PNG with a text of so many blanks that was packed.
    fn with_packed_text(length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        let text = " ".repeat(length);
        encoder.set_color(png::ColorType::Grayscale);
        let mut writer = encoder.write_header().expect("a PNG");
        let mut chunk = png::text_metadata::ITXtChunk::new(KEYWORD, text);
        chunk.compressed = true;
        writer.write_text_chunk(&chunk).expect("a text");
        writer.write_image_data(&[0]).expect("a pixel");
        writer.finish().expect("a PNG");
        bytes
    }

    #[test]
    fn a_text_that_unpacks_to_more_than_any_of_ours_is_refused() {
        assert_eq!(
            about(&with_packed_text(1 << 20)).expect("a text").map(|t| t.len()),
            Some(1 << 20)
        );
        let bomb = with_packed_text(64 << 20);
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        assert_eq!(about(&bomb).expect_err("a limit"), "its text has more than 4 MiB");
    }

    #[test]
    fn a_picture_that_claims_too_many_pixels_is_not_decoded() {
        let small = encode(&Rgb::filled(30, 20, [1, 2, 3]), "{}").expect("a PNG");
        assert_eq!(pixels(&small), 600);
        assert!(decode_within(&small, 600).is_ok());
        let error = decode_within(&small, 599).expect_err("a limit");
        assert!(error.contains("30 x 20 pixels"), "{error}");
    }

    #[test]
    fn what_is_no_png_is_an_error() {
        assert!(about(b"hello").is_err());
    }
}
