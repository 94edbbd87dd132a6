//! Flags -> what exactly will be read, run and written.
//!
//! The one place that holds flags against this machine. When a [`Plan`] exists,
//! every path is decided and every clash found; nothing has been written yet.

mod names;

use std::path::{Path, PathBuf};

use crate::args::{InputArgs, RenderArgs};
use crate::bundle::{self, Assumed, Input, Model};
use crate::colormap::Colormap;
use crate::engine::{Engine, InputShape, Network, Precision};
use crate::error::Error;
use crate::images;
use crate::input::{self, DecodeLimits, Reading};
use crate::layers::Choice;
use crate::manifest::{self, Manifest};
use crate::maps::Flag;
use crate::output::{self, Folder};
use crate::picture::grid::TileOrder;
use crate::picture::{Interpolation, Size, View};
use crate::reduction::Reduction;
use crate::scale::Scale;
use crate::shard::Shard;

pub use names::PlannedImage;
use names::{Frame, each_once, name_images};

/// The side of the input where nothing says otherwise.
const DEFAULT_SIDE: usize = 224;
/// More channels than any instrument has.
pub const MOST_CHANNELS: usize = 4096;
/// ImageNet's mean, as torchvision's models are trained with.
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet's standard deviation, likewise.
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

/// All that `render` will do.
#[derive(Debug)]
pub struct Plan {
    /// The networks.
    pub model: Model,
    /// What they are fed with, as far as it is known before they are loaded.
    pub input: InputPlan,
    /// The images, in order; of a shard, its own.
    pub images: Vec<PlannedImage>,
    /// How many images were given, to all shards.
    pub listed: usize,
    /// Which of several parts of a run this is.
    pub shard: Option<manifest::ShardInfo>,
    /// How many images go through the network at once; a batch of fewer is filled up.
    pub batch: usize,
    /// In which numbers the network computes.
    pub precision: Precision,
    /// Whether the first failure ends the run.
    pub fail_fast: bool,
    /// How images are read.
    pub reading: Reading,
    /// What was found where, in words.
    pub notes: Vec<String>,
    /// Which layers.
    pub layers: Choice,
    /// How channels become a map.
    pub reduce: Reduction,
    /// Which maps share their black and white.
    pub scale: Scale,
    /// Percent of the values at either end that go over into black and white.
    pub clip: f32,
    /// What is drawn, each once.
    pub views: Vec<View>,
    /// The heatmap's share of an overlay.
    pub alpha: f32,
    /// Whether a colour bar stands below each picture.
    pub legend: bool,
    /// The order of a grid's channels.
    pub grid_order: TileOrder,
    /// Whether grids give matching channels of all folds the same place.
    pub align_folds: bool,
    /// Whether the folds' mean and deviation are drawn.
    pub consensus: bool,
    /// Whether the run is the one documented configuration.
    pub deterministic: bool,
    /// What makes the run fail.
    pub fail_on: Vec<Flag>,
    /// Whether sheets are shown in the terminal.
    pub preview: bool,
    /// The colours.
    pub colormap: Colormap,
    /// The pictures' size.
    pub size: Size,
    /// How maps are enlarged.
    pub interpolation: Interpolation,
    /// Where the pictures go.
    pub out: PathBuf,
    /// Whether maps are written as `.npy`, too.
    pub raw: bool,
    /// Whether everything is made anew, among whatever files.
    pub force: bool,
    /// What is promised is on the disk.
    pub sync: bool,
}

/// `--batch`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchSize {
    /// As many as were measured to be best, `BEST_BATCH`, or what is there.
    #[default]
    Auto,
    /// So many.
    Exactly(usize),
}

/// Images that run through the network at once. Measured on two cores: eight were
/// better than one, 16 and 32 (docs/performance.md).
const BEST_BATCH: usize = 8;

