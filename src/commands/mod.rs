//! One file a command: a short, readable list of calls into the library.

pub mod accept;
pub mod compare;
pub mod doctor;
pub mod insights;
pub mod layers;
pub mod render;
pub mod report;
pub mod show;

use std::io::{self, Write};

use crate::args::{Cli, Command, RunArgs};
use crate::bundle::Model;
use crate::deterministic;
use crate::engine::Engine;
use crate::error::Error;
use crate::plan::Plan;
use crate::talk::Talk;

/// The exit code of a whole success.
pub const EXIT_DONE: u8 = 0;
/// The exit code of a negative answer, or of a run that could not do everything.
pub const EXIT_PARTLY: u8 = 1;

/// Runs the command and returns its exit code.
///
/// # Errors
/// Whatever kept the command from doing anything at all.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    let mut talk = Talk::new(cli.verbosity());
    let stdout = &mut io::stdout().lock();
    match cli.command {
        Command::Render(args) => {
            let plan = Plan::new(&args)?;
            if plan.deterministic && !deterministic::is_pinned() {
                return Ok(deterministic::run_pinned()?);
            }
            render::run(&args, &plan, engine(&args.run)?.as_ref(), &mut talk, stdout)
        }
        Command::Layers(args) => {
            let model = Model::find(&args.model.model, args.model.folds, &args.model.fold)?;
            layers::run(&args, &model, engine(&args.run)?.as_ref(), stdout)
        }
        Command::Compare(args) => compare::run(&args, &talk, stdout),
        Command::Accept(args) => accept::run(&args, stdout),
        Command::Insights(args) => {
            insights::run(&args, engine(&args.run)?.as_ref(), &mut talk, stdout)
        }
        Command::Report(args) => report::run(&args, &talk),
        Command::Show(args) => show::run(&args, stdout),
        Command::Doctor(args) => doctor::run(&args, stdout),
    }
}

/// The engine that runs networks on the chosen device.
#[cfg(feature = "torch")]
fn engine(args: &RunArgs) -> Result<Box<dyn Engine>, Error> {
    Ok(Box::new(crate::torch::TorchEngine::new(args.device, args.threads)?))
}

#[cfg(not(feature = "torch"))]
fn engine(_args: &RunArgs) -> Result<Box<dyn Engine>, Error> {
    Err(Error::usage_hint(
        "this actviz was built without libtorch: it cannot run networks",
        "build it with the default features",
    ))
}

/// Prints one JSON document.
fn print_json(out: &mut dyn Write, value: &impl serde::Serialize) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Prints a table for people, without the blanks that fill up its last column.
fn print_table(out: &mut dyn Write, table: &comfy_table::Table) -> io::Result<()> {
    for line in table.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}
