//! What a unit of a layer looks at: the gradient of its value by the image.

use ndarray::Array3;
use tch::{Kind, TchError, Tensor};

use super::capture::{self, Picture};
use actviz_core::layers::Layout;

/// The sum over a tapped tensor's channels, (1, height, width), differentiable. It is
/// taken at once, so an in-place operator that follows does not matter. `None` if the
/// tensor is no picture.
pub(super) fn sum(tensor: &Tensor, picture: &Picture) -> Result<Option<Tensor>, TchError> {
    let tensor = capture::plain(tensor)?;
    let channels = match picture.layout {
        Layout::ChannelsFirst => 1,
        Layout::ChannelsLast => 3,
        Layout::Tokens { rows, columns, skip } => {
            let grid = picture.tokens(&tensor, skip, rows * columns)?;
            let sum = grid.f_sum_dim_intlist(2i64, false, Kind::Float)?;
            return sum.f_unflatten(1, [rows as i64, columns as i64]).map(Some);
        }
        Layout::Flat => return Ok(None),
    };
    tensor.f_sum_dim_intlist(channels, false, Kind::Float).map(Some)
}

/// Whether the code has written over what the gradient is computed from, as `y += x` does
/// after a ReLU.
pub(super) fn is_overwritten(error: &TchError) -> bool {
    error.to_string().contains("modified by an inplace operation")
}

/// The gradient by `image` (1, channels, height, width) of a layer's [`sum`] at a place
/// (shares of height and width): channels x height x width. `None` if no way leads back to
/// the image: numbers that were counted, or made without gradients.
pub(super) fn by_input(
    sum: &Tensor,
    image: &Tensor,
    (row, column): (f64, f64),
) -> Result<Option<Array3<f32>>, TchError> {
    if !sum.requires_grad() {
        return Ok(None);
    }
    let (_, height, width) = sum.size3()?;
    let index = |share: f64, side: i64| ((share * side as f64) as i64).clamp(0, (side - 1).max(0));
    let unit = sum.f_get(0)?.f_get(index(row, height))?.f_get(index(column, width))?;
    let gradients = Tensor::f_run_backward(&[unit], &[image], true, false)?;
    match gradients.first().filter(|gradient| gradient.defined()) {
        Some(gradient) => Ok(capture::arrays(gradient)?.pop()),
        None => {
            let (_, channels, rows, columns) = image.size4()?;
            Ok(Some(Array3::zeros((channels as usize, rows as usize, columns as usize))))
        }
    }
}