impl BatchSize {
    /// For a run of so many images: with `auto` batches of one size, of which the last
    /// lacks as few images as possible.
    fn of(self, images: usize) -> usize {
        match self {
            BatchSize::Exactly(count) => count,
            BatchSize::Auto => {
                images.div_ceil(images.div_ceil(BEST_BATCH).max(1)).clamp(1, BEST_BATCH)
            }
        }
    }
}

impl std::str::FromStr for BatchSize {
    type Err = String;

    fn from_str(text: &str) -> Result<BatchSize, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(BatchSize::Auto),
            (_, Ok(count @ 1..=1024)) => Ok(BatchSize::Exactly(count)),
            _ => Err("it is auto, or a number from 1 to 1024".to_owned()),
        }
    }
}

impl std::fmt::Display for BatchSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BatchSize::Auto => f.write_str("auto"),
            BatchSize::Exactly(count) => write!(f, "{count}"),
        }
    }
}

/// `--frame`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameChoice {
    /// The first one of each file, which keeps the file's name.
    #[default]
    First,
    /// This one, from 1.
    Number(usize),
    /// Every one of files that have several.
    All,
}

impl FrameChoice {
    /// The images that these files are.
    fn of(self, files: Vec<PathBuf>, limits: DecodeLimits) -> Vec<Frame> {
        let of_file = |path: PathBuf| -> Vec<Frame> {
            match self {
                FrameChoice::First => vec![(path, None)],
                FrameChoice::Number(number) => vec![(path, Some(number))],
                FrameChoice::All => match input::count_frames(&path, limits) {
                    1 => vec![(path, None)],
                    count => (1..=count).map(|frame| (path.clone(), Some(frame))).collect(),
                },
            }
        };
        files.into_iter().flat_map(of_file).collect()
    }
}

impl std::str::FromStr for FrameChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<FrameChoice, String> {
        match (text, text.parse()) {
            ("all", _) => Ok(FrameChoice::All),
            (_, Ok(number)) if number > 0 => Ok(FrameChoice::Number(number)),
            _ => Err("it is all, or a number from 1".to_owned()),
        }
    }
}

/// How images are read, as far as the flags of the input say; with the limits of the library.
pub fn reading(args: &InputArgs) -> Reading {
    Reading {
        limits: DecodeLimits::default(),
        layout: args.layout,
        mean: args.mean.clone(),
        std: args.std.clone(),
    }
}

/// The input's flags over what the bundle says.
#[derive(Clone, Debug)]
pub struct InputPlan {
    described: Option<Input>,
    channels: Option<usize>,
    size: Option<(usize, usize)>,
    mean: Vec<f32>,
    std: Vec<f32>,
    resize: Option<crate::bundle::ResizeRule>,
}

