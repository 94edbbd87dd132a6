//! Graphs as text, for tests: one line for each value and tap,
//! `value ID OPERATOR KERNEL STRIDE PADDING DILATION DIMENSIONS : SOURCE...` and `tap ID`.
//! Numbers of one field have commas between; `-` stands for none, `?` for a source that
//! nobody knows.

use actviz_core::graph::{Graph, Value};

pub fn graph(text: &str) -> Option<Graph> {
    let mut graph = Graph::default();
    for line in text.lines() {
        match line.split_once(' ')? {
            ("tap", "-") => graph.taps.push(None),
            ("tap", id) => graph.taps.push(Some(id.parse().ok()?)),
            ("value", fields) => graph.values.push(value(fields)?),
            _ => return None,
        }
    }
    Some(graph)
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
