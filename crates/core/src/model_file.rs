//! A network's file, opened once: what is hashed, checked and loaded are the same bytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FileType, fstat};

use crate::digest;
use crate::error::Error;
use crate::regular;

/// A network's file that is open for reading.
///
/// Everything is read through one descriptor, at places that the reader says, so several
/// threads and processes can read at once. A file that is written to meanwhile is found out
/// by [`ModelFile::check_unchanged`].
#[derive(Clone, Debug)]
pub struct ModelFile {
    path: PathBuf,
    file: Arc<File>,
    state: State,
}

/// What changes when a file is written to: its length, and when its bytes (and its inode)
/// were changed last. The second of these cannot be set by whoever writes; it also changes when
/// the file is moved or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl ModelFile {
    /// Opens a regular file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened or is something else than a file.
    pub fn open(path: &Path) -> Result<ModelFile, Error> {
        let file = regular::open(path).map_err(Error::io("read", path))?;
        ModelFile::from_open(path, file)
    }

    /// A file that is open already, e.g. one that another process has opened. `path` is what
    /// it is called in messages.
    ///
    /// # Errors
    /// [`Error::Io`] if it is no regular file.
    pub fn from_descriptor(path: &Path, descriptor: OwnedFd) -> Result<ModelFile, Error> {
        ModelFile::from_open(path, descriptor.into())
    }

    fn from_open(path: &Path, file: File) -> Result<ModelFile, Error> {
        let state = State::of(&file).map_err(Error::io("read", path))?;
        Ok(ModelFile { path: path.to_owned(), file: Arc::new(file), state })
    }

    /// Where it is, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes when it was opened.
    pub fn length(&self) -> u64 {
        self.state.length
    }

    /// A reader of its own place in the file.
    pub fn reader(&self) -> Reader {
        Reader { file: Arc::clone(&self.file), at: 0, length: self.state.length }
    }

    /// Fills `to` with the bytes at `offset`.
    ///
    /// # Errors
    /// [`Error::Io`] if there are fewer, or they cannot be read.
    pub fn read_exact_at(&self, to: &mut [u8], offset: u64) -> Result<(), Error> {
        self.file.read_exact_at(to, offset).map_err(Error::io("read", &self.path))
    }

    /// Its SHA-256, in hexadecimal.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, or was written to meanwhile.
    pub fn digest(&self) -> Result<String, Error> {
        let digest = digest::of_reader(self.reader()).map_err(Error::io("read", &self.path))?;
        self.check_unchanged()?;
        Ok(digest)
    }

    /// Checks that nobody has written to the file since it was opened.
    ///
    /// # Errors
    /// [`Error::Io`] if somebody has.
    pub fn check_unchanged(&self) -> Result<(), Error> {
        let now = State::of(&self.file).map_err(Error::io("read", &self.path))?;
        if now == self.state {
            return Ok(());
        }
        let problem = io::Error::other("it was written to or replaced while it was read");
        Err(Error::io("read", &self.path)(problem))
    }
}

impl AsFd for ModelFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl State {
    fn of(file: &File) -> io::Result<State> {
        // Not File::metadata: it asks by path, too, and the sandbox refuses all that does.
        let found = fstat(file)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file"));
        }
        Ok(State {
            length: u64::try_from(found.st_size).map_err(io::Error::other)?,
            modified: (found.st_mtime, found.st_mtime_nsec as i64),
            changed: (found.st_ctime, found.st_ctime_nsec as i64),
        })
    }
}

/// Reads a [`ModelFile`] from a place that is its own.
#[derive(Debug)]
pub struct Reader {
    file: Arc<File>,
    at: u64,
    length: u64,
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(to, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn two_readers_of_one_file_do_not_move_each_other() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("net.pt");
        fs::write(&path, b"abcdef").expect("a file");
        let file = ModelFile::open(&path).expect("open");
        let (mut one, mut other) = (file.reader(), file.reader());
        one.seek(SeekFrom::End(-2)).expect("a place");
        let (mut end, mut all) = (String::new(), String::new());
        one.read_to_string(&mut end).expect("read");
        other.read_to_string(&mut all).expect("read");
        assert_eq!((end.as_str(), all.as_str()), ("ef", "abcdef"));
    }

    #[test]
    fn a_file_that_is_written_to_is_found_out() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("net.pt");
        fs::write(&path, b"abcdef").expect("a file");
        let file = ModelFile::open(&path).expect("open");
        file.check_unchanged().expect("unchanged");
        fs::write(&path, b"abcdefg").expect("changed");
        let error = file.digest().expect_err("changed");
        assert!(error.to_string().contains("written to or replaced"), "{error}");
    }

    #[test]
    fn a_folder_is_no_network() {
        let place = tempfile::tempdir().expect("a folder");
        let error = ModelFile::open(place.path()).expect_err("a folder");
        assert!(error.to_string().contains("a folder, not a file"), "{error}");
    }
}
