//! What the journal promises is on the disk first, so that it outlives a loss of power.
//!
//! Files are written without waiting for the disk; before a batch is noted as whole, all of
//! its files and their folders are brought there together, which costs much less than one by
//! one. A file that a loss of power left half-written has its final name and is promised
//! nowhere: the run that goes on makes it anew.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

/// Files that were written and may be in memory only.
#[derive(Debug, Default)]
pub(super) struct Unsynced(Mutex<BTreeSet<PathBuf>>);

impl Unsynced {
    /// One more.
    pub fn add(&self, file: &Path) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned());
    }

    /// Brings them to the disk, and the folders from theirs up to `top`.
    ///
    /// # Errors
    /// The system's: a failing or full disk.
    pub fn sync(&self, top: &Path) -> io::Result<()> {
        let files = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let above = |file: &PathBuf| {
            let folders = file.ancestors().skip(1).take_while(|folder| folder.starts_with(top));
            folders.map(Path::to_owned).collect::<Vec<_>>()
        };
        let folders: BTreeSet<PathBuf> = files.iter().flat_map(above).collect();
        // At once: the disk takes what comes together in one go.
        files.par_iter().try_for_each(|file| sync(file))?;
        folders.par_iter().try_for_each(|folder| sync(folder))
    }
}

/// Brings a file or folder to the disk.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    let done = File::open(path).and_then(|file| file.sync_all());
    match done {
        // Removed meanwhile; or a file system that knows no such thing of folders.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use crate::output::{Folder, JournalEntry};

    /// A file that cannot be brought to the disk: in its place is a link that leads to itself.
    #[cfg(unix)]
    fn note_what_cannot_be_synced(wait: bool) -> (bool, String) {
        let place = tempfile::tempdir().expect("a folder");
        let run = crate::manifest::tests::example(&[]);
        let (mut folder, _) = Folder::open(place.path(), &run).expect("open");
        if wait {
            folder.outlive_power().expect("a disk");
        }
        folder.write("1_1.png", b"picture").expect("written");
        let file = place.path().join("1_1.png");
        std::fs::remove_file(&file).expect("removed");
        std::os::unix::fs::symlink(&file, &file).expect("a link");
        let (image, image_sha256) = ("promised.png".to_owned(), String::new());
        let line = JournalEntry { image, image_sha256, pictures: Vec::new(), waiting: None };
        let noted = folder.note(&[line]).is_ok();
        (noted, std::fs::read_to_string(place.path().join(".actviz-run")).expect("a journal"))
    }

    #[test]
    #[cfg(unix)]
    fn what_is_not_on_the_disk_is_not_promised() {
        let (noted, journal) = note_what_cannot_be_synced(true);
        assert!(!noted && !journal.contains("promised.png"), "{journal}");
        let (noted, journal) = note_what_cannot_be_synced(false);
        assert!(noted && journal.contains("promised.png"), "{journal}");
    }
}
