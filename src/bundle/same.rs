//! Folds whose files are the same: one network, looked at several times.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::{FoldFile, Model};
use crate::error::Error;

impl Model {
    /// The folds whose files hold the same bytes, in groups of two and more.
    ///
    /// # Errors
    /// [`Error::Io`] if a file cannot be read.
    pub fn identical_folds(&self) -> Result<Vec<Vec<usize>>, Error> {
        let mut groups: Vec<Vec<&FoldFile>> = Vec::new();
        for fold in &self.folds {
            let mut own = None;
            for (place, group) in groups.iter().enumerate() {
                if hold_the_same(&group[0].file, &fold.file)? {
                    own = Some(place);
                    break;
                }
            }
            match own {
                Some(place) => groups[place].push(fold),
                None => groups.push(vec![fold]),
            }
        }
        let several = groups.into_iter().filter(|group| group.len() > 1);
        Ok(several.map(|group| group.iter().map(|fold| fold.fold).collect()).collect())
    }
}

/// Compares up to the first byte that differs: of trained networks, within the first
/// weights, so that it costs nothing to speak of. A digest would read all of them.
fn hold_the_same(a: &Path, b: &Path) -> Result<bool, Error> {
    let open = |file: &Path| {
        let handle = File::open(file).map_err(Error::io("read", file))?;
        let length = handle.metadata().map_err(Error::io("read", file))?.len();
        Ok((BufReader::with_capacity(1 << 16, handle), length))
    };
    let ((mut left, left_length), (mut right, right_length)) = (open(a)?, open(b)?);
    if left_length != right_length {
        return Ok(false);
    }
    let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = left.read(&mut one).map_err(Error::io("read", a))?;
        if count == 0 {
            return Ok(true);
        }
        match right.read_exact(&mut other[..count]) {
            // It has become shorter.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            read => read.map_err(Error::io("read", b))?,
        }
        if one[..count] != other[..count] {
            return Ok(false);
        }
    }
}
