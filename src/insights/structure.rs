//! What the graph tells of a network: how far each layer sees, and by which way.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which operator reads which: the text of [`crate::engine::Network::structure`].
#[derive(Clone, Debug, Default)]
pub struct Structure {
    values: Vec<Value>,
    /// For each tap, in the order of the code, the value that it sees.
    taps: Vec<Option<usize>>,
}

#[derive(Clone, Debug)]
struct Value {
    id: usize,
    operator: String,
    /// Kernel, stride, padding, dilation, each by height and width.
    window: [Option<[f64; 2]>; 4],
    /// The dimensions that it works along; below zero they count from the last.
    dims: Option<Vec<i64>>,
    /// `None`: it depends on the input, and nobody knows by which value.
    sources: Vec<Option<usize>>,
}

/// A tap on the way to a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The tap.
    pub tap: usize,
    /// Whether nothing but its own operator changes the map since the tap before. Else
    /// nobody can tell what was whose.
    pub alone: bool,
}

/// Where the channels of a tensor of images stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Images, channels, height, width.
    First,
    /// Images, height, width, channels.
    Last,
    Unknown,
}

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    reach: Reach,
    order: Order,
    /// Whether it is a list or the like of values that see differently.
    mixed: bool,
}

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

const PIXEL: Field = Field { size: [1.0; 2], stride: [1.0; 2], offset: [0.0; 2] };

impl Structure {
    /// Reads the text; lines that it does not know are left out.
    pub fn parse(text: &str) -> Structure {
        let mut structure = Structure::default();
        for line in text.lines() {
            if let Some(tap) = line.strip_prefix("tap ") {
                structure.taps.push(tap.parse().ok());
            } else if let Some(value) = line.strip_prefix("value ").and_then(value) {
                structure.values.push(value);
            }
        }
        structure
    }

    /// How many taps the code has.
    pub fn tap_count(&self) -> usize {
        self.taps.len()
    }

    /// How far each tap sees. Where branches meet, what any of them sees.
    pub fn reaches(&self) -> Vec<Reach> {
        // Nothing is known of a value that depends on no image.
        let mut known = HashMap::from([(0, Some(Seen::IMAGE))]);
        for value in &self.values {
            let sources: Vec<Seen> = value
                .sources
                .iter()
                .filter_map(|id| id.map_or(Some(Seen::UNKNOWN), |id| *known.get(&id)?))
                .collect();
            known.insert(value.id, merged(&sources).map(|from| seen_through(value, from)));
        }
        let reach = |tap: &Option<usize>| tap.and_then(|id| known.get(&id).copied().flatten());
        self.taps.iter().map(|tap| reach(tap).map_or(Reach::Unknown, |seen| seen.reach)).collect()
    }

    /// Whether the operator of this tap steps by more than one value.
    pub fn is_strided(&self, tap: usize) -> bool {
        let step = self.value_of(tap).and_then(|value| value.window[1]);
        step.is_some_and(|step| step.iter().any(|s| *s > 1.0))
    }

    /// Whether more than one value that depends on the input meets in this tap's operator.
    pub fn joins(&self, tap: usize) -> bool {
        self.value_of(tap).is_some_and(|value| value.sources.len() > 1)
    }

    fn value_of(&self, tap: usize) -> Option<&Value> {
        let id = self.taps.get(tap).copied().flatten()?;
        self.values.iter().find(|value| value.id == id)
    }

