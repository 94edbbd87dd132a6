//! The command line: text to typed flags, and nothing more.
//!
//! What the flags mean on this machine is decided in [`crate::plan`].

mod compare;
mod insights;
mod render;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand};
use strum::VariantNames;

use crate::engine::DeviceChoice;
use crate::input::AxisOrder;
use crate::plan::MOST_CHANNELS;
use crate::terminal::Verbosity;

pub use compare::{AcceptArgs, CompareArgs};
pub use insights::{InsightsArgs, ReportArgs};
pub use render::RenderArgs;

/// Heatmaps of every activation layer of every fold of a k-fold cross-validation.
///
/// Reads saved TorchScript files; needs no Python and no source of the model.
#[derive(Debug, Parser)]
#[command(
    name = "actviz",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  actviz render --model resnet50 --folds 3           30 heatmaps in ./actviz-out
  actviz render --model 'runs/fold_{fold}.pt' cat.png
  actviz layers --model resnet50                     what can be seen in a network
  actviz insights --model resnet50 --model cnn9      how blurred, how sparse, why
  actviz report actviz-out                           one page of all that was found
  actviz show actviz-out/1_3.png                     what a picture says of itself
  actviz compare golden/ actviz-out/                 exit 1 if the pictures changed
  actviz render --model resnet50 --shard 1/2 -o out photos/
  actviz merge out                                   the shards of a run, put together
  actviz doctor                                      is this machine set up?

Exit codes: 0 done; 1 a negative answer, or some images failed and the rest were
written; 2 wrong usage, or nothing could be done; 75 try again later (disk full,
out of memory); 130 or 143 interrupted (run it again: what is whole is kept)."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    reporter: TalkArgs,
}

impl Cli {
    /// How much to say on stderr.
    pub fn verbosity(&self) -> Verbosity {
        match (self.reporter.quiet, self.reporter.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        }
    }
}

/// One subcommand a variant.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a heatmap for every activation layer of every fold
    Render(Box<RenderArgs>),
    /// List the activation layers of a network
    Layers(LayersArgs),
    /// Put the shards of a run together
    Merge(MergeArgs),
    /// Compare pictures with those that they should be, for CI
    Compare(Box<CompareArgs>),
    /// Make new pictures the ones that they should be
    Accept(AcceptArgs),
    /// Measure how fine, how sparse and how far-sighted the layers are, and why
    Insights(Box<InsightsArgs>),
    /// Make one self-contained HTML page of a folder of pictures
    Report(ReportArgs),
    /// Print what a picture carries: model, fold, layer, scale, versions, hashes
    Show(ShowArgs),
    /// Check what this machine has: libtorch, devices, sandbox, bundles
    Doctor(DoctorArgs),
}

#[derive(Debug, Args)]
struct TalkArgs {
    /// Say nothing but errors
    #[arg(short, long, global = true, display_order = 900, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more, with all that libtorch said when something fails
    #[arg(short, long, global = true, display_order = 900, action = ArgAction::SetTrue)]
    verbose: bool,
}

/// Which network, which folds of it.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// A bundle's name, a bundle's folder (./NAME), a TorchScript file, or a pattern of
    /// files with {fold} in it; {fold:02} takes numbers of two digits alone
    #[arg(short, long, value_name = "NAME|DIR|FILE|PATTERN")]
    pub model: String,
    /// How many folds to look at, the first K that are there; default: all of them
    #[arg(
        short = 'k',
        long,
        value_name = "K",
        value_parser = count_of_folds,
        allow_hyphen_values = true
    )]
    pub folds: Option<usize>,
    /// Only these folds, e.g. 1,3, numbered as their files are (0,2 where those count from
    /// 0), in bundles from 1
    #[arg(long, value_name = "A,..", value_delimiter = ',')]
    pub fold: Vec<usize>,
}

/// What the network is fed with, where the bundle does not say or says otherwise.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// Size of the network's input, in pixels; default: the bundle's or file's, else 224
    #[arg(long, value_name = "N|WxH", value_parser = size_of_input)]
    pub input_size: Option<(usize, usize)>,
    /// Channels of the network's input, 1 to 4096; default: the bundle's, else what the
    /// network's first layer takes, else as many as --mean has numbers, else 3
    #[arg(long, value_name = "N", value_parser = count_of_channels)]
    pub channels: Option<usize>,
    /// Where .npy and .npz files have their channels: chw (first) or hwc (last); default: as
    /// their sizes tell
    #[arg(long, value_name = "ORDER", value_parser = one_of::<AxisOrder>())]
    pub layout: Option<AxisOrder>,
    /// Mean of each channel, for values in 0..1; default: the bundle's or file's, else
    /// ImageNet's.
    /// Arrays and TIFF files of other values are taken as they are, and normalised only if
    /// this is given
    #[arg(long, value_name = "M,..", value_delimiter = ',', allow_negative_numbers = true)]
    pub mean: Vec<f32>,
    /// Standard deviation of each channel; default: the bundle's or file's, else ImageNet's
    #[arg(long, value_name = "S,..", value_delimiter = ',')]
    pub std: Vec<f32>,
    /// How an image of another shape is brought to the input's shape: stretch it,
    /// or crop its centre; default: the bundle's, else stretch
    #[arg(long, value_name = "RULE", value_parser = one_of::<crate::bundle::ResizeRule>())]
    pub resize: Option<crate::bundle::ResizeRule>,
}

