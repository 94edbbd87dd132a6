//! `actviz doctor`: is this machine set up?

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde::Serialize;
use strum::IntoEnumIterator;

use super::{EXIT_DONE, EXIT_PARTLY, print_json};
use crate::args::DoctorArgs;
use crate::attempt::{Attempt, Outcome};
use crate::bundle::{self, Description};
use crate::digest;
use crate::engine::{Engine, Runtime};
use crate::error::Error;
use crate::model_file::ModelFile;
use crate::terminal::line;
use crate::worker::{self, Libtorch, WorkerConfig, WorkerEngine};

#[derive(Serialize)]
struct Document {
    schema: u32,
    actviz: &'static str,
    /// The program that runs the networks.
    engine: Option<PathBuf>,
    libtorch: Option<Found>,
    /// What the engine says of itself and of this machine, once it has loaded libtorch.
    runtime: Option<Runtime>,
    /// Why there is none of the three before.
    problem: Option<String>,
    /// What the sandbox allows; `None` if nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<Vec<Tried>>,
    places: Vec<Place>,
}

/// Something that was tried in two workers.
#[derive(Serialize)]
struct Tried {
    attempt: Attempt,
    /// The same in words.
    what: &'static str,
    in_sandbox: Outcome,
    /// In a worker with `--no-sandbox`: what is refused there, too, is not the sandbox's work.
    without: Outcome,
}

/// The libtorch that is taken, and why.
#[derive(Serialize)]
struct Found {
    folder: PathBuf,
    version: String,
    why: String,
}

#[derive(Serialize)]
struct Place {
    folder: PathBuf,
    exists: bool,
    bundles: Vec<Bundle>,
}

#[derive(Serialize)]
struct Bundle {
    name: String,
    folder: PathBuf,
    folds: usize,
    /// What is wrong with it; empty: every file is the one that model.json names.
    problems: Vec<String>,
}

/// Looks at libtorch, the devices and the bundles, and prints what it finds.
///
/// # Errors
/// If standard output cannot be written.
pub fn run(args: &DoctorArgs, out: &mut dyn Write) -> anyhow::Result<u8> {
    let places = bundle::places().into_iter().map(place).collect();
    let mut document = Document {
        schema: 1,
        actviz: env!("CARGO_PKG_VERSION"),
        engine: None,
        libtorch: None,
        runtime: None,
        problem: None,
        sandbox: None,
        places,
    };
    if let Err(error) = ask_engine(&mut document, args.sandbox) {
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        document.problem = Some(format!("{error}{hint}"));
    }
    if args.json {
        print_json(out, &document)?;
    } else {
        print(&document, out)?;
    }
    let whole = document.places.iter().flat_map(|p| &p.bundles).all(|b| b.problems.is_empty());
    Ok(if whole && document.problem.is_none() { EXIT_DONE } else { EXIT_PARTLY })
}

/// Finds engine and libtorch, starts the one with the other, and notes what is known so far.
fn ask_engine(document: &mut Document, sandbox: bool) -> Result<(), Error> {
    let program = worker::find_program()?;
    document.engine = Some(program.clone());
    let libtorch = Libtorch::find(&program)?;
    document.libtorch = Some(Found {
        folder: libtorch.folder.clone(),
        version: libtorch.version.clone(),
        why: libtorch.origin.to_string(),
    });
    let config = WorkerConfig::of(program, libtorch);
    let engine = WorkerEngine::start(config.clone())?.ready()?;
    document.runtime = Some(engine.runtime().clone());
    if sandbox {
        document.sandbox = Some(try_all(&engine, config)?);
    }
    Ok(())
}

