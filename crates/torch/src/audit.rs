//! What a file's code would do, without running any of it (`audit.cpp`).

use std::os::fd::AsFd;

use actviz_core::archive::Program;

use super::ffi::{self, Fill};
use super::message;
use crate::records::Records;
use actviz_core::engine::OperatorUse;
use actviz_core::error::Error;
use actviz_core::model_file::ModelFile;

/// The operators that the network in `file` uses, by name.
///
/// # Errors
/// [`Error::Load`] if the file cannot be read, and those of [`Records`].
pub(super) fn of(file: &ModelFile, allowed: &[String]) -> Result<Vec<OperatorUse>, Error> {
    let records = Records::of(file)?;
    Program::of(file)?;
    let text =
        unpacking(&records, |unpack| ffi::audit(file.as_fd(), &ffi::c_lines(allowed)?, unpack))?;
    let text = text.map_err(|detail| Error::Load {
        file: file.path().to_owned(),
        message: message::headline(&detail),
        detail,
    })?;
    Ok(text.lines().filter_map(use_of).collect())
}

/// Makes a call of libtorch that needs weights. Why they cannot be unpacked comes before what
/// libtorch says then.
pub(super) fn unpacking<T>(
    records: &Records,
    call: impl FnOnce(Fill<'_>) -> Result<T, String>,
) -> Result<Result<T, String>, Error> {
    let mut failure = None;
    let result = call(&mut |wanted| match records.unpack(wanted) {
        Ok(()) => true,
        Err(error) => {
            failure = Some(error);
            false
        }
    });
    failure.map_or(Ok(result), Err)
}

/// A line as shim.h describes it.
fn use_of(line: &str) -> Option<OperatorUse> {
    let mut fields = line.split('\t');
    Some(OperatorUse {
        operator: fields.next()?.to_owned(),
        count: fields.next()?.parse().ok()?,
        allowed: fields.next()? == "yes",
        place: fields.next()?.to_owned(),
    })
}
