//! From flags to the worker that they ask for.

use std::time::Duration;

use actviz_core::protocol::Settings;

use crate::args::RunArgs;
use crate::engine::Precision;
use crate::error::Error;
use crate::worker::WorkerConfig;

/// The one configuration under which repeated runs give the same bytes: the instruction
/// sets of ATen, oneDNN and MKL (every x86-64 server since 2013 has AVX2), one thread in
/// each, and cuBLAS without its varying workspace. docs/determinism.md says why each is
/// here.
pub const DETERMINISTIC: [(&str, &str); 6] = [
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("MKL_CBWR", "AVX2,STRICT"),
    ("OMP_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
];

/// The worker that these flags ask for.
///
/// # Errors
/// [`Error::Usage`] if the engine or a libtorch for it is not there.
pub fn configuration(
    args: &RunArgs,
    precision: Precision,
    deterministic: bool,
) -> Result<WorkerConfig, Error> {
    let pinned: &[(&str, &str)] = if deterministic { &DETERMINISTIC } else { &[] };
    let environment = pinned.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let config = WorkerConfig::find()?;
    Ok(WorkerConfig {
        environment: environment.collect(),
        settings: Settings {
            device: args.device,
            threads: if deterministic { Some(1) } else { args.threads },
            precision,
            allowed: args.trust.allow_op.clone(),
            most_unpacked: args.trust.max_model_size,
            most_memory: args.trust.max_memory,
            sandbox: !args.trust.no_sandbox,
        },
        timeout: args.trust.timeout.map_or(config.timeout, Duration::from_secs),
        ..config
    })
}
