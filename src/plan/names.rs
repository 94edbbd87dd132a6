//! The images of a run: each once, and where its pictures go.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::{insights, manifest, report};

/// One image and where its pictures go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedImage {
    /// The file.
    pub path: PathBuf,
    /// Its name without the ending: no other image of the run has it.
    pub name: String,
    /// What its pictures' names begin with: nothing for one image, else `NAME/`.
    pub prefix: String,
}

/// The files in order, without those that were named before: by a folder and a glob, say.
/// A link of another name gets pictures of its own.
pub fn each_once(files: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut seen = HashSet::new();
    let mut is_new = |path: &PathBuf| {
        let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
        seen.insert((whole, path.file_name().map(ToOwned::to_owned)))
    };
    files.into_iter().filter(|path| is_new(path)).collect()
}

/// What an image's folder is called: as its file without the ending, unless that leads out of
/// the output folder ("...png") or is the name of a file that stands there.
fn folder_name(path: &Path) -> String {
    let text = |part: Option<&OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = text(path.file_stem()).unwrap_or_default();
    let lower = stem.to_lowercase();
    let is_ours = [manifest::FILE_NAME, insights::FILE_NAME, report::FILE_NAME]
        .contains(&lower.as_str())
        || (lower.starts_with("manifest.") && lower.ends_with(".json"))
        || lower.starts_with(".actviz");
    match stem.as_str() {
        "." | ".." => text(path.file_name()).unwrap_or_default(),
        _ if is_ours => text(path.file_name()).unwrap_or_default(),
        _ => stem,
    }
}

/// One image stands in the output folder itself, several in a folder each.
pub fn name_images(files: Vec<PathBuf>, out: &Path) -> Result<Vec<PlannedImage>, Error> {
    let single = files.len() == 1;
    let mut taken: HashMap<String, PathBuf> = HashMap::new();
    let mut images = Vec::with_capacity(files.len());
    for path in files {
        let name = folder_name(&path);
        if let Some(other) = taken.insert(name.clone(), path.clone()) {
            return Err(Error::usage_hint(
                format!(
                    "two images would write into {}: {} and {}",
                    out.join(&name).display(),
                    other.display(),
                    path.display()
                ),
                "rename one, or render them with two commands and two -o folders",
            ));
        }
        let prefix = if single { String::new() } else { format!("{name}/") };
        images.push(PlannedImage { path, name, prefix });
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(paths: &[&str]) -> Result<Vec<String>, Error> {
        let files = paths.iter().map(PathBuf::from).collect();
        let images = name_images(files, Path::new("out"))?;
        Ok(images.into_iter().map(|image| image.prefix).collect())
    }

    #[test]
    fn one_image_stands_in_the_folder_and_several_in_their_own() {
        assert_eq!(named(&["a/cat.png"]).expect("one"), [""]);
        assert_eq!(named(&["a/cat.png", "b/dog.v2.jpg"]).expect("two"), ["cat/", "dog.v2/"]);
    }

    #[test]
    fn two_images_with_one_name_are_both_named_in_the_error() {
        let error = named(&["a/cat.png", "b/cat.jpg"]).expect_err("a clash").to_string();
        assert!(error.contains("a/cat.png") && error.contains("b/cat.jpg"), "{error}");
    }

    #[test]
    fn an_image_that_is_given_twice_is_taken_once() {
        let place = tempfile::tempdir().expect("a folder");
        let file = place.path().join("cat.png");
        std::fs::write(&file, b"").expect("a file");
        let other = place.path().join("..").join(place.path().file_name().expect("a name"));
        let mut files = vec![file.clone(), other.join("cat.png"), "gone.png".into()];
        files.push("gone.png".into());
        assert_eq!(each_once(files), [file.clone(), "gone.png".into()]);
        #[cfg(unix)]
        {
            let link = place.path().join("kitten.png");
            std::os::unix::fs::symlink(&file, &link).expect("a link");
            assert_eq!(each_once(vec![file.clone(), link.clone()]), [file, link]);
        }
    }

    #[test]
    fn no_name_leads_out_of_the_output_folder() {
        assert_eq!(named(&["a.png", "...png"]).expect("two"), ["a/", "...png/"]);
    }

    #[test]
    fn an_image_takes_no_name_of_a_file_of_ours() {
        let images = ["manifest.json.png", "Report.html.jpg", "manifest.2-of-4.json.png", "a.png"];
        let folders = named(&images).expect("four");
        let expected =
            ["manifest.json.png/", "Report.html.jpg/", "manifest.2-of-4.json.png/", "a/"];
        assert_eq!(folders, expected);
    }
}
