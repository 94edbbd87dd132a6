//! What the colours mean: a bar with the values at its ends.

use super::{Rgb, text};
use crate::colormap::Table;
use crate::scale::Range;

const INK: [u8; 3] = [30, 30, 30];
const PAPER: [u8; 3] = [255, 255, 255];

/// The narrowest picture whose legend can be read; a narrower one is set on paper of
/// this width.
const NARROWEST: usize = 120;

/// The picture with a line of text and a colour bar below it.
pub fn with_legend(picture: &Rgb, title: &str, range: Range, table: &Table) -> Rgb {
    let width = picture.width.max(NARROWEST);
    let size = letter_size(width);
    let (line, margin) = (text::line_height(size), (size / 3.0) as usize + 1);
    let bar = size as usize;
    let height = picture.height + margin + line + bar + margin / 2 + line + margin;
    let mut page = Rgb::filled(width, height, PAPER);
    page.paste(picture, (width - picture.width) / 2, 0);
    let mut y = picture.height + margin;
    let title = text::fitting(title, size, width - 2 * margin);
    text::draw(&mut page, &title, (margin, y), size, INK);
    y += line;
    colour_bar(&mut page, (margin, y), (width - 2 * margin, bar), table);
    y += bar + margin / 2;
    ends(&mut page, (margin, y), width - 2 * margin, size, range);
    page
}

/// Letters that fit a picture of this width.
fn letter_size(width: usize) -> f32 {
    (width as f32 / 18.0).clamp(10.0, 22.0)
}

/// The 256 colours from left to right.
pub(super) fn colour_bar(
    page: &mut Rgb,
    (x, y): (usize, usize),
    (width, height): (usize, usize),
    table: &Table,
) {
    for column in 0..width {
        let colour = table[column * 255 / width.saturating_sub(1).max(1)];
        for row in 0..height {
            page.set(x + column, y + row, colour);
        }
    }
}

/// The values at the ends of a bar, and zero where it is in the middle.
pub(super) fn ends(page: &mut Rgb, (x, y): (usize, usize), width: usize, size: f32, range: Range) {
    let (low, high) = (text::number(range.low), text::number(range.high));
    text::draw(page, &low, (x, y), size, INK);
    let right = x + width.saturating_sub(text::width(&high, size));
    text::draw(page, &high, (right, y), size, INK);
    let room = width.saturating_sub(text::width(&low, size) + text::width(&high, size));
    if range.low == -range.high && range.high > 0.0 && room > 3 * text::width("0", size) {
        text::draw(page, "0", (x + (width - text::width("0", size)) / 2, y), size, INK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colormap::Colormap;

    #[test]
    fn the_picture_stays_as_it_is_and_the_bar_has_both_ends() {
        let picture = Rgb::filled(200, 100, [1, 2, 3]);
        let table = Colormap::Magma.table();
        let page = with_legend(&picture, "fold 1 relu", Range { low: 0.0, high: 2.5 }, &table);
        assert!(page.width == 200 && page.height > 130);
        assert!(page.pixels[..200 * 100 * 3].chunks(3).all(|pixel| pixel == [1, 2, 3]));
        for end in [table[0], table[255]] {
            assert!(page.pixels.chunks(3).any(|pixel| pixel == end));
        }
    }

    #[test]
    fn a_tiny_picture_gets_room_for_its_legend() {
        let table = Colormap::Magma.table();
        let page =
            with_legend(&Rgb::filled(7, 7, [9; 3]), "relu", Range { low: 0.0, high: 1.0 }, &table);
        assert_eq!(page.width, NARROWEST);
    }
}
