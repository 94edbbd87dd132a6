//! The one configuration under which repeated runs give the same bytes.
//!
//! libtorch's libraries read the environment once, when they start. So the process
//! starts itself again with the variables below, unless they are set already.

use std::process::Command;

use crate::error::Error;

/// What is pinned: the instruction sets of ATen, oneDNN and MKL (every x86-64 server
/// since 2013 has AVX2), one thread in each, and cuBLAS without its varying workspace.
/// docs/determinism.md says why each is here.
pub const ENVIRONMENT: [(&str, &str); 6] = [
    ("ATEN_CPU_CAPABILITY", "avx2"),
    ("ONEDNN_MAX_CPU_ISA", "AVX2"),
    ("MKL_CBWR", "AVX2,STRICT"),
    ("OMP_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
];

/// Whether the environment is the pinned one.
pub fn is_pinned() -> bool {
    ENVIRONMENT.iter().all(|(name, value)| std::env::var(name).is_ok_and(|found| found == *value))
}

/// Runs this very command in the pinned environment; returns its exit code, on Unix
/// only if it could not be started.
///
/// # Errors
/// [`Error::Io`] if the program cannot start itself.
pub fn run_pinned() -> Result<u8, Error> {
    let program = std::env::current_exe().map_err(Error::io("find", "this program".as_ref()))?;
    let mut command = Command::new(&program);
    command.args(std::env::args_os().skip(1)).envs(ENVIRONMENT);
    start(&mut command).map_err(Error::io("start", &program))
}

#[cfg(unix)]
fn start(command: &mut Command) -> std::io::Result<u8> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

#[cfg(not(unix))]
fn start(command: &mut Command) -> std::io::Result<u8> {
    let code = command.status()?.code().unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}
