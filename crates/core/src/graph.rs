//! Which operator of a network reads which: what receptive fields are computed from.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The values of a network that depend on its input, in the order of the code. Their numbers
/// grow, and each reads only values before it: a graph that arrives otherwise is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Graph {
    /// What the operators give. Code may write into what is there already (`y += x`): from
    /// there on what was written to is another value.
    pub values: Vec<Value>,
    /// For each tap, in the order of the code, the value that it sees; `None` if that does
    /// not depend on the input.
    pub taps: Vec<Option<ValueId>>,
}

/// A value's number. 0 is the network's input.
pub type ValueId = usize;

/// What an operator gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// Its number.
    pub id: ValueId,
    /// The operator that gives it, e.g. `conv2d`.
    pub operator: String,
    /// The size of the operator's window, by axis; empty if it has none or the graph does
    /// not tell. Likewise the other sizes.
    pub kernel: Vec<i64>,
    /// By how much the window moves.
    pub stride: Vec<i64>,
    /// How many positions are added before the first.
    pub padding: Vec<i64>,
    /// The distance of the window's positions.
    pub dilation: Vec<i64>,
    /// The dimensions that the operator works along, as its code counts them: below zero
    /// from the last.
    pub dimensions: Option<Vec<i64>>,
    /// What the operator reads of the input; `None` is a value that depends on the input
    /// and that nobody knows.
    pub sources: Vec<Option<ValueId>>,
}

/// A graph as it arrives, perhaps from a process that a network has taken over.
#[derive(Deserialize)]
struct Unchecked {
    values: Vec<Value>,
    taps: Vec<Option<ValueId>>,
}

/// A value that reads itself or a later one, or whose number was given before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("value {0} of the graph is out of order")]
struct OutOfOrder(ValueId);

impl TryFrom<Unchecked> for Graph {
    type Error = OutOfOrder;

    fn try_from(Unchecked { values, taps }: Unchecked) -> Result<Graph, OutOfOrder> {
        let mut last = 0;
        for value in &values {
            if !value.comes_after(last) {
                return Err(OutOfOrder(value.id));
            }
            last = value.id;
        }
        Ok(Graph { values, taps })
    }
}

impl Value {
    /// Whether it may follow the value `last`: whoever walks back along the sources ends at
    /// the input.
    fn comes_after(&self, last: ValueId) -> bool {
        self.id > last && self.sources.iter().flatten().all(|source| *source < self.id)
    }
}

/// A line that is none of a graph's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no line of a graph")]
pub struct NotALine(String);

impl FromStr for Graph {
    type Err = NotALine;

    /// Reads what an engine writes down, one line for each value and tap:
    /// `value ID OPERATOR KERNEL STRIDE PADDING DILATION DIMENSIONS : SOURCE...` and
    /// `tap ID`. Numbers of one field have commas between; `-` stands for none, `?` for a
    /// source that nobody knows.
    fn from_str(text: &str) -> Result<Graph, NotALine> {
        let mut graph = Graph::default();
        for line in text.lines() {
            let unknown = || NotALine(line.to_owned());
            match line.split_once(' ') {
                Some(("tap", "-")) => graph.taps.push(None),
                Some(("tap", id)) => graph.taps.push(Some(id.parse().map_err(|_| unknown())?)),
                Some(("value", fields)) => {
                    let last = graph.values.last().map_or(0, |value| value.id);
                    let value = value(fields).filter(|value| value.comes_after(last));
                    graph.values.push(value.ok_or_else(unknown)?);
                }
                _ => return Err(unknown()),
            }
        }
        Ok(graph)
    }
}

fn value(line: &str) -> Option<Value> {
    let (fields, sources) = line.split_once(':')?;
    let mut fields = fields.split_whitespace();
    let (id, operator) = (fields.next()?.parse().ok()?, fields.next()?.to_owned());
    let mut numbers = || match fields.next() {
        None | Some("-") => Some(None),
        Some(list) => {
            list.split(',').map(|n| n.parse().ok()).collect::<Option<Vec<i64>>>().map(Some)
        }
    };
    let (kernel, stride) = (numbers()?.unwrap_or_default(), numbers()?.unwrap_or_default());
    let (padding, dilation) = (numbers()?.unwrap_or_default(), numbers()?.unwrap_or_default());
    let dimensions = numbers()?;
    let source = |id: &str| match id {
        "?" => Some(None),
        id => id.parse().ok().map(Some),
    };
    let sources = sources.split_whitespace().map(source).collect::<Option<_>>()?;
    Some(Value { id, operator, kernel, stride, padding, dilation, dimensions, sources })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_taps_are_read() {
        let text =
            "value 1 conv2d 3,3 2,2 1,1 1,1 - : 0 ?\nvalue 2 cat - - - - 1 : 1\ntap 2\ntap -";
        let graph: Graph = text.parse().expect("a graph");
        assert_eq!(graph.taps, [Some(2), None]);
        assert_eq!(graph.values[0].kernel, [3, 3]);
        assert_eq!(graph.values[0].sources, [Some(0), None]);
        assert_eq!(graph.values[1].dimensions, Some(vec![1]));
    }

    #[test]
    fn a_graph_that_goes_in_circles_is_none() {
        let circle = |id: usize| Value { id, sources: vec![Some(1)], ..Value::default() };
        for values in [vec![circle(1)], vec![circle(2), circle(2)], vec![circle(3), circle(2)]] {
            let graph = Graph { values, taps: vec![Some(1)] };
            let text = serde_json::to_string(&graph).expect("JSON");
            let error = serde_json::from_str::<Graph>(&text).expect_err("out of order");
            assert!(error.to_string().contains("out of order"), "{error}");
        }
        let text = "value 1 relu - - - - - : 0\nvalue 1 relu - - - - - : 1";
        assert!(text.parse::<Graph>().is_err());
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in ["values", "tap x", "value 1", "value 1 conv2d a : 0", "value 1 add - : x"] {
            assert!(text.parse::<Graph>().is_err(), "{text}");
        }
    }
}
