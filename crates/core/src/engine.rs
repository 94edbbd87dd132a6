//! The seam: what is asked of a network, and nothing of how it runs.
//!
//! [`Engine`] opens model files, [`Network`] runs one and answers [`Probe`]s. Two engines
//! are real: `actviz-torch` runs networks in its own process, and the workers of `actviz`
//! carry the same questions to it over [`crate::protocol`]. Tests use [`crate::fake`], so
//! most of them need no libtorch and take milliseconds.

use ndarray::{Array3, Array4};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use crate::error::Error;
use crate::graph::Graph;
use crate::layers::Layer;
use crate::model_file::ModelFile;
pub use crate::reduce::Reduce;

/// The device that a network runs on, as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Which operators of a network are layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Taps {
    /// The activations.
    #[default]
    Activations,
    /// Every operator that changes how fine its maps are, too: convolutions, pools,
    /// normalisations, sums. Nothing is merged then: the graph as saved.
    Operators,
}

/// A layer of a network, by the name that [`Network::layers`] gives it.
pub type LayerId = String;

/// What is asked of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Probe {
    /// Every channel, as the layer gives them: channels x height x width.
    Channels,
    /// One map of all channels: 1 x height x width.
    Reduced(Reduce),
    /// How the source would have to change for the target to grow: the gradient of the
    /// target by the source, of the source's shape.
    Gradient {
        /// What grows.
        of: Target,
        /// What changes.
        wrt: Source,
    },
}

/// A number that a network computes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// The sum of the layer's channels at one position.
    Unit {
        /// The row as a share of the layer's height, 0 to 1.
        row: f64,
        /// The column as a share of the layer's width, 0 to 1.
        column: f64,
    },
}

/// What a gradient is taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The network's input, as it is normalised: channels x height x width.
    Input,
}

/// The answer to one probe for one image: an array of channels x height x width. A layer
/// that is no picture (see [`crate::layers::Layout`]) comes as one channel, laid out as a
/// matrix. `None` if there is no such array: a gradient of a layer that is no picture, or
/// that no way leads back from.
pub type Output = Option<Array3<f32>>;

/// Images that are run at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Images, channels, height, width; already normalised.
    pub images: Array4<f32>,
    /// The batch is filled up to this many images with zeros: the shape of a batch decides
    /// how sums are cut, so the last bits of an image's maps would depend on how many
    /// images stand beside it.
    pub fill: usize,
}

impl Batch {
    /// A batch of its own size.
    pub fn of(images: Array4<f32>) -> Batch {
        Batch { fill: images.dim().0, images }
    }

    /// How many images it has.
    pub fn count(&self) -> usize {
        self.images.dim().0
    }
}

/// An operator that a network's code uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorUse {
    /// Its name, e.g. `aten::conv2d`, or a class's, e.g. `torch.classes.quantized.X`.
    pub operator: String,
    /// How often it stands in the code.
    pub count: usize,
    /// Whether it is known to be harmless, or was let through.
    pub allowed: bool,
    /// Where it stands first: an entry of the file, and the line.
    pub place: String,
}

/// What an engine says of itself and of the machine that it runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// The device that networks run on.
    pub device: Device,
    /// The version of libtorch, e.g. `2.13.0`.
    pub version: String,
    /// How many threads one operator may use.
    pub threads: usize,
    /// The instruction set of the processor's kernels, e.g. `AVX2`.
    pub cpu_capability: String,
    /// What can be said of CUDA, in words.
    pub cuda: String,
    /// How far the process is held to what it needs, in words.
    pub sandbox: String,
}

/// Opens the files of networks for one device.
pub trait Engine: Sync {
    /// Loads a network, ready to run (evaluation mode, f32 unless the engine says
    /// otherwise).
    ///
    /// # Errors
    /// [`Error::Load`] if the runtime cannot read the file, [`Error::Refused`] if its code
    /// uses an operator that is not known to be harmless, [`Error::NoActivations`] if
    /// there is nothing to look at.
    fn open(&self, file: &ModelFile, taps: Taps) -> Result<Box<dyn Network>, Error>;

    /// What the code of a network uses, without running any of it. If code that would run
    /// while the file is read is refused, what was found up to there.
    ///
    /// # Errors
    /// [`Error::Load`] if the runtime cannot read the file.
    fn audit(&self, file: &ModelFile) -> Result<Vec<OperatorUse>, Error>;

    /// What runs the networks, and on what.
    fn runtime(&self) -> &Runtime;
}

/// A loaded network whose layers can be looked at. It is used by one thread at a time.
pub trait Network: Send {
    /// How many channels the input has, where the graph tells: what a convolution takes that
    /// reads the input with nothing in between that might change the channels.
    fn input_channels(&self) -> Option<usize>;

    /// The layers in the order in which an input of this size runs them. Runs the network
    /// once.
    ///
    /// # Errors
    /// [`Error::Run`] if the network cannot take such an input.
    fn layers(&mut self, input: InputShape) -> Result<Vec<Layer>, Error>;

    /// Which operator reads which. `None` unless all operators are layers
    /// ([`Taps::Operators`]), or if the network's code does not tell.
    fn graph(&self) -> Option<&Graph>;

    /// Runs a batch, and answers for each of its images each probe, in that order.
    ///
    /// # Errors
    /// [`Error::Run`] if the network fails or a wanted layer was not executed.
    fn run(
        &mut self,
        batch: &Batch,
        probes: &[(LayerId, Probe)],
    ) -> Result<Vec<Vec<Output>>, Error>;
}
