//! Which kinds of operators take the detail away.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, IntoEnumIterator};

use super::structure::Structure;
use crate::layers::Layer;

/// What an operator does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Display, EnumIter, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Kind {
    /// A convolution that steps by more than one value.
    Stride,
    /// A pool.
    Pooling,
    /// A convolution that steps by one.
    Convolution,
    /// Batch norm and the like.
    Normalisation,
    /// An activation function.
    Activation,
    /// A sum of branches.
    Add,
    /// Anything else: products, concatenations, enlargements.
    Other,
}

/// The octaves that one kind of operator took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// The kind.
    pub kind: Kind,
    /// `log2(detail before / detail after)`, summed over its operators; below zero where
    /// they added detail.
    pub octaves: f64,
    /// How many operators of the kind are on the way.
    pub operators: usize,
}

/// Kinds of operators by what their names say.
pub fn kind(layer: &Layer, strided: bool) -> Kind {
    match layer.operator.as_str() {
        "conv2d" if strided => Kind::Stride,
        "conv2d" | "linear" => Kind::Convolution,
        name if name.contains("pool") => Kind::Pooling,
        name if name.ends_with("_norm") => Kind::Normalisation,
        "add" => Kind::Add,
        "mul" | "cat" | "pixel_shuffle" | "conv_transpose2d" => Kind::Other,
        name if name.starts_with("upsample") => Kind::Other,
        _ => Kind::Activation,
    }
}

/// What each kind took on the way to a layer. `input` is the detail of what the network is
/// fed with; `way` the operators in order, as positions in `layers` and `details`. An
/// operator whose map has no detail passes its share on to the next one, so the shares
/// always add up to `log2(input / last)`.
pub fn shares(
    input: f64,
    way: &[usize],
    layers: &[Layer],
    details: &[Option<f64>],
    structure: &Structure,
) -> Vec<Share> {
    let mut shares: Vec<Share> =
        Kind::iter().map(|kind| Share { kind, octaves: 0.0, operators: 0 }).collect();
    let mut before = input;
    for &tap in way {
        let kind = kind(&layers[tap], structure.is_strided(tap));
        let Some(share) = shares.iter_mut().find(|share| share.kind == kind) else { continue };
        share.operators += 1;
        if let Some(detail) = details[tap] {
            share.octaves += (before / detail).log2();
            before = detail;
        }
    }
    shares
}

/// Which layers are activation layers, and not operators that are looked at for blur alone.
pub fn is_activation(layer: &Layer) -> bool {
    kind(layer, false) == Kind::Activation
}
