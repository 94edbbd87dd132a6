//! Raw maps against each other, value by value.

use std::path::Path;

use ndarray::ArrayD;
use ndarray_npy::ReadNpyExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::limits::Limits;
use crate::output;

/// What was measured of two raw maps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct RawMeasured {
    /// The largest |new - golden|; values that are no numbers are left out.
    pub largest: f64,
    /// The same as a share of the largest |golden|.
    pub relative: f64,
    /// How many values are beyond the tolerances.
    pub beyond: usize,
    /// How many values there are.
    pub values: usize,
    /// Why this fails, in words.
    #[serde(skip)]
    pub reason: Option<String>,
}

/// Compares two `.npy` files as `numpy.allclose(new, golden, equal_nan=True)` does:
/// |new - golden| <= atol + rtol * |golden|, infinities equal, and NaN equal to NaN, for
/// a map that holds NaN where it did before has not changed.
pub(super) fn compare(golden: &Path, new: &Path, limits: &Limits) -> RawMeasured {
    let read = |side: &str, path: &Path| {
        read(path).map_err(|problem| format!("the raw map in {side} cannot be read: {problem}"))
    };
    let both = read("GOLDEN", golden).and_then(|golden| Ok((golden, read("NEW", new)?)));
    match both {
        Ok((golden, new)) if golden.shape() == new.shape() => measure(&golden, &new, limits),
        Ok((golden, new)) => failed(format!(
            "the raw map has shape {:?} in GOLDEN, {:?} in NEW",
            golden.shape(),
            new.shape()
        )),
        Err(problem) => failed(problem),
    }
}

fn failed(reason: String) -> RawMeasured {
    RawMeasured { beyond: 1, reason: Some(reason), ..RawMeasured::default() }
}

/// The values of a raw map.
///
/// # Errors
/// Why there are none, in words.
pub(super) fn read(path: &Path) -> Result<ArrayD<f64>, String> {
    let bytes = output::read_file(path).map_err(|error| error.to_string())?;
    ArrayD::<f32>::read_npy(&bytes[..])
        .map(|values| values.mapv(f64::from))
        .or_else(|_| ArrayD::<f64>::read_npy(&bytes[..]))
        .map_err(|error| error.to_string())
}

fn measure(golden: &ArrayD<f64>, new: &ArrayD<f64>, limits: &Limits) -> RawMeasured {
    let (rtol, atol) = (limits.rtol.unwrap_or(0.0), limits.atol.unwrap_or(0.0));
    let mut found = RawMeasured { values: golden.len(), ..RawMeasured::default() };
    let mut scale = 0.0f64;
    for (&golden, &new) in golden.iter().zip(new) {
        if golden == new || (golden.is_nan() && new.is_nan()) {
            scale = if golden.is_finite() { scale.max(golden.abs()) } else { scale };
        } else if golden.is_finite() && new.is_finite() {
            let difference = (new - golden).abs();
            scale = scale.max(golden.abs());
            found.largest = found.largest.max(difference);
            found.beyond += usize::from(difference > atol + rtol * golden.abs());
        } else {
            found.beyond += 1;
        }
    }
    found.relative = if scale > 0.0 { found.largest / scale } else { found.largest };
    found.reason = (found.beyond > 0).then(|| {
        format!(
            "{} of {} raw values are beyond rtol {rtol}, atol {atol}; the largest difference \
             is {:.3e}",
            found.beyond, found.values, found.largest
        )
    });
    found
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    fn beyond(golden: &[f64], new: &[f64], rtol: f64, atol: f64) -> usize {
        let limits = Limits { rtol: Some(rtol), atol: Some(atol), ..Limits::default() };
        measure(&arr1(golden).into_dyn(), &arr1(new).into_dyn(), &limits).beyond
    }

    #[test]
    fn tolerances_are_numpy_s() {
        assert_eq!(beyond(&[100.0], &[101.0], 0.01, 0.0), 0);
        assert_eq!(beyond(&[100.0], &[101.01], 0.01, 0.0), 1);
        assert_eq!(beyond(&[0.0, 1.0], &[0.5, 1.5], 0.0, 0.5), 0);
        // The tolerance is of GOLDEN's magnitude, not of NEW's.
        assert_eq!(beyond(&[0.0], &[1.0], 1.0, 0.0), 1);
        assert_eq!(beyond(&[1.0], &[0.0], 1.0, 0.0), 0);
    }

    #[test]
    fn what_is_no_number_must_stay_what_it_is() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        assert_eq!(beyond(&[nan, inf, -inf], &[nan, inf, -inf], 0.0, 0.0), 0);
        assert_eq!(beyond(&[nan, 1.0, inf, inf], &[1.0, nan, -inf, 1.0], 9.0, 9.0), 4);
    }
}