impl Plan {
    /// Decides everything that can be decided before a network is loaded.
    ///
    /// # Errors
    /// [`Error::Usage`] and the errors of [`Model::find`] and [`images::expand`].
    pub fn new(args: &RenderArgs) -> Result<Plan, Error> {
        let model = Model::find(&args.model.model, args.model.folds, &args.model.fold)?;
        let input = InputPlan::new(&args.input, &model)?;
        refuse_networks(&args.images)?;
        let images::Found { mut files, notes } = images::expand(&args.images, Some(&args.out))?;
        if let Some(list) = &args.files0_from {
            files.extend(images::read_with_zeros(list)?);
        } else if args.images.is_empty() {
            files.extend(model.sample.clone());
        }
        if files.is_empty() {
            let what = if args.images.is_empty() && args.files0_from.is_none() {
                format!("no image was given, and {} brings no sample", model.name)
            } else {
                "the list of images is empty".to_owned()
            };
            return Err(Error::usage_hint(what, "actviz render --model ... photo.png"));
        }
        refuse_0_to_255(&args.input, &files)?;
        if let Some(file) = files.iter().find(|file| output::would_overwrite(&args.out, file)) {
            return Err(Error::usage_hint(
                format!("a picture might be written over the image {}", file.display()),
                "write into another folder with -o DIR",
            ));
        }
        if args.out.exists() && !args.out.is_dir() {
            return Err(Error::usage_hint(
                format!("{} is a file, not a folder", args.out.display()),
                "-o DIR names the folder that the pictures go into",
            ));
        }
        let views = views(args)?;
        if args.consensus && model.folds.len() < 2 {
            return Err(Error::usage_hint(
                "--consensus shows what several folds have in common, and there is one",
                "leave it out, or take more folds with --folds K or --fold A,B",
            ));
        }
        let limits = DecodeLimits { bytes: args.max_image_size, pixels: args.max_image_pixels };
        let frames = args.frame.unwrap_or_default().of(each_once(files), limits);
        let listed = frames.len();
        let images = name_images(frames, &args.out)?;
        let (images, shard) = match shard(args)? {
            Some(shard) => part(images, shard),
            None => (images, None),
        };
        Ok(Plan {
            model,
            input,
            images,
            listed,
            shard,
            batch: if args.deterministic { 1 } else { args.batch.of(listed) },
            precision: args.precision,
            fail_fast: args.fail_fast,
            reading: Reading { limits, ..reading(&args.input) },
            notes,
            layers: args.layers.clone(),
            reduce: args.reduce,
            scale: args.scale,
            clip: args.clip,
            views,
            alpha: args.alpha,
            legend: args.legend,
            grid_order: args.grid_order,
            align_folds: args.align_folds,
            consensus: args.consensus,
            deterministic: args.deterministic,
            fail_on: args.fail_on.clone(),
            preview: args.preview,
            colormap: args.colormap,
            size: args.size,
            interpolation: args.interpolation,
            out: args.out.clone(),
            raw: args.raw,
            force: args.force,
            sync: !args.no_sync,
        })
    }

    /// Whether every picture can be drawn as soon as its layer has run, without
    /// waiting for the other images and folds.
    pub fn is_local(&self) -> bool {
        let waits = self.consensus || self.align_folds || self.wants_sheets();
        self.scale.is_local() && !waits
    }

    /// What progress counts: a layer of a fold for an image is one picture, unless it has
    /// several, or they wait for those of other images.
    pub fn unit(&self) -> &'static str {
        let is_one = matches!(self.views[..], [View::Heat | View::Overlay | View::Grid]);
        match self.is_local() && is_one && !matches!(self.reduce, Reduction::Top(_)) {
            true => "pictures",
            false => "maps",
        }
    }

    /// Whether sheets are drawn, to be written or to be shown.
    pub fn wants_sheets(&self) -> bool {
        self.preview || self.views.contains(&View::Sheet)
    }

    /// Checks that the output folder would not be mixed with something else.
    ///
    /// # Errors
    /// [`Error::Usage`] if so.
    pub fn check_output(&self, configuration: &Manifest) -> Result<(), Error> {
        Folder::check(&self.out, configuration, self.force)
    }

    /// A manifest that says what will be run, without a picture in it.
    pub fn configuration(&self, engine: &dyn Engine, input: &Input) -> Manifest {
        let fold = |fold: &crate::bundle::FoldFile| manifest::Fold {
            fold: fold.fold,
            file: text(&fold.file),
            sha256: String::new(),
        };
        let image =
            |image: &PlannedImage| manifest::Image { path: image.label(), sha256: String::new() };
        Manifest {
            schema: manifest::SCHEMA,
            actviz: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: engine.runtime().version.clone(),
            device: engine.runtime().device.to_string(),
            threads: engine.runtime().threads,
            model: self.model.name.clone(),
            shard: self.shard.clone(),
            interrupted: false,
            options: manifest::Options {
                layers: self.layers.to_string(),
                reduce: self.reduce.to_string(),
                scale: self.scale.to_string(),
                clip: self.clip,
                view: self.views.clone(),
                alpha: self.alpha,
                legend: self.legend,
                grid_order: self.grid_order,
                align_folds: self.align_folds,
                consensus: self.consensus,
                deterministic: self.deterministic,
                batch: Some(self.batch),
                precision: self.precision,
                colormap: self.colormap,
                interpolation: self.interpolation,
                size: self.size.to_string(),
                input_size: [input.width, input.height],
                resize: input.resize,
                mean: input.mean.clone(),
                std: input.std.clone(),
                assumed: self.input.assumed(),
            },
            folds: self.model.folds.iter().map(fold).collect(),
            images: self.images.iter().map(image).collect(),
            pictures: Vec::new(),
            sheets: Vec::new(),
            consensus: Vec::new(),
            agreement: Vec::new(),
            failed: Vec::new(),
        }
    }
}

