//! The shapes of the JSON that scripts read, as JSON Schema. Those in docs/ are these.

use schemars::{JsonSchema, schema_for};

/// The JSON Schema of a type, as text ending in a line break.
pub fn text_of<T: JsonSchema>() -> String {
    let mut text = serde_json::to_string_pretty(&schema_for!(T)).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // To accept a change: cargo run --release --example json_schema NAME >
    // docs/NAME.schema.json

    #[test]
    fn the_committed_schemas_are_those_of_the_types() {
        let manifest = include_str!("../docs/manifest.schema.json");
        assert_eq!(text_of::<crate::manifest::Manifest>(), manifest);
        let compare = include_str!("../docs/compare.schema.json");
        assert_eq!(text_of::<crate::compare::Report>(), compare);
        let insights = include_str!("../docs/insights.schema.json");
        assert_eq!(text_of::<crate::insights::Document>(), insights);
    }
}
