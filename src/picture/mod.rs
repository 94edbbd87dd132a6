//! Map -> picture: enlarge, colour, label, encode.

pub mod grid;
mod hatch;
pub mod heat;
pub mod legend;
pub mod overlay;
pub mod png;
pub mod sheet;
pub(crate) mod text;

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

pub use heat::{Interpolation, enlarge, heat};

/// What a picture shows.
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
pub enum View {
    /// The map in colours: `a_b.png`.
    #[default]
    Heat,
    /// The map in colours over the input: `a_b.overlay.png`.
    Overlay,
    /// Every channel, 16 a row: `a_b.grid.png`.
    Grid,
    /// All layers x folds of an image, labelled: `sheet.png`.
    Sheet,
}

/// The pictures' size, as `--size` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Size {
    /// As large as the network's input.
    #[default]
    Input,
    /// The layer's own resolution.
    Native,
    /// The longer side in pixels.
    Longer(usize),
}

/// The largest side of a picture that can be asked for.
const LARGEST: usize = 16_384;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        match (text, text.parse()) {
            ("input", _) => Ok(Size::Input),
            ("native", _) => Ok(Size::Native),
            (_, Ok(pixels)) if (1..=LARGEST).contains(&pixels) => Ok(Size::Longer(pixels)),
            _ => Err(format!("it is input, native, or pixels from 1 to {LARGEST}")),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Size::Input => f.write_str("input"),
            Size::Native => f.write_str("native"),
            Size::Longer(pixels) => write!(f, "{pixels}"),
        }
    }
}

impl Size {
    /// Width and height of the picture of a map of `map` for an input of `input`
    /// (width, height each). A picture has the input's proportions, unless native.
    pub fn of(self, map: (usize, usize), input: (usize, usize)) -> (usize, usize) {
        match self {
            Size::Native => map,
            Size::Input => input,
            Size::Longer(pixels) => {
                let longer = input.0.max(input.1).max(1);
                let scaled = |side: usize| ((side * pixels + longer / 2) / longer).max(1);
                (scaled(input.0), scaled(input.1))
            }
        }
    }
}

/// An RGB picture, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// `width * height * 3` bytes.
    pub pixels: Vec<u8>,
}

impl Rgb {
    /// A picture of one colour.
    pub fn filled(width: usize, height: usize, colour: [u8; 3]) -> Rgb {
        Rgb { width, height, pixels: colour.repeat(width * height) }
    }

    /// The colour at a pixel that is inside.
    pub fn get(&self, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        [self.pixels[at], self.pixels[at + 1], self.pixels[at + 2]]
    }

    /// Sets a pixel; one that is outside is left out.
    pub fn set(&mut self, x: usize, y: usize, colour: [u8; 3]) {
        if x < self.width && y < self.height {
            let at = (y * self.width + x) * 3;
            self.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    /// Lays another picture on this one, its upper left corner at (x, y); what would
    /// stand out is cut off.
    pub fn paste(&mut self, other: &Rgb, x: usize, y: usize) {
        let columns = other.width.min(self.width.saturating_sub(x)) * 3;
        for row in 0..other.height.min(self.height.saturating_sub(y)) {
            let (from, to) = (row * other.width * 3, ((y + row) * self.width + x) * 3);
            self.pixels[to..to + columns].copy_from_slice(&other.pixels[from..from + columns]);
        }
    }

    /// Moves each channel from `colour` by `share` (0..1) towards `other`.
    fn blend(colour: [u8; 3], other: [u8; 3], share: f32) -> [u8; 3] {
        std::array::from_fn(|channel| {
            let (from, to) = (f32::from(colour[channel]), f32::from(other[channel]));
            (from + (to - from) * share).round() as u8
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_keeps_the_inputs_proportions() {
        assert_eq!(Size::Longer(100).of((7, 7), (300, 150)), (100, 50));
        assert_eq!(Size::Input.of((7, 7), (300, 150)), (300, 150));
        assert_eq!(Size::Native.of((7, 5), (300, 150)), (7, 5));
    }

    #[test]
    fn what_is_pasted_over_the_edge_is_cut_off() {
        let mut large = Rgb::filled(4, 4, [0; 3]);
        large.paste(&Rgb::filled(3, 3, [9; 3]), 2, 3);
        assert_eq!((large.get(2, 3), large.get(3, 3), large.get(1, 3)), ([9; 3], [9; 3], [0; 3]));
        large.paste(&Rgb::filled(3, 3, [9; 3]), 7, 7);
    }
}