/// The views, each once, if the other flags fit them.
fn views(args: &RenderArgs) -> Result<Vec<View>, Error> {
    let mut views: Vec<View> = Vec::new();
    for view in &args.view {
        if !views.contains(view) {
            views.push(*view);
        }
    }
    if args.align_folds && !views.contains(&View::Grid) {
        return Err(Error::usage_hint(
            "--align-folds orders the tiles of grids, and no grid is drawn",
            "add --view grid",
        ));
    }
    if args.clip > 0.0 && matches!(args.scale, Scale::Fixed(_)) {
        return Err(Error::usage_hint(
            "--clip chooses black and white by the data, and --scale fixed: has chosen them",
            "leave one of them out",
        ));
    }
    if args.deterministic && args.run.threads.is_some_and(|threads| threads != 1) {
        return Err(Error::usage_hint(
            "--deterministic runs on one thread, and --threads asks for several",
            "leave one of them out",
        ));
    }
    if args.deterministic && !matches!(args.batch, BatchSize::Auto | BatchSize::Exactly(1)) {
        return Err(Error::usage_hint(
            "--deterministic runs one image at a time, and --batch asks for several",
            "leave one of them out",
        ));
    }
    if args.consensus && matches!(args.reduce, Reduction::Top(_)) {
        return Err(Error::usage_hint(
            "--consensus needs one map a layer, and top:K gives K of other channels",
            "take another --reduce, e.g. mean",
        ));
    }
    Ok(views)
}

/// The shard that is asked for, if it can be made without the others.
fn shard(args: &RenderArgs) -> Result<Option<Shard>, Error> {
    let shard = match (args.shard, args.shard_index, args.shard_count) {
        (_, Some(index), Some(count)) => {
            let shard = Shard::new(index.saturating_add(1), count);
            Some(shard.ok_or_else(|| {
                Error::usage_hint(
                    format!("--shard-index {index} --shard-count {count}: there is no such shard"),
                    "the index counts from 0 to one below the count",
                )
            })?)
        }
        (shard, _, _) => shard,
    };
    let needs_all = match args.scale {
        Scale::Layer => Some("--scale layer"),
        Scale::Folds => Some("--scale folds"),
        _ if args.consensus => Some("--consensus"),
        _ if args.align_folds => Some("--align-folds"),
        _ => None,
    };
    match (shard, needs_all) {
        (Some(_), Some(flag)) => Err(Error::usage_hint(
            format!("{flag} looks at all images at once, and a shard has only its own"),
            "leave it out; --scale fixed:LOW,HIGH gives all pictures one scale",
        )),
        _ => Ok(shard),
    }
}

/// The images of a shard, and what it has to know of the others.
fn part(
    images: Vec<PlannedImage>,
    shard: Shard,
) -> (Vec<PlannedImage>, Option<manifest::ShardInfo>) {
    let paths: Vec<String> = images.iter().map(PlannedImage::label).collect();
    let own = |image: &PlannedImage| shard.holds(&image.name);
    let places = (0..images.len()).filter(|place| own(&images[*place])).collect();
    let part = manifest::ShardInfo::new(shard, paths.iter().map(String::as_str), places);
    (images.into_iter().filter(own).collect(), Some(part))
}

