//! Networks that nobody vouches for run in processes of their own.
//!
//! libtorch was not made for files of strangers: on a malformed one it may crash, loop
//! for ever or take all memory. So this program starts itself once more for each such
//! network and talks with that process over pipes ([`Remote`] here, [`serve`] there).
//! When that process dies, is too slow or answers nonsense, one network fails with an
//! error like any other, and the rest goes on.
//!
//! A network is vouched for if it lies in a bundle whose `model.json` names its SHA-256.
//! It runs in this process and pays for none of this.

mod protocol;
mod remote;
mod serve;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use strum::{Display, EnumString, VariantNames};

use crate::engine::{Device, Engine, Network, Use};
use crate::error::Error;

pub use remote::Remote;
pub use serve::serve;

/// Which networks run in a process of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumString, VariantNames, Display)]
#[strum(serialize_all = "kebab-case")]
pub enum Isolate {
    /// Those that are not in a bundle with their SHA-256; all, if a limit of time or memory
    /// is set.
    #[default]
    Auto,
    /// All.
    Always,
    /// None.
    Never,
}

/// How a process is started, and what is waited for.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program that answers as [`serve`] does.
    pub program: PathBuf,
    /// Its arguments; the network's file is added as the last one.
    pub arguments: Vec<OsString>,
    /// How long it may take for one image. Loading counts as one, too.
    pub timeout: Duration,
    /// The most bytes that are taken from it at once. The maps of a batch come at once.
    pub longest_answer: u64,
}

/// An engine that runs some networks in this process and all others elsewhere.
pub struct Guarded<E> {
    engine: E,
    vouched: HashSet<PathBuf>,
    start: Start,
}

impl<E: Engine> Guarded<E> {
    /// Runs the `vouched` files by `engine`, and all others in processes of their own.
    pub fn new(engine: E, vouched: HashSet<PathBuf>, start: Start) -> Guarded<E> {
        Guarded { engine, vouched, start }
    }
}

impl<E: Engine> Engine for Guarded<E> {
    fn open(&self, file: &Path) -> Result<Box<dyn Network>, Error> {
        if self.vouched.contains(file) {
            return self.engine.open(file);
        }
        Ok(Box::new(Remote::open(self.start.clone(), file, false)?))
    }

    fn open_operators(&self, file: &Path) -> Result<Box<dyn Network>, Error> {
        if self.vouched.contains(file) {
            return self.engine.open_operators(file);
        }
        Ok(Box::new(Remote::open(self.start.clone(), file, true)?))
    }

    fn audit(&self, file: &Path) -> Result<Vec<Use>, Error> {
        if self.vouched.contains(file) {
            return self.engine.audit(file);
        }
        Remote::audit(self.start.clone(), file)
    }

    fn device(&self) -> Device {
        self.engine.device()
    }

    fn version(&self) -> String {
        self.engine.version()
    }

    fn threads(&self) -> usize {
        self.engine.threads()
    }
}
