//! Which images are meant: files, folders, globs, lists.

mod folder;
mod list;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::error::Error;

pub use list::{listed, listed_with_zeros};

/// The images that arguments mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Their files, in order.
    pub files: Vec<PathBuf>,
    /// What was found in which folder, and what was left out, in words.
    pub notes: Vec<String>,
}

/// The image files that the arguments mean, in the order given; a folder's and a glob's are
/// sorted. Folders are searched with those below them, without hidden ones and without the
/// output of actviz (`out` is that of the run at hand). `@FILE` is a list of files, one a
/// line, and `-` the same on standard input; in lists, a name is taken as it stands.
///
/// A file that does not exist is kept: it fails by itself, later, and the others go on.
///
/// # Errors
/// [`Error::Usage`] for a glob or folder without images, and for a list that has no end;
/// [`Error::Io`] for a list or folder that cannot be read.
pub fn expand(arguments: &[String], out: Option<&Path>) -> Result<Found, Error> {
    let mut found = Found::default();
    for argument in arguments {
        if argument == "-" {
            found.files.extend(read_list(Path::new("-"), |list| listed(list))?);
        } else if let Some(name) = argument.strip_prefix('@') {
            found.files.extend(read_list(Path::new(name), |list| listed(list))?);
        } else {
            add(argument, out, &mut found)?;
        }
    }
    Ok(found)
}

/// The paths of a list with a zero byte after each; `-` is standard input.
///
/// # Errors
/// As those of [`expand`] for lists.
pub fn read_with_zeros(list: &Path) -> Result<Vec<PathBuf>, Error> {
    read_list(list, |list| listed_with_zeros(list))
}

fn read_list(
    list: &Path,
    read: impl Fn(&mut dyn std::io::BufRead) -> std::io::Result<Vec<PathBuf>>,
) -> Result<Vec<PathBuf>, Error> {
    if list == Path::new("-") {
        let name = Path::new("standard input");
        return read(&mut std::io::stdin().lock()).map_err(Error::io("read", name));
    }
    // A pipe is as good as a file here: `@<(find ...)`.
    let file = File::open(list).map_err(Error::io("read", list))?;
    read(&mut BufReader::new(file)).map_err(Error::io("read", list))
}

fn add(argument: &str, out: Option<&Path>, found: &mut Found) -> Result<(), Error> {
    let path = Path::new(argument);
    if path.is_dir() {
        return folder::search(path, out, found);
    }
    if path.exists() || !argument.contains(['*', '?', '[']) {
        found.files.push(path.to_owned());
        return Ok(());
    }
    let matches = glob::glob(argument).map_err(|error| {
        let problem = format!("{argument}: not a glob: {error}");
        Error::usage_hint(problem, "* and ? stand for letters, [abc] for one of them")
    })?;
    let before = found.files.len();
    found.files.extend(matches.filter_map(Result::ok).filter(|path| path.is_file()));
    match found.files.len() > before {
        true => Ok(()),
        false => Err(folder::no_images(path, "nothing matches")),
    }
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
        assert_eq!(names(&expand(&[given], None).expect("two").files), ["a.JPG", "b.png"]);
    }

    #[test]
    fn a_glob_is_expanded_and_one_without_matches_is_an_error() {
        let folder = folder(&["b.png", "a.png", "c.jpg"]);
        let glob = |end: &str| folder.path().join(end).to_string_lossy().into_owned();
        assert_eq!(names(&expand(&[glob("*.png")], None).expect("two").files), ["a.png", "b.png"]);
        assert!(expand(&[glob("*.tif")], None).is_err());
    }

    #[test]
    fn a_list_gives_its_lines_as_they_stand() {
        let folder = folder(&[]);
        let list = folder.path().join("list.txt");
        std::fs::write(&list, "x y.png\r\n\n*.jpg\n").expect("a list");
        let given = format!("@{}", list.display());
        assert_eq!(names(&expand(&[given], None).expect("two").files), ["x y.png", "*.jpg"]);
    }

    #[test]
    fn a_file_that_does_not_exist_is_kept() {
        assert_eq!(
            names(&expand(&["no/such.png".to_owned()], None).expect("one").files),
            ["such.png"]
        );
    }
}
