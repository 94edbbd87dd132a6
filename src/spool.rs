//! What waits on disk until all folds have been seen, so that memory does not grow with the
//! number of images.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::error::Error;
use crate::output::open_own;

/// A file in the output folder, where the user has room.
#[derive(Debug)]
pub struct Spool {
    file: Mutex<File>,
    folder: PathBuf,
}

/// Where bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    offset: u64,
    length: usize,
}

/// Where an array lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    stored: Stored,
    shape: (usize, usize, usize),
    sha256: String,
}

impl Spool {
    /// An empty, unnamed spool in this folder; it is gone with the process, however that ends.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written.
    pub fn unnamed(folder: &Path) -> Result<Spool, Error> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io("write into", folder))?;
        Ok(Spool { file: Mutex::new(file), folder: folder.to_owned() })
    }

    /// The spool with this name, which outlives the process; what an earlier one has left in
    /// it stays if `go_on`. Bytes are those of this machine's byte order.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn named(path: &Path, go_on: bool) -> Result<Spool, Error> {
        let fail = |error| Error::io("write", path)(error);
        let file = open_own(path, File::options().write(true)).map_err(fail)?;
        // Only now: what is no file of ours is not emptied.
        if !go_on {
            file.set_len(0).map_err(fail)?;
        }
        let folder = path.parent().unwrap_or(path).to_owned();
        Ok(Spool { file: Mutex::new(file), folder })
    }

    /// Stores an array (channels x height x width).
    ///
    /// # Errors
    /// [`Error::Io`], among them a full disk.
    pub fn put(&self, array: &Array3<f32>) -> Result<Ticket, Error> {
        let bytes: Vec<u8> = array.iter().flat_map(|value| value.to_ne_bytes()).collect();
        let sha256 = digest::of_bytes(&bytes);
        Ok(Ticket { stored: self.store(&bytes)?, shape: array.dim(), sha256 })
    }

    /// Whether an array that another process stored is there, whole.
    pub fn holds(&self, ticket: &Ticket) -> bool {
        let Ticket { stored, shape: (channels, height, width), sha256 } = ticket;
        let end = stored.offset.checked_add(stored.length as u64);
        let length = self.with(|file| Ok(file.metadata()?.len())).unwrap_or_default();
        let values = channels.checked_mul(*height).and_then(|rows| rows.checked_mul(*width));
        end.is_some_and(|end| end <= length)
            && values.and_then(|values| values.checked_mul(4)) == Some(stored.length)
            && self.bytes(*stored).is_ok_and(|bytes| digest::of_bytes(&bytes) == *sha256)
    }

    /// Stores bytes.
    ///
    /// # Errors
    /// [`Error::Io`], among them a full disk.
    pub fn store(&self, bytes: &[u8]) -> Result<Stored, Error> {
        let offset = self.with(|file| {
            let offset = file.seek(SeekFrom::End(0))?;
            file.write_all(bytes)?;
            Ok(offset)
        })?;
        Ok(Stored { offset, length: bytes.len() })
    }

    /// Waits until all that was stored is on the disk.
    ///
    /// # Errors
    /// [`Error::Io`], among them a full disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.with(|file| file.sync_data())
    }

    /// The bytes that were stored.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bytes(&self, stored: Stored) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; stored.length];
        self.with(|file| {
            file.seek(SeekFrom::Start(stored.offset))?;
            file.read_exact(&mut bytes)
        })?;
        Ok(bytes)
    }

    /// The array that was stored.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn get(&self, ticket: &Ticket) -> Result<Array3<f32>, Error> {
        let bytes = self.bytes(ticket.stored)?;
        let value = |bytes: &[u8]| f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let values: Vec<f32> = bytes.chunks_exact(4).map(value).collect();
        Array3::from_shape_vec(ticket.shape, values)
            .map_err(|error| Error::io("read", &self.folder)(io::Error::other(error)))
    }

    fn with<T>(&self, act: impl FnOnce(&mut File) -> io::Result<T>) -> Result<T, Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut file).map_err(Error::io("use a temporary file in", &self.folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_come_back_in_any_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::unnamed(folder.path()).expect("a spool");
        let array =
            |seed: usize| Array3::from_shape_fn((2, seed, 3), |(c, y, x)| (c + y + x) as f32);
        let tickets: Vec<Ticket> =
            (1..5).map(|seed| spool.put(&array(seed)).expect("room")).collect();
        for (seed, ticket) in (1..5).zip(tickets).rev() {
            assert_eq!(spool.get(&ticket).expect("an array"), array(seed));
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn a_named_spool_outlives_its_process_and_what_was_spoilt_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("maps");
        let array = |value: f32| Array3::from_elem((2, 3, 4), value);
        let spool = Spool::named(&path, false).expect("a spool");
        let tickets = [1.0, 2.0].map(|value| spool.put(&array(value)).expect("room"));
        drop(spool);
        let mut bytes = std::fs::read(&path).expect("a file");
        bytes[100] ^= 1;
        std::fs::write(&path, bytes).expect("a file");
        let spool = Spool::named(&path, true).expect("a spool");
        assert_eq!(tickets.each_ref().map(|ticket| spool.holds(ticket)), [true, false]);
        assert_eq!(spool.get(&tickets[0]).expect("an array"), array(1.0));
        let third = spool.put(&array(3.0)).expect("room");
        assert_eq!(spool.get(&third).expect("an array"), array(3.0));
        let spool = Spool::named(&path, false).expect("a spool");
        assert!(!spool.holds(&tickets[0]), "it begins anew");
    }
}
