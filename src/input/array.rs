//! NumPy's arrays as input: `.npy`, and `.npz` with one array in it.

use std::io::{Cursor, Read};

use ndarray::Array3;
use npyz::{DType, NpyFile, Order, TypeChar};
use strum::{Display, EnumString, VariantNames};

use super::guard::check_memory;
use super::{DecodeLimits, Problem};

/// A `.npy` begins so (NumPy enhancement proposal 1).
pub(super) const NPY: &[u8] = b"\x93NUMPY";
/// A `.npz` is a zip archive.
pub(super) const NPZ: &[u8] = b"PK\x03\x04";

/// Where an array has its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames, Display)]
#[strum(serialize_all = "kebab-case")]
pub enum AxisOrder {
    /// Channels, height, width.
    Chw,
    /// Height, width, channels.
    Hwc,
}

/// The values of a `.npy`, channels x height x width, for a network of so many channels.
pub(super) fn npy(
    bytes: &[u8],
    channels: usize,
    order: Option<AxisOrder>,
    limits: DecodeLimits,
) -> Result<Array3<f32>, Problem> {
    let broken =
        |error: &dyn std::fmt::Display| Problem::new(format!("not a readable NumPy file: {error}"));
    let file = NpyFile::new(bytes).map_err(|error| broken(&error))?;
    let sizes: Vec<usize> = file
        .shape()
        .iter()
        .map(|size| usize::try_from(*size).map_err(|error| broken(&error)))
        .collect::<Result<_, _>>()?;
    let shape = Shape::of(&sizes, channels, order)?;
    let count = sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size));
    // One value for each channel of a pixel, as many pixels as a picture may have.
    let most = limits.pixels.saturating_mul(shape.channels as u64);
    let count = count.filter(|count| *count as u64 <= most).ok_or_else(|| {
        Problem::new(format!(
            "the array claims {sizes:?} values, more than the limit of {} pixels \
             (--max-image-pixels)",
            limits.pixels
        ))
    })?;
    if file
        .header()
        .dtype()
        .num_bytes()
        .is_none_or(|size| count.checked_mul(size).is_none_or(|all| all > bytes.len()))
    {
        return Err(Problem::new("the file is cut off: it has fewer values than it claims"));
    }
    check_memory(count as u64 * 8)?;
    let is_fortran = file.order() == Order::Fortran;
    let values = values(file).map_err(|error| match error {
        Unreadable::Kind(kind) => Problem::with_hint(
            format!("an array of {kind}; actviz reads whole and floating-point numbers"),
            "save it with array.astype('float32')",
        ),
        Unreadable::Data(error) => broken(&error),
    })?;
    shape.arrange(values, is_fortran).ok_or_else(|| Problem::new("the array has no values"))
}

/// The only array of a `.npz`.
pub(super) fn npz(
    bytes: &[u8],
    channels: usize,
    order: Option<AxisOrder>,
    limits: DecodeLimits,
) -> Result<Array3<f32>, Problem> {
    let broken = |error: &dyn std::fmt::Display| {
        Problem::new(format!("not a readable NumPy archive: {error}"))
    };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(&error))?;
    if archive.len() != 1 {
        return Err(Problem::with_hint(
            format!("the archive holds {} arrays, not one", archive.len()),
            "save the one that is meant alone, with numpy.save(FILE.npy, array)",
        ));
    }
    let entry = archive.by_index(0).map_err(|error| broken(&error))?;
    let mut array = Vec::new();
    // The checksum of the archive is checked at the end of the entry.
    entry.take(limits.bytes + 1).read_to_end(&mut array).map_err(|error| broken(&error))?;
    if array.len() as u64 > limits.bytes {
        return Err(Problem::new(format!(
            "the array unpacks to more than the limit of {} bytes (--max-image-size)",
            limits.bytes
        )));
    }
    npy(&array, channels, order, limits)
}

enum Unreadable {
    Kind(String),
    Data(std::io::Error),
}

