//! Which pictures are meant: files, folders, globs, lists.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The endings that are taken from a folder; a file named by itself may have any.
const ENDINGS: [&str; 9] = ["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp", "jfif"];

/// The picture files that the arguments mean, in the order given; a folder's and a
/// glob's are sorted. `@FILE` is a list of such arguments, one a line, and `-` the
/// same on standard input; in lists, an argument is taken as it stands.
///
/// A file that does not exist is kept: it fails by itself, later, and the others
/// go on.
///
/// # Errors
/// [`Error::Usage`] for a glob or folder without pictures, [`Error::Io`] for a list
/// that cannot be read.
pub fn expand(arguments: &[String]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for argument in arguments {
        if argument == "-" {
            let name = Path::new("standard input");
            files.extend(listed(std::io::stdin().lock()).map_err(Error::io("read", name))?);
        } else if let Some(list) = argument.strip_prefix('@').map(Path::new) {
            let file = std::fs::File::open(list).map_err(Error::io("read", list))?;
            files.extend(listed(BufReader::new(file)).map_err(Error::io("read", list))?);
        } else {
            add(argument, &mut files)?;
        }
    }
    Ok(files)
}

/// The paths of a list with a zero byte after each; `-` is standard input.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn listed_with_zeros(list: &Path) -> Result<Vec<PathBuf>, Error> {
    let bytes = if list == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(list)
    };
    let bytes = bytes.map_err(Error::io("read", list))?;
    let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(path_of).collect())
}

/// The paths of a list, one a line.
///
/// # Errors
/// If it cannot be read.
pub fn listed(list: impl BufRead) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for line in list.split(b'\n') {
        let line = line?;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if !line.is_empty() {
            files.push(path_of(line));
        }
    }
    Ok(files)
}

/// File names are bytes on Unix; elsewhere a list is read as UTF-8.
#[cfg(unix)]
fn path_of(line: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(line))
}

#[cfg(not(unix))]
fn path_of(line: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(line).into_owned())
}

fn add(argument: &str, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let path = Path::new(argument);
    let none = |what: &str| {
        let known = ENDINGS.join(", ");
        Error::usage_hint(format!("{argument}: {what}"), format!("pictures end in: {known}"))
    };
    if path.is_dir() {
        let before = files.len();
        let entries = std::fs::read_dir(path).map_err(Error::io("read", path))?;
        files.extend(
            entries
                .filter_map(|entry| entry.ok().map(|e| e.path()))
                .filter(|path| is_picture(path)),
        );
        files[before..].sort();
        if files.len() == before {
            return Err(none("the folder holds no pictures"));
        }
    } else if !path.exists() && argument.contains(['*', '?', '[']) {
        let matches = glob::glob(argument).map_err(|error| {
            let problem = format!("{argument}: not a glob: {error}");
            Error::usage_hint(problem, "* and ? stand for letters, [abc] for one of them")
        })?;
        let before = files.len();
        files.extend(matches.filter_map(Result::ok).filter(|path| path.is_file()));
        if files.len() == before {
            return Err(none("nothing matches"));
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    path.is_file() && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in names {
            std::fs::write(folder.path().join(name), b"").expect("a file");
        }
        folder
    }

    fn names(files: &[PathBuf]) -> Vec<String> {
        let name = |file: &PathBuf| file.file_name().map(|n| n.to_string_lossy().into_owned());
        files.iter().filter_map(name).collect()
    }

    #[test]
    fn a_folder_gives_its_pictures_sorted_and_nothing_else() {
        let folder = folder(&["b.png", "a.JPG", "notes.txt"]);
        let given = folder.path().to_string_lossy().into_owned();
        assert_eq!(names(&expand(&[given]).expect("two")), ["a.JPG", "b.png"]);
    }

    #[test]
    fn a_glob_is_expanded_and_one_without_matches_is_an_error() {
        let folder = folder(&["b.png", "a.png", "c.jpg"]);
        let glob = |end: &str| folder.path().join(end).to_string_lossy().into_owned();
        assert_eq!(names(&expand(&[glob("*.png")]).expect("two")), ["a.png", "b.png"]);
        assert!(expand(&[glob("*.tif")]).is_err());
    }

    #[test]
    fn a_list_gives_its_lines_as_they_stand() {
        let folder = folder(&[]);
        let list = folder.path().join("list.txt");
        std::fs::write(&list, "x y.png\r\n\n*.jpg\n").expect("a list");
        let given = format!("@{}", list.display());
        assert_eq!(names(&expand(&[given]).expect("two")), ["x y.png", "*.jpg"]);
    }

    #[test]
    fn a_file_that_does_not_exist_is_kept() {
        assert_eq!(names(&expand(&["no/such.png".to_owned()]).expect("one")), ["such.png"]);
    }
}
