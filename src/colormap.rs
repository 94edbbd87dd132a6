//! 0..1 -> RGB, through a table of 256 colours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, VariantNames};

use crate::scale::Range;

/// The colour maps. All but turbo and gray are perceptually uniform; viridis is the
/// sequential default because it also survives grey printing and colour blindness.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    EnumString,
    EnumIter,
    VariantNames,
    Display,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Colormap {
    /// Viridis, or blue-red where values are below zero or might be.
    #[default]
    Auto,
    /// Dark blue to yellow.
    Viridis,
    /// Black over purple to cream.
    Magma,
    /// Black over red to pale yellow.
    Inferno,
    /// Dark blue over green to dark red: more contrast, not uniform.
    Turbo,
    /// Black to white.
    Gray,
    /// Blue below zero, white at zero, red above: ColorBrewer's RdBu, turned round.
    BlueRed,
}

/// 256 RGB colours, the low end first.
pub type Table = [[u8; 3]; 256];

/// What the colours of a picture mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Colours {
    /// Never [`Colormap::Auto`].
    pub colormap: Colormap,
    /// The values of the first and the last colour of the table.
    pub range: Range,
    /// From the range's low end to its high end.
    pub table: Table,
}

impl Colormap {
    /// The map for values that can be below zero or cannot: [`Colormap::Auto`] is then the
    /// same for all pictures of them, whether or not any value is.
    pub fn of(self, is_signed: bool) -> Colormap {
        match self {
            Colormap::Auto if is_signed => Colormap::BlueRed,
            other => other,
        }
    }

    /// The colours for values whose range was found in the data; it is widened where a
    /// diverging map wants zero in its middle.
    pub fn colours(self, range: Range) -> Colours {
        let (colormap, range) = self.for_range(range);
        Colours { colormap, range, table: colormap.table() }
    }

    /// The colours for a range that is not to be changed. Of a diverging map only the
    /// part is taken that the range covers, so that zero keeps its colour.
    pub fn colours_within(self, range: Range) -> Colours {
        let (colormap, whole) = self.for_range(range);
        let all = colormap.table();
        let table = std::array::from_fn(|step| {
            let (low, high) = (f64::from(range.low), f64::from(range.high));
            let value = low + (high - low) * step as f64 / 255.0;
            let (start, end) = (f64::from(whole.low), f64::from(whole.high));
            all[usize::from(entry(((value - start) / (end - start)) as f32))]
        });
        Colours { colormap, range, table }
    }

    /// The map for values of this range, and the range that it takes: a diverging map
    /// has zero in its middle. Never [`Colormap::Auto`].
    pub fn for_range(self, range: Range) -> (Colormap, Range) {
        match self {
            Colormap::Auto if range.low < 0.0 => (Colormap::BlueRed, range.around_zero()),
            Colormap::Auto => (Colormap::Viridis, range),
            Colormap::BlueRed => (Colormap::BlueRed, range.around_zero()),
            other => (other, range),
        }
    }

    /// The colours at 0/255, 1/255, ... 255/255.
    pub fn table(self) -> Table {
        std::array::from_fn(|step| {
            let at = step as f64 / 255.0;
            let gradient = match self {
                Colormap::Auto | Colormap::Viridis => colorous::VIRIDIS,
                Colormap::Magma => colorous::MAGMA,
                Colormap::Inferno => colorous::INFERNO,
                Colormap::Turbo => colorous::TURBO,
                Colormap::Gray => return [step as u8; 3],
                Colormap::BlueRed => {
                    return colorous::RED_BLUE.eval_continuous(1.0 - at).into_array();
                }
            };
            gradient.eval_continuous(at).into_array()
        })
    }
}

/// The entry of a table for a value in 0..1; what lies outside takes the end's colour.
pub fn entry(value: f32) -> u8 {
    let scaled = value.clamp(0.0, 1.0) * 255.0;
    let below = scaled as u8;
    // What `round` gives, without a call for every pixel.
    below + u8::from(scaled - f32::from(below) >= 0.5)
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    fn light([red, green, blue]: [u8; 3]) -> u32 {
        2 * u32::from(red) + 7 * u32::from(green) + u32::from(blue)
    }

    #[test]
    fn sequential_maps_start_dark_and_diverging_ones_are_light_in_the_middle() {
        for map in Colormap::iter().filter(|map| *map != Colormap::Turbo) {
            let table = map.table();
            if map == Colormap::BlueRed {
                assert!(light(table[128]) > light(table[0]).max(light(table[255])));
            } else {
                assert!(light(table[0]) < light(table[255]), "{map:?}");
            }
        }
    }

    #[test]
    fn the_known_ends_of_viridis_come_out() {
        let table = Colormap::Viridis.table();
        assert_eq!((table[0], table[255]), ([68, 1, 84], [253, 231, 37]));
    }

    #[test]
    fn blue_is_below_zero_and_red_above() {
        let table = Colormap::BlueRed.table();
        assert!(table[10][2] > table[10][0] && table[245][0] > table[245][2]);
    }

    #[test]
    fn the_data_choose_between_sequential_and_diverging() {
        let signed = Range { low: -1.0, high: 3.0 };
        let (map, range) = Colormap::Auto.for_range(signed);
        assert_eq!((map, range.low), (Colormap::BlueRed, -3.0));
        let (map, range) = Colormap::Auto.for_range(Range { low: 0.0, high: 3.0 });
        assert_eq!((map, range.low), (Colormap::Viridis, 0.0));
        assert_eq!(Colormap::Magma.for_range(signed), (Colormap::Magma, signed));
    }

    #[test]
    fn a_fixed_range_keeps_its_ends_and_zero_keeps_its_colour() {
        let fixed = Range { low: -1.0, high: 3.0 };
        let found = Colormap::Auto.colours_within(fixed);
        let whole = Colormap::BlueRed.table();
        assert_eq!((found.colormap, found.range), (Colormap::BlueRed, fixed));
        assert_eq!((found.table[255], found.table[64]), (whole[255], whole[128]));
        // -1 is a third of the way from zero to the blue end.
        assert_eq!(found.table[0], whole[85]);
        let plain = Colormap::Auto.colours_within(Range { low: 1.0, high: 3.0 });
        assert_eq!(plain.table, Colormap::Viridis.table());
    }

    #[test]
    fn values_outside_take_the_ends() {
        assert_eq!((entry(-3.0), entry(0.5), entry(7.0)), (0, 128, 255));
    }
}
