//! `actviz compare`: are these still the pictures that they should be?

use std::io::Write;
use std::path::Path;

use super::{EXIT_DONE, EXIT_PARTLY, print_json};
use crate::args::CompareArgs;
use crate::compare::report::targets::{self, Targets};
use crate::compare::report::{self, diff_image, github, html, junit, table};
use crate::compare::{self, CompareOptions};
use crate::error::Error;
use crate::terminal::{Reporter, count};

/// Where GitHub wants a step's summary.
const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Compares, reports, and answers with the exit code.
///
/// # Errors
/// Whatever leaves nothing to compare, or a report unwritten.
pub fn run(args: &CompareArgs, reporter: &Reporter, out: &mut dyn Write) -> anyhow::Result<u8> {
    let files = [("--junit", &args.junit), ("--html", &args.html)];
    let files = files.into_iter().filter_map(|(flag, file)| Some((flag, file.as_deref()?)));
    let targets = Targets { files: files.collect(), diff_dir: args.diff_dir.as_deref() };
    targets::prepare(&args.golden, &args.new, &targets)?;
    let question = CompareOptions {
        profile: args.profile,
        limits: args.limits(),
        allowed: args.allow.clone(),
    };
    let found = compare::compare(&args.golden, &args.new, &question)?;
    if let Some(file) = &args.junit {
        report::write(file, junit::xml(&found)?.as_bytes())?;
    }
    if let Some(file) = &args.html {
        report::write(file, html::page(&found).as_bytes())?;
    }
    if let Some(folder) = &args.diff_dir {
        let written = diff_image::write_all(&found, folder)?;
        reporter.verbose(format!("{} in {}", count(written, "comparison"), folder.display()));
    }
    if args.json {
        print_json(out, &found)?;
    } else if !reporter.is_quiet() {
        table::print(&found, out)?;
    }
    if args.github {
        // GitHub reads both streams, and JSON alone is JSON.
        match args.json {
            // What stderr does not take changes nothing of the answer.
            true => drop(github::annotate(&found, &mut std::io::stderr())),
            false => github::annotate(&found, out)?,
        }
        if let Some(file) = std::env::var_os(SUMMARY).filter(|file| !file.is_empty()) {
            let file = Path::new(&file);
            github::summarise(&found, file).map_err(Error::io("write", file))?;
        }
    }
    Ok(if found.same { EXIT_DONE } else { EXIT_PARTLY })
}
