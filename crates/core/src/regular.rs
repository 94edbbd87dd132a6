//! Opens what must be a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens what must be a file. A named pipe without a writer would be waited for without end,
/// so nothing is waited for, and what was opened is looked at, not what had the name before.
///
/// # Errors
/// If it is something else, or cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    match () {
        () if kind.is_file() => Ok(file),
        () if kind.is_dir() => Err(not_a_file(io::ErrorKind::IsADirectory, "a folder")),
        () => Err(not_a_file(io::ErrorKind::Other, "a pipe, a socket or a device")),
    }
}

fn not_a_file(kind: io::ErrorKind, what: &str) -> io::Error {
    io::Error::new(kind, format!("it is {what}, not a file"))
}
