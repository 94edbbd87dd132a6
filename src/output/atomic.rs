//! Single files: written whole or not at all, and read only if they are files.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use actviz_core::regular;
use tempfile::NamedTempFile;

use super::UNFINISHED;
use crate::error::{EXIT_TRY_AGAIN, Error};

/// Writes one file outside of a run: whole, or not at all. Makes its folder if need be. A
/// device and a pipe that someone reads are written to, and stay what they are.
///
/// # Errors
/// [`Error::Io`] of a full disk; else [`Error::Usage`], with the system's answer or what is
/// there that is no place for a file.
pub fn write_whole(target: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fail = |error| cannot_write(target, error);
    if let Ok(there) = fs::metadata(target)
        && (!there.is_file() || is_a_stream(target))
    {
        let mut stream = stream(target, there.file_type())?;
        return stream.write_all(bytes).map_err(fail);
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(fail)?;
    let mut file = temp_file(parent, UNFINISHED).map_err(fail)?;
    // Who cleans up leaves it alone. Where nothing can be locked, it is not cleaned up.
    let _ = file.as_file().try_lock();
    file.as_file_mut().write_all(bytes).map_err(fail)?;
    file.persist(target).map_err(|error| fail(error.error))?;
    Ok(())
}

/// [`write_whole`] for a command's one result: what the same command left half-written beside
/// it when it was killed goes.
///
/// # Errors
/// Those of [`write_whole`].
pub fn write_result(target: &Path, bytes: &[u8]) -> Result<(), Error> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    // What cannot be removed stays, and hurts nobody.
    let _ = super::remove_leftovers(parent.unwrap_or(Path::new(".")), false);
    write_whole(target, bytes)
}

/// Whether a file that is not whole has no writer any more.
pub(super) fn is_abandoned(file: &Path) -> bool {
    let is_file = fs::symlink_metadata(file).is_ok_and(|found| found.is_file());
    is_file && fs::File::open(file).is_ok_and(|file| file.try_lock().is_ok())
}

/// What may work later keeps its exit code and its hint.
fn cannot_write(target: &Path, cause: io::Error) -> Error {
    let error = Error::io("write", target)(cause);
    match error.exit_code() == EXIT_TRY_AGAIN {
        true => error,
        false => {
            Error::usage_hint(error.to_string(), "give a place in a folder that you may write into")
        }
    }
}

/// Whether it is a link of the system's to what a process has open, as /dev/stdout is.
pub(crate) fn is_a_stream(target: &Path) -> bool {
    let parent = target.parent().and_then(|parent| parent.canonicalize().ok());
    let of_the_system =
        |folder: PathBuf| folder == Path::new("/dev") || folder.starts_with("/proc");
    target.is_symlink() && parent.is_some_and(of_the_system)
}

/// Opens what is no file, if it can be written to as it is.
fn stream(target: &Path, kind: fs::FileType) -> Result<fs::File, Error> {
    let refuse = |what: &str, hint: &str| {
        Err(Error::usage_hint(format!("{} {what}", target.display()), hint))
    };
    if kind.is_dir() {
        return refuse("is a folder", "give the name of a file in it");
    }
    if kind.is_file() {
        return refuse("leads to a file", "give that file's own name");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_char_device() {
            let device = fs::OpenOptions::new().write(true).open(target);
            return device.map_err(|error| cannot_write(target, error));
        }
        if kind.is_fifo() {
            return match open_pipe(target) {
                Ok(pipe) => Ok(pipe),
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) =>
                {
                    refuse("is a pipe that nobody reads", "start its reader first, or give a file")
                }
                Err(error) => Err(cannot_write(target, error)),
            };
        }
    }
    refuse("is no file, and no pipe or device that takes text", "give the name of a file")
}

/// Opens a pipe without waiting for a reader; what is then written waits for it.
#[cfg(unix)]
fn open_pipe(target: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let at_once = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let pipe = fs::OpenOptions::new().write(true).custom_flags(at_once).open(target)?;
    rustix::io::ioctl_fionbio(&pipe, false)?;
    Ok(pipe)
}

/// Opens a file of our own bookkeeping for reading and writing, made if need be. It must be
/// a file that has no other name: one with a second name (a hard link) is somebody's, and
/// would be overwritten. A pipe is not waited for.
///
/// # Errors
/// If it is something else, or cannot be opened.
pub(crate) fn open_own(path: &Path, options: &mut fs::OpenOptions) -> io::Result<fs::File> {
    options.create(true).read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
        options.custom_flags(flags.bits() as i32);
    }
    let file = options.open(path)?;
    let found = file.metadata()?;
    let strange = |what: &str| io::Error::other(format!("{} is {what}", path.display()));
    if !found.is_file() {
        return Err(strange("no file: remove it, or write into another folder with -o DIR"));
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&found) > 1 {
        return Err(strange(
            "a hard link to a file elsewhere: remove it, or write into another folder with -o DIR",
        ));
    }
    Ok(file)
}

/// Reads what must be a file. A named pipe would be waited for without end.
///
/// # Errors
/// If it is something else, or cannot be read.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    regular::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file that no one sees under its final name, readable to whom the umask allows.
pub(crate) fn temp_file(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|error| {
        // The file that was to be written is named, not the one on the way there.
        let text = error.to_string();
        let cause = text.split(" at path ").next().unwrap_or(&text);
        io::Error::new(error.kind(), cause.to_owned())
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn bookkeeping_is_a_file_of_our_own_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let open = |name: &str| open_own(&path(name), fs::OpenOptions::new().write(true));
        fs::write(path("diary"), b"mine").expect("a file");
        fs::hard_link(path("diary"), path(".actviz-run")).expect("a link");
        let linked = open(".actviz-run").expect_err("somebody's file").to_string();
        assert!(linked.contains("hard link"), "{linked}");
        assert_eq!(fs::read(path("diary")).expect("a file"), b"mine");
        std::os::unix::fs::symlink(path("diary"), path("link")).expect("a link");
        assert!(open("link").is_err(), "links are not followed");
        let pipe = path("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        assert!(open_own(&pipe, fs::OpenOptions::new().append(true)).is_err());
        assert!(read_file(&pipe).is_err(), "nobody writes, and it is not waited for");
        assert!(open("new").is_ok());
    }
}
