//! How far two pictures are apart.

use image::DynamicImage;
use schemars::JsonSchema;
use serde::Serialize;

use super::limits::{Limits, Window};

/// The window's side where no limit names one.
const SIDE: usize = 16;

/// What was measured of two pictures of one size. It is the same whichever of the two
/// comes first.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Measured {
    /// The largest difference of a channel, 0..255.
    pub largest: u8,
    /// Where that is: x, y in pixels, the first in reading order.
    pub at: [usize; 2],
    /// The root mean square of all channels' differences, 0..255.
    pub rmse: f64,
    /// How many pixels differ, by more than `--max-abs` if that is set.
    pub differing: usize,
    /// How many pixels there are.
    pub pixels: usize,
    /// `differing / pixels`.
    pub ratio: f64,
    /// Where they are densest.
    pub densest: Densest,
}

/// The window with the most differing pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Densest {
    /// How many of its pixels differ.
    pub differing: usize,
    /// Its upper left corner: x, y in pixels, the first in reading order.
    pub at: [usize; 2],
    /// Its side in pixels; less where the picture is smaller.
    pub side: usize,
}

/// Measures two pictures. Colours of 16 bits are compared in units of 8, and what is
/// less than a unit counts as one.
///
/// # Errors
/// Both sizes in words, if they differ.
pub(super) fn measure(
    golden: &DynamicImage,
    new: &DynamicImage,
    limits: &Limits,
) -> Result<Measured, String> {
    let size = |picture: &DynamicImage| (picture.width() as usize, picture.height() as usize);
    let ((width, height), other) = (size(golden), size(new));
    if (width, height) != other {
        return Err(format!("GOLDEN has {width} x {height} pixels, NEW {} x {}", other.0, other.1));
    }
    let (differences, squares, channels) = differences(golden, new);
    let pixels = differences.len();
    let largest = differences.iter().copied().max().unwrap_or(0);
    let place = differences.iter().position(|difference| *difference == largest).unwrap_or(0);
    let tolerance = limits.max_abs.unwrap_or(0);
    let differing = differences.iter().filter(|difference| **difference > tolerance).count();
    let side = limits.window.map_or(SIDE, |Window { side, .. }| side);
    Ok(Measured {
        largest,
        at: [place % width.max(1), place / width.max(1)],
        rmse: (squares / (pixels * channels).max(1) as f64).sqrt(),
        differing,
        pixels,
        ratio: differing as f64 / pixels.max(1) as f64,
        densest: densest(&differences, (width, height), side, tolerance),
    })
}

/// Each pixel's largest difference over its channels, the sum of all channels' squares,
/// and the number of channels.
fn differences(golden: &DynamicImage, new: &DynamicImage) -> (Vec<u8>, f64, usize) {
    use DynamicImage::{ImageLuma8, ImageRgb8, ImageRgba8};
    let deep = |picture: &DynamicImage| {
        picture.color().bytes_per_pixel() > picture.color().channel_count()
    };
    // A channel that neither side has would make the mean smaller than it is.
    let alpha = golden.color().has_alpha() || new.color().has_alpha();
    match (golden, new) {
        (ImageRgb8(golden), ImageRgb8(new)) => by_bytes::<3>(golden.as_raw(), new.as_raw()),
        (ImageRgba8(golden), ImageRgba8(new)) => by_bytes::<4>(golden.as_raw(), new.as_raw()),
        (ImageLuma8(golden), ImageLuma8(new)) => by_bytes::<1>(golden.as_raw(), new.as_raw()),
        (golden, new) if (deep(golden) || deep(new)) && alpha => {
            by_words::<4>(golden.to_rgba16().as_raw(), new.to_rgba16().as_raw())
        }
        (golden, new) if deep(golden) || deep(new) => {
            by_words::<3>(golden.to_rgb16().as_raw(), new.to_rgb16().as_raw())
        }
        (golden, new) if alpha => {
            by_bytes::<4>(golden.to_rgba8().as_raw(), new.to_rgba8().as_raw())
        }
        (golden, new) => by_bytes::<3>(golden.to_rgb8().as_raw(), new.to_rgb8().as_raw()),
    }
}

fn by_bytes<const CHANNELS: usize>(golden: &[u8], new: &[u8]) -> (Vec<u8>, f64, usize) {
    let mut squares = 0u64;
    let largest = |(one, other): (&[u8], &[u8])| {
        let mut largest = 0;
        for (a, b) in one.iter().zip(other) {
            let difference = a.abs_diff(*b);
            squares += u64::from(difference) * u64::from(difference);
            largest = largest.max(difference);
        }
        largest
    };
    let pairs = golden.chunks_exact(CHANNELS).zip(new.chunks_exact(CHANNELS));
    let differences = pairs.map(largest).collect();
    (differences, squares as f64, CHANNELS)
}

