//! The binary: parse, dispatch, say what went wrong, exit.

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;

use actviz::args::Cli;
use actviz::{Error, commands, error, talk};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // --help, --version, or what is wrong with the arguments.
        Err(answer) => {
            let _ = answer.print();
            let code = u8::try_from(answer.exit_code()).unwrap_or(error::EXIT_NOTHING_DONE);
            return ExitCode::from(code);
        }
    };
    let verbose = cli.verbosity() == talk::Verbosity::Verbose;
    ExitCode::from(commands::run(cli).unwrap_or_else(|error| fail(&error, verbose)))
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