/// `--model runs/*.pt photo.png`, expanded by the shell: all files but the first come where
/// pictures are expected.
///
/// # Errors
/// [`Error::Usage`] if an image's name is that of a network.
pub fn refuse_networks(images: &[String]) -> Result<(), Error> {
    let is_network = |name: &&String| {
        let ending = Path::new(name).extension().map(|ending| ending.to_ascii_lowercase());
        ending.is_some_and(|ending| ["pt", "pth", "ts", "torchscript"].iter().any(|e| ending == *e))
    };
    let Some(network) = images.iter().find(is_network) else { return Ok(()) };
    Err(Error::usage_hint(
        format!("{network} is a network, and stands where pictures are named"),
        format!(
            "--model takes one name. Did the shell expand a *? Name the folds by a pattern in \
             quotes: --model '{}'",
            bundle::as_pattern(Path::new(network))
        ),
    ))
}

/// A path as text for people and JSON, `/` between folders on every system.
pub fn text(path: &Path) -> String {
    let text = path.to_string_lossy();
    if cfg!(windows) { text.replace('\\', "/") } else { text.into_owned() }
}

impl InputPlan {
    /// The flags over what the model says of itself.
    ///
    /// # Errors
    /// [`Error::Usage`] for a standard deviation of zero or a wrong count of numbers.
    pub fn new(args: &InputArgs, model: &Model) -> Result<InputPlan, Error> {
        for (flag, numbers) in [("--mean", &args.mean), ("--std", &args.std)] {
            if numbers.len() > args.channels.unwrap_or(MOST_CHANNELS).max(1) {
                return Err(Error::usage_hint(
                    format!("{flag} has {} numbers", numbers.len()),
                    "one number for all channels, or one for each",
                ));
            }
            if numbers.iter().any(|number| !number.is_finite()) {
                return Err(Error::usage_hint(
                    format!("{flag} takes numbers, not infinity or NaN"),
                    "give what the training images were normalised with",
                ));
            }
        }
        if args.std.iter().any(|number| *number <= 0.0) {
            return Err(Error::usage_hint(
                "--std takes numbers above 0",
                "images are divided by it; 1 leaves them as they are",
            ));
        }
        Ok(InputPlan {
            described: model.input.clone(),
            channels: args.channels,
            size: args.input_size,
            mean: args.mean.clone(),
            std: args.std.clone(),
            resize: args.resize,
        })
    }

    /// What nobody says of the input, neither bundle, file nor flags.
    pub fn assumed(&self) -> Vec<Assumed> {
        if self.described.is_some() {
            return Vec::new();
        }
        let is_said = [self.size.is_some(), !self.mean.is_empty(), !self.std.is_empty()];
        let all = [Assumed::InputSize, Assumed::Mean, Assumed::Std];
        all.into_iter().zip(is_said).filter(|(_, is_said)| !is_said).map(|(one, _)| one).collect()
    }

    /// What is assumed, in a sentence with what to do about it; `None`: nothing is. Where only
    /// shapes are looked at, the values do not matter (`values`).
    pub fn assumed_in_words(&self, values: bool) -> Option<String> {
        let assumed = self.assumed();
        let assumed: Vec<Assumed> =
            assumed.into_iter().filter(|one| values || *one == Assumed::InputSize).collect();
        let size = format!("{DEFAULT_SIDE} x {DEFAULT_SIDE} pixels");
        let what = |one: &Assumed| match one {
            Assumed::InputSize => size.as_str(),
            Assumed::Mean => "ImageNet's mean",
            Assumed::Std => "ImageNet's standard deviation",
        };
        let flag = |one: &Assumed| format!("--{}", one.to_string().replace('_', "-"));
        let what: Vec<&str> = assumed.iter().map(what).collect();
        let flags: Vec<String> = assumed.iter().map(flag).collect();
        (!assumed.is_empty()).then(|| {
            format!(
                "nothing says what the network's input is; assumed: {}. Other than in training, the \
                 pictures mean nothing: {} say otherwise",
                what.join(", "),
                flags.join(", ")
            )
        })
    }

