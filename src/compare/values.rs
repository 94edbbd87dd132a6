//! What both manifests say of a picture's values: where black and white lie, and what was
//! measured of the map. Equal pixels of another range are other values in the same colours.

use schemars::JsonSchema;
use serde::Serialize;

use super::side::Side;
use super::tolerances::Tolerances;
use crate::manifest::Picture;
use crate::picture::text;

/// A value of a manifest's entry that is not what it was.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ValueChange {
    /// The name of its field: `low`, `high`, `mean`, `std`, `zeros`, `non_finite`.
    pub what: Value,
    /// In GOLDEN's manifest.
    pub golden: f32,
    /// In NEW's manifest.
    pub new: f32,
}

/// A field of a manifest's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Value {
    /// The value at the low end of the colour map.
    Low,
    /// The value at the high end of the colour map.
    High,
    /// The mean of the map.
    Mean,
    /// The standard deviation of the map.
    Std,
    /// The share of zeros, 0..1.
    Zeros,
    /// How many values are NaN or infinite.
    NonFinite,
}

impl Value {
    /// Whether it is of the scale, which many pictures may share, and not of the map alone.
    pub(super) fn is_of_scale(self) -> bool {
        matches!(self, Value::Low | Value::High)
    }
}

/// The values of a picture that differ by more than values may, if both manifests tell of it.
///
/// The bounds are those that hold if every single value is within the tolerances: then low
/// and high are, the mean and the standard deviation of the differences are within atol +
/// rtol * sqrt(mean of squares), and a zero may have become another number only where values
/// may differ at all.
pub(super) fn changes(
    name: &str,
    golden: &Side,
    new: &Side,
    limits: &Tolerances,
) -> Vec<ValueChange> {
    let (Some(was), Some(is)) = (golden.range(name), new.range(name)) else { return Vec::new() };
    let tolerance = Tolerance::of(limits, was);
    let mut changes = Vec::new();
    let mut check = |what, golden: f32, new: f32, most: f64| {
        let (was, is) = (f64::from(golden), f64::from(new));
        let is_near = was == is || (was.is_nan() && is.is_nan()) || (is - was).abs() <= most;
        if !is_near {
            changes.push(ValueChange { what, golden, new });
        }
    };
    let near = |value: f32| tolerance.around(f64::from(value));
    check(Value::Low, was[0], is[0], near(was[0]));
    check(Value::High, was[1], is[1], near(was[1]));
    if let (Some(was), Some(is)) = (golden.entry(name), new.entry(name)) {
        let most = tolerance.around(root_mean_square(was));
        check(Value::Mean, was.mean, is.mean, most);
        check(Value::Std, was.std, is.std, most);
        check(Value::Zeros, was.zeros, is.zeros, tolerance.share);
        check(Value::NonFinite, was.non_finite as f32, is.non_finite as f32, 0.0);
    }
    changes
}

/// How the changes are told: `values changed: high 1.93 -> 1930, mean 0.4 -> 400`.
pub(super) fn in_words(changes: &[ValueChange]) -> String {
    let each = changes.iter().map(|ValueChange { what, golden, new }| {
        let (golden, new) = text::numbers(*golden, *new);
        format!("{what} {golden} -> {new}")
    });
    format!("values changed: {}", each.collect::<Vec<_>>().join(", "))
}

fn root_mean_square(entry: &Picture) -> f64 {
    f64::from(entry.mean).hypot(f64::from(entry.std))
}

/// By how much values may differ.
struct Tolerance {
    relative: f64,
    absolute: f64,
    /// The share of a map's values of which nothing is asked.
    share: f64,
}

impl Tolerance {
    /// Who limits pixels alone says that colours may differ, and nothing of values: they
    /// may, by what is less than one of the 256 colours.
    fn of(limits: &Tolerances, [low, high]: [f32; 2]) -> Tolerance {
        let absolute = match limits.is_of_pixels_alone() {
            true => (f64::from(high) - f64::from(low)).abs() / 255.0,
            false => limits.atol.unwrap_or(0.0),
        };
        // A range without end has no colours that values could share.
        let absolute = if absolute.is_finite() { absolute } else { 0.0 };
        let share = limits.share().unwrap_or(1.0);
        Tolerance { relative: limits.rtol.unwrap_or(0.0), absolute, share }
    }

    fn around(&self, value: f64) -> f64 {
        self.absolute + self.relative * value.abs()
    }
}
