//! Activation layers: what they are and how they are named.

mod layout;

use serde::{Deserialize, Serialize};

pub use layout::{ChannelAxis, Tokens, matrix};

use crate::error::Error;
use crate::operators::{self, Sign};

/// How a layer's tensor is to be read as channels x height x width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// (N, C, H, W): what convolutions give.
    ChannelsFirst,
    /// (N, H, W, C): what linear layers on pictures give (ConvNeXt, Swin).
    ChannelsLast,
    /// (N, T, C) where T is a map, row by row, after `skip` other tokens (ViT).
    Tokens {
        /// Rows of the map.
        rows: usize,
        /// Columns of the map.
        columns: usize,
        /// Tokens before the map: of the class, registers, ...
        skip: usize,
    },
    /// Anything else: a vector, a sequence, a map of one position. Listed, and drawn only if asked for.
    Flat,
}

/// One call of an activation function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The module's path, with `_1`, `_2` for its second and third call, as
    /// torchvision's feature extraction names nodes. A call without a module of
    /// its own is named by the calling module and the operator.
    pub name: String,
    /// The activation function: `relu`, `gelu`, ... without the in-place underscore.
    pub operator: String,
    /// The shape of one image's tensor, without the batch: channels, height,
    /// width if it is a picture, else as the network gives it.
    pub shape: Vec<usize>,
    /// How the tensor is read as a picture.
    pub layout: Layout,
    /// Parameters of the network that this layer's values depend on.
    pub parameters: u64,
}

impl Layer {
    /// Whether its operator can give values below zero, whatever it gave so far. Of one that
    /// is not known ([`operators`]) the values decide.
    pub fn is_signed(&self) -> bool {
        let merged = || operators::merged(&self.operator).map(|(_, activation)| activation);
        let operator = operators::find(&self.operator).or_else(merged);
        operator.is_some_and(|operator| operator.sign == Sign::Any)
    }

    /// Whether the layer has a picture: height and width.
    pub fn is_spatial(&self) -> bool {
        self.layout != Layout::Flat
    }
}

/// Checks that two folds, each with its number, have the same layers.
///
/// # Errors
/// [`Error::FoldsDiffer`] at the first layer whose name, operator or shape differs.
pub fn same_in_all_folds(
    (first, expected): (usize, &[Layer]),
    (second, found): (usize, &[Layer]),
) -> Result<(), Error> {
    let words = |layer: Option<&Layer>| match layer {
        Some(layer) => format!("{} ({}, {:?})", layer.name, layer.operator, layer.shape),
        None => "nothing".to_owned(),
    };
    let same =
        |a: &Layer, b: &Layer| (&a.name, &a.operator, &a.shape) == (&b.name, &b.operator, &b.shape);
    for position in 0..expected.len().max(found.len()) {
        let (a, b) = (expected.get(position), found.get(position));
        if !a.zip(b).is_some_and(|(a, b)| same(a, b)) {
            let difference = format!("{} against {}", words(a), words(b));
            return Err(Error::FoldsDiffer { first, second, index: position + 1, difference });
        }
    }
    Ok(())
}