/// Where and with how much of the machine.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// auto, cpu, cuda, cuda:N or mps; auto takes CUDA if it is there
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Threads; default: one a core
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// How far the network's file is trusted.
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// How far a network's file is trusted (SECURITY.md).
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// Let networks use this operator although it is not known to be harmless, e.g.
    /// aten::save; can be given several times
    #[arg(long, value_name = "NAME", display_order = 800)]
    pub allow_op: Vec<String>,
    /// Let the process that runs the networks touch whatever you may touch
    #[arg(long, display_order = 800)]
    pub no_sandbox: bool,
    /// The most that a network may unpack to, e.g. 500M
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16G",
        value_parser = size_in_bytes,
        display_order = 800
    )]
    pub max_model_size: u64,
    /// Give up on a network that takes longer for one image; default: 600 seconds. Loading
    /// counts as one image
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..),
        display_order = 800
    )]
    pub timeout: Option<u64>,
    /// The most memory of the process that runs the networks, on CPU, e.g. 8G, at least
    /// 512M; default: what the machine has
    #[arg(long, value_name = "SIZE", value_parser = memory_in_bytes, display_order = 800)]
    pub max_memory: Option<u64>,
}

/// `actviz layers`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz layers --model resnet50
  actviz layers --model 'runs/fold_{fold}.pt' --folds 3 --input-size 96
  actviz layers --model net.pt --audit
  actviz layers --model net.pt --json | jq -r '.layers[].name'

A * marks the layers that `actviz render` draws unless --layers says otherwise.")]
pub struct LayersArgs {
    /// The network.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Its input.
    #[command(flatten)]
    pub input: InputArgs,
    /// The machine.
    #[command(flatten)]
    pub run: RunArgs,
    /// List the operators that the network's code uses, and which of them are refused,
    /// without running any of it; exits with 1 if there are any
    #[arg(long)]
    pub audit: bool,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `actviz merge`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz merge out
  actviz merge out --json | jq '.pictures | length'

Checks that all shards are done, that they are of one run, and that every file is the one
that its shard wrote; then OUT/manifest.json takes the place of the shards' parts, as if
one run had written it. Exits with 1 if some images failed, with 2 if something is missing.")]
pub struct MergeArgs {
    /// The folder that the shards were written into
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// Print the manifest
    #[arg(long)]
    pub json: bool,
}

/// `actviz doctor`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz doctor
  actviz doctor --json

Exits with 1 if something that is there is broken, e.g. a bundle's file that is
not the one its model.json names.")]
pub struct DoctorArgs {
    /// Also try out what the sandbox lets a network do, and what it would do without
    #[arg(long)]
    pub sandbox: bool,
    /// Print one JSON document instead of a table
    #[arg(long)]
    pub json: bool,
}

/// `actviz show`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz show actviz-out/1_3.png
  actviz show --json out/*.png | jq -r '.[].picture.layer'")]
pub struct ShowArgs {
    /// Pictures that actviz made
    #[arg(value_name = "FILE.png", required = true)]
    pub files: Vec<PathBuf>,
    /// Print JSON: one document for one file, a list for several
    #[arg(long)]
    pub json: bool,
}

/// A parser for the names of an enum, so that help and errors list them.
fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: VariantNames + std::str::FromStr + Clone + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    PossibleValuesParser::new(T::VARIANTS).try_map(|name| name.parse())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it is a whole number from 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

fn count_of_folds(text: &str) -> Result<usize, String> {
    let is_list = text.split(',').all(|part| part.trim().parse::<usize>().is_ok());
    if text.contains(',') && is_list {
        return Err(format!("it is how many folds there are; did you mean --fold {text}?"));
    }
    at_least_one(text).map_err(|_| "it is how many folds to look at: --folds 1 or more".to_owned())
}

fn count_of_channels(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=MOST_CHANNELS).contains(&count) => Ok(count),
        _ => Err(format!("it is a whole number from 1 to {MOST_CHANNELS}")),
    }
}

/// 1024 a step: `20K`, `500M`, `16G`, or plain bytes.
fn size_in_bytes(text: &str) -> Result<u64, String> {
    with_unit(text, 1024).ok_or_else(|| "it is a number of bytes, or one with K, M, G or T".into())
}

/// Bytes that libtorch can at least be loaded in.
fn memory_in_bytes(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 512 << 20;
    let bytes = size_in_bytes(text)?;
    if bytes < LEAST { Err("libtorch alone needs 512M".into()) } else { Ok(bytes) }
}

/// 1000 a step: `500K`, `200M`, or plain pixels.
fn count_of_pixels(text: &str) -> Result<u64, String> {
    with_unit(text, 1000).ok_or_else(|| "it is a number, or one with K, M, G or T".into())
}

fn with_unit(text: &str, step: u64) -> Option<u64> {
    let power = text.chars().last().and_then(|last| "KMGT".find(last.to_ascii_uppercase()));
    let Some(power) = power else { return text.parse().ok() };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(step.checked_pow(power as u32 + 1)?)
}

fn size_of_input(text: &str) -> Result<(usize, usize), String> {
    let side = |text: &str| at_least_one(text).ok();
    let sides = match text.split_once(['x', 'X']) {
        Some((width, height)) => side(width).zip(side(height)),
        None => side(text).map(|side| (side, side)),
    };
    sides.ok_or_else(|| "it is one number, or width x height as 320x240".to_owned())
}
