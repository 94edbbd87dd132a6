//! `actviz report`: one self-contained page of a folder of pictures.

use super::{EXIT_DONE, EXIT_PARTLY};
use crate::args::ReportArgs;
use crate::compare::report::targets;
use crate::error::Error;
use crate::insights;
use crate::manifest::{self, Manifest};
use crate::output;
use crate::report;
use crate::terminal::{Reporter, count};

/// Reads the folder and writes the page; a page that lacks pictures, or is of
/// a run that has not ended, is not a whole success.
///
/// # Errors
/// [`Error::Usage`] if the folder has no manifest, or the page would take the place of
/// something else; those of reading and writing.
pub fn run(args: &ReportArgs, reporter: &Reporter) -> anyhow::Result<u8> {
    let folder = &args.folder;
    let hint = "render the folder again, or read it with the actviz that wrote it";
    let Some(manifest) = Manifest::read(folder).map_err(|error| hinted(error, hint))? else {
        let hint = match output::is_unfinished(folder) {
            true => "the run into it was interrupted: the same command, run again, goes on",
            false => "make one with actviz render --model ... -o DIR",
        };
        let what = format!("{} has no {}", folder.display(), manifest::FILE_NAME);
        return Err(Error::usage_hint(what, hint).into());
    };
    let file = args.out.clone().unwrap_or_else(|| folder.join(report::FILE_NAME));
    targets::check_page(folder, &file)?;
    let hint = "make the figures again with actviz insights --model ... -o DIR, or remove the file";
    let figures = insights::Document::read(folder).map_err(|error| hinted(error, hint))?;
    let page = report::page(folder, &manifest, figures.as_ref())?;
    output::write_result(&file, page.html.as_bytes())?;
    if let Some(unfinished) = &page.unfinished {
        reporter.warn(unfinished);
    }
    page.left_out.iter().for_each(|reason| reporter.warn(reason));
    for (what, names) in [("missing", &page.missing), ("damaged", &page.damaged)] {
        if let Some(first) = names.first() {
            let (all, folder) = (count(names.len(), "picture"), folder.display());
            reporter.warn(format!("{all} {what} in {folder}, the first is {first}"));
        }
    }
    reporter.note(format!("{} ({} KB)", file.display(), page.html.len().div_ceil(1000)));
    let whole = page.missing.is_empty() && page.damaged.is_empty() && page.unfinished.is_none();
    Ok(if whole { EXIT_DONE } else { EXIT_PARTLY })
}

/// What is damaged, with a way out.
fn hinted(error: Error, hint: &str) -> Error {
    match error {
        Error::Json { .. } => Error::usage_hint(error.to_string(), hint),
        error => error,
    }
}
