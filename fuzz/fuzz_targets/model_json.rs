//! `model.json`: what is accepted can feed a network.
#![no_main]

use std::path::Path;

use actviz::bundle::Description;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(description) = Description::parse(text, Path::new("model.json")) {
        let input = description.input;
        assert!(matches!(input.channels, 1 | 3));
        assert_eq!((input.mean.len(), input.std.len()), (input.channels, input.channels));
        assert!(input.width > 0 && input.height > 0);
    }
});
