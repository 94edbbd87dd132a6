//! Activation layers: what they are, how they are named and chosen.

mod choice;

pub use actviz_core::layers::*;

pub use choice::Choice;
