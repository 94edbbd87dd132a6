//! A TorchScript file before libtorch sees it: is it one at all?
//!
//! TorchScript is a zip with `NAME/code/...` and `NAME/constants.pkl`. Files that
//! are something else are told apart here, where an answer takes a millisecond and
//! can say what to do, rather than by libtorch's traces.

mod directory;
mod pickle;
mod program;
mod sniff;

use std::io::Read;
use std::path::Path;

use zip::ZipArchive;

use crate::error::Error;
use crate::model_file::{ModelFile, Reader};

pub use directory::{Problem, check as check_directory, open};
pub use program::{Program, is_constant, is_weight};

/// The extra file in which a TorchScript file can carry its own `model.json`.
pub const EXTRA: &str = "actviz.json";

/// The extra file in which Ultralytics' exports say what their input is.
pub const ULTRALYTICS: &str = "config.txt";

/// What a file says about its own input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// The text of [`EXTRA`].
    Description(String),
    /// The text of [`ULTRALYTICS`].
    Ultralytics(String),
}

/// The most bytes that a network may unpack to, unless the user says otherwise: 16 GiB.
pub const DEFAULT_LIMIT: u64 = 16 << 30;

/// Checks, from its directory alone, that `file` does not claim to unpack to more than
/// `limit` bytes, nor to more than its own bytes can hold. libtorch believes what the
/// directory says, and would try to find that much memory.
///
/// # Errors
/// [`Error::NotTorchScript`] if it does; [`Error::Io`] if it cannot be read.
pub fn check_size(file: &ModelFile, limit: u64) -> Result<(), Error> {
    let (reader, file) = (file.reader(), file.path());
    check_directory(reader, limit).map_err(|found| match found {
        Problem::Io(error) => Error::io("read", file)(error),
        Problem::Damaged(problem) => Error::NotTorchScript {
            file: file.to_owned(),
            problem,
            hint: "get the file again, from somebody you trust".to_owned(),
        },
        Problem::TooLarge(size) => Error::NotTorchScript {
            file: file.to_owned(),
            problem: format!("it unpacks to {size} bytes, more than the limit of {limit}"),
            hint: "--max-model-size raises the limit, e.g. 64G".to_owned(),
        },
    })
}

/// Checks that a file is a TorchScript archive and returns what it carries to say about its
/// own input, if anything.
///
/// # Errors
/// [`Error::NotTorchScript`] with what it is instead; [`Error::Io`] if it cannot be read.
pub fn check(model: &ModelFile) -> Result<Option<Carried>, Error> {
    let file = model.path();
    let not = |problem: &str, hint: &str| Error::NotTorchScript {
        file: file.to_owned(),
        problem: problem.to_owned(),
        hint: hint.to_owned(),
    };
    let instead = |kind: sniff::Kind| not(&kind.problem, &kind.hint);
    let mut start = Vec::new();
    let beginning_of = model.reader().take(sniff::START as u64).read_to_end(&mut start);
    beginning_of.map_err(Error::io("read", file))?;
    if !start.starts_with(b"PK") {
        return Err(instead(sniff::of_start(&start, model.length())));
    }
    let mut archive = directory::open(model.reader()).map_err(|_| {
        not(
            "the file is cut off or damaged (a zip archive without its directory)",
            "copy or download it again, and compare its size with the original",
        )
    })?;
    let names: Vec<String> =
        archive.file_names().filter_map(|name| name.ok().map(|name| name.into_owned())).collect();
    let find = |end: &str| names.iter().find(|name| name.ends_with(end));
    let has_code = names.iter().any(|name| name.contains("/code/"));
    if !has_code || find("/constants.pkl").is_none() {
        let pickle = find("/data.pkl").map(|name| beginning(&mut archive, name));
        return Err(instead(sniff::of_archive(&names, &pickle.unwrap_or_default())));
    }
    let extra = |name: &str| find(&format!("/extra/{name}"));
    if let Some(name) = extra(EXTRA) {
        return Ok(Some(Carried::Description(read_text(&mut archive, name, file)?)));
    }
    let Some(name) = extra(ULTRALYTICS) else { return Ok(None) };
    Ok(Some(Carried::Ultralytics(read_text(&mut archive, name, file)?)))
}

/// What a pickle begins with, enough to tell what it holds; nothing of one that is damaged.
fn beginning(archive: &mut ZipArchive<Reader>, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(entry) = archive.by_name(name) {
        let _ = entry.take(1 << 16).read_to_end(&mut bytes);
    }
    bytes
}

fn read_text(archive: &mut ZipArchive<Reader>, name: &str, file: &Path) -> Result<String, Error> {
    /// A model.json has a few kilobytes; more is not read.
    const LIMIT: u64 = 1 << 20;
    let bad = |problem: String| Error::Json { file: file.join(name), problem };
    let entry = archive.by_name(name).map_err(|e| bad(e.to_string()))?;
    let mut text = String::new();
    entry.take(LIMIT).read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
    Ok(text)
}

/// A file that is not as it was saved.
pub fn damaged(file: &Path, problem: &str) -> Error {
    Error::NotTorchScript {
        file: file.to_owned(),
        problem: problem.to_owned(),
        hint: "copy or download it again, and compare its SHA-256 with the original".to_owned(),
    }
}
