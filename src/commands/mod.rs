//! One file a command: a short, readable list of calls into the library.

pub mod accept;
pub mod audit;
pub mod compare;
pub mod doctor;
mod engine;
pub mod insights;
pub mod layers;
pub mod merge;
pub mod render;
pub mod report;
pub mod show;
use std::io::{self, Write};
use std::path::Path;

use crate::args::{Cli, Command};
use crate::bundle::{FoldFile, Model, in_words};
use crate::engine::Precision;
use crate::error::{EXIT_NOTHING_DONE, EXIT_TRY_AGAIN, Error};
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::stdout::Stdout;
use crate::terminal::{self, Reporter, line};
use crate::worker::{WorkerConfig, WorkerEngine};

use engine::configuration;
use insights::Subjects;

/// The exit code of a whole success.
pub const EXIT_DONE: u8 = 0;
/// The exit code of a negative answer, or of a run that could not do everything.
pub const EXIT_PARTLY: u8 = 1;

/// Runs the command and returns its exit code.
///
/// # Errors
/// Whatever kept the command from doing anything at all.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    let reporter = Reporter::new(cli.verbosity());
    let mut stdout = Stdout::default();
    let code = dispatch(cli.command, &reporter, &mut stdout)?;
    stdout.finish()?;
    Ok(code)
}

fn dispatch(command: Command, reporter: &Reporter, stdout: &mut Stdout) -> anyhow::Result<u8> {
    match command {
        Command::Render(args) => {
            let plan = Plan::new(&args)?;
            plan.notes.iter().for_each(|note| reporter.note(note));
            plan.input
                .assumed_in_words(true)
                .into_iter()
                .for_each(|assumed| reporter.note(assumed));
            // Before any other thread is there: each hears of signals.
            let interrupt = Interrupt::listen()?;
            let cancelled = interrupt.clone();
            let run = || {
                let config = configuration(&args.run, plan.precision, plan.deterministic)?
                    .until(move || cancelled.is_set());
                let engine = start(config, std::slice::from_ref(&plan.model), reporter)?;
                render::run(&args, &plan, &engine, (reporter, &interrupt), stdout)
            };
            run().or_else(|error| match interrupt.exit_code() {
                // A network that hung was given up for the signal, and is not what went wrong.
                Some(code) if exit_code(&error) != EXIT_TRY_AGAIN => {
                    reporter.warn("interrupted before the first picture");
                    Ok(code)
                }
                _ => Err(error),
            })
        }
        Command::Layers(args) => {
            let model = Model::find(&args.model.model, args.model.folds, &args.model.fold)?;
            let config = configuration(&args.run, Precision::F32, false)?;
            let engine = start(config, std::slice::from_ref(&model), reporter)?;
            match args.audit {
                true => audit::run(&args, &model, &engine, reporter, stdout),
                false => layers::run(&args, &model, &engine, reporter, stdout),
            }
        }
        Command::Merge(args) => merge::run(&args, reporter, stdout),
        Command::Compare(args) => compare::run(&args, reporter, stdout),
        Command::Accept(args) => accept::run(&args, stdout),
        Command::Insights(args) => {
            let subjects = Subjects::find(&args)?;
            let config = configuration(&args.run, Precision::F32, false)?;
            let engine = start(config, &subjects.models, reporter)?;
            insights::run(&args, &subjects, &engine, reporter, stdout)
        }
        Command::Report(args) => report::run(&args, reporter),
        Command::Show(args) => show::run(&args, stdout),
        Command::Doctor(args) => doctor::run(&args, stdout),
    }
}

/// The exit code of an error.
fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Error>().map_or(EXIT_NOTHING_DONE, Error::exit_code)
}

/// Starts the worker. While it loads libtorch, the files' SHA-256 are read.
fn start(
    config: WorkerConfig,
    models: &[Model],
    reporter: &Reporter,
) -> Result<WorkerEngine, Error> {
    let starting = WorkerEngine::start(config)?;
    models.iter().for_each(Model::hash_ahead);
    models.iter().try_for_each(|model| tell_of(model, reporter))?;
    starting.ready()
}

/// What is to be known of how a model was found: which of several was taken, which folds
/// are missing, which are one, and which are not the ones that the bundle describes.
fn tell_of(model: &Model, reporter: &Reporter) -> Result<(), Error> {
    if let (Some(folder), [other, ..]) = (&model.folder, &model.others[..]) {
        reporter.note(format!(
            "{} is taken from {}; --model {} takes the other one",
            model.name,
            folder.display(),
            as_path(other)
        ));
    }
    if !model.missing.is_empty() {
        reporter.warn(format!(
            "{}: {}; looked at: {}",
            model.name,
            model.missing_in_words(),
            model.numbers_in_words()
        ));
    }
    for group in model.identical_folds()? {
        reporter.warn(format!(
            "{}: folds {} are the same file, byte by byte: they say nothing about how far folds \
             agree",
            model.name,
            in_words(&group)
        ));
    }
    for file in model.other_files()? {
        reporter.warn(format!(
            "{}: not the file that model.json describes (its SHA-256 differs)",
            file.display()
        ));
    }
    Ok(())
}

/// A folder as `--model` takes it for a folder, not for a name.
fn as_path(folder: &Path) -> String {
    match folder.parent().is_some_and(|parent| !parent.as_os_str().is_empty()) {
        true => folder.display().to_string(),
        false => format!(".{}{}", std::path::MAIN_SEPARATOR, folder.display()),
    }
}

/// Looks at each fold of a model. Where one of several fails, that is told, and the others are
/// looked at. Gives what was found, and in words what failed.
///
/// # Errors
/// Those of `look`, if no fold is left or they are not of one fold alone.
fn each_fold<T>(
    model: &Model,
    reporter: &Reporter,
    look: impl Fn(&FoldFile) -> Result<T, Error>,
) -> Result<(Vec<T>, Vec<String>), Error> {
    let (mut found, mut failed, mut last) = (Vec::new(), Vec::new(), None);
    for fold in &model.folds {
        match look(fold) {
            Ok(one) => found.push(one),
            Err(error) if model.folds.len() > 1 && error.is_of_one_fold() => {
                reporter.failed(&error);
                failed.push(format!("fold {}: {error}", fold.fold));
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match last {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok((found, failed)),
    }
}

/// Prints one JSON document.
fn print_json(out: &mut dyn Write, value: &impl serde::Serialize) -> anyhow::Result<()> {
    writeln!(out, "{}", terminal::json(value)?)?;
    Ok(())
}

/// Prints a table for people, without the blanks that fill up its last column.
fn print_table(out: &mut dyn Write, table: &comfy_table::Table) -> io::Result<()> {
    for row in table.lines() {
        writeln!(out, "{}", line(row.trim_end()))?;
    }
    Ok(())
}
