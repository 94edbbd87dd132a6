//! What may differ.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoEnumIterator, VariantNames};

use super::measure::PixelDifference;
use crate::colormap::Colormap;
use crate::terminal::count;

/// Where limits come from that are not set by themselves.
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
pub enum Profile {
    /// Nothing may differ.
    #[default]
    Exact,
    /// What other instructions of a processor do to the last bits.
    CrossCpu,
    /// What a GPU's kernels do.
    Gpu,
}

/// Limits; those that are set must all hold. If none is set, nothing may differ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tolerances {
    /// A pixel differs if one of its channels differs by more, 0..255.
    pub max_abs: Option<u8>,
    /// The share of pixels that may differ, 0..1.
    pub max_diff_ratio: Option<f64>,
    /// What no channel of any pixel may exceed, 0..255.
    pub hard_max: Option<u8>,
    /// What the root mean square of all channels' differences may be, 0..255.
    pub rmse: Option<f64>,
    /// How densely pixels may differ.
    pub window: Option<Window>,
    /// Relative tolerance of raw values.
    pub rtol: Option<f64>,
    /// Absolute tolerance of raw values.
    pub atol: Option<f64>,
}

/// In no window of `side` x `side` pixels may more than `most` differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Pixels.
    pub side: usize,
    /// Pixels of the window.
    pub most: usize,
}

impl FromStr for Window {
    type Err = String;

    fn from_str(text: &str) -> Result<Window, String> {
        let problem = || "it is N:K, a window's side in pixels and how many may differ".to_owned();
        let (side, most) = text.split_once(':').ok_or_else(problem)?;
        match (side.parse(), most.parse()) {
            (Ok(side @ 1..), Ok(most)) => Ok(Window { side, most }),
            _ => Err(problem()),
        }
    }
}

impl Profile {
    /// The limits for a picture in these colours; `None` if they are not known or
    /// several, which takes the colour map with the largest steps.
    ///
    /// A value that crosses from one of the 256 colours to the next moves a pixel by at
    /// most the largest step between neighbours; docs/compare.md says what was measured.
    pub fn limits(self, colormap: Option<Colormap>) -> Tolerances {
        let limits = |share, steps, rtol, atol| Tolerances {
            max_diff_ratio: Some(share),
            hard_max: Some(step_of(colormap, steps)),
            rtol: Some(rtol),
            atol: Some(atol),
            ..Tolerances::default()
        };
        match self {
            Profile::Exact => Tolerances::default(),
            Profile::CrossCpu => limits(0.01, 1, 1e-4, 1e-5),
            Profile::Gpu => limits(0.1, 2, 1e-3, 1e-4),
        }
    }
}

fn step_of(colormap: Option<Colormap>, steps: usize) -> u8 {
    let any = || Colormap::iter().map(|colormap| step(colormap, steps)).max().unwrap_or(0);
    colormap.map_or_else(any, |colormap| step(colormap, steps))
}

/// The largest difference of a channel between colours that are `steps` apart.
pub(super) fn step(colormap: Colormap, steps: usize) -> u8 {
    let table = colormap.table();
    let apart = |index: usize| {
        let (one, other) = (table[index], table[index + steps]);
        (0..3).map(|channel| one[channel].abs_diff(other[channel])).max().unwrap_or(0)
    };
    (0..table.len() - steps).map(apart).max().unwrap_or(0)
}

impl Tolerances {
    /// These limits, and those of `other` where these are not set.
    pub fn over(self, other: Tolerances) -> Tolerances {
        Tolerances {
            max_abs: self.max_abs.or(other.max_abs),
            max_diff_ratio: self.max_diff_ratio.or(other.max_diff_ratio),
            hard_max: self.hard_max.or(other.hard_max),
            rmse: self.rmse.or(other.rmse),
            window: self.window.or(other.window),
            rtol: self.rtol.or(other.rtol),
            atol: self.atol.or(other.atol),
        }
    }

    /// A profile's limits for the colour maps of both sides: that with the smaller steps
    /// counts, for nothing else depends on the map.
    pub fn stricter(self, other: Tolerances) -> Tolerances {
        Tolerances { hard_max: self.hard_max.min(other.hard_max), ..self }
    }

    /// Whether something is said of pixels and nothing of values.
    pub(super) fn is_of_pixels_alone(&self) -> bool {
        let of_values = Tolerances { rtol: self.rtol, atol: self.atol, ..Tolerances::default() };
        *self != of_values && of_values == Tolerances::default()
    }

    /// The share of pixels that may differ, if that is limited.
    pub(super) fn share(&self) -> Option<f64> {
        let others = self.hard_max.is_some() || self.rmse.is_some() || self.window.is_some();
        match self.max_diff_ratio {
            None if self.max_abs.is_some() || !others => Some(0.0),
            share => share,
        }
    }

