//! What the colours mean: a bar with the values at its ends.

use super::{Rgb, hatch, text};
use crate::colormap::Colours;
use crate::maps::Flag;

const INK: [u8; 3] = [30, 30, 30];
const PALE: [u8; 3] = [95, 95, 95];
const PAPER: [u8; 3] = [255, 255, 255];

/// The narrowest picture whose legend can be read; a narrower one is set on paper of
/// this width.
const NARROWEST: usize = 160;

/// What stands below a picture.
#[derive(Clone, Copy, Debug)]
pub struct Caption<'a> {
    /// What the picture shows: the layer's name.
    pub title: &'a str,
    /// Of which fold, and how it came about.
    pub note: &'a str,
    /// The marks in it that want a word.
    pub flags: &'a [Flag],
}

/// The picture with its caption, a colour bar, and the marks that are in it below it.
pub fn with_legend(picture: &Rgb, caption: &Caption<'_>, colours: &Colours) -> Rgb {
    let width = picture.width.max(NARROWEST);
    let size = (width as f32 / 17.0).clamp(12.0, 18.0);
    let small = size - 1.5;
    let margin = (size / 2.0) as usize;
    let inside = width - 2 * margin;
    let (line, small_line) = (text::line_height(size), text::line_height(small));
    let bar = size as usize;
    let marks = hatch_lines(caption.flags, small, inside);
    let heights = [margin, line, small_line, margin / 2, bar, 2, small_line];
    let marks_height = marks.len() * (small_line + 2);
    let height = picture.height + heights.iter().sum::<usize>() + marks_height + margin;
    let mut page = Rgb::filled(width, height, PAPER);
    page.paste(picture, (width - picture.width) / 2, 0);
    let mut y = picture.height + margin;
    text::draw(&mut page, &text::fitting(caption.title, size, inside), (margin, y), size, INK);
    y += line;
    text::draw(&mut page, &text::fitting(caption.note, small, inside), (margin, y), small, PALE);
    y += small_line + margin / 2;
    colour_bar(&mut page, (margin, y), (inside, bar), colours, caption.flags);
    y += bar + 2;
    ends(&mut page, (margin, y), inside, small, colours, caption.flags);
    y += small_line;
    for flags in marks {
        mark_line(&mut page, &flags, (margin, y + 2), small, colours);
        y += small_line + 2;
    }
    page
}

/// The colours from left to right; of a flat range the one that it has. Where there is
/// no number at all, there is no bar.
pub(super) fn colour_bar(
    page: &mut Rgb,
    (x, y): (usize, usize),
    (width, height): (usize, usize),
    colours: &Colours,
    flags: &[Flag],
) {
    if is_empty(colours, flags) {
        return;
    }
    for column in 0..width {
        let step = column * 255 / width.saturating_sub(1).max(1);
        let colour = colours.table[if colours.range.is_flat() { 0 } else { step }];
        for row in 0..height {
            page.set(x + column, y + row, colour);
        }
    }
}

/// Whether the map has no number, so that its range says nothing.
fn is_empty(colours: &Colours, flags: &[Flag]) -> bool {
    let odd = flags.iter().any(|flag| flag.is_non_finite());
    odd && colours.range.is_flat() && !flags.contains(&Flag::Constant)
}

/// The values at the ends of a bar, and zero where it is between them; of a flat range
/// its one value.
pub(super) fn ends(
    page: &mut Rgb,
    (x, y): (usize, usize),
    width: usize,
    size: f32,
    colours: &Colours,
    flags: &[Flag],
) {
    let range = colours.range;
    if range.is_flat() {
        let number = text::number(range.low, 3);
        let text = match flags.iter().any(|flag| flag.is_non_finite()) {
            _ if is_empty(colours, flags) => "no number anywhere".to_owned(),
            true => format!("{number} elsewhere"),
            false => format!("{number} everywhere"),
        };
        let text = text::fitting(&text, size, width);
        let left = x + (width - text::width(&text, size)) / 2;
        text::draw(page, &text, (left, y), size, INK);
        return;
    }
    let (low, high) = text::numbers(range.low, range.high);
    let right = x + width.saturating_sub(text::width(&high, size));
    let low_end = x + text::width(&low, size);
    text::draw(page, &low, (x, y), size, INK);
    text::draw(page, &high, (right, y), size, INK);
    if range.low < 0.0 && range.high > 0.0 {
        let share = f64::from(-range.low) / (f64::from(range.high) - f64::from(range.low));
        let (zero, gap) = (text::width("0", size), text::width(" ", size));
        let left = (x + (share * width as f64) as usize).saturating_sub(zero / 2);
        if left >= low_end + gap && left + zero + gap <= right {
            text::draw(page, "0", (left, y), size, INK);
        }
    }
}

