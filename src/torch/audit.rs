//! What a file's code would do, without running any of it (`audit.cpp`).

use std::path::Path;

use super::{ffi, message};
use crate::engine::Use;
use crate::error::Error;

/// The operators that the network in `file` uses, by name.
///
/// # Errors
/// [`Error::Load`] if the file cannot be read.
pub(super) fn of(file: &Path, allowed: &[String]) -> Result<Vec<Use>, Error> {
    let load = || ffi::audit(&ffi::c_path(file)?, &ffi::c_lines(allowed)?);
    let text = load().map_err(|detail| Error::Load {
        file: file.to_owned(),
        message: message::headline(&detail),
        detail,
    })?;
    Ok(text.lines().filter_map(use_of).collect())
}

/// A line as shim.h describes it.
fn use_of(line: &str) -> Option<Use> {
    let mut fields = line.split('\t');
    Some(Use {
        operator: fields.next()?.to_owned(),
        count: fields.next()?.parse().ok()?,
        allowed: fields.next()? == "yes",
        place: fields.next()?.to_owned(),
    })
}
