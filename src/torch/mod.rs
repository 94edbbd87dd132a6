//! The fence: the only place that knows libtorch, and the only unsafe code.
//!
//! [`TorchEngine`] opens TorchScript files as [`TorchNetwork`]s, in whose graph a
//! tap follows every activation (`shim.cpp`). While the network runs, each tap hands
//! out its tensor; [`TorchNetwork`] reduces it there and then, or
//! [`TorchNetwork::forward_with`] gives it to a closure of yours.
//!
//! ```no_run
//! # fn main() -> Result<(), actviz::Error> {
//! use actviz::engine::DeviceChoice;
//! use actviz::torch::{Gradients, TorchEngine};
//!
//! let engine = TorchEngine::new(DeviceChoice::Auto, None)?;
//! let mut network = engine.load("model.pt".as_ref())?;
//! let image = tch::Tensor::zeros([1, 3, 224, 224], tch::kind::FLOAT_CPU);
//! let outputs = network.forward_with(&image, Gradients::Off, |tap, tensor| {
//!     println!("{} {:?}", tap.name, tensor.size());
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```

mod audit;
mod capture;
mod device;
mod ffi;
mod gradient;
mod loaded;
mod message;
mod network;
mod spare;

use std::path::Path;

pub use device::{cuda_state, folder};
pub use loaded::{Node, Taps};
pub use network::{Gradients, Tap, TorchNetwork};

use self::spare::Spare;
use crate::archive;
use crate::engine::{Device, DeviceChoice, Engine, Network, Precision, Use};
use crate::error::Error;

/// Opens TorchScript files for one device.
#[derive(Clone, Debug)]
pub struct TorchEngine {
    device: Device,
    /// Operators that are let through although they are not known to be harmless.
    allowed: Vec<String>,
    /// The most bytes that a network may unpack to.
    limit: u64,
    precision: Precision,
    /// The network that was closed last.
    spare: Spare,
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
        let device = device::choose(choice)?;
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
        let (limit, precision) = (archive::DEFAULT_LIMIT, Precision::F32);
        Ok(TorchEngine { device, allowed: Vec::new(), limit, precision, spare: Spare::default() })
    }

    /// The same engine, which lets networks use these operators too, e.g. `aten::save`.
    pub fn allowing(self, operators: &[String]) -> TorchEngine {
        TorchEngine { allowed: operators.to_vec(), spare: Spare::default(), ..self }
    }

    /// The same engine, which takes networks up to this many bytes, unpacked.
    pub fn within(self, limit: u64) -> TorchEngine {
        TorchEngine { limit, ..self }
    }

    /// The same engine, whose networks compute in this precision.
    pub fn computing_in(self, precision: Precision) -> TorchEngine {
        TorchEngine { precision, spare: Spare::default(), ..self }
    }

    /// Loads the network in `file`; [`Engine::open`] with the network's own type.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn load(&self, file: &Path) -> Result<TorchNetwork, Error> {
        self.load_with(file, Taps::Activations)
    }

    /// Looks at a file before libtorch does.
    fn check(&self, file: &Path) -> Result<(), Error> {
        archive::check(file)?;
        archive::check_size(file, self.limit)
    }

    fn load_with(&self, file: &Path, taps: Taps) -> Result<TorchNetwork, Error> {
        self.check(file)?;
        let (allowed, spare) = (&self.allowed, &self.spare);
        TorchNetwork::load(file, self.device, self.precision, taps, allowed, spare)
    }
}

impl Engine for TorchEngine {
    fn open(&self, file: &Path) -> Result<Box<dyn Network>, Error> {
        Ok(Box::new(self.load(file)?))
    }

    fn open_operators(&self, file: &Path) -> Result<Box<dyn Network>, Error> {
        Ok(Box::new(self.load_with(file, Taps::Operators)?))
    }

    fn audit(&self, file: &Path) -> Result<Vec<Use>, Error> {
        self.check(file)?;
        audit::of(file, &self.allowed)
    }

    fn device(&self) -> Device {
        self.device
    }

    fn version(&self) -> String {
        version()
    }

    fn threads(&self) -> usize {
        threads()
    }
}

/// The version of libtorch, e.g. `2.13.0`.
pub fn version() -> String {
    ffi::torch_version()
}

/// Ends the process with this exit code without taking libtorch apart, which takes a
/// fifteenth of a second. What Rust holds in buffers must have been flushed.
pub fn leave(code: u8) -> ! {
    ffi::leave(code)
}

/// The instruction set that libtorch's kernels use on this processor, e.g. `AVX2`.
pub fn cpu_capability() -> String {
    ffi::cpu_capability().unwrap_or_else(|_| "unknown".to_owned())
}

/// How many threads one operator may use.
pub fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}