/// The marks that fit side by side, line by line.
pub(super) fn hatch_lines(flags: &[Flag], size: f32, room: usize) -> Vec<Vec<Flag>> {
    let mut lines: Vec<Vec<Flag>> = Vec::new();
    let mut used = 0;
    for flag in flags {
        let wide = mark_width(*flag, size);
        match lines.last_mut() {
            Some(line) if used + wide <= room => line.push(*flag),
            _ => {
                lines.push(vec![*flag]);
                used = 0;
            }
        }
        used += wide;
    }
    lines
}

/// A sample of each mark and what it means.
pub(super) fn mark_line(
    page: &mut Rgb,
    flags: &[Flag],
    (x, y): (usize, usize),
    size: f32,
    colours: &Colours,
) {
    let (wide, high) = sample_size(size);
    let mut left = x;
    for flag in flags {
        page.paste(&hatch::sample(*flag, colours.table[0], (wide, high)), left, y);
        let label = (left + wide + 4, y);
        text::draw(page, hatch::meaning(*flag), label, size, INK);
        left += mark_width(*flag, size);
    }
}

fn sample_size(size: f32) -> (usize, usize) {
    (2 * size as usize, size as usize + 2)
}

fn mark_width(flag: Flag, size: f32) -> usize {
    sample_size(size).0 + 4 + text::width(hatch::meaning(flag), size) + size as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colormap::Colormap;
    use crate::scale::Range;

    const CAPTION: Caption<'_> = Caption { title: "relu", note: "fold 1", flags: &[] };

    fn has(page: &Rgb, colour: [u8; 3]) -> bool {
        page.pixels.chunks(3).any(|pixel| pixel == colour)
    }

    #[test]
    fn the_picture_stays_as_it_is_and_the_bar_has_both_ends() {
        let picture = Rgb::filled(200, 100, [1, 2, 3]);
        let colours = Colormap::Magma.colours(Range { low: 0.0, high: 2.5 });
        let page = with_legend(&picture, &CAPTION, &colours);
        assert!(page.width == 200 && page.height > 130);
        assert!(page.pixels[..200 * 100 * 3].chunks(3).all(|pixel| pixel == [1, 2, 3]));
        assert!(has(&page, colours.table[0]) && has(&page, colours.table[255]));
    }

    #[test]
    fn a_tiny_picture_gets_room_for_its_legend() {
        let colours = Colormap::Magma.colours(Range { low: 0.0, high: 1.0 });
        let page = with_legend(&Rgb::filled(7, 7, [9; 3]), &CAPTION, &colours);
        assert_eq!(page.width, NARROWEST);
    }

    #[test]
    fn a_flat_range_has_a_bar_of_one_colour() {
        let colours = Colormap::Magma.colours(Range { low: 3.0, high: 3.0 });
        let page = with_legend(&Rgb::filled(200, 9, [9; 3]), &CAPTION, &colours);
        assert!(has(&page, colours.table[0]) && !has(&page, colours.table[255]));
    }

    #[test]
    fn every_mark_in_the_picture_is_explained() {
        let colours = Colormap::Magma.colours(Range { low: 0.0, high: 1.0 });
        let flags = [Flag::Nan, Flag::Inf, Flag::Constant];
        let caption = Caption { flags: &flags, ..CAPTION };
        let page = with_legend(&Rgb::filled(200, 9, [9; 3]), &caption, &colours);
        assert!(has(&page, [255, 0, 255]) && has(&page, [0, 255, 255]));
    }
}
