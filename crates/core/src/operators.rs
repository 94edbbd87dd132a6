//! What actviz knows of operators: one row for each, read by all that needs to know. The
//! engine's C++ side gets the same table as a header (crates/torch/build.rs includes this
//! file, so it uses nothing but the standard library).
//!
//! An operator that has no row is unknown: it is no activation, nobody can tell what it does
//! to a map, and its layers count as [`Class::Other`]. Which operators a file may use is
//! another question, and has a list of its own (shim/audit.cpp).

/// What kind of operator it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A function of each value that networks use between their layers.
    Activation,
    /// A convolution.
    Convolution,
    /// A convolution that enlarges.
    Transposed,
    /// A pool.
    Pooling,
    /// Batch norm and the like.
    Normalisation,
    /// A matrix times the channels.
    Linear,
    /// Attention in one operator.
    Attention,
    /// A sum of two tensors.
    Sum,
    /// A product, a quotient or a difference of two tensors.
    Product,
    /// Tensors beside each other.
    Concatenation,
    /// An enlargement or a reduction in size by interpolation.
    Resize,
    /// Channels that become pixels, or the other way.
    Shuffle,
    /// A border around the map.
    Padding,
    /// A part of a tensor.
    Crop,
    /// Arithmetic on each value.
    Arithmetic,
    /// One number of several.
    Reduction,
    /// Another shape or order of the same values.
    Shape,
    /// Control flow, and what holds several values.
    Language,
    /// None of these.
    Other,
}

/// Which values it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// None below zero.
    NonNegative,
    /// Any.
    Any,
}

/// Where the channels stand in what it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channels {
    /// Where they stood.
    Keeps,
    /// After the batch.
    Second,
    /// Last.
    Last,
    /// Somewhere else than before.
    Moved,
    /// Nobody can tell.
    Unknown,
}

/// What it does to the part of the image that one value depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Nothing: each value is computed from those of the same place.
    Pointwise,
    /// Nothing: it gives what it gets.
    Copies,
    /// Nothing: it puts values into something that holds them.
    Holds,
    /// Nothing: it takes a value out of what holds several.
    Reads,
    /// It sees a window, by kernel, stride, padding and dilation.
    Window,
    /// It sees windows that fill a grid of a given size.
    Grid,
    /// It mixes all values along its dimensions.
    Mixes,
    /// It joins or parts tensors along its dimensions.
    Joins,
    /// It sees the channels of one place, if they stand last.
    Channels,
    /// It makes a vector of what stands behind a dimension.
    Flattens,
    /// It takes dimensions of size one away.
    Squeezes,
    /// Every value depends on the whole image.
    Whole,
    /// Nobody can tell.
    Unknown,
}

/// Whether the images of a batch stay apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Images {
    /// Each image's values are computed from its own alone.
    Apart,
    /// So are they, unless it works along the first dimension.
    ByDimension,
    /// What one image gets depends on the others.
    Together,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its name, without its namespace and without the underscore of its in-place twin.
    pub name: &'static str,
    /// What kind of operator it is.
    pub class: Class,
    /// Which values it gives.
    pub sign: Sign,
    /// Where the channels stand in what it gives.
    pub channels: Channels,
    /// What it does to the receptive field.
    pub field: Field,
    /// Whether the images of a batch stay apart.
    pub images: Images,
}

impl Operator {
    /// Whether it may change how fine the structure of a map is, so that `actviz insights`
    /// looks at it.
    pub fn is_shaping(&self) -> bool {
        use Class as C;
        matches!(
            self.class,
            C::Convolution
                | C::Transposed
                | C::Pooling
                | C::Normalisation
                | C::Linear
                | C::Sum
                | C::Product
                | C::Concatenation
                | C::Resize
                | C::Shuffle
                | C::Padding
                | C::Crop
        )
    }
}

/// The row of an operator, or of a layer by the name that [`crate::layers::Layer`] has for it.
pub fn find(name: &str) -> Option<&'static Operator> {
    TABLE.iter().find(|row| row.name == name)
}