fn by_words<const CHANNELS: usize>(golden: &[u16], new: &[u16]) -> (Vec<u8>, f64, usize) {
    /// 65535 / 255
    const UNIT: u16 = 257;
    let mut squares = 0.0;
    let pairs = golden.chunks_exact(CHANNELS).zip(new.chunks_exact(CHANNELS));
    let differences = pairs
        .map(|(one, other)| {
            let mut largest = 0;
            for (a, b) in one.iter().zip(other) {
                let difference = a.abs_diff(*b);
                squares += (f64::from(difference) / f64::from(UNIT)).powi(2);
                largest = largest.max(difference.div_ceil(UNIT) as u8);
            }
            largest
        })
        .collect();
    (differences, squares, CHANNELS)
}

/// The window that holds the most differing pixels, by a table of sums over all
/// rectangles that begin in the corner.
fn densest(
    differences: &[u8],
    (width, height): (usize, usize),
    side: usize,
    tolerance: u8,
) -> Densest {
    let (across, down) = (side.min(width), side.min(height));
    let mut best = Densest { differing: 0, at: [0, 0], side };
    if !differences.iter().any(|difference| *difference > tolerance) {
        return best;
    }
    let columns = width + 1;
    let mut sums = vec![0usize; columns * (height + 1)];
    for y in 0..height {
        let mut row = 0;
        for x in 0..width {
            row += usize::from(differences[y * width + x] > tolerance);
            sums[(y + 1) * columns + x + 1] = sums[y * columns + x + 1] + row;
        }
    }
    for y in down..=height {
        for x in across..=width {
            let (top, left) = (y - down, x - across);
            let inside = sums[y * columns + x] + sums[top * columns + left]
                - sums[top * columns + x]
                - sums[y * columns + left];
            if inside > best.differing {
                best = Densest { differing: inside, at: [left, top], side };
            }
        }
    }
    best
}

/// Whether the bytes are a PNG file from its signature to its last chunk, with every
/// checksum right and as much data as its size wants: then equal bytes are equal pictures,
/// and need no decoding.
pub(super) fn is_whole_png(bytes: &[u8]) -> bool {
    let Some(mut rest) = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n") else { return false };
    let (mut header, mut data) = (None, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(checked) = length.checked_add(4).and_then(|end| after.get(..end)) else {
            return false;
        };
        let Some((sum, next)) = after[length + 4..].split_first_chunk::<4>() else { return false };
        if crc32fast::hash(checked) != u32::from_be_bytes(*sum) {
            return false;
        }
        match checked.split_at(4) {
            (b"IHDR", fields) => header = header.or(length_of_data(fields)),
            (b"IDAT", part) => data.extend_from_slice(part),
            (b"IEND", _) => {
                let inflates = |length| {
                    fdeflate::decompress_to_vec_bounded(&data, length)
                        .is_ok_and(|data| data.len() == length)
                };
                return next.is_empty() && header.is_some_and(inflates);
            }
            _ => {}
        }
        rest = next;
    }
    false
}

