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
    /// Chosen by the data: viridis, or blue-red where values are below zero.
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

impl Colormap {
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
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
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
    fn values_outside_take_the_ends() {
        assert_eq!((entry(-3.0), entry(0.5), entry(7.0)), (0, 128, 255));
    }
}
