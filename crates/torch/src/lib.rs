//! The engine of actviz: the only place that knows libtorch, and the only unsafe code.
//!
//! [`TorchEngine`] opens the files of networks as [`TorchNetwork`]s, in whose graph a
//! tap follows every activation (`shim/`). While the network runs, each tap hands
//! out its tensor; [`TorchNetwork`] reduces it there and then, or
//! [`TorchNetwork::forward_with`] gives it to a closure of yours.
//!
//! The program `actviz-torch` is [`serve`] and nothing else: `actviz` starts it as a worker
//! that shuts itself in ([`sandbox`]) and answers over a socket. Who trusts the files may
//! use the engine in a process of its own:
//!
//! ```no_run
//! # fn main() -> Result<(), actviz_core::Error> {
//! use actviz_core::engine::DeviceChoice;
//! use actviz_core::model_file::ModelFile;
//! use actviz_torch::{Gradients, TorchEngine};
//!
//! let engine = TorchEngine::new(DeviceChoice::Auto, None)?;
//! let mut network = engine.load(&ModelFile::open("model.pt".as_ref())?)?;
//! let image = tch::Tensor::zeros([1, 3, 224, 224], tch::kind::FLOAT_CPU);
//! let outputs = network.forward_with(&image, Gradients::Off, |tap, tensor| {
//!     println!("{} {:?}", tap.name, tensor.size());
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```

#[allow(unsafe_code)]
mod attempt;
mod audit;
mod capture;
mod device;
#[allow(unsafe_code)]
mod ffi;
mod gradient;
mod limits;
mod message;
mod network;
mod network_cache;
mod prepared;
mod records;
pub mod sandbox;
mod serve;
#[cfg(target_os = "linux")]
mod syscalls;

use actviz_core::archive;
use actviz_core::engine::{DeviceChoice, Engine, Network, OperatorUse, Precision, Runtime, Taps};
use actviz_core::error::Error;
use actviz_core::model_file::ModelFile;

pub use device::{cuda_state, folder};
pub use limits::{end_with_parent, limit_memory};
pub use network::{Gradients, Tap, TorchNetwork};
pub use prepared::{Node, TokenSource};
pub use serve::serve;

use network_cache::NetworkCache;

/// Opens the files of networks for one device.
#[derive(Clone, Debug)]
pub struct TorchEngine {
    runtime: Runtime,
    /// Operators that are let through although they are not known to be harmless.
    allowed: Vec<String>,
    /// The most bytes that a network may unpack to.
    limit: u64,
    precision: Precision,
    /// The network that was closed last.
    cache: NetworkCache,
}

impl TorchEngine {
    /// An engine for the chosen device. `threads` is how many threads one operator may
    /// use, in the whole process; `None` leaves it to libtorch.
    ///
    /// # Errors
    /// [`Error::Device`] if exactly this device was asked for and is not there;
    /// [`Error::Usage`] if `threads` is 0 or beyond reason.
    pub fn new(choice: DeviceChoice, threads: Option<usize>) -> Result<TorchEngine, Error> {
        // libtorch looks for CUDA once, so CUDA must be loaded before anything else.
        let (device, cuda) = device::choose(choice)?;
        if let Some(threads) = threads {
            match i32::try_from(threads) {
                Ok(count @ 1..=4096) => tch::set_num_threads(count),
                _ => {
                    return Err(Error::usage_hint(
                        "the number of threads is 1 to 4096",
                        "leave --threads out to use all cores",
                    ));
                }
            }
        }
        let runtime = Runtime {
            device,
            version: ffi::torch_version(),
            threads: usize::try_from(tch::get_num_threads()).unwrap_or(1),
            cpu_capability: ffi::cpu_capability().unwrap_or_else(|_| "unknown".to_owned()),
            cuda,
            sandbox: "none".to_owned(),
        };
        let (limit, precision) = (archive::DEFAULT_LIMIT, Precision::F32);
        Ok(TorchEngine {
            runtime,
            allowed: Vec::new(),
            limit,
            precision,
            cache: NetworkCache::default(),
        })
    }

    /// The same engine, which lets networks use these operators too, e.g. `aten::save`.
    pub fn allowing(self, operators: &[String]) -> TorchEngine {
        TorchEngine { allowed: operators.to_vec(), cache: NetworkCache::default(), ..self }
    }

    /// The same engine, which takes networks up to this many bytes, unpacked.
    pub fn within(self, limit: u64) -> TorchEngine {
        TorchEngine { limit, ..self }
    }

    /// The same engine, whose networks compute in this precision.
    pub fn computing_in(self, precision: Precision) -> TorchEngine {
        TorchEngine { precision, cache: NetworkCache::default(), ..self }
    }

    /// The same engine, which says this of the sandbox that it runs in.
    pub fn shut_in(mut self, sandbox: String) -> TorchEngine {
        self.runtime.sandbox = sandbox;
        self
    }

    /// Loads a network; [`Engine::open`] with the network's own type.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn load(&self, file: &ModelFile) -> Result<TorchNetwork, Error> {
        self.load_with(file, Taps::Activations)
    }

    fn load_with(&self, file: &ModelFile, taps: Taps) -> Result<TorchNetwork, Error> {
        archive::check_size(file, self.limit)?;
        let (device, precision) = (self.runtime.device, self.precision);
        TorchNetwork::load(file, device, precision, taps, &self.allowed, &self.cache)
    }
}

impl Engine for TorchEngine {
    fn open(&self, file: &ModelFile, taps: Taps) -> Result<Box<dyn Network>, Error> {
        Ok(Box::new(self.load_with(file, taps)?))
    }

    fn audit(&self, file: &ModelFile) -> Result<Vec<OperatorUse>, Error> {
        archive::check_size(file, self.limit)?;
        audit::of(file, &self.allowed)
    }

    fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

/// Ends the process with this exit code without taking libtorch apart, which takes a
/// fifteenth of a second. What Rust holds in buffers must have been flushed.
pub fn leave(code: u8) -> ! {
    ffi::leave(code)
}
