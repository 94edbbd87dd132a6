//! Networks run in a process of their own, the worker.
//!
//! libtorch was not made for files of strangers: on a malformed one it may crash, loop for
//! ever or take all memory. So `actviz` holds no libtorch. It starts `actviz-torch`, which
//! shuts itself in and answers over a socket ([`actviz_core::protocol`]). When that process
//! dies, is too slow or answers nonsense, one network fails with an error like any other,
//! and a new worker takes the next one.
//!
//! One worker serves all folds of a run: it keeps libtorch, and the network into which the
//! next fold's weights are filled. A file whose code is another one gets a fresh worker,
//! and so does everything after a file that was refused.

mod libtorch;
mod network;
mod process;
mod program;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actviz_core::archive;
use actviz_core::attempt::{Attempt, Outcome};
use actviz_core::engine::{DeviceChoice, Engine, Network, OperatorUse, Precision, Runtime, Taps};
use actviz_core::model_file::ModelFile;
use actviz_core::protocol::Settings;

use crate::error::Error;

pub use libtorch::{Libtorch, Origin};
pub use program::find as find_program;

use network::WorkerNetwork;
use process::Shared;

/// How a worker is started, and what is waited for.
#[derive(Clone)]
pub struct WorkerConfig {
    /// The program, see [`find_program`].
    pub program: PathBuf,
    /// The libtorch that it loads.
    pub libtorch: Libtorch,
    /// Variables that it gets besides those that are let through.
    pub environment: Vec<(&'static str, String)>,
    /// How it sets itself up.
    pub settings: Settings,
    /// How long it may take for one image. Loading counts as one, too.
    pub timeout: Duration,
    /// The most bytes that are taken from it at once. The maps of a batch come at once.
    pub longest_answer: u64,
    /// Asked again and again while it is waited for: whether nobody wants the answer any
    /// more.
    pub cancelled: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// What a network may take for one image where nobody says otherwise: ten minutes.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is taken from a worker at once where the memory of the machine is unknown.
const LONGEST_ANSWER: u64 = 4 << 30;

impl WorkerConfig {
    /// The worker that this machine has, with libtorch's own choices and in a sandbox.
    ///
    /// # Errors
    /// [`Error::Usage`] if the engine or a libtorch for it is not there.
    pub fn find() -> Result<WorkerConfig, Error> {
        let program = find_program()?;
        let libtorch = Libtorch::find(&program)?;
        Ok(WorkerConfig::of(program, libtorch))
    }

    /// The same with this engine and this libtorch.
    pub fn of(program: PathBuf, libtorch: Libtorch) -> WorkerConfig {
        WorkerConfig {
            program,
            libtorch,
            environment: Vec::new(),
            settings: Settings {
                device: DeviceChoice::Auto,
                threads: None,
                precision: Precision::F32,
                allowed: Vec::new(),
                most_unpacked: archive::DEFAULT_LIMIT,
                most_memory: None,
                sandbox: true,
            },
            timeout: PATIENCE,
            // Maps lie here a second time, and are drawn: that needs room.
            longest_answer: memory_of_machine().map_or(LONGEST_ANSWER, |all| all / 4),
            cancelled: Arc::new(|| false),
        }
    }

    /// The same, but answers are waited for only until this is true.
    pub fn until(self, cancelled: impl Fn() -> bool + Send + Sync + 'static) -> WorkerConfig {
        WorkerConfig { cancelled: Arc::new(cancelled), ..self }
    }
}

/// An engine whose networks run in a worker.
pub struct WorkerEngine {
    shared: Arc<Shared>,
    runtime: Runtime,
}

/// A worker that loads libtorch, which takes a fifth of a second.
pub struct StartingEngine(Arc<Shared>);

impl WorkerEngine {
    /// Starts a worker. There is time for other work until it is [`StartingEngine::ready`].
    /// The worker ends when the thread that starts it does.
    ///
    /// # Errors
    /// [`Error::Io`] if the program cannot be started.
    pub fn start(config: WorkerConfig) -> Result<StartingEngine, Error> {
        Ok(StartingEngine(Arc::new(Shared::start(config)?)))
    }
}

impl StartingEngine {
    /// Waits until the worker is set up.
    ///
    /// # Errors
    /// [`Error::Device`] if the device is not there; [`Error::Usage`] if the worker cannot
    /// be set up.
    pub fn ready(self) -> Result<WorkerEngine, Error> {
        let runtime = self.0.runtime()?;
        Ok(WorkerEngine { shared: self.0, runtime })
    }
}

impl WorkerEngine {
    /// Has the worker try something, to see whether its sandbox lets it through. `file` may
    /// be changed, and so may its folder.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if it never answers; [`Error::Usage`] if it cannot be set up.
    pub fn attempt(&self, attempt: Attempt, file: &ModelFile) -> Result<Outcome, Error> {
        self.shared.attempt(attempt, file)
    }
}

impl Engine for WorkerEngine {
    fn open(&self, file: &ModelFile, taps: Taps) -> Result<Box<dyn Network>, Error> {
        archive::check(file)?;
        Ok(Box::new(WorkerNetwork::open(&self.shared, file, taps)?))
    }

    fn audit(&self, file: &ModelFile) -> Result<Vec<OperatorUse>, Error> {
        archive::check(file)?;
        self.shared.audit(file)
    }

    fn runtime(&self) -> &Runtime {
        &self.runtime
    }
}

/// The bytes of memory that this machine has, where the system tells (Linux).
fn memory_of_machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}