    /// The limits that do not hold, in words.
    pub fn broken_by(&self, found: &PixelDifference) -> Vec<String> {
        let mut broken = Vec::new();
        if let Some(share) = self.share()
            && found.ratio > share
        {
            let verb = if found.differing == 1 { "differs" } else { "differ" };
            let by = match self.max_abs {
                Some(most) => format!("{verb} by more than {most}"),
                None => verb.to_owned(),
            };
            let (ratio, share) = percents(found.ratio, share);
            broken.push(format!(
                "{} of {} {by} ({ratio}, limit {share})",
                found.differing,
                count(found.pixels, "pixel")
            ));
        }
        if let Some(most) = self.hard_max
            && found.largest > most
        {
            let [x, y] = found.at;
            broken.push(format!("a difference of {} at ({x}, {y}), limit {most}", found.largest));
        }
        if let Some(most) = self.rmse
            && found.rmse > most
        {
            broken.push(format!("a root mean square of {:.3}, limit {most}", found.rmse));
        }
        if let Some(Window { side, most }) = self.window
            && found.densest.differing > most
        {
            let [x, y] = found.densest.at;
            broken.push(format!(
                "{} differing in the {side} x {side} at ({x}, {y}), limit {most}",
                count(found.densest.differing, "pixel")
            ));
        }
        broken
    }
}

/// A share and its limit with as many digits as tell them apart.
fn percents(share: f64, limit: f64) -> (String, String) {
    let percent = |share: f64, digits: usize| {
        let text = format!("{:.digits$}", 100.0 * share);
        format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
    };
    let both = |digits| (percent(share, digits), percent(limit, digits));
    (2..20).map(both).find(|(share, limit)| share != limit).unwrap_or(both(20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::measure::Densest;

    fn found() -> PixelDifference {
        PixelDifference {
            largest: 30,
            at: [3, 4],
            rmse: 2.5,
            differing: 10,
            pixels: 100,
            ratio: 0.1,
            densest: Densest { differing: 6, at: [0, 0], side: 3 },
        }
    }

    #[test]
    fn without_a_limit_nothing_may_differ() {
        assert_eq!(Tolerances::default().broken_by(&found()).len(), 1);
    }

    #[test]
    fn a_share_is_never_told_as_its_limit() {
        let told = |share, limit| {
            let (share, limit) = percents(share, limit);
            format!("{share}, {limit}")
        };
        assert_eq!(told(1.0 / 144e6, 0.0), "0.000001 %, 0 %");
        assert_eq!(told(0.10001, 0.1), "10.001 %, 10 %");
        assert_eq!(told(1.0, 0.0), "100 %, 0 %");
        assert_eq!(told(0.003125, 0.0), "0.31 %, 0 %");
    }

    #[test]
    fn all_limits_that_are_set_must_hold_and_no_others() {
        let set = |limits: Tolerances| limits.broken_by(&found()).len();
        let none = Tolerances::default();
        assert_eq!(set(Tolerances { rmse: Some(2.5), ..none }), 0);
        assert_eq!(set(Tolerances { rmse: Some(2.4), ..none }), 1);
        assert_eq!(set(Tolerances { max_diff_ratio: Some(0.1), ..none }), 0);
        assert_eq!(set(Tolerances { max_diff_ratio: Some(0.1), hard_max: Some(29), ..none }), 1);
        assert_eq!(set(Tolerances { max_abs: Some(5), rmse: Some(9.0), ..none }), 1);
        let window = |most| Some(Window { side: 3, most });
        assert_eq!(set(Tolerances { window: window(6), ..none }), 0);
        assert_eq!(set(Tolerances { window: window(5), rmse: Some(0.1), ..none }), 2);
    }

    #[test]
    fn a_step_is_the_largest_between_neighbouring_colours() {
        assert_eq!(step(Colormap::Gray, 1), 1);
        assert_eq!(step(Colormap::Gray, 2), 2);
        assert!(step(Colormap::Turbo, 1) > step(Colormap::Viridis, 1));
        assert_eq!(step_of(None, 1), step(Colormap::Turbo, 1));
    }

    #[test]
    fn of_two_colour_maps_that_with_the_smaller_steps_counts() {
        let of = |colormap| Profile::CrossCpu.limits(colormap);
        let (gray, turbo) = (of(Some(Colormap::Gray)), of(Some(Colormap::Turbo)));
        for stricter in [gray.stricter(turbo), turbo.stricter(gray), of(None).stricter(gray)] {
            assert_eq!(stricter, gray);
        }
        assert_eq!(Tolerances::default().stricter(Tolerances::default()), Tolerances::default());
    }

    #[test]
    fn a_window_is_a_side_and_a_count() {
        assert_eq!("8:3".parse(), Ok(Window { side: 8, most: 3 }));
        for text in ["8", "0:3", "a:b", ":", "3:-1"] {
            assert!(text.parse::<Window>().is_err(), "{text}");
        }
    }
}
