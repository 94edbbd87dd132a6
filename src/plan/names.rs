//! The images of a run: each once, and where its pictures go.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use crate::error::Error;
use crate::{insights, manifest, report};

/// One image and where its pictures go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedImage {
    /// The file.
    pub path: PathBuf,
    /// The frame or page of it, from 1; the first one, if none was asked for.
    pub frame: Option<usize>,
    /// Its name: that of its file without the ending, below the folder that all images have
    /// in common. No other image of the run has it.
    pub name: String,
    /// What its pictures' names begin with: nothing for one image, else `NAME/`.
    pub prefix: String,
}

impl PlannedImage {
    /// What manifests call it: its path, with `#3` after it for the third frame.
    pub fn label(&self) -> String {
        let path = super::text(&self.path);
        self.frame.map_or(path.clone(), |frame| format!("{path}#{frame}"))
    }
}

/// A file, and the frame of it that is an image of its own.
pub type Frame = (PathBuf, Option<usize>);

/// The files in order, without those that were named before: by a folder and a glob, say.
/// A link of another name, or in another folder, gets pictures of its own.
pub fn each_once(files: Vec<PathBuf>) -> Vec<PathBuf> {
    // The system is asked once for each folder: there may be a million files.
    let mut folders: HashMap<PathBuf, Rc<Path>> = HashMap::new();
    let mut seen: HashSet<(Rc<Path>, OsString)> = HashSet::new();
    let mut is_new = |path: &PathBuf| {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return seen.insert((path.as_path().into(), OsString::new()));
        };
        let whole = match folders.get(parent) {
            Some(whole) => whole.clone(),
            None => {
                let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                let whole = here.canonicalize().unwrap_or_else(|_| parent.to_owned());
                let whole: Rc<Path> = whole.into();
                folders.insert(parent.to_owned(), whole.clone());
                whole
            }
        };
        seen.insert((whole, name.to_owned()))
    };
    files.into_iter().filter(|path| is_new(path)).collect()
}

/// One image stands in the output folder itself, several in a folder each: as its file is
/// called without the ending, in the sub-folder that it has below the folder common to all.
/// Where two would be called alike (`a.jpg` beside `a.png`), each keeps its ending.
///
/// # Errors
/// [`Error::Usage`] if two images have one name all the same.
pub fn name_images(frames: Vec<Frame>, out: &Path) -> Result<Vec<PlannedImage>, Error> {
    let single = frames.len() == 1;
    let folders: Vec<String> = sub_folders(&frames);
    let mut whole: Vec<bool> = frames.iter().map(|(path, _)| keeps_ending(path)).collect();
    let name = |at: usize, whole: bool| {
        let (path, frame) = &frames[at];
        let file = if whole { path.file_name() } else { path.file_stem() };
        let file = file.map(OsStr::to_string_lossy).unwrap_or_default();
        let frame = frame.map(|frame| format!(".{frame}")).unwrap_or_default();
        format!("{}{file}{frame}", folders[at])
    };
    let names = loop {
        let names: Vec<String> = (0..frames.len()).map(|at| name(at, whole[at])).collect();
        let mut taken: HashMap<&str, usize> = HashMap::with_capacity(names.len());
        let mut changed = false;
        for (at, own) in names.iter().enumerate() {
            let Some(other) = taken.insert(own, at) else { continue };
            if whole[at] && whole[other] {
                return Err(Error::usage_hint(
                    format!(
                        "two images would write into {}: {} and {}",
                        out.join(own).display(),
                        frames[other].0.display(),
                        frames[at].0.display()
                    ),
                    "rename one, or render them with two commands and two -o folders",
                ));
            }
            (whole[at], whole[other], changed) = (true, true, true);
        }
        if !changed {
            break names;
        }
    };
    let planned = frames.into_iter().zip(names).map(|((path, frame), name)| {
        let prefix = if single { String::new() } else { format!("{name}/") };
        PlannedImage { path, frame, name, prefix }
    });
    Ok(planned.collect())
}