    /// The way from the input to the tap `last`: the taps on it, `last` included, in
    /// order. Where branches meet, the one with the most taps counts, as long as all of
    /// its taps are `allowed`. `None` if the graph does not tell a way.
    pub fn way(&self, last: usize, allowed: impl Fn(usize) -> bool) -> Option<Vec<Step>> {
        let tapped: HashMap<usize, usize> =
            self.taps.iter().enumerate().filter_map(|(tap, id)| Some(((*id)?, tap))).collect();
        let mut before: HashMap<usize, (Option<usize>, bool)> = HashMap::new();
        let mut ways = HashMap::from([(0, Way { length: 0, last: None, alone: true })]);
        // Lists and the like whose elements came by different ways.
        let mut mixed: HashSet<usize> = HashSet::new();
        for value in &self.values {
            let sources: Vec<usize> = value
                .sources
                .iter()
                .flatten()
                .copied()
                .filter(|id| ways.contains_key(id))
                .collect();
            let several = sources.iter().any(|id| mixed.contains(id));
            if is(value, READS) && several {
                continue;
            }
            if is(value, HOLDERS) && (several || sources.iter().any(|id| *id != sources[0])) {
                mixed.insert(value.id);
            }
            let longest = sources.iter().filter_map(|id| ways.get(id)).copied().reduce(longer);
            let Some(way) = longest else { continue };
            let way = match tapped.get(&value.id) {
                Some(tap) if !allowed(*tap) => continue,
                Some(tap) => {
                    before.insert(*tap, (way.last, way.alone));
                    Way { length: way.length + 1, last: Some(*tap), alone: true }
                }
                None => Way { alone: way.alone && keeps_map(value), ..way },
            };
            ways.insert(value.id, way);
        }
        let mut way = Vec::new();
        let mut next = Some(last);
        while let Some(tap) = next {
            let (from, alone) = *before.get(&tap)?;
            way.push(Step { tap, alone });
            next = from;
        }
        way.reverse();
        Some(way)
    }
}

/// A way to a value: the taps on it, the last of them, and whether nothing has changed the
/// map since.
#[derive(Clone, Copy)]
struct Way {
    length: usize,
    last: Option<usize>,
    alone: bool,
}

fn longer(a: Way, b: Way) -> Way {
    if b.length > a.length { b } else { a }
}

impl Seen {
    const IMAGE: Seen = Seen { reach: Reach::Window(PIXEL), order: Order::First, mixed: false };
    const UNKNOWN: Seen = Seen { reach: Reach::Unknown, order: Order::Unknown, mixed: false };
}

fn value(line: &str) -> Option<Value> {
    let (fields, sources) = line.split_once(':')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [id, operator, sizes @ ..] = &fields[..] else { return None };
    let axes = |text: &str| -> Option<[f64; 2]> {
        let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.parse().ok()).collect();
        match numbers?[..] {
            [both] => Some([both; 2]),
            [height, width] => Some([height, width]),
            _ => None,
        }
    };
    let window = |at: usize| sizes.get(at).and_then(|text| axes(text));
    let dims = |text: &&str| text.split(',').map(|n| n.parse().ok()).collect();
    Some(Value {
        id: id.parse().ok()?,
        operator: (*operator).to_owned(),
        window: [window(0), window(1), window(2), window(3)],
        dims: sizes.get(4).and_then(dims),
        sources: sources.split_whitespace().map(|id| id.parse().ok()).collect(),
    })
}

/// Operators on each value alone, or on those of the same place.
const POINTWISE: &[&str] = &[
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "sqrt",
    "rsqrt",
    "exp",
    "log",
    "neg",
    "abs",
    "sign",
    "floor",
    "ceil",
    "round",
    "square",
    "reciprocal",
    "sin",
    "cos",
    "tan",
    "atan",
    "erf",
    "log1p",
    "log2",
    "expm1",
    "lerp",
    "rsub",
    "remainder",
    "fmod",
    "gt",
    "ge",
    "lt",
    "le",
    "eq",
    "ne",
    "logical_not",
    "masked_fill",
    "nan_to_num",
    "type_as",
    "clamp",
    "clamp_min",
    "clamp_max",
    "maximum",
    "minimum",
    "where",
    "batch_norm",
    "relu",
    "relu6",
    "leaky_relu",
    "prelu",
    "rrelu",
    "elu",
    "selu",
    "celu",
    "gelu",
    "silu",
    "mish",
    "hardswish",
    "hardtanh",
    "hardsigmoid",
    "sigmoid",
    "tanh",
    "softplus",
    "threshold",
    "log_sigmoid",
    "hardshrink",
    "softshrink",
];
/// Operators that give the map that they get.
const COPIES: &[&str] =
    &["dropout", "feature_dropout", "clone", "contiguous", "to", "detach", "copy", "permute", "If"];
