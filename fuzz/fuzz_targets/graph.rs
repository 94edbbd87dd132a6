//! The graph that an engine tells: what is read can be asked for receptive fields.
#![no_main]

use actviz::insights::structure::Structure;
use actviz_core::graph::Graph;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // In lines, as the C++ side writes it; in JSON, as the process of the engine sends it.
    let graph = text.parse::<Graph>().ok().or_else(|| serde_json::from_str(text).ok());
    if let Some(graph) = graph {
        let structure = Structure::of(&graph);
        assert_eq!(structure.tap_count(), graph.taps.len());
        assert_eq!(structure.reaches().len(), graph.taps.len());
        for tap in 0..graph.taps.len().min(8) {
            let _ = (structure.is_strided(tap), structure.joins(tap));
            let _ = structure.way(tap, |_| true);
        }
    }
});
