//! From a tapped tensor to arrays of channels x height x width.

use ndarray::{Array3, Array4};
use tch::{Device, Kind, TchError, Tensor};

use super::network::Tap;
use super::prepared::TokenSource;
use actviz_core::engine::Reduce;
use actviz_core::layers::{self, Layout, Tokens};

/// What is copied of a tapped tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Capture {
    /// Every channel.
    Channels,
    /// One map of all channels.
    Reduced(Reduce),
}

/// How a tapped tensor is read.
pub(super) struct Picture {
    /// Whether one dimension counts the images: the first, but where that counts tokens.
    pub is_per_image: bool,
    /// The shape of one image's tensor; tokens x channels of tokens, however they lie.
    pub shape: Vec<usize>,
    pub layout: Layout,
    /// The dimension that counts the tokens, if they are any.
    axis: usize,
}

impl Picture {
    /// The tensor that `tap` sees for `images` images of `input` (height, width) pixels.
    pub fn of(tensor: &Tensor, tap: &Tap<'_>, images: usize, input: (usize, usize)) -> Picture {
        let node = tap.node;
        let size: Vec<usize> = tensor.size().iter().map(|&dim| dim as usize).collect();
        let layout = |shape: &[usize], tokens| Layout::of(shape, node.order, input, tokens);
        if let (TokenSource::Map { axis, .. }, [_, _, _]) = (node.tokens, &size[..]) {
            let mut size = size.clone();
            size.swap(axis, 1);
            let layout = layout(&size[1..], tap.tokens);
            if size[0] == images && node.depends_on_input && layout != Layout::Flat {
                return Picture { is_per_image: true, shape: size[1..].to_vec(), layout, axis };
            }
        }
        match size.split_first() {
            Some((&first, shape)) if first == images && node.depends_on_input => {
                let tokens = match tap.tokens {
                    Tokens::OfMap { .. } => Tokens::Never,
                    other => other,
                };
                let layout = layout(shape, tokens);
                Picture { is_per_image: true, shape: shape.to_vec(), layout, axis: 1 }
            }
            _ => Picture { is_per_image: false, shape: size, layout: Layout::Flat, axis: 1 },
        }
    }

    /// Tokens that are a map: images x rows * columns x channels.
    pub fn tokens(&self, tensor: &Tensor, skip: usize, count: usize) -> Result<Tensor, TchError> {
        let tokens = tensor.f_transpose(self.axis as i64, 1)?;
        tokens.f_narrow(1, skip as i64, count as i64)
    }
}

/// A tensor that every operator takes: of 8 bits with a scale, the numbers that they mean.
pub(super) fn plain(tensor: &Tensor) -> Result<Tensor, TchError> {
    match tensor.kind() {
        Kind::QInt8 | Kind::QUInt8 | Kind::QInt32 => tensor.f_dequantize(),
        _ => Ok(tensor.shallow_clone()),
    }
}

/// Copies what is wanted of a tapped tensor: (images, channels, height, width) in f32,
/// still on its device. Nothing of it shares memory with the network.
pub(super) fn take(
    tensor: &Tensor,
    picture: &Picture,
    how: Capture,
    images: usize,
) -> Result<Tensor, TchError> {
    let tensor = plain(tensor)?.f_detach()?;
    let channels_first = match picture.layout {
        Layout::ChannelsFirst => tensor,
        Layout::ChannelsLast => tensor.f_permute([0, 3, 1, 2])?,
        Layout::Tokens { rows, columns, skip } => {
            let grid = picture.tokens(&tensor, skip, rows * columns)?;
            grid.f_transpose(1, 2)?.f_unflatten(2, [rows as i64, columns as i64])?
        }
        Layout::Flat => return matrices(&tensor, picture, images),
    };
    match how {
        Capture::Channels => copied(&channels_first, &channels_first.size()),
        Capture::Reduced(reduce) => reduced(&channels_first, reduce),
    }
}

/// What is no picture: one matrix for each image.
fn matrices(tensor: &Tensor, picture: &Picture, images: usize) -> Result<Tensor, TchError> {
    let (rows, columns) = layers::matrix(&picture.shape);
    let (images, rows, columns) = (images as i64, rows as i64, columns as i64);
    // What belongs to no image in particular is the same for all.
    let own = if picture.is_per_image { images } else { 1 };
    let matrices = tensor.f_reshape([own, 1, rows, columns])?;
    copied(&matrices, &[images, 1, rows, columns])
}

/// A copy in f32, spread over `size`.
fn copied(tensor: &Tensor, size: &[i64]) -> Result<Tensor, TchError> {
    let mut copy = Tensor::f_empty(size, (Kind::Float, tensor.device()))?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}

/// One map of (images, channels, height, width): the channels become one. NaN stays NaN.
fn reduced(tensor: &Tensor, reduce: Reduce) -> Result<Tensor, TchError> {
    match reduce {
        Reduce::Mean => tensor.f_mean_dim(1i64, true, Kind::Float),
        Reduce::Max => tensor.f_amax(1i64, true)?.f_to_kind(Kind::Float),
        Reduce::Std => tensor.f_to_kind(Kind::Float)?.f_std_dim(1i64, false, true),
        Reduce::L2 => tensor.f_linalg_norm(2.0, 1i64, true, Kind::Float),
    }
}

/// Each image of (images, channels, height, width), on the processor.
pub(super) fn arrays(tensor: &Tensor) -> Result<Vec<Array3<f32>>, TchError> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_contiguous()?;
    let (images, channels, height, width) = tensor.size4()?;
    let shape = (channels as usize, height as usize, width as usize);
    let length = shape.0 * shape.1 * shape.2;
    (0..images)
        .map(|index| {
            let mut values = vec![0.0; length];
            tensor.f_get(index)?.f_copy_data(&mut values, length)?;
            Array3::from_shape_vec(shape, values).map_err(|e| TchError::Shape(e.to_string()))
        })
        .collect()
}

/// A batch of so many images: those that are missing are zero.
pub(super) fn filled(images: &Tensor, count: usize) -> Result<Tensor, TchError> {
    let mut size = images.size();
    let missing = count as i64 - size[0];
    if missing <= 0 {
        return Ok(images.shallow_clone());
    }
    size[0] = missing;
    let zeros = Tensor::f_zeros(&size, (images.kind(), images.device()))?;
    Tensor::f_cat(&[images, &zeros], 0)
}

/// Images as the network takes them.
pub(super) fn tensor(images: &Array4<f32>) -> Result<Tensor, TchError> {
    let (count, channels, height, width) = images.dim();
    let size = [count, channels, height, width].map(|dim| dim as i64);
    let images = images.as_standard_layout();
    let values = images.as_slice().unwrap_or_default();
    Tensor::f_from_slice(values)?.f_reshape(size)
}
