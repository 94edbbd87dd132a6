//! The journal of a run under way: what is whole already, so that the same command, run
//! again after an interruption, does not make it anew.
//!
//! It lies in the output folder while a run writes, keeps other runs out by its lock, and
//! is gone when the run has ended well. Its first line is the run's configuration (a
//! manifest without pictures), every other one a [`JournalEntry`]. The last line of a killed run
//! may be cut off; a line counts only if it can be read, and what it says only if the
//! files have the SHA-256 that it names.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use actviz_core::regular;
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::error::Error;
use crate::manifest::{Manifest, Picture};
use crate::spool::Ticket;

use super::atomic::open_own;

/// The longest first line that is read, in bytes.
const LONGEST: u64 = 1 << 30;

/// All pictures of one layer of one fold for one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The image's path, as the manifest has it.
    pub image: String,
    /// The SHA-256 that the image had.
    pub image_sha256: String,
    /// The pictures, in the manifest's order; none if they wait for other images.
    pub pictures: Vec<Picture>,
    /// What waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<PendingMaps>,
}

/// The maps of one layer of one fold for one image, where the pictures need those of other
/// images, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingMaps {
    /// From 1.
    pub fold: usize,
    /// The layer, from 1.
    #[serde(rename = "b")]
    pub layer_position: usize,
    /// Rank, channel, and where the map lies.
    pub parts: Vec<(usize, Option<usize>, Ticket)>,
    /// Where all channels lie, if they are wanted.
    pub channels: Option<Ticket>,
}

impl JournalEntry {
    /// The fold and layer that it is of.
    fn place(&self) -> Option<(usize, usize)> {
        let waits = self.waiting.as_ref().map(|waiting| (waiting.fold, waiting.layer_position));
        waits
            .or_else(|| self.pictures.first().map(|picture| (picture.fold, picture.layer_position)))
    }
}

/// An open journal; other runs are kept out until it is dropped.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    path: PathBuf,
}

/// What was found where a journal is to be.
pub(super) enum Access {
    /// No other run is under way.
    Alone(Journal),
    /// Another run is.
    Beside(Journal),
}

impl Journal {
    /// Opens the journal, made if need be, and tries to lock it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: &Path) -> io::Result<Access> {
        let file = open_own(path, File::options().append(true))?;
        let locked = file.try_lock();
        let journal = Journal { file, path: path.to_owned() };
        match locked {
            Err(TryLockError::WouldBlock) => Ok(Access::Beside(journal)),
            // Some network file systems have no locks; then two runs are the user's care.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Access::Alone(journal)),
        }
    }

    /// Lets other attempts at the same work in; runs of any other kind stay out.
    pub fn share(&self) {
        // Where there are no locks, there is nothing to share.
        let _ = self.file.unlock();
        let _ = self.file.try_lock_shared();
    }

    /// The configuration and the lines that are there.
    pub fn read(&self) -> (Option<Manifest>, Vec<JournalEntry>) {
        read(&self.path).unwrap_or_default()
    }

    /// Begins anew.
    pub fn begin(&self, configuration: &Manifest) -> io::Result<()> {
        self.file.set_len(0)?;
        (&self.file).seek(SeekFrom::Start(0))?;
        self.append(&[configuration])
    }

    /// Goes on after a run that was interrupted, perhaps in the middle of a line.
    pub fn resume(&self) -> io::Result<()> {
        (&self.file).write_all(b"\n")
    }

    /// Waits until it is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Adds lines, whole as far as the system allows.
    pub fn append(&self, lines: &[impl Serialize]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        (&self.file).write_all(&text)
    }
}

/// The configuration of the run that this journal is of; `None` if there is none.
pub(super) fn configuration(path: &Path) -> Option<Manifest> {
    let mut first = String::new();
    // More than any configuration: it names each image.
    let file = regular::open(path).ok()?.take(LONGEST);
    BufReader::new(file).read_line(&mut first).ok()?;
    serde_json::from_str(&first).ok()
}

fn read(path: &Path) -> io::Result<(Option<Manifest>, Vec<JournalEntry>)> {
    Ok(read_journal(BufReader::new(regular::open(path)?)))
}

/// What a journal says: the configuration, and the lines that can be read.
pub fn read_journal(from: impl BufRead) -> (Option<Manifest>, Vec<JournalEntry>) {
    let mut lines = from.split(b'\n').map_while(Result::ok);
    let configuration = lines.next().and_then(|first| serde_json::from_slice(&first).ok());
    let lines = lines.filter_map(|line| serde_json::from_slice(&line).ok());
    (configuration, lines.collect())
}

/// What earlier attempts at the same run have left.
#[derive(Debug, Default)]
pub struct ResumeIndex {
    folder: PathBuf,
    /// By image, fold, and b.
    looks: HashMap<(String, usize, usize), JournalEntry>,
}

