//! How far two pictures are apart.

use image::DynamicImage;
use schemars::JsonSchema;
use serde::Serialize;

use super::tolerances::{Tolerances, Window};
use crate::picture::png;

/// The window's side where no limit names one.
const SIDE: usize = 16;

/// What was measured of two pictures of one size. It is the same whichever of the two
/// comes first.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PixelDifference {
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
    limits: &Tolerances,
) -> Result<PixelDifference, String> {
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
    Ok(PixelDifference {
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
/// and the number of channels: those that either side has, for one that neither has would
/// make the mean another.
fn differences(golden: &DynamicImage, new: &DynamicImage) -> (Vec<u8>, f64, usize) {
    use DynamicImage::{ImageLuma8, ImageRgb8, ImageRgba8};
    match (golden, new) {
        // Without a copy, what most pictures are.
        (ImageRgb8(golden), ImageRgb8(new)) => return by_bytes::<3>(golden, new),
        (ImageRgba8(golden), ImageRgba8(new)) => return by_bytes::<4>(golden, new),
        (ImageLuma8(golden), ImageLuma8(new)) => return by_bytes::<1>(golden, new),
        _ => {}
    }
    let colours = [golden.color(), new.color()];
    let alpha = colours.iter().any(|c| c.has_alpha());
    let colour = colours.iter().any(|c| c.has_color());
    let deep = colours.iter().any(|c| c.bytes_per_pixel() > c.channel_count());
    match (colour, alpha, deep) {
        (true, true, true) => by_words::<4>(&golden.to_rgba16(), &new.to_rgba16()),
        (true, true, false) => by_bytes::<4>(&golden.to_rgba8(), &new.to_rgba8()),
        (true, false, true) => by_words::<3>(&golden.to_rgb16(), &new.to_rgb16()),
        (true, false, false) => by_bytes::<3>(&golden.to_rgb8(), &new.to_rgb8()),
        (false, true, true) => by_words::<2>(&golden.to_luma_alpha16(), &new.to_luma_alpha16()),
        (false, true, false) => by_bytes::<2>(&golden.to_luma_alpha8(), &new.to_luma_alpha8()),
        (false, false, true) => by_words::<1>(&golden.to_luma16(), &new.to_luma16()),
        (false, false, false) => by_bytes::<1>(&golden.to_luma8(), &new.to_luma8()),
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

/// The window that holds the most differing pixels. It slides down, and with it how many of
/// each column's pixels in it differ: so a large picture needs no table of its own size.
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
    let row = |y: usize| differences.iter().skip(y * width).take(width);
    let mut columns = vec![0usize; width];
    for y in 0..height {
        for (column, difference) in columns.iter_mut().zip(row(y)) {
            *column += usize::from(*difference > tolerance);
        }
        if y >= down {
            for (column, difference) in columns.iter_mut().zip(row(y - down)) {
                *column -= usize::from(*difference > tolerance);
            }
        }
        if y + 1 < down {
            continue;
        }
        let top = y + 1 - down;
        let mut inside: usize = columns.iter().take(across).sum();
        for left in 0..=width - across {
            if inside > best.differing {
                best = Densest { differing: inside, at: [left, top], side };
            }
            inside += columns.get(left + across).unwrap_or(&0);
            inside -= columns[left];
        }
    }
    best
}

/// Whether the bytes are a PNG file that every decoder can read: plain chunks in order, each
/// with a right checksum, as much data as the size wants, known filters, and a palette where
/// colours come from one. Then equal bytes are equal pictures, and need no decoding. What is
/// said to be none may still be a picture: that is for the decoder to say.
pub(super) fn is_whole_png(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n") else { return false };
    let Some((b"IHDR", fields, mut rest)) = chunk(rest) else { return false };
    let Some(layout) = Layout::of(fields) else { return false };
    let (mut colours, mut data, mut data_ended) = (None, Vec::new(), false);
    while let Some((kind, content, next)) = chunk(rest) {
        data_ended |= kind != b"IDAT" && !data.is_empty();
        match kind {
            b"PLTE" if layout.has_palette && colours.is_none() && data.is_empty() => {
                colours = Some(content.len());
            }
            b"IDAT" if !data_ended => data.extend_from_slice(content),
            // The text that our own pictures carry.
            b"iTXt" => {}
            b"IEND" => {
                return content.is_empty()
                    && next.is_empty()
                    && colours.is_some() == layout.has_palette
                    && colours.is_none_or(|length| layout.fits_palette(length))
                    && layout.fits_data(&data);
            }
            _ => return false,
        }
        rest = next;
    }
    false
}

/// A chunk's name and content, and what comes after it, if its checksum is right.
fn chunk(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*length) as usize;
    let (checked, rest) = rest.split_at_checked(length.checked_add(4)?)?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (kind, content) = checked.split_at(4);
    (crc32fast::hash(checked) == u32::from_be_bytes(*sum)).then_some((kind, content, rest))
}

/// How a PNG's data is laid out, by its header (W3C PNG, 11.2.1).
struct Layout {
    /// Bytes of a row, with the one for its filter.
    row: usize,
    height: usize,
    depth: u8,
    has_palette: bool,
}

impl Layout {
    /// `None` for what has no pixels or is no PNG, and for interlaced pictures, which are
    /// decoded.
    fn of(header: &[u8]) -> Option<Layout> {
        let &[w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, 0, 0, 0] = header else {
            return None;
        };
        let channels = match (colour, depth) {
            (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
            (4, 8 | 16) => 2,
            (2, 8 | 16) => 3,
            (6, 8 | 16) => 4,
            _ => return None,
        };
        let width = u32::from_be_bytes([w0, w1, w2, w3]) as usize;
        let height = u32::from_be_bytes([h0, h1, h2, h3]) as usize;
        let bits = width.checked_mul(channels * usize::from(depth))?;
        let row = bits.div_ceil(8).checked_add(1)?;
        // Of one that is too large it is for the decoder to say so.
        let pixels = width as u64 * height as u64;
        let is_some = pixels > 0 && pixels <= png::LIMITS.pixels;
        is_some.then_some(Layout { row, height, depth, has_palette: colour == 3 })
    }

    fn fits_palette(&self, length: usize) -> bool {
        length > 0 && length.is_multiple_of(3) && length / 3 <= 1 << self.depth
    }

    /// Whether compressed data has all rows, and filters that there are (W3C PNG, 9.2).
    fn fits_data(&self, data: &[u8]) -> bool {
        let Some(length) = self.row.checked_mul(self.height) else { return false };
        let Ok(data) = fdeflate::decompress_to_vec_bounded(data, length) else { return false };
        data.len() == length && data.iter().step_by(self.row).all(|filter| *filter <= 4)
    }
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

    fn measured(golden: &DynamicImage, new: &DynamicImage) -> PixelDifference {
        measure(golden, new, &Tolerances::default()).expect("one size")
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
        let limits =
            Tolerances { window: Some(Window { side: 3, most: 0 }), ..Tolerances::default() };
        let found = measure(&picture(20, 20, &[]), &picture(20, 20, &spots), &limits);
        let densest = found.expect("one size").densest;
        assert_eq!((densest.differing, densest.at), (3, [10, 11]));
    }

    #[test]
    fn the_densest_window_is_the_first_of_all_that_there_are() {
        let (width, height) = (13, 9);
        let differences: Vec<u8> =
            (0..width * height).map(|place| (place * place * 7 % 31) as u8).collect();
        for side in [1, 2, 3, 8, 9, 12, 13, 40] {
            for tolerance in [0, 11, 28, 30] {
                let (across, down) = (side.min(width), side.min(height));
                let mut best = Densest { differing: 0, at: [0, 0], side };
                for (top, left) in
                    (0..=height - down).flat_map(|y| (0..=width - across).map(move |x| (y, x)))
                {
                    let rows = (top..top + down).map(|y| y * width + left);
                    let inside = rows.flat_map(|from| &differences[from..from + across]);
                    let differing = inside.filter(|difference| **difference > tolerance).count();
                    if differing > best.differing {
                        best = Densest { differing, at: [left, top], side };
                    }
                }
                assert_eq!(densest(&differences, (width, height), side, tolerance), best);
            }
        }
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
        let error = measure(&picture(2, 3, &[]), &picture(3, 2, &[]), &Tolerances::default());
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

    fn chunk_of(kind: &[u8], content: &[u8]) -> Vec<u8> {
        let checked = [kind, content].concat();
        let sum = crc32fast::hash(&checked).to_be_bytes();
        [&(content.len() as u32).to_be_bytes()[..], &checked, &sum].concat()
    }

    /// A PNG of right checksums with these chunks between header and end.
    fn png_of(width: u32, height: u32, [depth, colour]: [u8; 2], chunks: &[Vec<u8>]) -> Vec<u8> {
        let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
        let header = chunk_of(b"IHDR", &[&sides[..], &[depth, colour, 0, 0, 0]].concat());
        let end = chunk_of(b"IEND", b"");
        [b"\x89PNG\r\n\x1a\n", &header[..], &chunks.concat(), &end].concat()
    }

    fn data_of(rows: &[u8]) -> Vec<u8> {
        chunk_of(b"IDAT", &fdeflate::compress_to_vec(rows))
    }

    #[test]
    fn a_png_without_pixels_or_with_other_data_than_its_size_wants_is_not_whole() {
        let gray = |side, data: Vec<u8>| png_of(side, side, [8, 0], &[data]);
        let rows = [0, 7, 7, 0, 7, 7];
        assert!(is_whole_png(&gray(2, data_of(&rows))));
        assert!(!is_whole_png(&gray(3, data_of(&rows))));
        assert!(!is_whole_png(&gray(0, data_of(&[]))));
        assert!(!is_whole_png(&gray(2, chunk_of(b"IDAT", b"garbage!"))));
    }

    #[test]
    fn a_png_with_an_unknown_filter_or_without_its_palette_is_not_whole() {
        let rows = |filter| data_of(&[0, 1, 1, filter, 1, 1]);
        for filter in 0..=255 {
            let png = png_of(2, 2, [8, 0], &[rows(filter)]);
            assert_eq!(is_whole_png(&png), filter <= 4, "{filter}");
            assert_eq!(crate::picture::png::decode(&png).is_ok(), filter <= 4, "{filter}");
        }
        let palette = chunk_of(b"PLTE", &[9; 6]);
        assert!(is_whole_png(&png_of(2, 2, [8, 3], &[palette.clone(), rows(0)])));
        assert!(!is_whole_png(&png_of(2, 2, [8, 3], &[rows(0)])));
        assert!(!is_whole_png(&png_of(2, 2, [8, 3], &[rows(0), palette.clone()])));
        assert!(!is_whole_png(&png_of(2, 2, [8, 0], &[palette, rows(0)])));
        assert!(!is_whole_png(&png_of(2, 2, [8, 3], &[chunk_of(b"PLTE", &[9; 5]), rows(0)])));
    }

    /// Ten thousand PNG files of right checksums and wrong contents.
    #[test]
    fn what_is_whole_can_be_decoded() {
        let mut state = 7u64;
        let mut below = |end: usize| {
            // Marsaglia's xorshift (J. Stat. Softw. 8(14), 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % end as u64) as usize
        };
        let mut counts = [0, 0];
        for _ in 0..10_000 {
            let (width, height) = (1 + below(5), 1 + below(4));
            let depth = [1, 2, 4, 8, 16, 3][below(6)];
            let colour = [0, 2, 3, 4, 6, 1][below(6)];
            let channels = [1, 1, 3, 1, 2, 1, 4][usize::from(colour)];
            let row = (width * channels * usize::from(depth)).div_ceil(8) + 1;
            let mut rows: Vec<u8> = (0..row * height).map(|_| below(256) as u8).collect();
            let filters = if below(4) == 0 { 6 } else { 5 };
            rows.iter_mut().step_by(row).for_each(|filter| *filter = below(filters) as u8);
            let mut chunks = Vec::new();
            if colour == 3 && below(8) > 0 || below(16) == 0 {
                let length = if below(8) > 0 { 3 * (1 + below(3)) } else { below(12) };
                chunks.push(chunk_of(b"PLTE", &vec![9; length]));
            }
            chunks.push(data_of(&rows));
            if below(4) == 0 {
                let text: Vec<u8> = (0..below(12)).map(|_| below(256) as u8).collect();
                let kind = [b"iTXt", b"tRNS", b"gAMA", b"ABCD"][below(4)];
                chunks.insert(below(chunks.len() + 1), chunk_of(kind, &text));
            }
            if below(16) == 0 {
                chunks.push(data_of(&rows));
            }
            let png = png_of(width as u32, height as u32, [depth, colour], &chunks);
            let whole = is_whole_png(&png);
            counts[usize::from(whole)] += 1;
            if whole {
                assert!(crate::picture::png::decode(&png).is_ok(), "{depth} {colour} {chunks:?}");
            }
        }
        assert!(counts.iter().all(|count| *count > 1_000), "{counts:?}");
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

    #[test]
    fn gray_with_alpha_has_two_channels() {
        let gray = |value, alpha| {
            let picture = ImageBuffer::from_pixel(2, 2, image::LumaA([value, alpha]));
            DynamicImage::ImageLumaA8(picture)
        };
        let deep = |value, alpha| DynamicImage::from(gray(value, alpha).to_luma_alpha16());
        let mean = (f64::from(10 * 10 + 20 * 20) / 2.0).sqrt();
        for (one, other) in [
            (gray(100, 200), gray(110, 220)),
            (deep(100, 200), deep(110, 220)),
            (gray(100, 200), deep(110, 220)),
        ] {
            assert!((measured(&one, &other).rmse - mean).abs() < 1e-9);
        }
        let opaque = DynamicImage::from(gray(110, 255).to_luma8());
        let found = measured(&gray(100, 255), &opaque);
        assert!((found.rmse - f64::from(10 * 10 / 2).sqrt()).abs() < 1e-9);
    }
}
