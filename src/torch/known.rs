//! What is known of networks that were run already.
//!
//! The folds of a cross-validation are one network with other weights. The layers of the
//! first are those of all, and looking for them takes as long as an image.

use std::sync::{Arc, Mutex, PoisonError};

use super::network::{Batching, Node};
use crate::engine::InputShape;
use crate::layers::Layer;

/// All but the weights' values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// As [`super::ffi::Handle::code`] gives it.
    pub code: String,
    pub nodes: Vec<Node>,
    pub input: InputShape,
}

/// What a run of a program has shown.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub layers: Vec<Layer>,
    pub batching: Batching,
}

/// Programs and what their runs have shown, shared by the networks of an engine.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<Vec<(Program, Shown)>>>);

impl Known {
    pub fn get(&self, program: &Program) -> Option<Shown> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|(other, _)| other == program).map(|(_, shown)| shown.clone())
    }

    pub fn add(&self, program: Program, shown: Shown) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((program, shown));
    }
}
