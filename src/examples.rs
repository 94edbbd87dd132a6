//! Small programs on this library: the files in `examples/`, as they are compiled.
//!
//! # Draw one layer of one fold
#![doc = concat!("```rust,ignore\n", include_str!("../examples/render_layer.rs"), "```")]
//!
//! # Walk all layers and compute a statistic of one's own
#![doc = concat!("```rust,ignore\n", include_str!("../examples/statistic.rs"), "```")]
//!
//! # Ask where the folds agree
#![doc = concat!("```rust,ignore\n", include_str!("../examples/compare_folds.rs"), "```")]
