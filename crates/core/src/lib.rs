//! The ground that `actviz` and its engine, `actviz-torch`, both stand on.
//!
//! * [`engine`]: the seam. `Engine` opens model files, `Network` runs one. [`protocol`]
//!   carries it between two processes; [`fake`] answers it in tests.
//! * [`graph`]: which operator of a network reads which; [`operators`]: what is known of each.
//! * [`layers`]: what an activation layer is, and how its tensor is read as a picture.
//! * [`reduce`]: how a layer's channels become one map.
//! * [`model_file`]: a network's file, opened once; [`archive`]: what it is, before libtorch
//!   sees it; [`digest`]: its SHA-256.
//! * [`regular`]: opens what must be a file, without waiting for it.
//! * [`error`]: what failed, on which file, and what to do about it.

pub mod archive;
pub mod attempt;
pub mod digest;
pub mod engine;
pub mod error;
pub mod fake;
pub mod graph;
pub mod layers;
pub mod model_file;
pub mod operators;
pub mod protocol;
pub mod reduce;
pub mod regular;

pub use error::Error;
