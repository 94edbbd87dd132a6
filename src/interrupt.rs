//! Ctrl-C and a scheduler's notice: the run ends in order, and can be taken up again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// What the signals that end a run in order have said so far.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    int: Arc<AtomicBool>,
    term: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on, the first SIGINT or SIGTERM is noted here, and the second one of its
    /// kind ends the process at once.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn listen() -> std::io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        for (signal, seen) in [(SIGINT, &interrupt.int), (SIGTERM, &interrupt.term)] {
            // In this order: the first signal finds the flag down.
            flag::register_conditional_shutdown(signal, exit_code(signal).into(), seen.clone())?;
            flag::register(signal, seen.clone())?;
        }
        Ok(interrupt)
    }

    /// The exit code of a run that was interrupted; `None` if it was not.
    pub fn exit_code(&self) -> Option<u8> {
        let signals = [(SIGINT, &self.int), (SIGTERM, &self.term)];
        let seen = signals.into_iter().find(|(_, seen)| seen.load(Ordering::Relaxed));
        seen.map(|(signal, _)| exit_code(signal))
    }

    /// Whether the run is to end.
    pub fn is_set(&self) -> bool {
        self.exit_code().is_some()
    }

    /// As if the user had typed Ctrl-C.
    pub fn set(&self) {
        self.int.store(true, Ordering::Relaxed);
    }
}

/// From now on, a file that grows beyond the limit of this process (`ulimit -f`) is an error
/// of whoever writes it, as a full disk is, and no end of the process.
///
/// # Errors
/// If the system refuses.
pub fn outlive_file_limit() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let signal = rustix::process::Signal::XFSZ.as_raw();
        flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// As shells have it: 130 for SIGINT, 143 for SIGTERM.
fn exit_code(signal: i32) -> u8 {
    128 + signal as u8
}
