//! The flags of `actviz render`.

use std::path::PathBuf;

use clap::Args;

use super::{InputArgs, ModelArgs, RunArgs, count_of_pixels, one_of, size_in_bytes};
use crate::colormap::Colormap;
use crate::engine::Precision;
use crate::layers::Choice;
use crate::maps::Flag;
use crate::picture::grid::TileOrder;
use crate::picture::{Interpolation, Size, View};
use crate::plan::{BatchSize, FrameChoice};
use crate::reduction::Reduction;
use crate::scale::Scale;
use crate::shard::Shard;

/// `actviz render`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz render --model resnet50 --folds 3
  actviz render --model cnn9 --layers all --colormap magma -o out photo.jpg
  actviz render --model resnet50 --scale folds --view heat,overlay,sheet --legend
  actviz render --model 'runs/fold_{fold}.pt' --folds 5 --raw photos/*.png
  actviz render --model strange.pt --timeout 60 --max-memory 4G photo.jpg
  actviz render --model net.pt --layers 'layer1.*,4-6,last' --size 512 @list.txt
  find photos -name '*.jpg' | actviz render --model resnet50 -o out -
  find photos -name '*.jpg' -print0 | actviz render --model resnet50 --files0-from -
  actviz render --model resnet50 --shard 2/4 -o shared photos/    (then: actviz merge shared)

Run again, the same command keeps what is whole and makes what is missing, whether it
was interrupted, killed, or had no room on the disk.

Files: a_b.png, a = fold (the number in its file's name; in bundles from 1), b = position
of the layer in the chosen list, from 1; in OUT for one image, in OUT/IMAGE'S NAME/ for
several, with the sub-folders that they have below their common folder. OUT/manifest.json says
which layer each picture shows, and the values at the ends of its colours; so does
`actviz show FILE.png`.")]
pub struct RenderArgs {
    /// Pictures, or arrays (.npy, .npz): files, folders (with those below them), globs, @LIST
    /// (a file of paths, one a line), or - (the same on stdin); default: the bundle's sample
    #[arg(value_name = "IMAGES")]
    pub images: Vec<String>,
    /// Also take the pictures named in this file (- is stdin), with a zero byte after each
    /// name, as `find -print0` writes them
    #[arg(long, value_name = "FILE")]
    pub files0_from: Option<PathBuf>,
    /// Of animations and files of several pages, draw this frame, from 1, or every one, each
    /// as an image of its own (NAME.3); default: the first
    #[arg(long, value_name = "N|all")]
    pub frame: Option<FrameChoice>,
    /// The network.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The folder to write into
    #[arg(short, long, value_name = "DIR", default_value = "actviz-out")]
    pub out: PathBuf,
    /// auto (the bundle's list, else at most 10 evenly spaced), all, every:N, or a list of
    /// names, globs and numbers as `actviz layers` prints them, ranges (1-5, 40-, first,
    /// last) and activation functions (op:gelu)
    #[arg(
        short,
        long,
        value_name = "CHOICE",
        default_value = "auto",
        allow_negative_numbers = true
    )]
    pub layers: Choice,
    /// How a layer's channels become one map: mean, max, l2, std, pca (the first
    /// principal component), channel:N (from 1), or top:K (the K most active channels,
    /// each a picture of its own: a_b.top1.png ...)
    #[arg(long, value_name = "HOW", default_value_t)]
    pub reduce: Reduction,
    /// Which pictures share their black and white: map (none), layer (all images of a
    /// layer), folds (all images and folds of a layer), or fixed:LOW,HIGH
    #[arg(long, value_name = "WHICH", default_value_t, allow_hyphen_values = true)]
    pub scale: Scale,
    /// Let this percentage of the values at either end go over into black and white
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    pub clip: f32,
    /// What to draw, several at once: heat (a_b.png), overlay (over the input,
    /// a_b.overlay.png), grid (every channel, a_b.grid.png), sheet (all layers x folds
    /// of an image, sheet.png)
    #[arg(
        long,
        value_name = "VIEW,..",
        value_delimiter = ',',
        default_value = "heat",
        value_parser = one_of::<View>()
    )]
    pub view: Vec<View>,
    /// How much of an overlay is heatmap, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    pub alpha: f32,
    /// Set a colour bar with its values below each picture
    #[arg(long)]
    pub legend: bool,
    /// The order of a grid's channels: their own, or the most active first
    #[arg(long, value_name = "ORDER", default_value_t, value_parser = one_of::<TileOrder>())]
    pub grid_order: TileOrder,
    /// In grids, give matching channels of all folds the same place
    #[arg(long)]
    pub align_folds: bool,
    /// Also draw the mean and the standard deviation over the folds, mean_b.png and
    /// std_b.png, and record how far the folds agree
    #[arg(long)]
    pub consensus: bool,
    /// The colours; auto takes viridis, or blue-red with zero in the middle where
    /// values are below zero or can be (gelu, silu, tanh ...)
    #[arg(long, value_name = "NAME", default_value_t, value_parser = one_of::<Colormap>())]
    pub colormap: Colormap,
    /// The pictures' size: input (the network's input), native (the layer's own
    /// resolution), or the longer side in pixels
    #[arg(long, value_name = "input|native|N", default_value_t)]
    pub size: Size,
    /// How maps are enlarged to that size: bilinear (smooth), or nearest (shows the
    /// layer's own pixels)
    #[arg(long, value_name = "HOW", default_value_t, value_parser = one_of::<Interpolation>())]
    pub interpolation: Interpolation,
    /// The network's input.
    #[command(flatten)]
    pub input: InputArgs,
    /// The machine.
    #[command(flatten)]
    pub run: RunArgs,
    /// In which numbers the network computes: f32, or bf16 (faster on processors that have
    /// it, to about two digits; docs/performance.md)
    #[arg(long, value_name = "NUMBERS", default_value_t, value_parser = one_of::<Precision>())]
    pub precision: Precision,
    /// How many images go through the network at once: auto (up to 8), or a number
    #[arg(long, value_name = "auto|N", default_value_t)]
    pub batch: BatchSize,
    /// Make one of N parts of the pictures, from 1; `actviz merge` puts them together
    #[arg(long, value_name = "I/N", conflicts_with = "shard_index")]
    pub shard: Option<Shard>,
    /// The same for job arrays that count from 0: this part ...
    #[arg(long, value_name = "I", requires = "shard_count")]
    pub shard_index: Option<usize>,
    /// ... of how many
    #[arg(long, value_name = "N", requires = "shard_index")]
    pub shard_count: Option<usize>,
    /// Give the same bytes on every run, whatever else is in it: one thread, one image
    /// at a time, one instruction set (docs/determinism.md)
    #[arg(long)]
    pub deterministic: bool,
    /// Also write each map as a_b.npy: f32, height x width, the layer's own values
    #[arg(long)]
    pub raw: bool,
    /// The largest picture file that is read, e.g. 2G
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1G",
        value_parser = size_in_bytes,
        display_order = 800
    )]
    pub max_image_size: u64,
    /// The most pixels of a picture that are decoded, e.g. 500M
    #[arg(
        long,
        value_name = "N",
        default_value = "200M",
        value_parser = count_of_pixels,
        display_order = 800
    )]
    pub max_image_pixels: u64,
    /// Exit with 1 if a map is one of these: nan, inf, dead, constant
    #[arg(long, value_name = "WHAT,..", value_delimiter = ',', value_parser = one_of::<Flag>())]
    pub fail_on: Vec<Flag>,
    /// End at the first image or fold that fails, instead of going on with the others
    #[arg(long)]
    pub fail_fast: bool,
    /// Show the sheet in the terminal
    #[arg(long)]
    pub preview: bool,
    /// Print what was done as one JSON document: the manifest
    #[arg(long)]
    pub json: bool,
    /// Print one line of JSON for each picture as soon as it is there, and for each failure
    #[arg(long, conflicts_with_all = ["json", "dry_run"])]
    pub json_lines: bool,
    /// Print what would be read and written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not wait for the disk: after a loss of power, pictures that are noted as whole may
    /// be damaged
    #[arg(long)]
    pub no_sync: bool,
    /// Write into a folder that holds other files, and make everything anew; an earlier
    /// run's pictures are replaced, files of others are kept
    #[arg(long)]
    pub force: bool,
}

fn percent(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(percent) if (0.0..50.0).contains(&percent) => Ok(percent),
        _ => Err("it is a number from 0 to below 50".to_owned()),
    }
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("it is a number from 0 to 1".to_owned()),
    }
}