/// Tries everything, on files that are there for it.
fn try_all(inside: &WorkerEngine, mut config: WorkerConfig) -> Result<Vec<Tried>, Error> {
    config.settings.sandbox = false;
    let outside = WorkerEngine::start(config)?;
    let place = tempfile::tempdir().map_err(Error::io("write into", &std::env::temp_dir()))?;
    let file = place.path().join("file");
    let write = |file: &Path| std::fs::write(file, b"a file to try things on");
    write(&file).map_err(Error::io("write", &file))?;
    let socket = place.path().join("socket");
    // Held open, so that there is somebody to connect to.
    let _listener = UnixListener::bind(&socket).map_err(Error::io("write", &socket))?;
    let file = ModelFile::open(&file)?;
    let outside = outside.ready()?;
    let tried = |attempt: Attempt| {
        let (in_sandbox, without) =
            (inside.attempt(attempt, &file)?, outside.attempt(attempt, &file)?);
        Ok(Tried { attempt, what: attempt.what(), in_sandbox, without })
    };
    Attempt::iter().map(tried).collect()
}

fn place(folder: PathBuf) -> Place {
    let bundles = bundle::bundles_in(&folder).into_iter().map(examine).collect();
    Place { exists: folder.is_dir(), folder, bundles }
}

fn examine(folder: PathBuf) -> Bundle {
    let fallback = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    match Description::read(&folder) {
        Err(error) => {
            let name = fallback.unwrap_or_default();
            Bundle { name, folder, folds: 0, problems: vec![error.to_string()] }
        }
        Ok(description) => {
            let check =
                |fold: &bundle::DescribedFold| wrong(&folder.join(&fold.file), &fold.sha256);
            let problems = description.folds.iter().filter_map(check).collect();
            Bundle { name: description.name, folds: description.folds.len(), problems, folder }
        }
    }
}

/// What is wrong with a bundle's file, if anything.
fn wrong(file: &Path, expected: &str) -> Option<String> {
    match digest::of_file(file) {
        Err(error) => Some(error.to_string()),
        Ok(found) if found != expected => {
            Some(format!("{}: SHA-256 is {found}, model.json says {expected}", file.display()))
        }
        Ok(_) => None,
    }
}

/// In a word or two; the rest is in the JSON.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "allowed",
        Outcome::Refused(_) => "refused",
        Outcome::Ended(_) => "ends the worker",
        Outcome::Unknown => "not on this system",
    }
}

fn print(document: &Document, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "actviz          {}", document.actviz)?;
    if let Some(engine) = &document.engine {
        writeln!(out, "engine          {}", line(engine.display()))?;
    }
    if let Some(found) = &document.libtorch {
        writeln!(out, "libtorch        {} ({})", line(&found.version), found.why)?;
        writeln!(out, "  folder        {}", line(found.folder.display()))?;
    }
    if let Some(runtime) = &document.runtime {
        writeln!(out, "  loaded        {}", runtime.version)?;
        writeln!(out, "  CPU           {}", runtime.cpu_capability)?;
        writeln!(out, "  threads       {}", runtime.threads)?;
        writeln!(out, "  CUDA          {}", line(&runtime.cuda))?;
        writeln!(out, "  sandbox       {}", runtime.sandbox)?;
    }
    for (number, tried) in document.sandbox.iter().flatten().enumerate() {
        if number == 0 {
            writeln!(out, "{:<52}{:<20}without it", "what a network might try", "in the sandbox")?;
        }
        let (inside, without) = (word(&tried.in_sandbox), word(&tried.without));
        writeln!(out, "  {:<50}{inside:<20}{without}", tried.what)?;
    }
    if let Some(problem) = &document.problem {
        writeln!(out, "problem         {}", line(problem))?;
    }
    writeln!(out, "bundles")?;
    for place in &document.places {
        let state = match (place.exists, place.bundles.len()) {
            (false, _) => ": not there",
            (true, 0) => ": no bundle in it",
            (true, _) => "",
        };
        writeln!(out, "  in {}{state}", line(place.folder.display()))?;
        for bundle in &place.bundles {
            if bundle.problems.is_empty() {
                let (name, folds) = (line(&bundle.name), bundle.folds);
                writeln!(out, "    {name}: {folds} folds, SHA-256 verified")?;
            }
            for problem in &bundle.problems {
                writeln!(out, "    {}", line(format!("{}: {problem}", bundle.name)))?;
            }
        }
    }
    Ok(())
}
