//! Labels, in a font that is part of the binary.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};

use super::Rgb;

/// DejaVu Sans, Latin and Greek; its licence stands beside the file.
const FONT: &[u8] = include_bytes!("DejaVuSans-subset.ttf");

fn font() -> Option<FontRef<'static>> {
    FontRef::try_from_slice(FONT).ok()
}

/// The height of a line of text in pixels.
pub(super) fn line_height(size: f32) -> usize {
    (size * 1.2).ceil() as usize
}

/// The width of a text in pixels.
pub(super) fn width(text: &str, size: f32) -> usize {
    let Some(font) = font() else { return 0 };
    let font = font.as_scaled(PxScale::from(size));
    let advance = |letter| font.h_advance(font.glyph_id(letter));
    text.chars().map(advance).sum::<f32>().ceil() as usize
}

/// Writes a text, its upper left corner at (x, y), antialiased. What stands out of
/// the picture is cut off; a letter that the font lacks is an empty box.
pub(super) fn draw(
    picture: &mut Rgb,
    text: &str,
    (x, y): (usize, usize),
    size: f32,
    colour: [u8; 3],
) {
    let Some(font) = font() else { return };
    let scaled = font.as_scaled(PxScale::from(size));
    let baseline = y as f32 + scaled.ascent();
    let mut at = x as f32;
    for letter in text.chars() {
        let id = scaled.glyph_id(letter);
        let glyph = id.with_scale_and_position(size, ab_glyph::point(at, baseline));
        at += scaled.h_advance(id);
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let bounds = outline.px_bounds();
        outline.draw(|column, row, share| {
            let (x, y) = (bounds.min.x + column as f32, bounds.min.y + row as f32);
            if x >= 0.0 && y >= 0.0 {
                let (x, y) = (x as usize, y as usize);
                if x < picture.width && y < picture.height {
                    let under = picture.get(x, y);
                    picture.set(x, y, Rgb::blend(under, colour, share.clamp(0.0, 1.0)));
                }
            }
        });
    }
}

/// The text, cut in the middle with an ellipsis until it is no wider than `room`.
pub(super) fn fitting(text: &str, size: f32, room: usize) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    (1..letters.len())
        .rev()
        .map(|kept| {
            let (head, tail) = (kept.div_ceil(2), kept / 2);
            let ends = (&letters[..head], &letters[letters.len() - tail..]);
            ends.0.iter().chain(['…'].iter()).chain(ends.1).collect::<String>()
        })
        .find(|shorter| width(shorter, size) <= room)
        .unwrap_or_default()
}

/// The ends of a range, with as many digits as tell them apart.
pub(crate) fn numbers(low: f32, high: f32) -> (String, String) {
    // f32 has nine digits at most.
    let written = |digits| (number(low, digits), number(high, digits));
    (3..9).map(written).find(|(low, high)| low != high).unwrap_or_else(|| written(9))
}

/// A value with this many significant digits or a few more, as a person would write it.
pub(super) fn number(value: f32, digits: usize) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e5).contains(&magnitude) {
        let decimals = digits - 2;
        format!("{value:.decimals$e}")
    } else {
        let decimals = (digits as i32 - 1 - magnitude.log10().floor() as i32).clamp(0, 11) as usize;
        let text = format!("{value:.decimals$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_leaves_ink_and_is_as_wide_as_said() {
        let mut picture = Rgb::filled(200, 30, [255; 3]);
        draw(&mut picture, "layer1.0.relu_2", (5, 4), 14.0, [0; 3]);
        let inked = |x: usize| (0..30).any(|y| picture.get(x, y) != [255; 3]);
        assert!((5..5 + width("layer1.0.relu_2", 14.0)).filter(|x| inked(*x)).count() > 60);
        assert!((7 + width("layer1.0.relu_2", 14.0)..200).all(|x| !inked(x)));
    }

    #[test]
    fn what_is_too_wide_loses_its_middle() {
        let long = "features.denseblock3.denselayer24.relu2";
        let short = fitting(long, 12.0, 120);
        assert!(width(&short, 12.0) <= 120 && short.contains('…'), "{short}");
        assert!(short.starts_with("fea") && short.ends_with("lu2"), "{short}");
        assert_eq!(fitting("relu", 12.0, 120), "relu");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(0.0, "0"), (1.9345, "1.93"), (-0.25, "-0.25"), (12345.6, "12346"), (1e-7, "1.0e-7")]
        {
            assert_eq!(number(value, 3), text);
        }
    }

    #[test]
    fn the_ends_of_a_narrow_range_are_told_apart() {
        let texts = |low, high| {
            let (low, high) = numbers(low, high);
            format!("{low} {high}")
        };
        assert_eq!(texts(0.0, 1.9345), "0 1.93");
        assert_eq!(texts(0.17801, 0.17834), "0.178 0.1783");
        assert_eq!(texts(12_345.2, 12_345.4), "12345.2 12345.4");
    }
}
