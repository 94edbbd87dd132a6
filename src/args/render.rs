//! The flags of `actviz render`.

use std::path::PathBuf;

use clap::Args;

use super::{InputArgs, ModelArgs, RunArgs, one_of};
use crate::colormap::Colormap;
use crate::engine::Reduce;
use crate::layers::Choice;
use crate::picture::{Interpolation, Size};

/// `actviz render`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  actviz render --model resnet50 --folds 3
  actviz render --model cnn9 --layers all --colormap magma -o out photo.jpg
  actviz render --model 'runs/fold_{fold}.pt' --folds 5 --raw photos/*.png
  actviz render --model net.pt --layers 'layer1.*,12' --size 512 @list.txt
  find photos -name '*.jpg' | actviz render --model resnet50 -o out -

Files: a_b.png, a = fold, b = position of the layer in the chosen list, both from
1; in OUT for one image, in OUT/IMAGE'S NAME/ for several. OUT/manifest.json says
which layer each picture shows, and the values at the ends of its colours.")]
pub struct RenderArgs {
    /// Pictures: files, folders, globs, @LIST (a file of paths, one a line), or -
    /// (the same on stdin); default: the bundle's sample
    #[arg(value_name = "IMAGES")]
    pub images: Vec<String>,
    /// The network.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The folder to write into
    #[arg(short, long, value_name = "DIR", default_value = "actviz-out")]
    pub out: PathBuf,
    /// auto (the bundle's list, else at most 10 evenly spaced), all, every:N, or a
    /// list of names, globs and numbers as `actviz layers` prints them
    #[arg(short, long, value_name = "CHOICE", default_value = "auto")]
    pub layers: Choice,
    /// How a layer's channels become one map
    #[arg(long, value_name = "HOW", default_value_t, value_parser = one_of::<Reduce>())]
    pub reduce: Reduce,
    /// The colours
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
    /// Also write each map as a_b.npy: f32, height x width, the layer's own values
    #[arg(long)]
    pub raw: bool,
    /// Print what was done as one JSON document: the manifest
    #[arg(long)]
    pub json: bool,
    /// Print what would be read and written, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write into a folder that holds other files; an earlier run's pictures are
    /// replaced, files of others are kept
    #[arg(long)]
    pub force: bool,
}
