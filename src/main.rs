//! The binary: parse, dispatch, say what went wrong, exit.

use std::io::ErrorKind;

use clap::Parser;

use actviz::args::Cli;
use actviz::{Error, commands, error, talk};

fn main() {
    let cli = Cli::try_parse().unwrap_or_else(|answer| {
        // --help, --version, or what is wrong with the arguments.
        let _ = answer.print();
        leave(u8::try_from(answer.exit_code()).unwrap_or(error::EXIT_NOTHING_DONE));
    });
    let verbose = cli.verbosity() == talk::Verbosity::Verbose;
    let code = commands::run(cli).unwrap_or_else(|error| fail(&error, verbose));
    leave(code)
}

#[cfg(feature = "torch")]
fn leave(code: u8) -> ! {
    let _ = std::io::Write::flush(&mut std::io::stdout());
    actviz::torch::leave(code)
}

#[cfg(not(feature = "torch"))]
fn leave(code: u8) -> ! {
    std::process::exit(code.into())
}

/// Prints an error with its hint; the exit code is the error's own.
fn fail(error: &anyhow::Error, verbose: bool) -> u8 {
    // `actviz layers | head` closes the pipe: that is no failure.
    let closed = |e: &std::io::Error| e.kind() == ErrorKind::BrokenPipe;
    if error.downcast_ref().is_some_and(closed) {
        return commands::EXIT_DONE;
    }
    // All that is written to a file names it.
    let full = |e: &&std::io::Error| e.kind() == ErrorKind::StorageFull;
    if error.downcast_ref().filter(full).is_some() {
        let hint = "make room where its output goes, and run the same command again";
        talk::error("stdout: no space left", Some(hint));
        return error::EXIT_TRY_AGAIN;
    }
    let known = error.downcast_ref::<Error>();
    talk::error(error, known.and_then(Error::hint).as_deref());
    if verbose && let Some(detail) = known.and_then(Error::detail) {
        talk::detail(detail);
    }
    known.map_or(error::EXIT_NOTHING_DONE, Error::exit_code)
}