/// All values in the order of the file. f64 and whole numbers beyond 2^24 are rounded to f32:
/// that is what networks compute with.
fn values(file: NpyFile<&[u8]>) -> Result<Vec<f32>, Unreadable> {
    let DType::Plain(kind) = file.dtype() else {
        return Err(Unreadable::Kind("records".to_owned()));
    };
    macro_rules! read {
        ($own:ty) => {
            file.into_vec::<$own>()
                .map(|values| values.into_iter().map(|value| value as f32).collect())
                .map_err(Unreadable::Data)
        };
    }
    match (kind.type_char(), kind.size_field()) {
        (TypeChar::Float, 2) => {
            let values = file.into_vec::<half::f16>().map_err(Unreadable::Data)?;
            Ok(values.into_iter().map(half::f16::to_f32).collect())
        }
        (TypeChar::Float, 4) => read!(f32),
        (TypeChar::Float, 8) => read!(f64),
        (TypeChar::Uint, 1) => read!(u8),
        (TypeChar::Uint, 2) => read!(u16),
        (TypeChar::Uint, 4) => read!(u32),
        (TypeChar::Uint, 8) => read!(u64),
        (TypeChar::Int, 1) => read!(i8),
        (TypeChar::Int, 2) => read!(i16),
        (TypeChar::Int, 4) => read!(i32),
        (TypeChar::Int, 8) => read!(i64),
        (TypeChar::Bool, _) => {
            let values = file.into_vec::<bool>().map_err(Unreadable::Data)?;
            Ok(values.into_iter().map(|value| f32::from(u8::from(value))).collect())
        }
        _ => Err(Unreadable::Kind(format!("the type {kind}"))),
    }
}

/// How an array's axes are read.
struct Shape {
    channels: usize,
    height: usize,
    width: usize,
    order: AxisOrder,
}

impl Shape {
    fn of(sizes: &[usize], channels: usize, order: Option<AxisOrder>) -> Result<Shape, Problem> {
        // A batch of one is an image.
        let sizes = match sizes {
            [1, rest @ ..] if rest.len() == 3 => rest,
            all => all,
        };
        let chw = |c, height, width| Shape { channels: c, height, width, order: AxisOrder::Chw };
        let hwc = |height, width, c| Shape { channels: c, height, width, order: AxisOrder::Hwc };
        let shape = match (sizes, order) {
            (&[height, width], _) => chw(1, height, width),
            (&[a, b, c], Some(AxisOrder::Chw)) => chw(a, b, c),
            (&[a, b, c], Some(AxisOrder::Hwc)) => hwc(a, b, c),
            (&[a, _, c], None) if a == channels && c == channels => {
                return Err(Problem::with_hint(
                    format!("the array is {}: which axis are the channels?", text(sizes)),
                    "--layout chw if the first, --layout hwc if the last",
                ));
            }
            (&[a, b, c], None) if c == channels => hwc(a, b, c),
            (&[a, b, c], None) => chw(a, b, c),
            _ => {
                return Err(Problem::with_hint(
                    format!("the array has {} axes: {}", sizes.len(), text(sizes)),
                    "an image is height x width, or has channels before or after them; save \
                     one file an image",
                ));
            }
        };
        if shape.channels != channels {
            return Err(Problem::with_hint(
                format!("the array is {}, the network takes {channels} channels", text(sizes)),
                "--channels N says how many it takes, --layout chw|hwc where they stand in \
                 the array",
            ));
        }
        match shape.height * shape.width {
            0 => Err(Problem::new("the array has no values")),
            _ => Ok(shape),
        }
    }

    fn arrange(&self, values: Vec<f32>, is_fortran: bool) -> Option<Array3<f32>> {
        use ndarray::ShapeBuilder;
        let sizes = match self.order {
            AxisOrder::Chw => (self.channels, self.height, self.width),
            AxisOrder::Hwc => (self.height, self.width, self.channels),
        };
        let array = Array3::from_shape_vec(sizes.set_f(is_fortran), values).ok()?;
        let array = match self.order {
            AxisOrder::Chw => array,
            AxisOrder::Hwc => array.permuted_axes([2, 0, 1]),
        };
        Some(array.as_standard_layout().into_owned())
    }
}

/// `3 x 20 x 30`
fn text(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join(" x ")
}
