//! How far a value sees: what each operator adds to the part of the image that its values
//! depend on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use actviz_core::operators::{self, Channels, Class};

use super::structure::Value;

/// The part of the image that one value of a layer can depend on, by height and width.
///
/// A. Araujo, W. Norris and J. Sim, "Computing receptive fields of convolutional neural
/// networks", Distill 2019.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Field {
    /// Pixels.
    pub size: [f64; 2],
    /// Pixels between the fields of neighbours.
    pub stride: [f64; 2],
    /// Where the field of the first value has its centre, in pixels from the centre of the
    /// image's first pixel; below zero where padding is seen.
    pub offset: [f64; 2],
}

/// How far a layer sees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reach {
    /// A window of the image.
    Window(Field),
    /// Every value depends on the whole image, e.g. after a global pool.
    Whole,
    /// The graph does not tell, e.g. after a reshape or in a loop.
    Unknown,
}

pub(super) const PIXEL: Field = Field { size: [1.0; 2], stride: [1.0; 2], offset: [0.0; 2] };

/// Where the channels of a tensor of images stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Images, channels, height, width.
    First,
    /// Images, height, width, channels.
    Last,
    Unknown,
}

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ValueReach {
    pub reach: Reach,
    order: Order,
    /// Whether it is a list or the like of values that see differently.
    mixed: bool,
}

impl ValueReach {
    pub const IMAGE: ValueReach =
        ValueReach { reach: Reach::Window(PIXEL), order: Order::First, mixed: false };
    pub const UNKNOWN: ValueReach =
        ValueReach { reach: Reach::Unknown, order: Order::Unknown, mixed: false };
}

/// What the operator of a value does to the map; nobody can tell if it is not in the table.
pub(super) fn field(value: &Value) -> operators::Field {
    operators::find(&value.operator).map_or(operators::Field::Unknown, |operator| operator.field)
}

/// Whether the mean over the channels is the same before and after. A concatenation
/// changes it, so a list that is held together does not.
pub(super) fn keeps_map(value: &Value) -> bool {
    use operators::Field::{Copies, Holds, Reads};
    matches!(field(value), Copies | Holds | Reads)
}

/// What is known of all sources together; `None` of none.
pub(super) fn merged(sources: &[ValueReach]) -> Option<ValueReach> {
    let reach = sources.iter().map(|seen| seen.reach).reduce(both)?;
    let known = || sources.iter().map(|seen| seen.order).filter(|order| *order != Order::Unknown);
    let order = known().next().filter(|first| known().all(|other| other == *first));
    let first = sources[0];
    let mixed = sources.iter().any(|seen| seen.mixed || seen.reach != first.reach);
    Some(ValueReach { reach, order: order.unwrap_or(Order::Unknown), mixed })
}

/// What is known of what an operator gives, by what is known of what it reads.
pub(super) fn through(value: &Value, from: ValueReach) -> ValueReach {
    use operators::Field::{Holds, Reads};
    let order = order_after(value, from.order);
    let mixed = from.mixed && matches!(field(value), Holds | Reads);
    if field(value) == Reads && from.mixed {
        return ValueReach::UNKNOWN;
    }
    ValueReach { reach: reach_after(value, from), order, mixed }
}

fn order_after(value: &Value, order: Order) -> Order {
    let channels = operators::find(&value.operator).map(|operator| operator.channels);
    match (channels, value.dims.as_deref(), order) {
        (Some(Channels::Moved), Some([0, 2, 3, 1]), Order::First) => Order::Last,
        (Some(Channels::Moved), Some([0, 3, 1, 2]), Order::Last) => Order::First,
        (Some(Channels::Moved), Some([0, 1, 2, 3]), order) => order,
        (Some(Channels::Moved | Channels::Unknown), ..) => Order::Unknown,
        _ => order,
    }
}

fn reach_after(value: &Value, from: ValueReach) -> Reach {
    use operators::Field as F;
    let Reach::Window(seen) = from.reach else { return from.reach };
    let [kernel, stride, padding, dilation] = value.window;
    let operator = operators::find(&value.operator);
    let is_pool = operator.is_some_and(|operator| operator.class == Class::Pooling);
    let is_moved = operator.is_some_and(|operator| operator.channels == Channels::Moved);
    match field(value) {
        F::Window if from.order == Order::First => {
            // A pool without a stride steps by its kernel.
            let step = stride.or(kernel.filter(|_| is_pool));
            let sizes = kernel.zip(step).zip(padding).zip(dilation);
            sizes.map_or(Reach::Unknown, |(((kernel, step), padding), dilation)| {
                Reach::Window(widened(seen, kernel, step, padding, dilation))
            })
        }
        F::Grid if kernel == Some([1.0; 2]) => Reach::Whole,
        // Vectors, on their way to a layer that takes all of them.
        F::Flattens if value.dims.as_deref() == Some(&[1]) => Reach::Whole,
        // Height and width may have changed places.
        F::Copies if is_moved && order_after(value, from.order) == Order::Unknown => Reach::Unknown,
        F::Channels if from.order != Order::Last => Reach::Unknown,
        F::Channels | F::Squeezes => from.reach,
        F::Whole => Reach::Whole,
        field @ (F::Mixes | F::Joins) => match sides(value, from.order) {
            Some([false, false]) => from.reach,
            Some([true, true]) if field == F::Mixes => Reach::Whole,
            _ => Reach::Unknown,
        },
        F::Pointwise | F::Copies | F::Holds | F::Reads => from.reach,
        F::Window | F::Grid | F::Flattens | F::Unknown => Reach::Unknown,
    }
}

