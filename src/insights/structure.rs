//! What the graph tells of a network: how far each layer sees, and by which way.

use std::collections::HashMap;

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
    sources: Vec<usize>,
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

    /// How far each tap sees. Where branches meet, the one that sees most counts.
    pub fn reaches(&self) -> Vec<Reach> {
        let mut known = HashMap::from([(0, Reach::Window(PIXEL))]);
        for value in &self.values {
            let sources = value.sources.iter().filter_map(|id| known.get(id).copied());
            let from = sources.reduce(largest).unwrap_or(Reach::Unknown);
            known.insert(value.id, seen_through(value, from));
        }
        let reach = |tap: &Option<usize>| tap.and_then(|id| known.get(&id).copied());
        self.taps.iter().map(|tap| reach(tap).unwrap_or(Reach::Unknown)).collect()
    }

    /// Whether the operator of this tap steps by more than one value.
    pub fn is_strided(&self, tap: usize) -> bool {
        let id = self.taps.get(tap).copied().flatten();
        let value = id.and_then(|id| self.values.iter().find(|value| value.id == id));
        value.and_then(|value| value.window[1]).is_some_and(|step| step.iter().any(|s| *s > 1.0))
    }

    /// The way from the input to the tap `last`: the taps on it, `last` included, in
    /// order. Where branches meet, the one with the most taps counts, as long as all of
    /// its taps are `allowed`.
    pub fn way(&self, last: usize, allowed: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
        let tapped: HashMap<usize, usize> =
            self.taps.iter().enumerate().filter_map(|(tap, id)| Some(((*id)?, tap))).collect();
        let mut before: HashMap<usize, Option<usize>> = HashMap::new();
        // For each value: the taps on the longest way to it, and the last of them.
        let mut ways: HashMap<usize, (usize, Option<usize>)> = HashMap::new();
        let inputs = [Value::input()];
        for value in inputs.iter().chain(&self.values) {
            let sources = value.sources.iter().filter_map(|id| ways.get(id));
            let longest = sources.fold(None, |best: Option<(usize, Option<usize>)>, way| {
                if best.is_some_and(|best| best.0 >= way.0) { best } else { Some(*way) }
            });
            let Some((length, from)) = longest.or((value.id == 0).then_some((0, None))) else {
                continue;
            };
            let way = match tapped.get(&value.id) {
                Some(tap) if !allowed(*tap) => continue,
                Some(tap) => {
                    before.insert(*tap, from);
                    (length + 1, Some(*tap))
                }
                None => (length, from),
            };
            ways.insert(value.id, way);
        }
        let mut way = vec![last];
        let mut next = *before.get(&last)?;
        while let Some(tap) = next {
            way.push(tap);
            next = before.get(&tap).copied().flatten();
        }
        way.reverse();
        Some(way)
    }
}

impl Value {
    fn input() -> Value {
        Value { id: 0, operator: String::new(), window: [None; 4], sources: Vec::new() }
    }
}

fn value(line: &str) -> Option<Value> {
    let (fields, sources) = line.split_once(':')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [id, operator, window @ ..] = &fields[..] else { return None };
    let axes = |text: &str| -> Option<[f64; 2]> {
        let numbers: Option<Vec<f64>> = text.split(',').map(|n| n.parse().ok()).collect();
        match numbers?[..] {
            [both] => Some([both; 2]),
            [height, width] => Some([height, width]),
            _ => None,
        }
    };
    let sizes = |at: usize| window.get(at).and_then(|text| axes(text));
    Some(Value {
        id: id.parse().ok()?,
        operator: (*operator).to_owned(),
        window: [sizes(0), sizes(1), sizes(2), sizes(3)],
        sources: sources.split_whitespace().filter_map(|id| id.parse().ok()).collect(),
    })
}

/// Operators that leave every value at its place, whatever they do across channels.
const IN_PLACE: &[&str] = &[
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
    "clamp",
    "clamp_min",
    "clamp_max",
    "maximum",
    "minimum",
    "where",
    "batch_norm",
    "layer_norm",
    "linear",
    "dropout",
    "feature_dropout",
    "cat",
    "chunk",
    "split",
    "clone",
    "contiguous",
    "to",
    "permute",
    "detach",
    "ListConstruct",
    "ListUnpack",
    "TupleConstruct",
    "TupleUnpack",
    "ConstantChunk",
    "If",
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
/// Operators after which every value depends on the whole image.
const GLOBAL: &[&str] = &[
    "mean",
    "sum",
    "amax",
    "flatten",
    "matmul",
    "bmm",
    "softmax",
    "addmm",
    "group_norm",
    "instance_norm",
    "scaled_dot_product_attention",
];

fn seen_through(value: &Value, from: Reach) -> Reach {
    let operator = value.operator.as_str();
    let Reach::Window(field) = from else { return from };
    let [kernel, stride, padding, dilation] = value.window;
    match operator {
        "conv2d" | "_convolution" | "convolution" | "max_pool2d" | "avg_pool2d" => {
            // A pool without a stride steps by its kernel.
            let step = stride.or(kernel.filter(|_| operator.ends_with("pool2d")));
            let sizes = kernel.zip(step).zip(padding).zip(dilation);
            sizes.map_or(Reach::Unknown, |(((kernel, step), padding), dilation)| {
                Reach::Window(widened(field, kernel, step, padding, dilation))
            })
        }
        "adaptive_avg_pool2d" | "adaptive_max_pool2d" if kernel == Some([1.0; 2]) => Reach::Whole,
        _ if GLOBAL.contains(&operator) => Reach::Whole,
        _ if IN_PLACE.contains(&operator) => from,
        _ => Reach::Unknown,
    }
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

fn largest(a: Reach, b: Reach) -> Reach {
    let area = |field: &Field| field.size[0] * field.size[1];
    match (a, b) {
        (Reach::Unknown, _) | (_, Reach::Unknown) => Reach::Unknown,
        (Reach::Whole, _) | (_, Reach::Whole) => Reach::Whole,
        (Reach::Window(x), Reach::Window(y)) => {
            Reach::Window(if area(&y) > area(&x) { y } else { x })
        }
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
        assert_eq!(structure.way(3, |_| true), Some(vec![0, 1, 2, 3]));
        assert_eq!(structure.way(3, |tap| tap != 1), Some(vec![0, 2, 3]));
        assert!(!structure.is_strided(0));
    }

    #[test]
    fn what_the_graph_does_not_tell_stays_unknown() {
        let reaches = Structure::parse("value 1 mystery - - - - : 0\ntap 1\ntap -").reaches();
        assert_eq!(reaches, [Reach::Unknown, Reach::Unknown]);
        let whole = "value 1 adaptive_avg_pool2d 1,1 - - - : 0\nvalue 2 mul - - - - : 0 1\ntap 2";
        assert_eq!(Structure::parse(whole).reaches(), [Reach::Whole]);
    }
}
