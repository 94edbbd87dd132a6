//! Which operator of a network reads which: what receptive fields are computed from.

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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sources: [usize; 2]) -> Result<Graph, serde_json::Error> {
        let value = |id: usize, source| Value {
            id,
            operator: "relu".to_owned(),
            sources: vec![Some(source)],
            ..Value::default()
        };
        let [first, second] = sources;
        let graph = Graph { values: vec![value(1, first), value(2, second)], taps: vec![Some(2)] };
        serde_json::from_str(&serde_json::to_string(&graph)?)
    }

    #[test]
    fn a_graph_that_goes_in_circles_is_none() {
        assert!(read([0, 1]).is_ok());
        for circle in [[1, 1], [2, 1], [0, 2]] {
            assert!(read(circle).is_err(), "{circle:?}");
        }
    }
}