/// Operators that put values into something that holds them.
const HOLDERS: &[&str] = &[
    "ListConstruct",
    "TupleConstruct",
    "DictConstruct",
    "append",
    "insert",
    "extend",
    "_set_item",
    "written_inside",
];
/// Operators that take a value out of it.
const READS: &[&str] = &["ListUnpack", "TupleUnpack", "TupleIndex", "__getitem__", "get", "pop"];
/// Operators that mix all values along their dimensions.
const MIXERS: &[&str] = &["mean", "sum", "amax", "amin", "softmax", "log_softmax", "layer_norm"];
/// Operators that join or part tensors along their dimensions.
const JOINERS: &[&str] = &["cat", "chunk", "split", "split_with_sizes", "ConstantChunk"];
/// Operators after which every value depends on the whole image.
const GLOBAL: &[&str] = &[
    "addmm",
    "batch_norm_of_batch",
    "group_norm",
    "instance_norm",
    "scaled_dot_product_attention",
];

fn is(value: &Value, list: &[&str]) -> bool {
    list.contains(&value.operator.as_str())
}

/// Whether the mean over the channels is the same before and after. A concatenation
/// changes it, so a list that is held together does not.
fn keeps_map(value: &Value) -> bool {
    is(value, COPIES) || is(value, HOLDERS) || is(value, READS)
}

/// What is known of all sources together; `None` of none.
fn merged(sources: &[Seen]) -> Option<Seen> {
    let reach = sources.iter().map(|seen| seen.reach).reduce(both)?;
    let known = || sources.iter().map(|seen| seen.order).filter(|order| *order != Order::Unknown);
    let order = known().next().filter(|first| known().all(|other| other == *first));
    let first = sources[0];
    let mixed = sources.iter().any(|seen| seen.mixed || seen.reach != first.reach);
    Some(Seen { reach, order: order.unwrap_or(Order::Unknown), mixed })
}

fn seen_through(value: &Value, from: Seen) -> Seen {
    let order = order_after(value, from.order);
    let mixed = from.mixed && (is(value, HOLDERS) || is(value, READS));
    if is(value, READS) && from.mixed {
        return Seen::UNKNOWN;
    }
    Seen { reach: reach_after(value, from), order, mixed }
}

fn order_after(value: &Value, order: Order) -> Order {
    match (value.operator.as_str(), value.dims.as_deref(), order) {
        ("permute", Some([0, 2, 3, 1]), Order::First) => Order::Last,
        ("permute", Some([0, 3, 1, 2]), Order::Last) => Order::First,
        ("permute", Some([0, 1, 2, 3]), order) => order,
        ("permute" | "squeeze" | "flatten", ..) => Order::Unknown,
        _ => order,
    }
}

