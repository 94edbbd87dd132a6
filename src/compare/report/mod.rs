//! A comparison, told: to people, to CI, and as pictures.

pub mod diff_image;
pub mod github;
pub mod html;
pub mod junit;
pub mod table;
pub mod targets;

use std::path::Path;

use crate::error::Error;
use crate::output;

/// Writes a report: whole, or not at all; through a device or a pipe.
///
/// # Errors
/// Those of [`output::write_result`].
pub fn write(file: &Path, bytes: &[u8]) -> Result<(), Error> {
    output::write_result(file, bytes)
}
