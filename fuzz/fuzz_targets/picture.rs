//! A picture's bytes, in every format: pixels within the limits, or words.
#![no_main]

use actviz::input::{self, Limits};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { bytes: 1 << 20, pixels: 1 << 20 };

fuzz_target!(|bytes: &[u8]| {
    if let Ok(picture) = input::decode(bytes, LIMITS) {
        let pixels = u64::from(picture.width()) * u64::from(picture.height());
        assert!((1..=LIMITS.pixels).contains(&pixels));
    }
});
