//! The binary: parse, dispatch, say what went wrong, exit.

use std::io;
use std::process::ExitCode;

use clap::Parser;

use actviz::args::Cli;
use actviz::{Error, commands, error, interrupt, terminal};

fn main() -> ExitCode {
    // Without it, the system's limit ends the process where a full disk would not.
    let _ = interrupt::outlive_file_limit();
    let code = match Cli::try_parse() {
        Ok(cli) => {
            let verbose = cli.verbosity() == terminal::Verbosity::Verbose;
            commands::run(cli).unwrap_or_else(|error| fail(&error, verbose))
        }
        Err(answer) => tell(&answer),
    };
    ExitCode::from(code)
}

/// Prints --help, --version, or what is wrong with the arguments.
fn tell(answer: &clap::Error) -> u8 {
    let code = u8::try_from(answer.exit_code()).unwrap_or(error::EXIT_NOTHING_DONE);
    let text = answer.render().to_string();
    // An argument may be the name of a file.
    if answer.use_stderr() && terminal::plain(&text) != text {
        terminal::say(terminal::plain(text.trim_end()));
        return code;
    }
    match answer.print() {
        Err(error) if !answer.use_stderr() && error::is_disk_full(&error) => no_room(),
        _ => code,
    }
}

/// Prints an error with its hint; the exit code is the error's own.
fn fail(error: &anyhow::Error, verbose: bool) -> u8 {
    // All that is written to a file names it.
    if error.downcast_ref::<io::Error>().is_some_and(error::is_disk_full) {
        return no_room();
    }
    let known = error.downcast_ref::<Error>();
    terminal::error(error, known.and_then(Error::hint).as_deref());
    if verbose && let Some(detail) = known.and_then(Error::detail) {
        terminal::detail(detail);
    }
    known.map_or(error::EXIT_NOTHING_DONE, Error::exit_code)
}

fn no_room() -> u8 {
    let hint = "make room where its output goes, and run the same command again";
    terminal::error("stdout: no space left", Some(hint));
    error::EXIT_TRY_AGAIN
}
