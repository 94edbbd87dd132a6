//! Raw maps against each other, value by value.

use std::path::Path;

use ndarray::ArrayD;
use ndarray_npy::ReadNpyExt;
use schemars::JsonSchema;
use serde::Serialize;

use super::tolerances::Tolerances;
use crate::output;
use crate::terminal::count;

/// 2^53: integers from here on are not all different as f64.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The types that are read, without their order of bytes.
const READ: [&str; 11] = ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "b1"];

/// What was measured of two raw maps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct RawMeasured {
    /// The largest |new - golden|; values that are no numbers are left out. The largest
    /// number of 64 bits, 1.797...e308, stands for all that is larger.
    pub largest: f64,
    /// The same as a share of the largest |golden|, or itself if that is 0; it ends at the
    /// same number.
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
pub(super) fn compare(golden: &Path, new: &Path, limits: &Tolerances) -> RawMeasured {
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
    npy_values(&output::read_file(path).map_err(|error| error.to_string())?)
}

/// The values in the bytes of a NumPy file.
///
/// # Errors
/// Why there are none, in words.
pub fn npy_values(bytes: &[u8]) -> Result<ArrayD<f64>, String> {
    let header = Header::of(bytes).ok_or("it is no .npy file")?;
    if !READ.contains(&header.number()) {
        return Err(header.is_not_read());
    }
    // Before anybody makes room for what a header only claims.
    if header.data_length() != Some(header.there) {
        return Err(format!(
            "its shape is {:?}, and it holds {} bytes",
            header.shape, header.there
        ));
    }
    macro_rules! values {
        ($number:ty) => {
            ArrayD::<$number>::read_npy(bytes).map(|values| values.mapv(f64::from))
        };
    }
    let values = match header.number() {
        "f4" => values!(f32),
        "f8" => values!(f64),
        "i1" => values!(i8),
        "u1" => values!(u8),
        "i2" => values!(i16),
        "u2" => values!(u16),
        "i4" => values!(i32),
        "u4" => values!(u32),
        "i8" => ArrayD::<i64>::read_npy(bytes).map(|values| values.mapv(|v| v as f64)),
        "u8" => ArrayD::<u64>::read_npy(bytes).map(|values| values.mapv(|v| v as f64)),
        "b1" => ArrayD::<bool>::read_npy(bytes).map(|values| values.mapv(f64::from)),
        _ => return Err(header.is_not_read()),
    };
    let values = values.map_err(|error| error.to_string())?;
    let is_whole = |value: &f64| value.abs() < EXACT;
    match header.number() {
        "i8" | "u8" if !values.iter().all(is_whole) => {
            Err(format!("its type is {}, and it holds integers beyond 2^53", header.kind))
        }
        _ => Ok(values),
    }
}

/// What a NumPy file says of itself (numpy.lib.format).
struct Header<'a> {
    /// Its type, such as `<f4`, or the list of a structured one.
    kind: &'a str,
    shape: Vec<usize>,
    /// How many bytes come after the header.
    there: usize,
}

impl Header<'_> {
    fn of(bytes: &[u8]) -> Option<Header<'_>> {
        let (version, rest) = bytes.strip_prefix(b"\x93NUMPY")?.split_first_chunk::<2>()?;
        let (length, rest) = if version[0] == 1 {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (u16::from_le_bytes(*length).into(), rest)
        } else {
            let (length, rest) = rest.split_first_chunk::<4>()?;
            (u32::from_le_bytes(*length) as usize, rest)
        };
        let (words, data) = rest.split_at_checked(length)?;
        let words = std::str::from_utf8(words).ok()?;
        let after = |name: &str| Some(words.split_once(name)?.1.trim_start());
        let kind = first_value(after("'descr':")?)?;
        let shape = after("'shape':")?.strip_prefix('(')?.split(')').next()?;
        let sides = shape.split(',').map(str::trim).filter(|side| !side.is_empty());
        let shape = sides.map(|side| side.parse().ok()).collect::<Option<_>>()?;
        Some(Header { kind, shape, there: data.len() })
    }

    fn is_not_read(&self) -> String {
        format!(
            "its type is {}: floats of 32 and 64 bits and integers of 8 to 64 are read",
            self.kind
        )
    }

    /// The type without its order of bytes.
    fn number(&self) -> &str {
        self.kind.trim_start_matches(['<', '>', '|', '='])
    }

    fn data_length(&self) -> Option<usize> {
        let digits = self.number().trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let mut sides = self.shape.iter();
        sides.try_fold(digits.parse().ok()?, |length: usize, side| length.checked_mul(*side))
    }
}

/// The text or the list that a Python literal begins with: a text without its quotes.
fn first_value(words: &str) -> Option<&str> {
    if let Some(text) = words.strip_prefix('\'') {
        return text.split('\'').next();
    }
    let (mut depth, mut quote) = (0usize, None);
    for (place, character) in words.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[' | '(' | '{') => depth += 1,
            (None, ']' | ')' | '}') => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return words.get(..=place);
                }
            }
            // A list comes first, or there is none.
            (None, _) if depth == 0 => return None,
            (None, _) => {}
        }
    }
    None
}

fn measure(golden: &ArrayD<f64>, new: &ArrayD<f64>, limits: &Tolerances) -> RawMeasured {
    let (rtol, atol) = (limits.rtol.unwrap_or(0.0), limits.atol.unwrap_or(0.0));
    let mut found = RawMeasured { values: golden.len(), ..RawMeasured::default() };
    let mut scale = 0.0f64;
    for (&golden, &new) in golden.iter().zip(new) {
        if golden == new || (golden.is_nan() && new.is_nan()) {
            scale = if golden.is_finite() { scale.max(golden.abs()) } else { scale };
        } else if golden.is_finite() && new.is_finite() {
            let difference = (new - golden).abs();
            scale = scale.max(golden.abs());
            found.largest = found.largest.max(difference.min(f64::MAX));
            found.beyond += usize::from(difference > atol + rtol * golden.abs());
        } else {
            found.beyond += 1;
        }
    }
    let share = if scale > 0.0 { found.largest / scale } else { found.largest };
    // JSON has no infinity.
    found.relative = share.min(f64::MAX);
    let (beyond, all) = (found.beyond, count(found.values, "raw value"));
    let verb = if beyond == 1 { "is" } else { "are" };
    found.reason = match found.largest {
        _ if beyond == 0 => None,
        // Nothing that could be subtracted is another.
        0.0 => Some(format!(
            "{beyond} of {all} {verb} NaN or infinite on one side, and other on the other"
        )),
        largest => {
            let more = if largest == f64::MAX { " or more" } else { "" };
            Some(format!(
                "{beyond} of {all} {verb} beyond rtol {rtol}, atol {atol}; the largest \
                 difference is {largest:.3e}{more}"
            ))
        }
    };
    found
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    fn beyond(golden: &[f64], new: &[f64], rtol: f64, atol: f64) -> usize {
        let limits = Tolerances { rtol: Some(rtol), atol: Some(atol), ..Tolerances::default() };
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