/// How many bytes a PNG's data unpacks to by its header (W3C PNG, 11.2.1): a byte for the
/// filter and the pixels, for each row. `None` for what has no pixels, and for interlaced
/// pictures, which are decoded.
fn length_of_data(header: &[u8]) -> Option<usize> {
    let &[w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, 0, 0, 0] = header else { return None };
    let channels = match colour {
        0 | 3 => 1,
        4 => 2,
        2 => 3,
        6 => 4,
        _ => return None,
    };
    let width = u32::from_be_bytes([w0, w1, w2, w3]) as usize;
    let height = u32::from_be_bytes([h0, h1, h2, h3]) as usize;
    let bits = width.checked_mul(channels * usize::from(depth))?;
    let length = bits.div_ceil(8).checked_add(1)?.checked_mul(height)?;
    (width > 0 && height > 0).then_some(length)
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, Rgb, RgbImage};

    use super::*;

    fn picture(width: u32, height: u32, changed: &[(u32, u32, u8)]) -> DynamicImage {
        let mut picture = RgbImage::from_pixel(width, height, Rgb([100, 100, 100]));
        for &(x, y, value) in changed {
            picture.put_pixel(x, y, Rgb([100, value, 100]));
        }
        picture.into()
    }

    fn measured(golden: &DynamicImage, new: &DynamicImage) -> Measured {
        measure(golden, new, &Limits::default()).expect("one size")
    }

    #[test]
    fn the_largest_difference_is_found_with_its_place_and_share() {
        let found = measured(&picture(5, 4, &[]), &picture(5, 4, &[(3, 2, 130), (0, 0, 90)]));
        assert_eq!((found.largest, found.at, found.differing), (30, [3, 2], 2));
        assert_eq!(found.ratio, 0.1);
        let squares = f64::from(30 * 30 + 10 * 10) / 60.0;
        assert!((found.rmse - squares.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn it_does_not_matter_which_picture_comes_first() {
        let (one, other) = (picture(20, 30, &[(1, 2, 3)]), picture(20, 30, &[(7, 9, 255)]));
        assert_eq!(measured(&one, &other), measured(&other, &one));
    }

    #[test]
    fn the_densest_window_is_where_most_pixels_differ() {
        let spots = [(0, 0, 0), (10, 11, 0), (11, 11, 0), (12, 13, 0)];
        let limits = Limits { window: Some(Window { side: 3, most: 0 }), ..Limits::default() };
        let found = measure(&picture(20, 20, &[]), &picture(20, 20, &spots), &limits);
        let densest = found.expect("one size").densest;
        assert_eq!((densest.differing, densest.at), (3, [10, 11]));
    }

    #[test]
    fn less_than_a_unit_of_16_bits_is_still_a_difference() {
        let deep = |value: u16| -> DynamicImage {
            DynamicImage::ImageLuma16(ImageBuffer::from_pixel(2, 2, Luma([value])))
        };
        assert_eq!(measured(&deep(5000), &deep(5001)).largest, 1);
        assert_eq!(measured(&deep(0), &deep(65535)).largest, 255);
        assert_eq!(measured(&deep(7), &deep(7)).largest, 0);
    }

    #[test]
    fn other_sizes_are_told_in_words() {
        let error = measure(&picture(2, 3, &[]), &picture(3, 2, &[]), &Limits::default());
        assert_eq!(error.expect_err("sizes"), "GOLDEN has 2 x 3 pixels, NEW 3 x 2");
    }

    #[test]
    fn a_png_is_whole_only_with_every_checksum_right() {
        let picture = crate::picture::Rgb::filled(3, 3, [1, 2, 3]);
        let bytes = crate::picture::png::encode(&picture, "{}").expect("a PNG");
        assert!(is_whole_png(&bytes));
        for end in 0..bytes.len() {
            assert!(!is_whole_png(&bytes[..end]), "{end}");
            let mut changed = bytes.clone();
            changed[end] ^= 1;
            assert!(!is_whole_png(&changed), "{end}");
        }
        assert!(!is_whole_png(&[&bytes[..], b"x"].concat()));
    }

    #[test]
    fn a_png_without_pixels_or_with_other_data_than_its_size_wants_is_not_whole() {
        let chunk = |kind: &[u8], data: &[u8]| {
            let checked = [kind, data].concat();
            let sum = crc32fast::hash(&checked).to_be_bytes();
            [&(data.len() as u32).to_be_bytes()[..], &checked, &sum].concat()
        };
        let png = |side: u32, data: &[u8]| {
            let sides = [side.to_be_bytes(), side.to_be_bytes()].concat();
            let header = chunk(b"IHDR", &[&sides[..], &[8, 0, 0, 0, 0]].concat());
            let body = [header, chunk(b"IDAT", data), chunk(b"IEND", b"")].concat();
            [b"\x89PNG\r\n\x1a\n", body.as_slice()].concat()
        };
        let data = fdeflate::compress_to_vec(&[0, 7, 7, 0, 7, 7]);
        assert!(is_whole_png(&png(2, &data)));
        assert!(!is_whole_png(&png(3, &data)));
        assert!(!is_whole_png(&png(0, &fdeflate::compress_to_vec(&[]))));
        assert!(!is_whole_png(&png(2, b"garbage!")));
    }

    #[test]
    fn the_mean_is_over_the_channels_that_the_pictures_have() {
        let gray = |value| DynamicImage::ImageLuma8(ImageBuffer::from_pixel(2, 2, Luma([value])));
        let deep = |value: u16| ImageBuffer::from_pixel(2, 2, Luma([value * 257]));
        let deep = |value| DynamicImage::ImageLuma16(deep(value));
        for (one, other) in [
            (gray(100), gray(110)),
            (gray(100), gray(110).to_rgb8().into()),
            (deep(100), deep(110)),
            (gray(100).to_rgb8().into(), deep(110)),
        ] {
            assert!((measured(&one, &other).rmse - 10.0).abs() < 1e-9);
        }
    }
}
