//! The bytes of an image's file.

use std::io::Read;
use std::path::Path;

use super::{DecodeLimits, Problem};
use actviz_core::regular;

use crate::error::Error;

/// The whole file, if it is one and not too long.
///
/// # Errors
/// [`Error::Image`] for what is no file, is empty or too long; [`Error::Io`].
pub(super) fn read(path: &Path, limits: DecodeLimits) -> Result<Vec<u8>, Error> {
    let bad = |problem: String| Err(Problem::new(problem).of(path));
    let kind = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if !kind.is_file() {
        return bad("not a file".to_owned());
    }
    let file = regular::open(path).map_err(Error::io("read", path))?;
    let too_long = |length: u64| {
        format!(
            "the file has {length} bytes, more than the limit of {} (--max-image-size)",
            limits.bytes
        )
    };
    let length = file.metadata().map_err(Error::io("read", path))?.len();
    if length > limits.bytes {
        return bad(too_long(length));
    }
    let mut bytes = Vec::new();
    if let Err(problem) = super::guard::check_memory(length) {
        return Err(problem.of(path));
    }
    // It may grow while it is read.
    file.take(limits.bytes + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    match bytes.len() as u64 {
        0 => bad("the file is empty".to_owned()),
        length if length > limits.bytes => bad(too_long(length)),
        _ => Ok(bytes),
    }
}