fn reach_after(value: &Value, from: Seen) -> Reach {
    let operator = value.operator.as_str();
    let Reach::Window(field) = from.reach else { return from.reach };
    let [kernel, stride, padding, dilation] = value.window;
    let is_first = from.order == Order::First;
    match operator {
        "conv2d" | "_convolution" | "convolution" | "max_pool2d" | "avg_pool2d" if is_first => {
            // A pool without a stride steps by its kernel.
            let step = stride.or(kernel.filter(|_| operator.ends_with("pool2d")));
            let sizes = kernel.zip(step).zip(padding).zip(dilation);
            sizes.map_or(Reach::Unknown, |(((kernel, step), padding), dilation)| {
                Reach::Window(widened(field, kernel, step, padding, dilation))
            })
        }
        "adaptive_avg_pool2d" | "adaptive_max_pool2d" if kernel == Some([1.0; 2]) => Reach::Whole,
        // Vectors, on their way to a layer that takes all of them.
        "flatten" if value.dims.as_deref() == Some(&[1]) => Reach::Whole,
        // Height and width may have changed places.
        "permute" if order_after(value, from.order) == Order::Unknown => Reach::Unknown,
        "linear" if from.order != Order::Last => Reach::Unknown,
        "linear" | "squeeze" => from.reach,
        _ if is(value, GLOBAL) => Reach::Whole,
        _ if is(value, MIXERS) || is(value, JOINERS) => match sides(value, from.order) {
            Some([false, false]) => from.reach,
            Some([true, true]) if is(value, MIXERS) => Reach::Whole,
            _ => Reach::Unknown,
        },
        _ if is(value, POINTWISE) || is(value, COPIES) => from.reach,
        _ if is(value, HOLDERS) || is(value, READS) => from.reach,
        _ => Reach::Unknown,
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
mod tests {
    use super::*;

    fn window(reach: Reach) -> Field {
        match reach {
            Reach::Window(field) => field,
            other => unreachable!("{other:?}"),
        }
    }

    fn taps(way: Option<Vec<Step>>) -> Vec<usize> {
        way.expect("a way").iter().map(|step| step.tap).collect()
    }

    fn reach(text: &str) -> Reach {
        *Structure::parse(text).reaches().last().expect("a tap")
    }

    /// 3x3, then a branch of 3x3 and one without, then a pool of 2.
    const BRANCHED: &str = "\
value 1 conv2d 3,3 1,1 1,1 1,1 : 0
tap 1
value 2 conv2d 3,3 1,1 1,1 1,1 : 1
tap 2
value 3 add - - - - : 1 2
tap 3
value 4 max_pool2d 2,2 - 0,0 1,1 : 3
tap 4";

    #[test]
    fn the_branch_that_sees_most_counts() {
        let structure = Structure::parse(BRANCHED);
        let reaches = structure.reaches();
        assert_eq!(window(reaches[2]).size, [5.0; 2]);
        assert_eq!(window(reaches[3]).size, [6.0; 2]);
        assert_eq!(window(reaches[3]).stride, [2.0; 2]);
        assert_eq!(window(reaches[3]).offset, [0.5; 2]);
        assert_eq!(taps(structure.way(3, |_| true)), [0, 1, 2, 3]);
        assert_eq!(taps(structure.way(3, |tap| tap != 1)), [0, 2, 3]);
        assert!(!structure.is_strided(0));
    }

    #[test]
    fn what_the_graph_does_not_tell_stays_unknown() {
        let reaches = Structure::parse("value 1 mystery - - - - : 0\ntap 1\ntap -").reaches();
        assert_eq!(reaches, [Reach::Unknown, Reach::Unknown]);
        let whole = "value 1 adaptive_avg_pool2d 1,1 - - - : 0\nvalue 2 mul - - - - : 0 1\ntap 2";
        assert_eq!(Structure::parse(whole).reaches(), [Reach::Whole]);
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
    fn a_source_that_nobody_knows_makes_the_reach_unknown() {
        assert_eq!(reach("value 1 add - - - - - : 0 ?\ntap 1"), Reach::Unknown);
        // One that depends on no image changes nothing.
        let constant = "value 1 ListConstruct - - - - - :\nvalue 2 append - - - - - : 1 0\ntap 2";
        assert_eq!(reach(constant), Reach::Window(PIXEL));
    }

    #[test]
    fn what_is_taken_out_of_a_list_of_different_things_is_unknown() {
        let list = "value 1 conv2d 3,3 1,1 1,1 1,1 - : 0\ntap 1\n\
                    value 2 ListConstruct - - - - - : 0 1\n";
        let read = Structure::parse(&format!("{list}value 3 __getitem__ - - - - - : 2\ntap 3"));
        assert_eq!(read.reaches()[1], Reach::Unknown);
        assert_eq!(read.way(1, |_| true), None);
        let joined = Structure::parse(&format!("{list}value 3 cat - - - - 1 : 2\ntap 3"));
        assert_eq!(window(joined.reaches()[1]).size, [3.0; 2]);
        assert_eq!(taps(joined.way(1, |_| true)), [0, 1]);
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

    #[test]
    fn an_operator_without_a_tap_on_the_way_is_told() {
        let text = "value 1 roll - - - - - : 0\nvalue 2 add - - - - - : 1\ntap 2\n\
                    value 3 dropout - - - - - : 2\nvalue 4 relu - - - - - : 3\ntap 4";
        let structure = Structure::parse(text);
        let steps = [Step { tap: 0, alone: false }, Step { tap: 1, alone: true }];
        assert_eq!(structure.way(1, |_| true), Some(steps.to_vec()));
        assert!(!structure.joins(0));
    }
}