/// What quantizing has made one operator of, e.g. `conv2d_relu`: the operator and the
/// activation that follows it.
pub fn merged(name: &str) -> Option<(&'static Operator, &'static Operator)> {
    if find(name).is_some() {
        return None;
    }
    name.match_indices('_').find_map(|(at, _)| {
        let activation = find(&name[at + 1..]).filter(|row| row.class == Class::Activation)?;
        let before = &name[..at];
        let operator = find(before).or_else(|| {
            // conv2d_add_relu
            let (first, second) = before.rsplit_once('_')?;
            find(first).and(find(second))
        })?;
        Some((operator, activation))
    })
}

/// All that is known.
pub const TABLE: &[Operator] = {
    use Class as K;
    use Images::{Apart, ByDimension, Together};
    use Sign::{Any, NonNegative};
    const fn row(
        name: &'static str,
        class: Class,
        sign: Sign,
        channels: Channels,
        field: Field,
        images: Images,
    ) -> Operator {
        Operator { name, class, sign, channels, field, images }
    }
    /// An activation function.
    const fn activation(name: &'static str, sign: Sign) -> Operator {
        row(name, Class::Activation, sign, Channels::Keeps, Field::Pointwise, Images::Apart)
    }
    /// Arithmetic on values of the same place.
    const fn pointwise(name: &'static str, class: Class) -> Operator {
        row(name, class, Sign::Any, Channels::Keeps, Field::Pointwise, Images::Apart)
    }
    /// What wants the channels after the batch.
    const fn map(name: &'static str, class: Class, field: Field) -> Operator {
        row(name, class, Sign::Any, Channels::Second, field, Images::Apart)
    }
    /// What wants the channels last.
    const fn last(name: &'static str, class: Class, field: Field) -> Operator {
        row(name, class, Sign::Any, Channels::Last, field, Images::Apart)
    }
    /// What leaves values as they are.
    const fn moves(name: &'static str, class: Class, field: Field) -> Operator {
        row(name, class, Sign::Any, Channels::Keeps, field, Images::Apart)
    }
    /// What works along the dimensions that it is given.
    const fn along(name: &'static str, class: Class, field: Field) -> Operator {
        row(name, class, Sign::Any, Channels::Keeps, field, Images::ByDimension)
    }
    &[
        // The activations of torch.nn.functional. Those without an operator of their own
        // (logsigmoid, quick_gelu, softsign, tanhshrink) are what layers are called.
        activation("celu", Any),
        activation("elu", Any),
        activation("gelu", Any),
        activation("hardshrink", Any),
        activation("hardsigmoid", NonNegative),
        activation("hardswish", Any),
        activation("hardtanh", Any),
        activation("leaky_relu", Any),
        activation("log_sigmoid", Any),
        activation("logsigmoid", Any),
        activation("mish", Any),
        activation("prelu", Any),
        activation("quick_gelu", Any),
        activation("relu", NonNegative),
        activation("relu6", NonNegative),
        activation("rrelu", Any),
        activation("selu", Any),
        activation("sigmoid", NonNegative),
        activation("silu", Any),
        activation("softplus", NonNegative),
        activation("softshrink", Any),
        activation("softsign", Any),
        activation("tanh", Any),
        activation("tanhshrink", Any),
        activation("threshold", Any),
        // Half of the channels times the sigmoid of the other half.
        row("glu", K::Activation, Any, Channels::Keeps, Field::Joins, ByDimension),
        // Convolutions.
        map("conv1d", K::Convolution, Field::Unknown),
        map("conv2d", K::Convolution, Field::Window),
        map("conv3d", K::Convolution, Field::Unknown),
        map("convolution", K::Convolution, Field::Window),
        map("_convolution", K::Convolution, Field::Window),
        map("conv_transpose2d", K::Transposed, Field::Unknown),
        // Pools.
        map("avg_pool2d", K::Pooling, Field::Window),
        map("max_pool2d", K::Pooling, Field::Window),
        map("lp_pool2d", K::Pooling, Field::Unknown),
        map("adaptive_avg_pool2d", K::Pooling, Field::Grid),
        map("adaptive_max_pool2d", K::Pooling, Field::Grid),
        // Normalisations. `batch_norm_of_batch` is `batch_norm` by the batch's own mean.
        map("batch_norm", K::Normalisation, Field::Pointwise),
        map("batch_norm1d", K::Normalisation, Field::Pointwise),
        map("batch_norm2d", K::Normalisation, Field::Pointwise),
        map("batch_norm3d", K::Normalisation, Field::Pointwise),
        row("batch_norm_of_batch", K::Normalisation, Any, Channels::Second, Field::Whole, Together),
        map("group_norm", K::Normalisation, Field::Whole),
        map("instance_norm", K::Normalisation, Field::Whole),
        map("local_response_norm", K::Normalisation, Field::Unknown),
        last("layer_norm", K::Normalisation, Field::Mixes),
        // Matrices.
        last("linear", K::Linear, Field::Channels),
        last("linear_dynamic", K::Linear, Field::Channels),
        last("linear_dynamic_fp16", K::Linear, Field::Channels),
        last("linear_relu_dynamic", K::Linear, Field::Channels),
        last("addmm", K::Linear, Field::Whole),
        last("matmul", K::Other, Field::Unknown),
        last("embedding", K::Other, Field::Unknown),
        last("scaled_dot_product_attention", K::Attention, Field::Whole),
        // Sizes.
        map("upsample_bicubic2d", K::Resize, Field::Unknown),
        map("upsample_bilinear2d", K::Resize, Field::Unknown),
        map("upsample_nearest2d", K::Resize, Field::Unknown),
        map("grid_sampler", K::Other, Field::Unknown),
        map("pixel_shuffle", K::Shuffle, Field::Unknown),
        map("pixel_unshuffle", K::Shuffle, Field::Unknown),
        moves("constant_pad_nd", K::Padding, Field::Unknown),
        moves("pad", K::Padding, Field::Unknown),
        moves("reflection_pad2d", K::Padding, Field::Unknown),
        moves("replication_pad2d", K::Padding, Field::Unknown),
        along("slice", K::Crop, Field::Unknown),
        // Arithmetic.
        pointwise("add", K::Sum),
        pointwise("div", K::Product),
        pointwise("mul", K::Product),
        pointwise("sub", K::Product),
        pointwise("abs", K::Arithmetic),
        pointwise("atan", K::Arithmetic),
        pointwise("ceil", K::Arithmetic),
        pointwise("clamp", K::Arithmetic),
        pointwise("clamp_max", K::Arithmetic),
        pointwise("clamp_min", K::Arithmetic),
        pointwise("cos", K::Arithmetic),
        pointwise("eq", K::Arithmetic),
        pointwise("erf", K::Arithmetic),
        pointwise("exp", K::Arithmetic),
        pointwise("expm1", K::Arithmetic),
        pointwise("floor", K::Arithmetic),
        pointwise("fmod", K::Arithmetic),
        pointwise("ge", K::Arithmetic),
        pointwise("gt", K::Arithmetic),
        pointwise("le", K::Arithmetic),
        pointwise("lerp", K::Arithmetic),
        pointwise("log", K::Arithmetic),
        pointwise("log1p", K::Arithmetic),
        pointwise("log2", K::Arithmetic),
        pointwise("logical_not", K::Arithmetic),
        pointwise("lt", K::Arithmetic),
        pointwise("masked_fill", K::Arithmetic),
        pointwise("maximum", K::Arithmetic),
        pointwise("minimum", K::Arithmetic),
        pointwise("nan_to_num", K::Arithmetic),
        pointwise("ne", K::Arithmetic),
        pointwise("neg", K::Arithmetic),
        pointwise("pow", K::Arithmetic),
        pointwise("reciprocal", K::Arithmetic),
        pointwise("remainder", K::Arithmetic),
        pointwise("round", K::Arithmetic),
        pointwise("rsqrt", K::Arithmetic),
        pointwise("rsub", K::Arithmetic),
        pointwise("sign", K::Arithmetic),
        pointwise("sin", K::Arithmetic),
        pointwise("sqrt", K::Arithmetic),
        pointwise("square", K::Arithmetic),
        pointwise("tan", K::Arithmetic),
        pointwise("type_as", K::Arithmetic),
        pointwise("where", K::Arithmetic),
        // One number of several.
        along("amax", K::Reduction, Field::Mixes),
        along("amin", K::Reduction, Field::Mixes),
        along("mean", K::Reduction, Field::Mixes),
        along("sum", K::Reduction, Field::Mixes),
        along("log_softmax", K::Other, Field::Mixes),
        along("softmax", K::Other, Field::Mixes),
        // Tensors beside each other.
        along("cat", K::Concatenation, Field::Joins),
        along("chunk", K::Shape, Field::Joins),
        along("split", K::Shape, Field::Joins),
        along("split_with_sizes", K::Shape, Field::Joins),
        along("ConstantChunk", K::Shape, Field::Joins),
        // The same values.
        moves("alpha_dropout", K::Shape, Field::Copies),
        moves("clone", K::Shape, Field::Copies),
        moves("contiguous", K::Shape, Field::Copies),
        moves("copy", K::Shape, Field::Copies),
        moves("detach", K::Shape, Field::Copies),
        moves("dropout", K::Shape, Field::Copies),
        moves("feature_alpha_dropout", K::Shape, Field::Copies),
        moves("feature_dropout", K::Shape, Field::Copies),
        moves("to", K::Shape, Field::Copies),
        row("permute", K::Shape, Any, Channels::Moved, Field::Copies, Apart),
        row("flatten", K::Shape, Any, Channels::Unknown, Field::Flattens, Apart),
        row("squeeze", K::Shape, Any, Channels::Unknown, Field::Squeezes, Apart),
        // The language. `written_inside` is a list or the like after a write into it.
        moves("If", K::Language, Field::Copies),
        moves("Loop", K::Language, Field::Unknown),
        moves("DictConstruct", K::Language, Field::Holds),
        moves("ListConstruct", K::Language, Field::Holds),
        moves("TupleConstruct", K::Language, Field::Holds),
        moves("_set_item", K::Language, Field::Holds),
        moves("append", K::Language, Field::Holds),
        moves("extend", K::Language, Field::Holds),
        moves("insert", K::Language, Field::Holds),
        moves("written_inside", K::Language, Field::Holds),
        moves("ListUnpack", K::Language, Field::Reads),
        moves("TupleIndex", K::Language, Field::Reads),
        moves("TupleUnpack", K::Language, Field::Reads),
        moves("__getitem__", K::Language, Field::Reads),
        moves("get", K::Language, Field::Reads),
        moves("pop", K::Language, Field::Reads),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_has_one_row() {
        for (at, row) in TABLE.iter().enumerate() {
            assert!(TABLE[at + 1..].iter().all(|other| other.name != row.name), "{}", row.name);
        }
    }

    #[test]
    fn what_quantizing_merged_is_an_operator_and_an_activation() {
        let parts = |name| merged(name).map(|(operator, after)| (operator.name, after.name));
        assert_eq!(parts("conv2d_relu"), Some(("conv2d", "relu")));
        assert_eq!(parts("linear_leaky_relu"), Some(("linear", "leaky_relu")));
        assert_eq!(parts("batch_norm2d_relu"), Some(("batch_norm2d", "relu")));
        assert!(parts("conv2d_add_relu").is_some());
        for name in ["leaky_relu", "relu", "mystery_relu", "conv2d", "_relu"] {
            assert_eq!(parts(name), None, "{name}");
        }
    }

    #[test]
    fn an_operator_that_nobody_wrote_down_is_unknown() {
        assert_eq!(find("mystery"), None);
    }
}
