//! What a unit of a layer looks at: the gradient of its value by the image.

use ndarray::Array2;
use tch::{Kind, TchError, Tensor};

use super::capture::{self, Picture};
use crate::layers::Layout;

/// The sum over a tapped tensor's channels, (1, height, width), differentiable. It is
/// taken at once, so an in-place operator that follows does not matter. `None` if the
/// tensor is no picture.
pub(super) fn sum(tensor: &Tensor, picture: &Picture) -> Result<Option<Tensor>, TchError> {
    let tensor = capture::plain(tensor)?;
    let channels = match picture.layout {
        Layout::ChannelsFirst => 1,
        Layout::ChannelsLast => 3,
        Layout::Tokens { side, skip } => {
            let (side, skip) = (side as i64, skip as i64);
            let grid = tensor.f_narrow(1, skip, side * side)?;
            let sum = grid.f_sum_dim_intlist(2i64, false, Kind::Float)?;
            return sum.f_unflatten(1, [side, side]).map(Some);
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

/// For each place (shares of height and width), the squared gradient by `image` of a
/// layer's [`sum`], summed over the image's channels: height x width.
pub(super) fn energies(
    sum: &Tensor,
    image: &Tensor,
    places: &[(f64, f64)],
) -> Result<Vec<Array2<f32>>, TchError> {
    // No way leads back to the image: numbers that were counted, or made without gradients.
    if !sum.requires_grad() {
        return Ok(Vec::new());
    }
    let (_, height, width) = sum.size3()?;
    let index = |share: f64, side: i64| ((share * side as f64) as i64).clamp(0, (side - 1).max(0));
    let energy = |&(row, column): &(f64, f64)| {
        let unit = sum.f_get(0)?.f_get(index(row, height))?.f_get(index(column, width))?;
        let gradients = Tensor::f_run_backward(&[unit], &[image], true, false)?;
        let Some(gradient) = gradients.first().filter(|gradient| gradient.defined()) else {
            let (_, _, rows, columns) = image.size4()?;
            return Ok(Array2::zeros((rows as usize, columns as usize)));
        };
        let squares =
            gradient.f_square()?.f_sum_dim_intlist([0i64, 1].as_slice(), false, Kind::Float)?;
        let (rows, columns) = squares.size2()?;
        let mut values = vec![0.0_f32; (rows * columns) as usize];
        let length = values.len();
        squares.f_contiguous()?.f_copy_data(&mut values, length)?;
        Array2::from_shape_vec((rows as usize, columns as usize), values)
            .map_err(|error| TchError::Shape(error.to_string()))
    };
    places.iter().map(energy).collect()
}
