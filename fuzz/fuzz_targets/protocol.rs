//! What both sides of the engine's socket say to each other. Neither believes the other:
//! a length is no reason to take memory, and outputs have exactly the numbers of their shapes.
#![no_main]

use actviz_core::protocol::{self, Answer, Request};
use libfuzzer_sys::fuzz_target;

/// More bytes of numbers than any input here has.
const MOST: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((request, numbers)) = protocol::read::<Request>(bytes, MOST) {
        assert!(4 * numbers.len() <= bytes.len());
        // Not compared: JSON may round the last bit of a number.
        let text = serde_json::to_string(&request).expect("it was read as JSON");
        serde_json::from_str::<Request>(&text).expect("our own words");
    }
    if let Ok((Answer::Outputs(shapes), numbers)) = protocol::read::<Answer>(bytes, MOST)
        && let Some(outputs) = protocol::outputs(&shapes, &numbers, 1, shapes.len())
    {
        assert_eq!(protocol::shapes(&outputs), shapes);
        let count: usize = outputs.iter().flatten().flatten().map(|array| array.len()).sum();
        assert_eq!(count, numbers.len());
    }
});
