//! How a map looks that has nothing to show, or not everywhere: hatches, which are in
//! no colour map and told apart by their direction as well.

use std::ops::Range;

use ndarray::ArrayView2;

use super::Rgb;
use crate::maps::Flag;

const DEAD: ([u8; 3], [u8; 3]) = ([40, 40, 40], [96, 96, 96]);
/// Lines on a constant map: the one that its colour contrasts with.
const CONSTANT_LINES: ([u8; 3], [u8; 3]) = ([70, 70, 70], [190, 190, 190]);
const NAN: ([u8; 3], [u8; 3]) = ([255, 0, 255], [0, 0, 0]);
const INFINITE: ([u8; 3], [u8; 3]) = ([0, 255, 255], [0, 0, 0]);
/// Pixels from one line of a hatch to the next.
const PITCH: usize = 8;
/// Pixels of one field of a check.
const FIELD: usize = 4;

/// Marks a map's picture: dark grey with rising lines where it is dead, falling lines
/// over its colour where it is constant, checks exactly where it holds NaN (magenta)
/// or infinity (cyan). `flags` says which of these marks are wanted.
///
/// Each of the layer's own pixels that is no number covers its whole place in the
/// picture, or one pixel of it where the picture is the smaller one: none gets lost.
pub(super) fn mark(picture: &mut Rgb, map: ArrayView2<'_, f32>, flags: &[Flag]) {
    let height = picture.height;
    if flags.contains(&Flag::Dead) {
        paint(picture, |x, y, _| Some(if (x + y) % PITCH < 2 { DEAD.1 } else { DEAD.0 }));
    } else if flags.contains(&Flag::Constant) {
        let line = |under| if is_light(under) { CONSTANT_LINES.0 } else { CONSTANT_LINES.1 };
        let falling = |x: usize, y: usize| (x + PITCH * height - y) % PITCH < 2;
        paint(picture, |x, y, under| falling(x, y).then(|| line(under)));
    }
    if flags.iter().any(|flag| flag.is_non_finite()) {
        check(picture, map);
    }
}

/// A sample of the mark, on this colour.
pub(super) fn sample(flag: Flag, colour: [u8; 3], (width, height): (usize, usize)) -> Rgb {
    let mut picture = Rgb::filled(width, height, colour);
    let value = match flag {
        Flag::Nan => f32::NAN,
        Flag::Inf => f32::INFINITY,
        Flag::Dead | Flag::Constant => 0.0,
    };
    mark(&mut picture, ndarray::arr2(&[[value]]).view(), &[flag]);
    picture
}

/// What the mark means, in a few words.
pub(super) fn meaning(flag: Flag) -> &'static str {
    match flag {
        Flag::Nan => "NaN",
        Flag::Inf => "infinite",
        Flag::Dead => "dead: all zero",
        Flag::Constant => "constant",
    }
}

fn paint(picture: &mut Rgb, colour: impl Fn(usize, usize, [u8; 3]) -> Option<[u8; 3]>) {
    for y in 0..picture.height {
        for x in 0..picture.width {
            if let Some(colour) = colour(x, y, picture.get(x, y)) {
                picture.set(x, y, colour);
            }
        }
    }
}

fn check(picture: &mut Rgb, map: ArrayView2<'_, f32>) {
    let (rows, columns) = map.dim();
    // One pattern over a map without any number; else each place starts its own, so
    // that the coloured field is seen however small the place.
    let everywhere = map.iter().all(|value| !value.is_finite());
    for ((row, column), value) in map.indexed_iter().filter(|(_, value)| !value.is_finite()) {
        let (first, second) = if value.is_nan() { NAN } else { INFINITE };
        let across = place(column, columns, picture.width);
        let down = place(row, rows, picture.height);
        let (left, top) = if everywhere { (0, 0) } else { (across.start, down.start) };
        for y in down {
            for x in across.clone() {
                let odd = !((x - left) / FIELD + (y - top) / FIELD).is_multiple_of(2);
                picture.set(x, y, if odd { second } else { first });
            }
        }
    }
}

/// The pixels of the `at`-th of `count` values, at least one.
fn place(at: usize, count: usize, pixels: usize) -> Range<usize> {
    let (start, end) = ((at * pixels).div_ceil(count), ((at + 1) * pixels).div_ceil(count));
    if start < end { start..end } else { at * pixels / count..at * pixels / count + 1 }
}

fn is_light([red, green, blue]: [u8; 3]) -> bool {
    2 * u32::from(red) + 7 * u32::from(green) + u32::from(blue) > 10 * 127
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;

    fn marked(colour: [u8; 3], side: usize, map: Array2<f32>, flags: &[Flag]) -> Rgb {
        let mut picture = Rgb::filled(side, side, colour);
        mark(&mut picture, map.view(), flags);
        picture
    }

    fn count(picture: &Rgb, colour: [u8; 3]) -> usize {
        picture.pixels.chunks(3).filter(|pixel| *pixel == colour).count()
    }

    #[test]
    fn nan_and_infinity_are_checked_exactly_where_they_are() {
        let map = arr2(&[[0.0, f32::NAN], [1.0, f32::INFINITY]]);
        let picture = marked([9; 3], 16, map, &[Flag::Nan, Flag::Inf]);
        assert_eq!((count(&picture, NAN.0), count(&picture, INFINITE.0)), (32, 32));
        assert_eq!((count(&picture, [0; 3]), count(&picture, [9; 3])), (64, 128));
    }

    #[test]
    fn a_single_nan_is_seen_however_small_the_picture() {
        for side in [1, 2, 3, 7, 20, 30] {
            let mut map = Array2::zeros((20, 20));
            map[[13, 6]] = f32::NAN;
            assert!(count(&marked([9; 3], side, map, &[Flag::Nan]), NAN.0) > 0, "{side}");
        }
    }

    #[test]
    fn dead_and_constant_maps_are_hatched_in_other_directions() {
        let dead = marked([9; 3], 16, Array2::zeros((4, 4)), &[Flag::Dead]);
        assert_eq!((count(&dead, DEAD.0), count(&dead, DEAD.1)), (192, 64));
        let constant = marked([9; 3], 16, Array2::ones((4, 4)), &[Flag::Constant]);
        assert_eq!((count(&constant, [9; 3]), count(&constant, CONSTANT_LINES.1)), (192, 64));
        // A rising line runs through (1, 7) and (4, 4), a falling one through (0, 0)
        // and (4, 4).
        assert_eq!([dead.get(1, 7), dead.get(4, 4)], [DEAD.1; 2]);
        assert_eq!(dead.get(2, 2), DEAD.0);
        assert_eq!([constant.get(0, 0), constant.get(4, 4)], [CONSTANT_LINES.1; 2]);
        assert_eq!(constant.get(1, 7), [9; 3]);
    }

    #[test]
    fn lines_contrast_with_the_colour_of_a_constant_map() {
        let light = marked([250; 3], 16, Array2::ones((4, 4)), &[Flag::Constant]);
        assert_eq!(count(&light, CONSTANT_LINES.0), 64);
    }
}
