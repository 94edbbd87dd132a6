//! JPEG, read so that nothing is made up: where its data are damaged, the decoder that is
//! asked to be lenient goes on with a flat grey.

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::decode::check_size;
use super::{DecodeLimits, Problem};

/// A JPEG begins so.
pub(super) const START: &[u8] = &[0xff, 0xd8, 0xff];

/// The picture, and how it is to be turned.
pub(super) fn read(
    bytes: &[u8],
    limits: DecodeLimits,
) -> Result<(DynamicImage, Orientation), Problem> {
    let damaged = |error: zune_jpeg::errors::DecodeErrors| {
        let words = error.to_string();
        Problem::new(format!("the JPEG's data are damaged: {}", words.trim_matches('"')))
    };
    if is_cut_off(bytes) {
        return Err(Problem::new("the picture is cut off: its end is missing"));
    }
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    // What stands between the headers is no pixel: cameras leave odd bytes there.
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let unreadable = |error| Problem::new(format!("not a readable picture: {error}"));
    decoder.decode_headers().map_err(unreadable)?;
    let info = decoder.info().ok_or_else(|| Problem::new("not a readable picture"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    check_size(width, height, 4, limits)?;
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let colours = if is_grey { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(options.jpeg_set_out_colorspace(colours).set_strict_mode(true));
    let turned = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let pixels = decoder.decode().map_err(damaged)?;
    if ends_early(bytes, &pixels, usize::from(info.width), colours) {
        return Err(Problem::new("the JPEG's data are damaged: they end before the picture does"));
    }
    let picture = match is_grey {
        true => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    let picture = picture.ok_or_else(|| Problem::new("the JPEG's data are damaged"))?;
    Ok((picture, turned.unwrap_or(Orientation::NoTransforms)))
}

/// Decodes a JPEG of any colours, to see whether it is whole.
pub(super) fn check(bytes: &[u8], limits: DecodeLimits) -> Result<(), Problem> {
    let damaged = |error: zune_jpeg::errors::DecodeErrors| {
        let words = error.to_string();
        Problem::new(format!("the JPEG's data are damaged: {}", words.trim_matches('"')))
    };
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let info = decoder.info().ok_or_else(|| Problem::new("not a readable picture"))?;
    check_size(info.width.into(), info.height.into(), 4, limits)?;
    let colours = decoder.input_colorspace().unwrap_or(ColorSpace::RGB);
    decoder.set_options(options.jpeg_set_out_colorspace(colours).set_strict_mode(true));
    let pixels = decoder.decode().map_err(damaged)?;
    match ends_early(bytes, &pixels, usize::from(info.width), colours) {
        true => Err(Problem::new("the JPEG's data are damaged: they end before the picture does")),
        false => Ok(()),
    }
}

/// Whether the compressed data end before all pixels have some: with the mark of the end, the
/// decoder goes on as if zeros followed. Then its last blocks are all alike; and only then is
/// it decoded once more, with other bytes before the mark, which nobody reads if all is there.
fn ends_early(bytes: &[u8], pixels: &[u8], width: usize, colours: ColorSpace) -> bool {
    /// The widest block (MCU) of usual pictures, in pixels.
    const BLOCK: usize = 16;
    let samples = colours.num_components();
    let last = pixels.len().checked_sub(width * samples).and_then(|start| pixels.get(start..));
    let last = last.unwrap_or_default();
    // The last whole block and the one before it.
    let end = width / BLOCK * BLOCK * samples;
    if let Some(start) = end.checked_sub(2 * BLOCK * samples)
        && last[start..end - BLOCK * samples] != last[start + BLOCK * samples..end]
    {
        return false;
    }
    let scan = bytes.windows(2).position(|mark| mark == [0xff, 0xda]).unwrap_or_default();
    let mark = bytes[scan..].windows(2).position(|mark| mark == [0xff, 0xd9]);
    let Some(mark) = mark.map(|at| scan + at) else { return false };
    let other = [&bytes[..mark], &[0x6d; 64], &bytes[mark..]].concat();
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(
        ZCursor::new(other.as_slice()),
        options.jpeg_set_out_colorspace(colours),
    );
    decoder.decode().map_or(true, |other| other != pixels)
}

/// Whether a JPEG lacks the mark of its end (ITU-T T.81, B.1.1.3): the decoder would fill up
/// with grey what is missing. Within compressed data that mark cannot stand.
fn is_cut_off(bytes: &[u8]) -> bool {
    const END: [u8; 2] = [0xff, 0xd9];
    // A small picture inside of the EXIF data has an end of its own: segments are skipped up
    // to the compressed data.
    let mut rest = bytes.get(2..).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::ImageFormat;

    use super::*;

    fn whole() -> Vec<u8> {
        let picture =
            RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, (x * y * 7) as u8]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Jpeg).expect("a JPEG");
        bytes.into_inner()
    }

    #[test]
    fn a_jpeg_that_ends_early_is_an_error_and_a_flat_one_is_whole() {
        let whole = whole();
        let scan = whole.windows(2).position(|mark| mark == [0xff, 0xda]).expect("data");
        for share in 1..8 {
            let at = scan + 14 + (whole.len() - scan - 16) * share / 8;
            let cut = [&whole[..at], &[0xff, 0xd9], &whole[at..]].concat();
            assert!(read(&cut, DecodeLimits::default()).is_err(), "after {share}/8");
        }
        let mut flat = Cursor::new(Vec::new());
        let white = RgbImage::from_pixel(64, 64, image::Rgb([255; 3]));
        white.write_to(&mut flat, ImageFormat::Jpeg).expect("a JPEG");
        assert!(read(&flat.into_inner(), DecodeLimits::default()).is_ok());
    }

    #[test]
    fn a_jpeg_without_its_end_is_an_error_wherever_it_is_cut() {
        let whole = whole();
        let read = |bytes: &[u8]| read(bytes, DecodeLimits::default());
        assert!(read(&whole).is_ok());
        assert!(read(&[&whole[..], b"and more"].concat()).is_ok());
        for length in 3..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
    }
}
