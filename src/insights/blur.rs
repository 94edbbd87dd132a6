//! Which kinds of operators take the detail away.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, IntoEnumIterator};

use actviz_core::operators::{self, Class};

use super::structure::{Step, Structure};
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
    /// Anything else: products, concatenations, enlargements; and every operator that
    /// comes after one that is not looked at, together with that one.
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

/// The kind of a layer's operator, by the table; [`Kind::Other`] if it is not in there. `add`
/// is a sum of branches, or of one and a constant.
pub fn kind(layer: &Layer) -> Kind {
    match operators::find(&layer.operator).map(|operator| operator.class) {
        Some(Class::Convolution | Class::Linear) => Kind::Convolution,
        Some(Class::Pooling) => Kind::Pooling,
        Some(Class::Normalisation) => Kind::Normalisation,
        Some(Class::Sum) => Kind::Add,
        Some(Class::Activation) => Kind::Activation,
        None if is_merged(layer) => Kind::Activation,
        _ => Kind::Other,
    }
}

/// The kind that a step's share counts for.
fn kind_of(step: &Step, layers: &[Layer], structure: &Structure) -> Kind {
    match kind(&layers[step.tap]) {
        _ if !step.alone => Kind::Other,
        Kind::Convolution if structure.is_strided(step.tap) => Kind::Stride,
        Kind::Add if !structure.joins(step.tap) => Kind::Other,
        Kind::Activation if is_merged(&layers[step.tap]) => Kind::Other,
        kind => kind,
    }
}

/// Whether quantizing has made one operator of an activation and what comes before it: nobody
/// can tell which of them took what.
fn is_merged(layer: &Layer) -> bool {
    operators::merged(&layer.operator).is_some()
}

/// What each kind took on the way to a layer. `input` is the detail of what the network is
/// fed with; `way` the operators in order, as positions in `layers` and `details`. An
/// operator whose map has no detail passes its share on to the next one, so the shares
/// always add up to `log2(input / last)`.
pub fn shares(
    input: f64,
    way: &[Step],
    layers: &[Layer],
    details: &[Option<f64>],
    structure: &Structure,
) -> Vec<Share> {
    let mut shares: Vec<Share> =
        Kind::iter().map(|kind| Share { kind, octaves: 0.0, operators: 0 }).collect();
    let mut before = input;
    for step in way {
        let kind = kind_of(step, layers, structure);
        let Some(share) = shares.iter_mut().find(|share| share.kind == kind) else { continue };
        share.operators += 1;
        if let Some(detail) = details[step.tap] {
            share.octaves += (before / detail).log2();
            before = detail;
        }
    }
    shares
}

/// Which layers are activation layers, and not operators that are looked at for blur alone.
pub fn is_activation(layer: &Layer) -> bool {
    kind(layer) == Kind::Activation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Layout;

    #[test]
    fn an_operator_that_nobody_knows_is_no_activation() {
        let layer = |operator: &str| Layer {
            name: "layer".to_owned(),
            operator: operator.to_owned(),
            shape: vec![1, 8, 8],
            layout: Layout::ChannelsFirst,
            parameters: 0,
        };
        assert_eq!(kind(&layer("mystery")), Kind::Other);
        assert!(!is_activation(&layer("mystery_relu")));
        assert_eq!(kind(&layer("gelu")), Kind::Activation);
        assert_eq!(kind(&layer("conv_transpose2d")), Kind::Other);
        assert_eq!(kind(&layer("upsample_nearest2d")), Kind::Other);
    }

    #[test]
    fn a_merged_activation_is_a_layer_whose_loss_is_not_the_activation_s() {
        let layer = |operator: &str| Layer {
            name: "layer".to_owned(),
            operator: operator.to_owned(),
            shape: vec![1, 8, 8],
            layout: Layout::ChannelsFirst,
            parameters: 0,
        };
        let structure =
            Structure::parse("value 1 - - - - - : 0\ntap 1\nvalue 2 - - - - - : 1\ntap 2");
        for (operator, expected) in [
            ("conv2d_relu", Kind::Other),
            ("leaky_relu", Kind::Activation),
            ("relu", Kind::Activation),
        ] {
            let layers = [layer(operator), layer(operator)];
            assert!(is_activation(&layers[0]));
            let step = Step { tap: 1, alone: true };
            assert_eq!(kind_of(&step, &layers, &structure), expected, "{operator}");
        }
    }
}
