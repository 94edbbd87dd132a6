//! 0..1 -> RGB, through a table of 256 colours.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, VariantNames};

/// The colour maps. All but turbo and gray are perceptually uniform; viridis is
/// the default because it also survives grey printing and colour blindness.
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
    /// Dark blue to yellow.
    #[default]
    Viridis,
    /// Black over purple to cream.
    Magma,
    /// Black over red to pale yellow.
    Inferno,
    /// Dark blue over green to dark red: more contrast, not uniform.
    Turbo,
    /// Black to white.
    Gray,
}

/// 256 RGB colours, dark end first.
pub type Table = [[u8; 3]; 256];

impl Colormap {
    /// The colours at 0/255, 1/255, ... 255/255.
    pub fn table(self) -> Table {
        std::array::from_fn(|step| {
            let at = step as f64 / 255.0;
            let gradient = match self {
                Colormap::Viridis => colorous::VIRIDIS,
                Colormap::Magma => colorous::MAGMA,
                Colormap::Inferno => colorous::INFERNO,
                Colormap::Turbo => colorous::TURBO,
                Colormap::Gray => return [step as u8; 3],
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

    #[test]
    fn every_map_starts_darker_than_it_ends_except_turbo() {
        for map in Colormap::iter() {
            let table = map.table();
            let light = |[r, g, b]: [u8; 3]| 2 * u32::from(r) + 7 * u32::from(g) + u32::from(b);
            if map != Colormap::Turbo {
                assert!(light(table[0]) < light(table[255]), "{map:?}");
            }
        }
    }

    #[test]
    fn the_known_ends_of_viridis_come_out() {
        let table = Colormap::Viridis.table();
        assert_eq!(table[0], [68, 1, 84]);
        assert_eq!(table[255], [253, 231, 37]);
    }

    #[test]
    fn values_outside_take_the_ends() {
        assert_eq!(entry(-3.0), 0);
        assert_eq!(entry(0.5), 128);
        assert_eq!(entry(7.0), 255);
    }
}