    /// What `network` is fed with, now that its first convolution can be seen. The number of
    /// channels is that of `--channels`, of the bundle, of the network, or of `--mean`.
    ///
    /// # Errors
    /// [`Error::Channels`] if the bundle and the network do not agree, [`Error::Usage`] if
    /// `--mean` or `--std` have another number of channels.
    pub fn resolve(&self, network: &dyn Network, file: &Path) -> Result<Input, Error> {
        let described = self.described.as_ref();
        let wanted = network.input_channels();
        let said = self.channels.or(described.map(|input| input.channels));
        let channels = said.or(wanted).or(self.channels_of_numbers()).unwrap_or(3);
        let contradicts = self.channels.is_none() && wanted.is_some_and(|own| own != channels);
        if !(1..=MOST_CHANNELS).contains(&channels) || contradicts {
            return Err(Error::Channels {
                file: file.to_owned(),
                wanted: wanted.unwrap_or(channels),
                given: described.map(|input| input.channels),
            });
        }
        let (width, height) = self
            .size
            .or(described.map(|input| (input.width, input.height)))
            .unwrap_or((DEFAULT_SIDE, DEFAULT_SIDE));
        let numbers = |flag: &str, given: &[f32], own: Option<&Vec<f32>>, rgb: [f32; 3], none| {
            let own = own.filter(|own| own.len() == channels);
            match (given.len(), own) {
                (0, Some(own)) => Ok(own.clone()),
                (0, None) if channels == 3 => Ok(rgb.to_vec()),
                // Grey: the mean of the three.
                (0, None) if channels == 1 => Ok(vec![rgb.iter().sum::<f32>() / 3.0]),
                // What other channels are is not known.
                (0, None) => Ok(vec![none; channels]),
                (1, _) => Ok(vec![given[0]; channels]),
                (count, _) if count == channels => Ok(given.to_vec()),
                (count, _) => Err(Error::usage_hint(
                    format!("{flag} has {count} numbers, the network {channels} channels"),
                    "one number for all channels, or one for each",
                )),
            }
        };
        let mean = numbers("--mean", &self.mean, described.map(|i| &i.mean), IMAGENET_MEAN, 0.0)?;
        let std = numbers("--std", &self.std, described.map(|i| &i.std), IMAGENET_STD, 1.0)?;
        let resize = self.resize.or(described.map(|input| input.resize)).unwrap_or_default();
        Ok(Input { channels, width, height, mean, std, resize })
    }

    /// As many as `--mean` or `--std` has numbers: nobody else says.
    fn channels_of_numbers(&self) -> Option<usize> {
        let count = self.mean.len().max(self.std.len());
        (count > 0).then_some(count)
    }
}

/// Refuses numbers for values of 0 to 255, where pictures are read, which have 0..1 here.
/// Arrays and TIFF files may have values in units of their own.
///
/// # Errors
/// [`Error::Usage`] with the numbers that are meant.
pub fn refuse_0_to_255(args: &InputArgs, images: &[PathBuf]) -> Result<(), Error> {
    let is_above_1 = args.mean.iter().chain(&args.std).any(|number| *number > 1.0);
    let holds_values = |path: &PathBuf| {
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        ending.is_some_and(|ending| ["npy", "npz", "tif", "tiff"].iter().any(|e| ending == *e))
    };
    match is_above_1 && !images.iter().all(holds_values) {
        true => Err(for_0_to_255(args)),
        false => Ok(()),
    }
}

