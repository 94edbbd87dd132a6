//! The journal that an interrupted run has left, cut off anywhere.
#![no_main]

use actviz::output::read_journal;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (_, lines) = read_journal(bytes);
    assert!(lines.len() <= bytes.iter().filter(|byte| **byte == b'\n').count());
    for line in &lines {
        let text = serde_json::to_vec(line).expect("our own words");
        let (_, again) = read_journal(&[b"\n", &text[..]].concat()[..]);
        assert_eq!(again.len(), 1);
    }
});
