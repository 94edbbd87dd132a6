//! A raw map: as many values as its header says, or words.
#![no_main]

use actviz::compare::npy_values;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(values) = npy_values(bytes) {
        assert!(values.len() <= bytes.len());
    }
});
