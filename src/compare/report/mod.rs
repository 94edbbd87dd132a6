//! A comparison, told: to people, to CI, and as pictures.

pub mod github;
pub mod html;
pub mod junit;
pub mod table;
pub mod targets;
pub mod triple;

use std::io::Write;
use std::path::Path;

use crate::error::Error;
use crate::output;

/// Writes a report: whole, or not at all.
///
/// # Errors
/// [`Error::Io`].
pub fn write(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fail = |error| Error::io("write", file)(error);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut unfinished = output::unfinished(folder, output::UNFINISHED).map_err(fail)?;
    unfinished.write_all(bytes).map_err(fail)?;
    unfinished.persist(file).map_err(|error| fail(error.error))?;
    Ok(())
}