impl ResumeIndex {
    /// From earlier manifests and journals, each with its lines; only what was made as
    /// `configuration` says is kept.
    pub(super) fn new(folder: &Path, configuration: &Manifest, earlier: &[Earlier]) -> ResumeIndex {
        let mut kept = ResumeIndex { folder: folder.to_owned(), looks: HashMap::new() };
        for Earlier { manifest, lines } in earlier {
            if !manifest.same_provenance(configuration) {
                continue;
            }
            kept.add_manifest(manifest);
            for line in lines {
                if let Some((fold, b)) = line.place() {
                    kept.looks.insert((line.image.clone(), fold, b), line.clone());
                }
            }
        }
        kept
    }

    fn add_manifest(&mut self, manifest: &Manifest) {
        for picture in &manifest.pictures {
            let Some(image) = manifest.images.get(picture.image) else { continue };
            let key = (image.path.clone(), picture.fold, picture.layer_position);
            let line = self.looks.entry(key).or_insert_with(|| JournalEntry {
                image: image.path.clone(),
                image_sha256: image.sha256.clone(),
                pictures: Vec::new(),
                waiting: None,
            });
            line.pictures.push(picture.clone());
        }
    }

    /// Whether nothing was left.
    pub fn is_empty(&self) -> bool {
        self.looks.is_empty()
    }

    /// The pictures of this image, fold and layer, if all of their files are whole and the
    /// image is the one that they were made of.
    pub fn whole(&self, image: &str, sha256: &str, fold: usize, b: usize) -> Option<&[Picture]> {
        let line = self.of(image, sha256, (fold, b))?;
        let is_whole = line.waiting.is_none()
            && line.pictures.iter().all(|picture| is_whole(&self.folder, picture));
        is_whole.then_some(line.pictures.as_slice())
    }

    /// The maps of this image, fold and layer that wait for other images.
    pub fn waiting(
        &self,
        image: &str,
        sha256: &str,
        fold: usize,
        b: usize,
    ) -> Option<&PendingMaps> {
        self.of(image, sha256, (fold, b))?.waiting.as_ref()
    }

    fn of(&self, image: &str, sha256: &str, (fold, b): (usize, usize)) -> Option<&JournalEntry> {
        let line = self.looks.get(&(image.to_owned(), fold, b));
        line.filter(|line| line.image_sha256 == sha256)
    }
}

/// A manifest of an earlier run, and what its journal adds.
pub(super) struct Earlier {
    pub manifest: Manifest,
    pub lines: Vec<JournalEntry>,
}

/// Whether a picture's files have the SHA-256 that its entry names.
pub fn is_whole(folder: &Path, picture: &Picture) -> bool {
    let same = |file: &str, sha256: &str| file_is(&folder.join(file), sha256).unwrap_or(false);
    same(&picture.file, &picture.sha256)
        && match (&picture.raw, &picture.raw_sha256) {
            (Some(raw), Some(sha256)) => same(raw, sha256),
            (None, _) => true,
            (Some(_), None) => false,
        }
}

/// Whether a file has this SHA-256; a link is no file.
pub fn file_is(path: &Path, sha256: &str) -> Result<bool, Error> {
    Ok(!path.is_symlink() && path.is_file() && digest::of_file(path)? == sha256)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::example;

    fn line(image: &str, pictures: &Manifest) -> JournalEntry {
        JournalEntry {
            image: image.to_owned(),
            image_sha256: "1".to_owned(),
            pictures: pictures.pictures.clone(),
            waiting: None,
        }
    }

    fn open(path: &Path) -> Journal {
        match Journal::open(path).expect("a journal") {
            Access::Alone(journal) | Access::Beside(journal) => journal,
        }
    }

    #[test]
    fn what_was_written_before_a_cut_off_line_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal");
        let (first, second) =
            (line("a", &example(&["1_1.png"])), line("b", &example(&["1_1.png"])));
        let journal = open(&path);
        journal.begin(&example(&[])).expect("room");
        journal.append(&[&first]).expect("room");
        (&journal.file).write_all(b"{\"image\":\"c\",\"ima").expect("room");
        journal.resume().expect("room");
        journal.append(&[&second]).expect("room");
        assert_eq!(journal.read(), (Some(example(&[])), vec![first, second]));
    }

    #[test]
    fn only_what_has_the_right_bytes_counts_as_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut run = example(&["1_1.png"]);
        run.pictures[0].sha256 = digest::of_bytes(b"picture");
        let earlier = [Earlier { manifest: example(&[]), lines: vec![line("a.png", &run)] }];
        let kept = ResumeIndex::new(folder.path(), &example(&[]), &earlier);
        let whole = |sha256| kept.whole("a.png", sha256, 1, 1).is_some();
        assert!(!whole("1"), "the file is missing");
        std::fs::write(folder.path().join("1_1.png"), b"pict").expect("a file");
        assert!(!whole("1"), "the file is cut off");
        std::fs::write(folder.path().join("1_1.png"), b"picture").expect("a file");
        assert!(whole("1"));
        assert!(!whole("2"), "the image is another one");
    }

    #[test]
    fn what_was_made_otherwise_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = Manifest { threads: 7, ..example(&[]) };
        let lines = vec![line("a.png", &example(&["1_1.png"]))];
        let earlier = [Earlier { manifest: other, lines }];
        assert!(ResumeIndex::new(folder.path(), &example(&[]), &earlier).is_empty());
    }
}
