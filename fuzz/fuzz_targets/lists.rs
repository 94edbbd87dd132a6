//! `@LIST`: any bytes are paths, as many as there are lines that are not empty.
#![no_main]

use actviz::images;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let files = images::listed(bytes).expect("bytes in memory can be read");
    assert!(files.len() <= bytes.iter().filter(|byte| **byte == b'\n').count() + 1);
    assert!(files.iter().all(|file| !file.as_os_str().is_empty()));
});