/// Numbers for values of 0 to 255, which images do not have here.
fn for_0_to_255(args: &InputArgs) -> Error {
    let words = |numbers: &[f32], by: f32| -> String {
        let number = |number: &f32| {
            // Five digits: what a mean is given with.
            let text = format!("{:.5}", number / by);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        numbers.iter().map(number).collect::<Vec<String>>().join(",")
    };
    let (mut given, mut meant) = (Vec::new(), Vec::new());
    for (flag, numbers) in [("--mean", &args.mean), ("--std", &args.std)] {
        if !numbers.is_empty() {
            given.push(format!("{flag} {}", words(numbers, 1.0)));
            meant.push(format!("{flag} {}", words(numbers, 255.0)));
        }
    }
    Error::usage_hint(
        format!("{} are numbers for values up to 255, and images have 0..1", given.join(" ")),
        format!("as 0..1, divided by 255: {}", meant.join(" ")),
    )
}

impl Input {
    /// Channels, height, width.
    pub fn shape(&self) -> InputShape {
        InputShape { channels: self.channels, height: self.height, width: self.width }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a bundle, and with these flags.
    fn input(flags: &[&str]) -> Result<InputPlan, Error> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("net.pt");
        crate::fake::write_archive(&file, None).expect("a file");
        InputPlan::new(&args(flags), &Model::find(&file.to_string_lossy(), None, &[])?)
    }

    fn args(flags: &[&str]) -> InputArgs {
        use clap::Parser;
        #[derive(clap::Parser)]
        struct Flags {
            #[command(flatten)]
            input: InputArgs,
        }
        Flags::parse_from(["x"].iter().chain(flags)).input
    }

    #[test]
    fn what_nobody_says_of_the_input_is_said_to_be_assumed() {
        let plan = input(&[]).expect("a plan");
        assert_eq!(plan.assumed(), [Assumed::InputSize, Assumed::Mean, Assumed::Std]);
        let said = plan.assumed_in_words(true).expect("words");
        assert!(
            said.contains("224 x 224") && said.contains("--input-size, --mean, --std"),
            "{said}"
        );
        let said = plan.assumed_in_words(false).expect("words");
        assert!(!said.contains("ImageNet"), "{said}");
        let plan = input(&["--input-size", "64", "--std", "0.5"]).expect("a plan");
        assert_eq!(plan.assumed(), [Assumed::Mean]);
        assert_eq!(plan.assumed_in_words(false), None);
        let plan = input(&["--input-size", "64", "--std", "0.5", "--mean", "0"]).expect("a plan");
        assert_eq!(plan.assumed_in_words(true), None);
    }

    #[test]
    fn a_mean_for_values_up_to_255_is_refused_with_the_one_for_0_to_1() {
        let check = |flags: &[&str], image: &str| refuse_0_to_255(&args(flags), &[image.into()]);
        let imagenet = ["--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375"];
        let error = check(&imagenet, "cat.jpg").expect_err("too large");
        let hint = error.hint().expect("a hint");
        assert!(hint.contains("--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"), "{hint}");
        assert!(hint.contains("as 0..1"), "{hint}");
        assert!(check(&["--mean", "0", "--std", "255"], "cat.png").is_err());
        assert!(check(&["--mean", "0", "--std", "1"], "cat.png").is_ok());
        assert!(check(&["--mean", "40", "--std", "80"], "scan.npy").is_ok());
    }

    #[test]
    fn networks_among_the_pictures_are_a_pattern_that_the_shell_expanded() {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let error = refuse_networks(&names(&["runs/fold_2.pt", "cat.png"])).expect_err("a network");
        assert!(
            error.hint().is_some_and(|hint| hint.contains("'runs/fold_{fold}.pt'")),
            "{error:?}"
        );
        assert!(refuse_networks(&names(&["cat.png", "-", "@a.txt"])).is_ok());
    }

    #[test]
    fn batches_are_of_one_size_and_lack_little() {
        let sizes = [(1, 1), (5, 5), (8, 8), (9, 5), (12, 6), (17, 6), (50, 8), (1000, 8)];
        for (images, batch) in sizes {
            assert_eq!(BatchSize::Auto.of(images), batch, "{images}");
        }
        assert_eq!(BatchSize::Auto.of(0), 1);
    }
}
