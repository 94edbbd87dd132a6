//! `actviz doctor`: is this machine set up?

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{EXIT_DONE, EXIT_PARTLY, print_json};
use crate::args::DoctorArgs;
use crate::bundle::{self, Description};
use crate::digest;
use crate::sandbox;
use crate::talk::line;

#[derive(Serialize)]
struct Document {
    schema: u32,
    actviz: &'static str,
    libtorch: Option<Libtorch>,
    /// Whether the kernel can hold a run to what its plan names.
    sandbox: bool,
    places: Vec<Place>,
}

/// What libtorch says of itself and of this machine.
#[derive(Serialize)]
struct Libtorch {
    version: String,
    folder: Option<PathBuf>,
    cpu_capability: String,
    threads: usize,
    cuda: String,
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
    let document = Document {
        schema: 1,
        actviz: env!("CARGO_PKG_VERSION"),
        libtorch: libtorch(),
        sandbox: sandbox::available(),
        places,
    };
    if args.json {
        print_json(out, &document)?;
    } else {
        print(&document, out)?;
    }
    let healthy = document.places.iter().flat_map(|p| &p.bundles).all(|b| b.problems.is_empty());
    Ok(if healthy { EXIT_DONE } else { EXIT_PARTLY })
}

#[cfg(feature = "torch")]
fn libtorch() -> Option<Libtorch> {
    use crate::torch;
    Some(Libtorch {
        version: torch::version(),
        folder: torch::folder(),
        cpu_capability: torch::cpu_capability(),
        threads: torch::threads(),
        cuda: torch::cuda_state(),
    })
}

#[cfg(not(feature = "torch"))]
fn libtorch() -> Option<Libtorch> {
    None
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

fn print(document: &Document, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out, "actviz          {}", document.actviz)?;
    match &document.libtorch {
        None => writeln!(out, "libtorch        left out of this build")?,
        Some(found) => {
            writeln!(out, "libtorch        {}", found.version)?;
            let folder = found.folder.as_ref().map(|f| f.display().to_string());
            writeln!(out, "  folder        {}", folder.as_deref().unwrap_or("unknown"))?;
            writeln!(out, "  CPU           {}", found.cpu_capability)?;
            writeln!(out, "  threads       {}", found.threads)?;
            writeln!(out, "  CUDA          {}", found.cuda)?;
        }
    }
    let sandbox = if document.sandbox { "Landlock" } else { "not available on this system" };
    writeln!(out, "sandbox         {sandbox}")?;
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
