//! Arrays that wait on disk until all folds have been seen, so that memory does not
//! grow with the number of images.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ndarray::Array3;

use crate::error::Error;

/// An unnamed file in the output folder, where the user has room; it is gone with the
/// process, however that ends.
#[derive(Debug)]
pub struct Spool {
    file: Mutex<File>,
    folder: PathBuf,
}

/// Where bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    offset: u64,
    length: usize,
}

/// Where an array lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    stored: Stored,
    shape: (usize, usize, usize),
}

impl Spool {
    /// An empty spool in this folder.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written.
    pub fn new(folder: &Path) -> Result<Spool, Error> {
        let file = tempfile::tempfile_in(folder).map_err(Error::io("write into", folder))?;
        Ok(Spool { file: Mutex::new(file), folder: folder.to_owned() })
    }

    /// Stores an array (channels x height x width).
    ///
    /// # Errors
    /// [`Error::Io`], among them a full disk.
    pub fn put(&self, array: &Array3<f32>) -> Result<Ticket, Error> {
        let bytes: Vec<u8> = array.iter().flat_map(|value| value.to_ne_bytes()).collect();
        Ok(Ticket { stored: self.store(&bytes)?, shape: array.dim() })
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
    pub fn get(&self, ticket: Ticket) -> Result<Array3<f32>, Error> {
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
        let spool = Spool::new(folder.path()).expect("a spool");
        let array =
            |seed: usize| Array3::from_shape_fn((2, seed, 3), |(c, y, x)| (c + y + x) as f32);
        let tickets: Vec<Ticket> =
            (1..5).map(|seed| spool.put(&array(seed)).expect("room")).collect();
        for (seed, ticket) in (1..5).zip(tickets).rev() {
            assert_eq!(spool.get(ticket).expect("an array"), array(seed));
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }
}
