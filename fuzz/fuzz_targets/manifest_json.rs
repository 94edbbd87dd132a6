//! `manifest.json`: what is accepted can be asked everything, and written again.
#![no_main]

use std::path::Path;

use actviz::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let file = Path::new("manifest.json");
    if let Ok(manifest) = Manifest::parse(text, file) {
        let _ = (manifest.files(), manifest.flagged(), manifest.picture_count());
        Manifest::parse(&manifest.to_json(), file).expect("our own words");
    }
});
