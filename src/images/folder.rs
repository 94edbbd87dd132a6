//! A folder of images, searched with those below it, as fd and ripgrep search.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::Found;
use crate::error::Error;
use crate::manifest;
use actviz_core::regular;

/// The endings of pictures; a file named by itself may have any.
const PICTURES: [&str; 16] = [
    "apng", "bmp", "gif", "jfif", "jpe", "jpeg", "jpg", "pam", "pbm", "pgm", "png", "pnm", "ppm",
    "tif", "tiff", "webp",
];
/// The endings of arrays: images only where no picture is beside them, as labels and masks
/// are kept so, too.
const ARRAYS: [&str; 2] = ["npy", "npz"];
/// The deepest folder.
const DEEPEST: usize = 64;

/// Adds the images of a folder and of those below it, sorted, and a note of what was found.
pub(super) fn search(folder: &Path, out: Option<&Path>, found: &mut Found) -> Result<(), Error> {
    let out = out.and_then(|out| out.canonicalize().ok());
    let mut skipped = Vec::new();
    let (mut pictures, mut arrays, mut others) = (Vec::new(), Vec::new(), 0);
    let mut walk = WalkDir::new(folder).max_depth(DEEPEST).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            // One folder that may not be read keeps nobody from the others.
            Err(error) if error.depth() > 0 => {
                found.notes.push(format!("not searched: {error}"));
                continue;
            }
            Err(error) => return Err(Error::io("read", folder)(error.into())),
        };
        if entry.file_type().is_dir() {
            let is_output = is_output(entry.path(), out.as_deref());
            if entry.depth() > 0 && (is_hidden(&entry) || is_output) {
                if is_output {
                    skipped.push(entry.path().to_owned());
                }
                walk.skip_current_dir();
            }
            continue;
        }
        // A link to a picture is one; a link to a folder is not followed: it may lead back.
        if is_hidden(&entry) || !entry.path().is_file() {
            continue;
        }
        match entry.path().extension().map(|ending| ending.to_string_lossy().to_lowercase()) {
            Some(ending) if PICTURES.contains(&&*ending) => pictures.push(entry.into_path()),
            Some(ending) if ARRAYS.contains(&&*ending) => arrays.push(entry.into_path()),
            _ => others += 1,
        }
    }
    let images = if pictures.is_empty() {
        arrays
    } else {
        others += arrays.len();
        pictures
    };
    if images.is_empty() {
        return Err(no_images(folder, "the folder holds no images"));
    }
    found.notes.push(in_words(folder, &images, others, &skipped));
    found.files.extend(images);
    Ok(())
}

/// Where nothing was found.
pub(super) fn no_images(argument: &Path, what: &str) -> Error {
    let known: Vec<&str> = PICTURES.into_iter().chain(ARRAYS).collect();
    Error::usage_hint(
        format!("{}: {what}", argument.display()),
        format!("images end in: {}", known.join(", ")),
    )
}

/// `photos: 12 images in 3 folders; 2 other files`
fn in_words(folder: &Path, images: &[PathBuf], others: usize, skipped: &[PathBuf]) -> String {
    let mut folders: BTreeMap<&Path, usize> = BTreeMap::new();
    for image in images {
        *folders.entry(image.parent().unwrap_or(folder)).or_default() += 1;
    }
    let count = |number: usize, what: &str| {
        format!("{number} {what}{}", if number == 1 { "" } else { "s" })
    };
    let mut text = format!("{}: {}", folder.display(), count(images.len(), "image"));
    if folders.keys().any(|own| *own != folder) {
        text += &format!(" in {}", count(folders.len(), "folder"));
    }
    if others > 0 {
        text += &format!("; {} left out", count(others, "other file"));
    }
    for output in skipped {
        text += &format!("; {} holds the output of actviz and is left out", output.display());
    }
    text
}

/// Hidden on Unix, and what macOS leaves beside files (`._a.png`, `.DS_Store`).
fn is_hidden(entry: &DirEntry) -> bool {
    entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.')
}

/// Whether a folder is that of this run's output, or holds that of another run.
fn is_output(folder: &Path, out: Option<&Path>) -> bool {
    /// A manifest of ours says so in its second field.
    const BEGINNING: u64 = 200;
    if out.is_some_and(|out| folder.canonicalize().is_ok_and(|own| own == out)) {
        return true;
    }
    let Ok(file) = regular::open(&folder.join(manifest::FILE_NAME)) else { return false };
    let mut text = Vec::new();
    file.take(BEGINNING).read_to_end(&mut text).is_ok()
        && String::from_utf8_lossy(&text).contains("\"actviz\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(files: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = place.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, b"{\n \"schema\": 1,\n \"actviz\": \"0\"}").expect("a file");
        }
        place
    }

    fn found(place: &tempfile::TempDir, out: Option<&Path>) -> (Vec<String>, Vec<String>) {
        let mut found = Found::default();
        search(place.path(), out, &mut found).expect("images");
        let name = |file: &PathBuf| {
            let below = file.strip_prefix(place.path()).expect("below");
            below.to_string_lossy().replace('\\', "/")
        };
        (found.files.iter().map(name).collect(), found.notes)
    }

    #[test]
    fn folders_below_are_searched_and_hidden_ones_are_not() {
        let place = place(&[
            "dog/1.png",
            "cat/1.png",
            "cat/._1.png",
            ".DS_Store",
            ".thumbs/1.png",
            "cat/x.ppm",
            "cat/notes.txt",
            "labels.npy",
        ]);
        let (files, notes) = found(&place, None);
        assert_eq!(files, ["cat/1.png", "cat/x.ppm", "dog/1.png"]);
        assert!(notes[0].ends_with(": 3 images in 2 folders; 2 other files left out"), "{notes:?}");
    }

    #[test]
    fn output_of_actviz_is_no_input() {
        let place =
            place(&["1.png", "out/1_1.png", "old/manifest.json", "old/1_1.png", "new/2.png"]);
        let (files, notes) = found(&place, Some(&place.path().join("out")));
        assert_eq!(files, ["1.png", "new/2.png"]);
        assert!(notes[0].contains("old holds the output of actviz"), "{notes:?}");
    }

    #[test]
    fn arrays_are_images_where_no_picture_is() {
        let place = place(&["b.npz", "a.npy"]);
        assert_eq!(found(&place, None).0, ["a.npy", "b.npz"]);
    }
}
