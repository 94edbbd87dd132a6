//! What the pictures show, in numbers: how fine, how sparse, how far they see, and what
//! takes the detail away. Every measure is defined in docs/insights.md.

pub mod blur;
pub mod channels;
pub mod effective;
mod measure;
#[cfg(test)]
mod notation;
pub mod reach;
pub mod spectrum;
pub mod structure;
pub mod trend;
mod words;

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agreement;
use crate::error::Error;
use crate::manifest;
use crate::output;

pub use measure::{Measure, measure};
use reach::Reach;
use trend::Trend;
pub use words::{comparisons, observations, octaves};

/// The version of the document's shape.
pub const SCHEMA: u32 = 1;
/// The document's name in an output folder, where `actviz report` looks for it.
pub const FILE_NAME: &str = "insights.json";

/// `actviz insights --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Document {
    /// The version of this shape: 1.
    pub schema: u32,
    /// The version of actviz.
    pub actviz: String,
    /// The version of libtorch.
    pub libtorch: String,
    /// The models, as asked for.
    pub models: Vec<ModelInsights>,
    /// What sets the models apart, in sentences; empty for one.
    pub comparisons: Vec<String>,
}

/// One model: all of its folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelInsights {
    /// The model's name.
    pub model: String,
    /// The folds' numbers.
    pub folds: Vec<usize>,
    /// Each fold's file with its SHA-256; empty in documents that are older than this field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<manifest::Fold>,
    /// The images that were measured in every fold.
    pub images: Vec<String>,
    /// Height and width of the input in pixels.
    pub input: [usize; 2],
    /// The detail of the input itself (the mean of its channels), over the images.
    pub input_detail: Option<Spread>,
    /// The spatial activation layers, in order of depth.
    pub layers: Vec<LayerInsights>,
    /// Whether detail falls with depth; none with fewer than two layers that have a detail.
    pub trend: Option<Trend>,
    /// Whether fill falls with depth: maps grow smoother than their grid.
    pub fill_trend: Option<Trend>,
    /// What took the detail away between the input and the last layer that has one, by
    /// fold, mean over the images. Empty where the graph does not tell the way.
    pub blur: Vec<Blur>,
    /// The observations, in sentences made of the figures.
    pub observations: Vec<Observation>,
    /// Images that could not be measured, and why.
    pub failed: Vec<String>,
}

/// One activation layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LayerInsights {
    /// The position among all activation layers, from 1, as `actviz layers` counts them.
    pub index: usize,
    /// The layer's name.
    pub name: String,
    /// The activation function.
    pub operator: String,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// What a value can depend on, by the graph.
    pub receptive_field: Reach,
    /// The folds' figures, in the order of the model's folds.
    pub folds: Vec<FoldInsights>,
    /// Spearman's rank correlation of the folds' mean maps, over the images; a matrix. Null
    /// where a map is constant, and for two folds that have the same file.
    pub agreement: Vec<Vec<Option<f64>>>,
}

/// One layer of one fold, over the images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FoldInsights {
    /// The fold's number.
    pub fold: usize,
    /// Cycles per image below which 90 % of the mean map's power lies.
    pub detail: Option<Spread>,
    /// Detail over what the grid carries: half its longer side.
    pub fill: Option<Spread>,
    /// Side of the square that holds 90 % of the gradient's energy, in pixels.
    pub effective_field: Option<Spread>,
    /// Share of the gradient's energy inside the receptive field.
    pub energy_inside: Option<Spread>,
    /// Share of values that are exactly zero.
    pub sparsity: Option<Spread>,
    /// Channels without a value above zero in any image.
    pub dead_channels: usize,
    /// Channels that say something of their own: effective rank of their correlation.
    pub effective_rank: Option<Spread>,
}

/// What took the detail away in one fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Blur {
    /// The fold's number.
    pub fold: usize,
    /// The layer that the way ends at.
    pub layer: String,
    /// `log2(input's detail / layer's detail)`: the sum of the shares.
    pub octaves: f64,
    /// The octaves that a smaller grid takes from what it can carry, `log2(input's limit /
    /// layer's limit)`. `octaves` less these is what maps lost, or gained, in fill.
    pub grid: f64,
    /// The shares of each kind of operator.
    pub shares: Vec<blur::Share>,
}

/// An observation and whether the figures bear it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// What was observed, in a few words; the same for every model.
    pub claim: String,
    /// Whether they do; none if nothing can be said.
    pub holds: Option<bool>,
    /// In words, with the figures.
    pub text: String,
}

/// A figure over several images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation, of the population.
    pub std: f64,
    /// How many images have the figure.
    pub count: usize,
}

impl Spread {
    /// Of what is there; `None` of nothing.
    pub fn of(values: impl IntoIterator<Item = Option<f64>>) -> Option<Spread> {
        let values: Vec<f64> = values.into_iter().flatten().collect();
        let mean = agreement::mean(values.iter().copied())?;
        let variance = agreement::mean(values.iter().map(|value| (value - mean).powi(2)))?;
        Some(Spread { mean, std: variance.sqrt(), count: values.len() })
    }
}

impl LayerInsights {
    /// The mean over the folds of a figure.
    pub fn mean(&self, figure: impl Fn(&FoldInsights) -> Option<f64>) -> Option<f64> {
        agreement::mean(self.folds.iter().filter_map(figure))
    }

    /// The mean agreement of two different folds.
    pub fn mean_agreement(&self) -> Option<f64> {
        let pairs = self.agreement.iter().enumerate().flat_map(|(a, row)| &row[..a]);
        agreement::mean(pairs.flatten().copied())
    }
}

impl Document {
    /// Reads the document beside a folder's pictures; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Json`] if it is none of ours, [`Error::Io`] if it cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Document>, Error> {
        let file = folder.join(FILE_NAME);
        let text = match output::read_file(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &file)(error)),
        };
        let bad = |problem: String| Error::Json { file: file.clone(), problem };
        let document: Document = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        if document.schema != SCHEMA {
            return Err(bad(format!("schema {} is not {SCHEMA}", document.schema)));
        }
        Ok(Some(document))
    }
}
