//! Every channel of a layer as a tile of one picture.

use ndarray::{ArrayView3, Axis};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use super::{Interpolation, Rgb, heat};
use crate::colormap::Colours;
use crate::maps::{self, Flag};

/// The order of a grid's channels.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    EnumString,
    VariantNames,
    Display,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum TileOrder {
    /// Their own.
    #[default]
    Channel,
    /// The most active first, by mean magnitude.
    Activity,
}

/// Tiles in a row.
pub const A_ROW: usize = 16;
/// Pixels between tiles.
const GAP: usize = 1;
/// What is between tiles and behind the last row.
const PAPER: [u8; 3] = [255, 255, 255];
/// The longer side of a tile: small maps grow to the first, large ones shrink to the
/// second.
const SIDES: (usize, usize) = (32, 64);

/// The tiles' size for maps of this size (width, height): small ones enlarged by a
/// whole factor, so that their pixels stay squares; large ones made smaller.
pub fn tile_size((width, height): (usize, usize)) -> (usize, usize) {
    let longer = width.max(height).max(1);
    if longer < SIDES.0 {
        let factor = SIDES.0.div_ceil(longer);
        return (width * factor, height * factor);
    }
    let shown = longer.min(SIDES.1);
    let scaled = |side: usize| ((side * shown + longer / 2) / longer).max(1);
    (scaled(width), scaled(height))
}

/// Draws the channels (channels x height x width) in `order` (numbers from 1), 16 a
/// row; all share one range. The last row is kept when it is not full.
pub fn grid(channels: ArrayView3<'_, f32>, order: &[usize], colours: &Colours) -> Rgb {
    let (_, height, width) = channels.dim();
    let (tile_width, tile_height) = tile_size((width, height));
    let columns = order.len().clamp(1, A_ROW);
    let rows = order.len().div_ceil(A_ROW);
    let mut page =
        Rgb::filled(columns * (tile_width + GAP) + GAP, rows * (tile_height + GAP) + GAP, PAPER);
    let interpolation = match width.max(height) < SIDES.0 {
        true => Interpolation::Nearest,
        false => Interpolation::Bilinear,
    };
    // Channels that are dead or constant are the rule in a grid: their colour says it. If
    // all are, the layer is, and that is marked.
    let nothing_to_see = maps::flags_of_channels(channels).iter().any(|f| !f.is_non_finite());
    for (place, channel) in order.iter().enumerate() {
        let map = channels.index_axis(Axis(0), channel - 1);
        let is_marked = |flag: &Flag| nothing_to_see || flag.is_non_finite();
        let marks: Vec<_> = maps::flags(map).into_iter().filter(is_marked).collect();
        let tile = heat(map, colours, &marks, (tile_width, tile_height), interpolation);
        let (row, column) = (place / A_ROW, place % A_ROW);
        page.paste(&tile, GAP + column * (tile_width + GAP), GAP + row * (tile_height + GAP));
    }
    page
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::colormap::Colormap;
    use crate::scale::Range;

    #[test]
    fn the_last_row_is_kept_and_tiles_follow_the_order() {
        let mut channels = Array3::from_shape_fn((18, 40, 40), |(c, _, _)| c as f32);
        // One that is not constant, else all were marked.
        channels[[0, 39, 39]] = 1.0;
        let order: Vec<usize> = (1..=18).rev().collect();
        let colours = Colormap::Gray.colours(Range { low: 0.0, high: 17.0 });
        let page = grid(channels.view(), &order, &colours);
        assert_eq!((page.width, page.height), (16 * 41 + 1, 2 * 41 + 1));
        assert_eq!((page.get(5, 5), page.get(16 * 41 - 5, 5)), ([255; 3], [30; 3]));
        assert_eq!((page.get(5, 46), page.get(46, 46), page.get(87, 46)), ([15; 3], [0; 3], PAPER));
    }

    #[test]
    fn small_maps_grow_by_whole_factors_and_large_ones_shrink() {
        assert_eq!(tile_size((7, 7)), (35, 35));
        assert_eq!(tile_size((1, 1)), (32, 32));
        assert_eq!(tile_size((48, 16)), (48, 16));
        assert_eq!(tile_size((112, 56)), (64, 32));
    }
}
