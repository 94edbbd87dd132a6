//! The flags of `actviz insights` and `actviz report`.

use std::path::PathBuf;

use clap::Args;

use super::{InputArgs, RunArgs, count_of_folds};
use crate::layers::Choice;

/// `actviz insights`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz insights --model resnet50 --folds 3
  actviz insights --model resnet50 --model cnn9 photos/*.png
  actviz insights --model cnn9 --csv > figures.csv
  actviz insights --model cnn9 -o actviz-out && actviz report actviz-out

docs/insights.md defines every figure and says what it does not say. Exits with 1 if
an image could not be measured and others were.")]
pub struct InsightsArgs {
    /// Pictures, as for render; default: each bundle's sample
    #[arg(value_name = "IMAGES")]
    pub images: Vec<String>,
    /// A bundle's name or folder, a TorchScript file, or a pattern of files with {fold}
    /// in it; several are put side by side
    #[arg(short, long, value_name = "NAME|DIR|FILE|PATTERN", required = true)]
    pub model: Vec<String>,
    /// How many folds to look at, the first K that are there; default: all of them
    #[arg(
        short = 'k',
        long,
        value_name = "K",
        value_parser = count_of_folds,
        allow_hyphen_values = true
    )]
    pub folds: Option<usize>,
    /// Only these folds, e.g. 1,3, numbered as their files are, in bundles from 1
    #[arg(long, value_name = "A,..", value_delimiter = ',')]
    pub fold: Vec<usize>,
    /// Which activation layers: all, auto, every:N, or a list of names, globs, numbers,
    /// ranges and op:NAME, as for render
    #[arg(
        short,
        long,
        value_name = "CHOICE",
        default_value = "all",
        allow_negative_numbers = true
    )]
    pub layers: Choice,
    /// At how many places of each layer (the centre, then the quarters) the effective
    /// receptive field is measured, 0 to 5; 0 leaves it out, and is much faster
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(0..=5))]
    pub places: u8,
    /// The network's input.
    #[command(flatten)]
    pub input: InputArgs,
    /// The machine.
    #[command(flatten)]
    pub run: RunArgs,
    /// Print one JSON document instead of tables
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print one line for each model, fold and layer, as comma-separated values
    #[arg(long)]
    pub csv: bool,
    /// Also write the JSON document as insights.json into this folder, for `actviz report`
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `actviz report`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz render --model cnn9 --layers all -o out && actviz insights --model cnn9 -o out
  actviz report out
  actviz report out -o page.html

The page needs no network and no other file. Of the pictures that OUT's manifest.json
names it shows one view of the first 12 images, one picture a layer and fold: heatmaps, else
overlays, else grids; no sheets and no consensus. The figures of OUT/insights.json are on it,
if they are there.

Exit codes: 0 all is there; 1 pictures that the manifest names, on the page or not, are
missing or damaged; 2 nothing could be done, or wrong usage.")]
pub struct ReportArgs {
    /// A folder that `actviz render` wrote
    #[arg(value_name = "OUT")]
    pub folder: PathBuf,
    /// The page's file; default: report.html in the folder
    #[arg(short, long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
}
