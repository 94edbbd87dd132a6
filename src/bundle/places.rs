//! Where bundles are looked for by name.

use std::path::{Path, PathBuf};

use super::{FILE_NAME, shorten_path};
use crate::error::Error;
use crate::spelling::nearest;

/// Folders to look for bundles in, before all others.
pub const PATH_VARIABLE: &str = "ACTVIZ_MODELS";

/// The folders in which bundles are looked for, in order: those of `ACTVIZ_MODELS`, beside
/// an installed binary (`PREFIX/share/actviz/models`), the checkout that the binary was
/// built in, and `./models`. The current folder comes last: whoever wrote it is not to
/// decide what a name means.
pub fn places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(path) = std::env::var_os(PATH_VARIABLE) {
        places.extend(std::env::split_paths(&path).filter(|path| !path.as_os_str().is_empty()));
    }
    if let Some(bin) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.push(shorten_path(&bin.join("../share/actviz/models")));
        places.push(shorten_path(&bin.join("../../models")));
    }
    places.push(PathBuf::from("models"));
    places
}

/// The bundles in one folder, by folder name.
pub fn bundles_in(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let mut bundles: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|folder| folder.join(FILE_NAME).is_file())
        .collect();
    bundles.sort();
    bundles
}

/// A bundle that was found by its name or folder.
#[derive(Debug)]
pub struct Place {
    /// The folder with its model.json.
    pub folder: PathBuf,
    /// Others of this name, that would have been taken if this one were not there.
    pub others: Vec<PathBuf>,
}

/// The bundle that `--model NAME` means: a folder, if there is a separator in the name,
/// else the first of that name in [`places`], else a folder of that name.
///
/// # Errors
/// [`Error::Usage`] if there is none, with what exists.
pub fn find_bundle(name: &str) -> Result<Place, Error> {
    let given = Path::new(name);
    let is_bundle = given.join(FILE_NAME).is_file();
    let is_path = name.contains(std::path::is_separator);
    if is_bundle && is_path {
        return Ok(Place { folder: given.to_owned(), others: Vec::new() });
    }
    let bundles: Vec<PathBuf> = places().iter().flat_map(|place| bundles_in(place)).collect();
    let mut named = Vec::new();
    let own = is_bundle.then(|| given.to_owned());
    for folder in bundles.iter().filter(|folder| folder.file_name() == Some(given.as_os_str())) {
        push_new(&mut named, folder);
    }
    own.iter().for_each(|folder| push_new(&mut named, folder));
    if !named.is_empty() {
        let folder = named.remove(0);
        return Ok(Place { folder, others: named });
    }
    if given.is_dir() {
        return Err(Error::usage_hint(
            format!("{name} is a folder without {FILE_NAME}"),
            format!("name its files by a pattern, e.g. --model '{name}/fold_{{fold}}.pt'"),
        ));
    }
    if name.contains(['*', '?']) {
        return Err(Error::usage_hint(
            format!("there is no file {name}"),
            format!(
                "--model takes no *: put {{fold}} where the fold's number stands: --model '{}'",
                name.replacen(['*', '?'], "{fold}", 1)
            ),
        ));
    }
    if looks_like_path(name) {
        return Err(Error::usage_hint(
            format!("{name} does not exist"),
            "--model takes a bundle's name, a folder with model.json, a TorchScript file, \
             or a pattern such as 'runs/fold_{fold}.pt'",
        ));
    }
    let mut known: Vec<String> = bundles
        .iter()
        .filter_map(|folder| folder.file_name().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    known.sort();
    known.dedup();
    let hint = if known.is_empty() {
        format!("no bundle was found; set {PATH_VARIABLE} to the folder that holds them")
    } else if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
        format!("did you mean {near}? Known models: {}", known.join(", "))
    } else {
        format!("known models: {}; or give a TorchScript file", known.join(", "))
    };
    Err(Error::usage_hint(format!("there is no model named {name}"), hint))
}

/// Adds a folder, unless it is there under another name.
fn push_new(folders: &mut Vec<PathBuf>, folder: &Path) {
    let whole = |folder: &Path| folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    if !folders.iter().any(|other| whole(other) == whole(folder)) {
        folders.push(folder.to_owned());
    }
}

fn looks_like_path(name: &str) -> bool {
    name.contains(['/', '\\']) || Path::new(name).extension().is_some()
}

/// A file's name with `{fold}` in place of its last number, or behind its stem.
pub fn as_pattern(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let end = stem.rfind(|c: char| c.is_ascii_digit()).map(|last| last + 1);
    let pattern = match end {
        Some(end) => {
            let start = stem[..end].trim_end_matches(|c: char| c.is_ascii_digit()).len();
            format!("{}{{fold}}{}", &stem[..start], &name[end..])
        }
        None => format!("{stem}_{{fold}}{}", &name[stem.len()..]),
    };
    file.with_file_name(pattern).display().to_string()
}