/// Whether the operator works along height and along width; `None` if nobody knows.
fn sides(value: &Value, order: Order) -> Option<[bool; 2]> {
    let dims = value.dims.as_ref()?;
    let [height, width] = match order {
        Order::First => [2, 3],
        Order::Last => [1, 2],
        Order::Unknown => return None,
    };
    let along = |side: i64| dims.iter().any(|dim| dim.rem_euclid(4) == side);
    Some([along(height), along(width)])
}

fn widened(field: Field, kernel: [f64; 2], step: [f64; 2], pad: [f64; 2], dil: [f64; 2]) -> Field {
    let extent = |axis: usize| (kernel[axis] - 1.0) * dil[axis];
    let by_axis = |f: &dyn Fn(usize) -> f64| [f(0), f(1)];
    Field {
        size: by_axis(&|a| field.size[a] + extent(a) * field.stride[a]),
        stride: by_axis(&|a| field.stride[a] * step[a]),
        offset: by_axis(&|a| field.offset[a] + (extent(a) / 2.0 - pad[a]) * field.stride[a]),
    }
}

/// All that one of two branches sees.
fn both(a: Reach, b: Reach) -> Reach {
    match (a, b) {
        (Reach::Unknown, _) | (_, Reach::Unknown) => Reach::Unknown,
        (Reach::Whole, _) | (_, Reach::Whole) => Reach::Whole,
        // Their values lie at other places of the image.
        (Reach::Window(x), Reach::Window(y)) if x.stride != y.stride => Reach::Unknown,
        (Reach::Window(x), Reach::Window(y)) => Reach::Window(covering(x, y)),
    }
}

/// From where the first of the two begins to where the last ends, on each axis.
fn covering(a: Field, b: Field) -> Field {
    let reach = |field: &Field, axis: usize| (field.size[axis] - 1.0) / 2.0;
    let first = |field: &Field, axis: usize| field.offset[axis] - reach(field, axis);
    let last = |field: &Field, axis: usize| field.offset[axis] + reach(field, axis);
    let ends = [0, 1]
        .map(|axis| (first(&a, axis).min(first(&b, axis)), last(&a, axis).max(last(&b, axis))));
    Field {
        size: ends.map(|(first, last)| last - first + 1.0),
        stride: a.stride,
        offset: ends.map(|(first, last)| f64::midpoint(first, last)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::structure::Structure;
    use super::*;

    pub fn window(reach: Reach) -> Field {
        match reach {
            Reach::Window(field) => field,
            other => unreachable!("{other:?}"),
        }
    }

    fn reach(text: &str) -> Reach {
        *Structure::parse(text).reaches().last().expect("a tap")
    }

    #[test]
    fn where_branches_meet_all_that_any_of_them_sees_counts() {
        let branches = |one: &str, other: &str| {
            reach(&format!(
                "value 1 conv2d {one} - : 0\nvalue 2 conv2d {other} - : 0\n\
                            value 3 ListConstruct - - - - - : 1 2\nvalue 4 cat - - - - 1 : 3\ntap 4"
            ))
        };
        let crossed = window(branches("1,7 1,1 0,3 1,1", "7,1 1,1 3,0 1,1"));
        assert_eq!((crossed.size, crossed.offset), ([7.0; 2], [0.0; 2]));
        // Pixels 0 to 3, and -1 to 1.
        let shifted = window(branches("4,4 4,4 0,0 1,1", "3,3 4,4 1,1 1,1"));
        assert_eq!((shifted.size, shifted.offset), ([5.0; 2], [1.0; 2]));
        assert_eq!(branches("2,2 2,2 0,0 1,1", "1,1 1,1 0,0 1,1"), Reach::Unknown);
    }

    #[test]
    fn normalising_by_the_batch_sees_the_whole_image() {
        assert_eq!(reach("value 1 batch_norm_of_batch - - - - - : 0\ntap 1"), Reach::Whole);
        assert_eq!(reach("value 1 batch_norm - - - - - : 0\ntap 1"), Reach::Window(PIXEL));
    }

    #[test]
    fn dimensions_decide_whether_an_operator_sees_the_whole_image() {
        let after = |operator: &str, dims: &str| {
            reach(&format!("value 1 {operator} - - - - {dims} : 0\ntap 1"))
        };
        assert_eq!(after("mean", "2,3"), Reach::Whole);
        assert_eq!(after("mean", "-1,-2"), Reach::Whole);
        assert_eq!(after("softmax", "1"), Reach::Window(PIXEL));
        assert_eq!(after("softmax", "-1"), Reach::Unknown);
        assert_eq!(after("mean", "-"), Reach::Unknown);
        assert_eq!(after("cat", "1"), Reach::Window(PIXEL));
        assert_eq!(after("cat", "2"), Reach::Unknown);
        assert_eq!(after("layer_norm", "-3,-2,-1"), Reach::Whole);
        assert_eq!(after("permute", "0,1,3,2"), Reach::Unknown);
        let last = "value 1 permute - - - - 0,2,3,1 : 0\nvalue 2 linear - - - - - : 1\n\
                    value 3 layer_norm - - - - -1 : 2\n";
        assert_eq!(reach(&format!("{last}tap 3")), Reach::Window(PIXEL));
        let pooled = "value 4 max_pool2d 2,2 - 0,0 1,1 - : 3\ntap 4";
        assert_eq!(reach(&format!("{last}{pooled}")), Reach::Unknown);
    }
}
