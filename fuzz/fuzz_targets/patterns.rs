//! What the user types to choose layers, a reduction, a scale, a size.
#![no_main]

use actviz::layers::{Choice, Layer, Layout};
use actviz::picture::Size;
use actviz::reduction::Reduction;
use actviz::scale::Scale;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(choice) = text.parse::<Choice>() {
        let names = ["relu", "layer1.0.relu", "layer1.0.relu_1", "features.[3]", "head.gelu"];
        let layer = |name: &&str| Layer {
            name: (*name).to_owned(),
            operator: "relu".to_owned(),
            shape: vec![4, 2, 2],
            layout: Layout::ChannelsFirst,
            parameters: 1,
        };
        let layers: Vec<Layer> = names.iter().map(layer).collect();
        if let Ok(picked) = choice.pick(&layers, &[]) {
            assert!(!picked.is_empty() && picked.is_sorted());
            assert!(picked.iter().all(|position| *position < layers.len()));
        }
    }
    // What is understood is printed as something that is understood likewise.
    if let Ok(reduction) = text.parse::<Reduction>() {
        assert_eq!(reduction.to_string().parse(), Ok(reduction));
    }
    if let Ok(scale) = text.parse::<Scale>() {
        assert!(scale.to_string().parse::<Scale>().is_ok());
    }
    let _ = text.parse::<Size>();
});