/// Whether a file's name without its ending would lead out of the output folder ("...png") or
/// is the name of a file that stands there.
fn keeps_ending(path: &Path) -> bool {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    matches!(&*stem, "." | "..") || is_ours(&stem)
}

/// Whether the output folder may hold a file of this name that is no picture.
fn is_ours(name: &str) -> bool {
    let lower = name.to_lowercase();
    [manifest::FILE_NAME, insights::FILE_NAME, report::FILE_NAME].contains(&lower.as_str())
        || (lower.starts_with("manifest.") && lower.ends_with(".json"))
        || lower.starts_with(".actviz")
}

/// For each file, its folder below the one that all have in common: nothing, or with `/` at
/// the end.
fn sub_folders(frames: &[Frame]) -> Vec<String> {
    let parts: Vec<Vec<OsString>> = frames.iter().map(|(path, _)| folder_of(path)).collect();
    let first = parts.first().map(Vec::as_slice).unwrap_or_default();
    let common = parts.iter().fold(first.len(), |common, own| {
        let same = first.iter().zip(own).take(common);
        same.take_while(|(a, b)| a == b).count()
    });
    let below = |own: &Vec<OsString>| {
        let names = own[common..].iter().enumerate().map(|(depth, name)| {
            let name = name.to_string_lossy();
            // Nothing but a picture's folder may have such a name.
            if depth == 0 && is_ours(&name) { format!("_{name}/") } else { format!("{name}/") }
        });
        names.collect()
    };
    parts.iter().map(below).collect()
}

/// The names of the folders that lead to a file, from the root on, as they are written: links
/// are not followed.
fn folder_of(path: &Path) -> Vec<OsString> {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut folders = Vec::new();
    for part in whole.parent().unwrap_or(Path::new("")).components() {
        match part {
            Component::Normal(name) => folders.push(name.to_owned()),
            Component::ParentDir => drop(folders.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(paths: &[&str]) -> Result<Vec<String>, Error> {
        let files = paths.iter().map(|path| (PathBuf::from(path), None)).collect();
        let images = name_images(files, Path::new("out"))?;
        Ok(images.into_iter().map(|image| image.prefix).collect())
    }

    #[test]
    fn one_image_stands_in_the_folder_and_several_in_their_own() {
        assert_eq!(named(&["a/cat.png"]).expect("one"), [""]);
        assert_eq!(named(&["a/cat.png", "a/dog.v2.jpg"]).expect("two"), ["cat/", "dog.v2/"]);
    }

    #[test]
    fn sub_folders_are_mirrored_below_the_one_that_all_have_in_common() {
        let names = named(&["set/cat/1.png", "set/dog/1.png", "set/dog/old/../1.2.png"]);
        assert_eq!(names.expect("three"), ["cat/1/", "dog/1/", "dog/1.2/"]);
        assert_eq!(named(&["set/1.png", "set/dog/1.png"]).expect("two"), ["1/", "dog/1/"]);
        assert_eq!(named(&["../x/1.png", "./../y/1.png"]).expect("two"), ["x/1/", "y/1/"]);
    }

    #[test]
    fn images_that_differ_in_their_ending_keep_it() {
        let names = named(&["a.jpg", "b.png", "a.png"]).expect("three");
        assert_eq!(names, ["a.jpg/", "b/", "a.png/"]);
        let names = named(&["a.jpg", "a.png", "a.png.gif"]).expect("three");
        assert_eq!(names, ["a.jpg/", "a.png/", "a.png.gif/"]);
    }

    #[test]
    fn frames_are_images_of_their_own() {
        let frames = vec![("a.gif".into(), Some(1)), ("a.gif".into(), Some(2))];
        let images = name_images(frames, Path::new("out")).expect("two");
        let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, ["a.1", "a.2"]);
        assert_eq!(images[1].label(), "a.gif#2");
        let frames = vec![("a.gif".into(), Some(3)), ("a.3.png".into(), None)];
        let images = name_images(frames, Path::new("out")).expect("two");
        let names: Vec<&str> = images.iter().map(|image| image.name.as_str()).collect();
        assert_eq!(names, ["a.gif.3", "a.3.png"]);
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
