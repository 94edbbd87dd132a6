//! One file a command: a short, readable list of calls into the library.

pub mod accept;
pub mod audit;
pub mod compare;
pub mod doctor;
pub mod insights;
pub mod layers;
pub mod merge;
#[cfg(feature = "torch")]
pub mod network;
pub mod render;
pub mod report;
pub mod show;
// Without libtorch nothing is run, and its flags are checked all the same.
#[cfg_attr(not(feature = "torch"), allow(dead_code))]
mod trust;

use std::io::{self, Write};

use crate::args::{Cli, Command, RunArgs, TrustArgs};
use crate::bundle::{FoldFile, Model};
use crate::deterministic;
use crate::engine::{Engine, Precision};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::sandbox::{self, Made, Needs};
use crate::talk::{Talk, line};
#[cfg(feature = "torch")]
use crate::{isolate::Guarded, torch::TorchEngine};

use insights::Subjects;
use trust::Isolation;

/// The exit code of a whole success.
pub const EXIT_DONE: u8 = 0;
/// The exit code of a negative answer, or of a run that could not do everything.
pub const EXIT_PARTLY: u8 = 1;

/// Runs the command and returns its exit code.
///
/// # Errors
/// Whatever kept the command from doing anything at all.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    let talk = Talk::new(cli.verbosity());
    // Not locked: pictures are told of by the thread that draws them.
    let stdout = &mut io::stdout();
    match cli.command {
        Command::Render(args) => {
            let plan = Plan::new(&args)?;
            warn_of_gap(&plan.model, &talk);
            if plan.deterministic && !deterministic::is_pinned() {
                return Ok(deterministic::run_pinned()?);
            }
            // Before any other thread is there: each hears of signals.
            let interrupt = Interrupt::listen()?;
            let isolation = Isolation::of(&args.run, std::slice::from_ref(&plan.model), &talk)?;
            let _made = confine(&args.run, plan.needs(args.dry_run), isolation.as_ref(), &talk)?;
            let engine = engine(&args.run, plan.precision, isolation)?;
            render::run(&args, &plan, engine.as_ref(), (&talk, &interrupt), stdout)
        }
        Command::Layers(args) => {
            let model = Model::find(&args.model.model, args.model.folds, &args.model.fold)?;
            warn_of_gap(&model, &talk);
            let isolation = Isolation::of(&args.run, std::slice::from_ref(&model), &talk)?;
            let _made = confine(&args.run, model.needs(), isolation.as_ref(), &talk)?;
            let engine = engine(&args.run, Precision::F32, isolation)?;
            match args.audit {
                true => audit::run(&args, &model, engine.as_ref(), &talk, stdout),
                false => layers::run(&args, &model, engine.as_ref(), &talk, stdout),
            }
        }
        Command::Merge(args) => merge::run(&args, &talk, stdout),
        Command::Compare(args) => compare::run(&args, &talk, stdout),
        Command::Accept(args) => accept::run(&args, stdout),
        Command::Insights(args) => {
            let subjects = Subjects::find(&args)?;
            subjects.models.iter().for_each(|model| warn_of_gap(model, &talk));
            let isolation = Isolation::of(&args.run, &subjects.models, &talk)?;
            let _made = confine(&args.run, subjects.needs(&args), isolation.as_ref(), &talk)?;
            let engine = engine(&args.run, Precision::F32, isolation)?;
            insights::run(&args, &subjects, engine.as_ref(), &talk, stdout)
        }
        Command::Report(args) => report::run(&args, &talk),
        #[cfg(feature = "torch")]
        Command::RunNetwork(args) => network::run(&args, &talk),
        #[cfg(not(feature = "torch"))]
        Command::RunNetwork(_) => Err(without_libtorch().into()),
        Command::Show(args) => show::run(&args, stdout),
        Command::Doctor(args) => doctor::run(&args, stdout),
    }
}

/// Without --folds, a pattern's folds end before the first that has no file.
fn warn_of_gap(model: &Model, talk: &Talk) {
    if let Some((missing, there)) = model.gap {
        talk.warn(format!(
            "{}: fold {missing} has no file, and fold {there} has: only the folds before {missing} \
             are looked at; --fold A,B chooses others",
            model.name
        ));
    }
}

/// [`shut_in`], with what the isolation of networks needs.
fn confine(
    args: &RunArgs,
    mut needs: Needs,
    isolation: Option<&Isolation>,
    talk: &Talk,
) -> Result<Made, Error> {
    if let Some(isolation) = isolation {
        isolation.add_to(&mut needs);
    }
    shut_in(&args.trust, needs, talk)
}

/// Takes from this process what it does not need. Comes before the engine: a thread that
/// is there already would stay outside.
fn shut_in(trust: &TrustArgs, needs: Needs, talk: &Talk) -> Result<Made, Error> {
    if trust.no_sandbox {
        return Ok(Made::default());
    }
    let (state, made) = sandbox::enter(&needs)?;
    talk.verbose(format!("sandbox: {state}"));
    Ok(made)
}

/// The engine that runs networks on the chosen device: here, or isolated.
#[cfg(feature = "torch")]
fn engine(
    args: &RunArgs,
    precision: Precision,
    isolation: Option<Isolation>,
) -> Result<Box<dyn Engine>, Error> {
    let engine = engine_here(args)?.computing_in(precision);
    let Some(isolation) = isolation else { return Ok(Box::new(engine)) };
    let start = isolation.start(args, engine.device(), precision);
    Ok(Box::new(Guarded::new(engine, isolation.vouched, start)))
}

#[cfg(feature = "torch")]
fn engine_here(args: &RunArgs) -> Result<TorchEngine, Error> {
    let engine = TorchEngine::new(args.device, args.threads)?;
    Ok(engine.allowing(&args.trust.allow_op).within(args.trust.max_model_size))
}

#[cfg(not(feature = "torch"))]
fn engine(
    _args: &RunArgs,
    _precision: Precision,
    _isolation: Option<Isolation>,
) -> Result<Box<dyn Engine>, Error> {
    Err(without_libtorch())
}

#[cfg(not(feature = "torch"))]
fn without_libtorch() -> Error {
    Error::usage_hint(
        "this actviz was built without libtorch: it cannot run networks",
        "build it with the default features",
    )
}

/// Looks at each fold of a model. Where one of several fails, that is told, and the others are
/// looked at. Gives what was found, and in words what failed.
///
/// # Errors
/// Those of `look`, if no fold is left or they are not of one fold alone.
fn each_fold<T>(
    model: &Model,
    talk: &Talk,
    look: impl Fn(&FoldFile) -> Result<T, Error>,
) -> Result<(Vec<T>, Vec<String>), Error> {
    let (mut found, mut failed, mut last) = (Vec::new(), Vec::new(), None);
    for fold in &model.folds {
        match look(fold) {
            Ok(one) => found.push(one),
            Err(error) if model.folds.len() > 1 && error.is_of_one_fold() => {
                talk.failed(&error);
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
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// Prints a table for people, without the blanks that fill up its last column.
fn print_table(out: &mut dyn Write, table: &comfy_table::Table) -> io::Result<()> {
    for row in table.lines() {
        writeln!(out, "{}", line(row.trim_end()))?;
    }
    Ok(())
}
