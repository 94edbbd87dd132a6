//! What the commands ask of a network, and nothing of how it runs.
//!
//! [`Engine`] opens model files, [`Network`] runs one. The real one is
//! [`crate::torch`]; tests use [`crate::fake`], so most of them need no
//! libtorch and take milliseconds.

use std::path::Path;

use ndarray::{Array2, Array3, Array4};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use crate::error::Error;
use crate::layers::Layer;

/// The device that a network runs on, as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// A CUDA device, numbered from 0.
    Cuda(usize),
    /// Apple's GPU.
    Mps,
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
            Device::Mps => write!(f, "mps"),
        }
    }
}

/// The device as asked for, before the machine was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// CUDA if it is there, else the processor.
    #[default]
    Auto,
    /// Exactly this device.
    Exactly(Device),
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceChoice, String> {
        Ok(match text {
            "auto" => DeviceChoice::Auto,
            "cpu" => DeviceChoice::Exactly(Device::Cpu),
            "cuda" => DeviceChoice::Exactly(Device::Cuda(0)),
            "mps" => DeviceChoice::Exactly(Device::Mps),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(index)) => DeviceChoice::Exactly(Device::Cuda(index)),
                _ => return Err("it is one of auto, cpu, cuda, cuda:N, mps".to_owned()),
            },
        })
    }
}

/// In which numbers a network computes.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    EnumString,
    VariantNames,
    Display,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Precision {
    /// 32 bits: 24 of them tell values apart.
    #[default]
    F32,
    /// 16 bits, of which 8 tell values apart. Sums are kept in f32.
    Bf16,
}

/// The size of one input: channels, height, width, in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputShape {
    /// Channels: 1 or 3.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
}

/// How a layer's C channels become one map.
///
/// The reduction is done where the tensor lives, so that only the small map
/// leaves the device.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    EnumString,
    VariantNames,
    Display,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Reduce {
    /// The mean over the channels.
    #[default]
    Mean,
    /// The largest value over the channels; NaN if one of them is NaN.
    Max,
    /// The L2 norm over the channels: `sqrt(sum(x^2))`.
    L2,
    /// The standard deviation over the channels (of the population).
    Std,
}

/// What to take from each wanted layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Take {
    /// One map: the result has one channel.
    Reduced(Reduce),
    /// Every channel, as the layer gives them.
    Channels,
}

/// An operator that a network's code uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// Its name, e.g. `aten::conv2d`, or a class's, e.g. `torch.classes.quantized.X`.
    pub operator: String,
    /// How often it stands in the code.
    pub count: usize,
    /// Whether it is known to be harmless, or was let through.
    pub allowed: bool,
    /// Where it stands first: an entry of the file, and the line.
    pub place: String,
}

/// Opens TorchScript files for one device.
pub trait Engine: Sync {
    /// Loads the network in `file`, ready to run (evaluation mode, f32 on CPU).
    ///
    /// # Errors
    /// [`Error::Load`] if the runtime cannot read the file, [`Error::Refused`] if its code
    /// uses an operator that is not known to be harmless, [`Error::NoActivations`] if
    /// there is nothing to look at.
    fn open(&self, file: &Path) -> Result<Box<dyn Network>, Error>;

    /// Loads the network so that every operator that changes how fine its maps are is a
    /// layer, too: convolutions, pools, normalisations, sums. Nothing is merged.
    ///
    /// # Errors
    /// As [`Engine::open`].
    fn open_operators(&self, file: &Path) -> Result<Box<dyn Network>, Error>;

    /// What the code of the network in `file` uses, without running any of it. If code
    /// that would run while the file is read is refused, what was found up to there.
    ///
    /// # Errors
    /// [`Error::Load`] if the runtime cannot read the file.
    fn audit(&self, file: &Path) -> Result<Vec<Use>, Error>;

    /// The device that the networks run on.
    fn device(&self) -> Device;

    /// The runtime's version, e.g. `2.13.0`.
    fn version(&self) -> String;

    /// How many threads one operator may use.
    fn threads(&self) -> usize;
}

/// A loaded network whose activation layers can be looked at.
pub trait Network: Send {
    /// How many channels the first convolution wants, where the graph tells.
    fn input_channels(&self) -> Option<usize>;

    /// The activation layers in the order in which an input of this size runs
    /// them. Runs the network once.
    ///
    /// # Errors
    /// [`Error::Run`] if the network cannot take such an input.
    fn layers(&mut self, input: InputShape) -> Result<Vec<Layer>, Error>;

    /// Which operator reads which, for [`crate::insights::structure`], one line each:
    /// `value ID OPERATOR KERNEL STRIDE PADDING DILATION DIMENSIONS : ID...` and `tap ID`,
    /// where ID 0 is the input and ? an unknown value, sizes are numbers by axis, and taps
    /// come in the order of the code. Empty unless all operators are layers.
    fn structure(&self) -> String;

    /// For each layer in `wanted` and each of `places` (row and column as shares of the
    /// layer's height and width, 0 to 1): the energy of the gradient of the sum of the
    /// layer's channels there with respect to the image (channels, height, width),
    /// squares summed over the channels, height x width of the image. No map for a layer
    /// that is no picture.
    ///
    /// # Errors
    /// [`Error::Run`] if the network fails.
    fn gradients(
        &mut self,
        image: &Array3<f32>,
        wanted: &[String],
        places: &[(f64, f64)],
    ) -> Result<Vec<Vec<Array2<f32>>>, Error>;

    /// From now on, [`Network::run`] fills its batches up to this many images with zeros:
    /// the shape of a batch decides how sums are cut, so the last bits of an image's maps
    /// would depend on how many images stand beside it.
    fn fill_batches(&mut self, images: usize);

    /// Runs a batch (images, channels, height, width; already normalised) and
    /// returns, for each image and each name in `wanted` (in that order), what
    /// `take` asks for: an array of channels x height x width at the layer's own
    /// resolution, one channel if reduced. A layer that is no picture (see
    /// [`crate::layers::Layout`]) comes as one channel, laid out as a matrix.
    ///
    /// # Errors
    /// [`Error::Run`] if the network fails or a wanted layer was not executed.
    fn run(
        &mut self,
        batch: &Array4<f32>,
        wanted: &[String],
        take: Take,
    ) -> Result<Vec<Vec<Array3<f32>>>, Error>;
}
