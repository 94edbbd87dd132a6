//! A picture's bytes, in every format: pixels within the limits, or words.
#![no_main]

use actviz::input::{self, Decoded, DecodeLimits, Reading};
use libfuzzer_sys::fuzz_target;

const LIMITS: DecodeLimits = DecodeLimits { bytes: 1 << 20, pixels: 1 << 20 };

fuzz_target!(|bytes: &[u8]| {
    let reading = Reading { limits: LIMITS, ..Reading::default() };
    for channels in [1, 3, 4, 7] {
        let Ok(file) = input::decode(bytes, channels, None, &reading) else { continue };
        let pixels = match file.decoded {
            Decoded::Picture(picture) => u64::from(picture.width()) * u64::from(picture.height()),
            Decoded::Values(values) => (values.len() / channels) as u64,
        };
        assert!((1..=LIMITS.pixels).contains(&pixels));
    }
});
