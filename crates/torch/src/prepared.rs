//! A network as it is loaded, with the weights of one file of its program.

use std::path::PathBuf;

use tch::Tensor;

use super::audit;
use super::ffi::{self, Handle};
use super::message;
use crate::records::Records;
use actviz_core::archive::Program;
use actviz_core::engine::{Device, InputShape, Taps};
use actviz_core::error::Error;
use actviz_core::graph::Graph;
use actviz_core::layers::{ChannelAxis, Layer, Tokens};

/// One activation call in the network's code. In a loop it may run several times, in
/// a branch not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What its layers are called, but for the `_1`, `_2` of repeated calls.
    pub name: String,
    /// The activation function, e.g. `relu`.
    pub operator: String,
    /// Where the channels stand.
    pub order: ChannelAxis,
    /// Whether its values depend on the input; weights may have activations too.
    pub depends_on_input: bool,
    /// Elements of all weights that its values depend on. Batch norm that was folded
    /// into a convolution counts as the convolution's bias; branches and loops count
    /// whole.
    pub parameters: u64,
    /// What it is if it has three dimensions.
    pub tokens: TokenSource,
}

/// What the graph tells of a layer of three dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenSource {
    /// Nothing.
    #[default]
    Unknown,
    /// Its rows are no places of the image: queries, or mixtures of all tokens.
    Never,
    /// They are the tokens of a map, maybe with others.
    Map {
        /// Which one, of all that the network makes tokens of.
        index: usize,
        /// The dimension that counts the tokens.
        axis: usize,
        /// Whether others stand before them.
        before: bool,
        /// Whether others stand after them.
        after: bool,
    },
}

/// Rows and columns of the maps that a run has made tokens of so far.
#[derive(Default)]
pub(super) struct Maps(Vec<Option<(usize, usize)>>);

impl Maps {
    /// Takes note of a map (N, C, H, W); anything else is none.
    pub fn note(&mut self, index: usize, size: &[i64]) {
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index] = match size {
            &[_, _, rows, columns] => usize::try_from(rows).ok().zip(usize::try_from(columns).ok()),
            _ => None,
        };
    }

    /// What a layer's tokens are in this run.
    pub fn tokens(&self, source: TokenSource) -> Tokens {
        let largest = self.0.iter().flatten().copied().max_by_key(|(rows, columns)| rows * columns);
        let unknown = Tokens::Unknown { largest };
        match source {
            TokenSource::Unknown => unknown,
            TokenSource::Never => Tokens::Never,
            TokenSource::Map { index, before, after, .. } => {
                let map = self.0.get(index).copied().flatten();
                map.map_or(unknown, |map| Tokens::OfMap { map, before, after })
            }
        }
    }
}

/// What the files of one program have in common, with the weights of one of them.
#[derive(Debug)]
pub(super) struct PreparedNetwork {
    pub program: Program,
    pub taps: Taps,
    pub handle: Handle,
    pub nodes: Vec<Node>,
    /// There if all operators are tapped and the code tells.
    pub graph: Option<Graph>,
    pub batching: Batching,
    pub memory: Memory,
    /// The layers that inputs of these sizes run.
    pub layers: Vec<(InputShape, Vec<Layer>)>,
}

/// Whether several images may be run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batching {
    /// Not looked at yet.
    Unknown,
    /// The first dimension of every layer counts the images.
    Together,
    /// One by one: images would influence each other, or a layer has its images
    /// somewhere else than in the first dimension.
    Single,
}

/// How tensors of four dimensions lie in memory. oneDNN's convolutions are a fifth to a
/// third faster on batches whose channels lie together (docs/performance.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// As the network was saved; a batch may try the other one.
    AsSaved,
    /// Channels last.
    ChannelsLast,
    /// As the network was saved: its code depends on it, or nothing would be gained.
    AsSavedForGood,
}

impl PreparedNetwork {
    pub fn new(
        handle: Handle,
        origin: &Origin,
        (program, taps): (Program, Taps),
    ) -> Result<PreparedNetwork, Error> {
        let nodes: Vec<Node> = handle.sites().into_iter().map(Node::from).collect();
        if nodes.is_empty() {
            return Err(Error::NoActivations { file: origin.file.clone() });
        }
        let batching = match handle.is_data_dependent() || handle.mixes_images() {
            true => Batching::Single,
            false => Batching::Unknown,
        };
        let memory = match origin.device {
            Device::Cpu => Memory::AsSaved,
            Device::Cuda(_) | Device::Mps => Memory::AsSavedForGood,
        };
        let graph = (taps == Taps::Operators).then(|| handle.graph());
        Ok(PreparedNetwork {
            program,
            taps,
            handle,
            nodes,
            graph,
            batching,
            memory,
            layers: Vec::new(),
        })
    }

    /// The same program with the weights in `records`.
    pub fn refilled(self, records: &Records, origin: &Origin) -> Result<PreparedNetwork, Error> {
        let handle = audit::unpacking(records, |unpack| self.handle.refill(unpack))?;
        let handle = handle.map_err(|detail| origin.load_error(detail))?;
        Ok(PreparedNetwork { handle, ..self })
    }
}

impl From<ffi::RawSite> for Node {
    fn from(site: ffi::RawSite) -> Node {
        let name = match (site.path.is_empty(), site.is_module) {
            (true, _) => site.operator.clone(),
            (false, true) => site.path,
            (false, false) => format!("{}.{}", site.path, site.operator),
        };
        Node {
            name,
            operator: site.operator,
            order: match site.order {
                1 => ChannelAxis::First,
                2 => ChannelAxis::Last,
                _ => ChannelAxis::Unknown,
            },
            depends_on_input: site.depends_on_input,
            parameters: site.parameters,
            tokens: site.tokens,
        }
    }
}

/// Which network it is, for errors.
#[derive(Clone)]
pub(super) struct Origin {
    pub file: PathBuf,
    pub device: Device,
}

impl Origin {
    pub fn load_error(&self, detail: String) -> Error {
        if let Some(uses) = message::refusal(&detail) {
            return Error::Refused { file: self.file.clone(), uses };
        }
        if message::is_out_of_memory(&detail) {
            return self.out_of_memory(detail);
        }
        Error::Load { file: self.file.clone(), message: message::headline(&detail), detail }
    }

    pub fn run_error(&self, images: &Tensor, detail: String) -> Error {
        if message::is_out_of_memory(&detail) {
            return self.out_of_memory(detail);
        }
        self.failed(images, message::headline(&detail), detail)
    }

    pub fn failed(&self, images: &Tensor, message: String, detail: String) -> Error {
        Error::Run { file: self.file.clone(), input: sizes_of(images), message, detail }
    }

    pub fn not_handed_over(&self, input: String, detail: String) -> Error {
        if message::is_out_of_memory(&detail) {
            return self.out_of_memory(detail);
        }
        let message = "the images cannot be handed to libtorch".to_owned();
        Error::Run { file: self.file.clone(), input, message, detail }
    }

    pub fn out_of_memory(&self, detail: String) -> Error {
        Error::OutOfMemory { file: self.file.clone(), device: self.device.to_string(), detail }
    }
}

/// The sizes of one image, e.g. `3x224x224`.
pub(super) fn sizes_of(images: &Tensor) -> String {
    let sizes: Vec<String> = images.size().iter().skip(1).map(ToString::to_string).collect();
    sizes.join("x")
}
