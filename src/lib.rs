//! Heatmaps of every activation layer of every fold of a k-fold
//! cross-validation, from nothing but the saved TorchScript files.
//!
//! Data flows one way, and each station is a module:
//!
//! ```text
//! args -> plan -> render: engine (worker) -> maps -> scale -> picture -> output + manifest
//! ```
//!
//! * [`args`]: text to typed flags. [`plan`]: flags to what exactly will be read,
//!   run and written; every path is decided there.
//! * [`engine`]: the traits between the commands and libtorch. [`worker`] implements them:
//!   it starts `actviz-torch`, which holds libtorch, and talks with it. [`fake`] implements
//!   them for tests.
//! * [`render`]: carries a plan out, fold by fold, and draws what was seen.
//! * [`reduction`], [`maps`], [`scale`], [`colormap`], [`picture`], [`agreement`],
//!   [`align`]: plain arithmetic on f32 arrays.
//! * [`compare`], [`accept`]: two folders of pictures, without any network.
//! * [`insights`]: what the pictures show, in numbers; [`report`]: one HTML page of it.
//! * [`output`]: names, whole files, and the journal of a run that may be interrupted;
//!   [`manifest`]: what was written; [`schema`]: its shape.
//! * [`shard`] and [`merge`]: a run in parts; [`interrupt`]: one that ends before its time.
//!
//! # As a library
//!
//! [`examples`] has three small programs, whole: draw one layer of one fold; walk all
//! layers and compute a figure of one's own; ask where the folds agree.
//!
//! Arrays are [`ndarray`]'s, in f32: channels x height x width, height x width. Values
//! are the network's own; colours are bytes; sizes are pixels, width before height where
//! they come as a pair. Errors are [`Error`]: what failed, on which file, and a hint.
//!
//! # Words
//!
//! A *fold* is one of the k networks, numbered as its file is, in a bundle from 1; an
//! *activation layer* is one call of an activation function, in the order of execution; a *map* is the 2-D
//! array that a layer gives for one image, at the layer's own resolution.

pub mod about;
pub mod accept;
pub mod agreement;
pub mod align;
pub mod args;
pub mod bundle;
pub mod colormap;
pub mod commands;
pub mod compare;
#[cfg(doc)]
pub mod examples;
pub mod images;
pub mod input;
pub mod insights;
pub mod interrupt;
pub mod layers;
pub mod manifest;
pub mod maps;
pub mod merge;
pub mod output;
pub mod picture;
pub mod plan;
pub mod preview;
pub mod reduction;
pub mod render;
pub mod report;
pub mod scale;
pub mod schema;
pub mod shard;
mod spelling;
pub mod spool;
pub mod stdout;
pub mod terminal;
pub mod worker;

pub use actviz_core::{Error, archive, attempt, digest, engine, error, fake, graph, model_file};
