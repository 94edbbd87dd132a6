//! One side of a comparison: its pictures, and its manifest.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::colormap::Colormap;
use crate::error::Error;
use crate::insights;
use crate::manifest::{Drawn, Manifest, Picture};
use crate::output;
use crate::report;

/// How the names of pictures end.
const PICTURE: &str = ".png";
/// How the names of raw maps end.
const RAW: &str = ".npy";

/// Whether a file of this name is a picture, be it `.png` or `.PNG`.
pub(crate) fn is_picture(name: &str) -> bool {
    without_ending(name, PICTURE).is_some()
}

/// Whether a file of this name is a raw map.
pub(crate) fn is_raw(name: &str) -> bool {
    without_ending(name, RAW).is_some()
}

fn without_ending<'a>(name: &'a str, ending: &str) -> Option<&'a str> {
    let (stem, end) = name.split_at_checked(name.len().checked_sub(ending.len())?)?;
    end.eq_ignore_ascii_case(ending).then_some(stem)
}

/// Whether a file of this name tells of pictures or is none of anybody's business: manifests,
/// figures, pages, and what is hidden.
fn is_about_a_run(name: &str) -> bool {
    let is_manifest = name.starts_with("manifest.") && name.ends_with(".json");
    let is_hidden = name.split('/').any(|part| part.starts_with('.'));
    is_manifest || is_hidden || [insights::FILE_NAME, report::FILE_NAME].contains(&name)
}

/// The names that the pictures of one side have in a report.
pub(super) fn picture_names(path: &Path) -> Result<Vec<String>, Error> {
    match path.is_dir() {
        true => {
            Ok(output::files_below(path)?.into_iter().filter(|name| is_picture(name)).collect())
        }
        false => Ok(path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .into_iter()
            .collect()),
    }
}

/// A folder of pictures, or one picture.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Where each picture is, by name.
    files: BTreeMap<String, PathBuf>,
    /// Where each raw map is, by name.
    raw: BTreeMap<String, PathBuf>,
    /// What was run, if there is a manifest.
    pub manifest: Option<Manifest>,
    /// The pictures' places in the manifest.
    places: HashMap<String, usize>,
    /// The consensus pictures of the manifest, by name.
    drawn: HashMap<String, Drawn>,
    /// Every picture and raw map that the manifest promises, sheets and the like included.
    promised: BTreeSet<String>,
    /// The other files of a folder, without actviz' own and hidden ones.
    pub(super) others: BTreeSet<String>,
    /// Whether it is a folder: of two files nothing is asked but what they hold.
    pub is_folder: bool,
    /// Why the manifest that is there cannot be used.
    pub damage: Option<String>,
}

/// Reads both sides, which are two folders or two files.
pub(super) fn read_both(golden: &Path, new: &Path) -> Result<(Side, Side), Error> {
    for path in [golden, new] {
        if !path.exists() {
            return Err(Error::usage_hint(
                format!("{} does not exist", path.display()),
                "actviz compare GOLDEN NEW takes two folders or two files",
            ));
        }
    }
    match (golden.is_dir(), new.is_dir()) {
        (true, true) => Ok((Side::folder(golden)?, Side::folder(new)?)),
        // Two files are a pair, whatever they are called.
        (false, false) => {
            let name = new.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (mut golden, mut new) = (Side::file(&name, golden), Side::file(&name, new));
            // A raw map is asked for where both manifests know the pictures.
            if !is_raw(&name) && (golden.manifest.is_none() || new.manifest.is_none()) {
                for side in [&mut golden, &mut new] {
                    side.raw.clear();
                    side.promised.clear();
                }
            }
            Ok((golden, new))
        }
        _ => Err(Error::usage_hint(
            format!("{} and {} are a folder and a file", golden.display(), new.display()),
            "give two folders or two files",
        )),
    }
}

fn drawn(manifest: &Manifest) -> Vec<&Drawn> {
    manifest.consensus.iter().flat_map(|both| [&both.mean, &both.std]).collect()
}

/// What a manifest says of one file, and of its image and fold.
fn entries_of(mut manifest: Manifest, name: &str) -> Option<Manifest> {
    manifest.pictures.retain(|picture| picture.file == name);
    manifest.consensus.retain(|both| both.mean.file == name || both.std.file == name);
    let picture = manifest.pictures.first_mut().map(|picture| &mut picture.image);
    let place = picture.or(manifest.consensus.first_mut().map(|both| &mut both.image))?;
    let image = manifest.images.get(std::mem::take(place)).cloned();
    if let Some(picture) = manifest.pictures.first() {
        manifest.folds.retain(|fold| fold.fold == picture.fold);
    }
    Some(Manifest { images: image.into_iter().collect(), failed: Vec::new(), ..manifest })
}

impl Side {
    /// One file, with its entry of the manifest beside it and its raw map, if it has them.
    fn file(name: &str, path: &Path) -> Side {
        let own = BTreeMap::from([(name.to_owned(), path.to_owned())]);
        if is_raw(name) {
            return Side { files: own.clone(), raw: own, ..Side::default() };
        }
        let mut side = Side { files: own, ..Side::default() };
        let folder = path.parent().unwrap_or(Path::new(""));
        let own_name = path.file_name().unwrap_or_default().to_string_lossy();
        let manifest = Manifest::read(folder).unwrap_or_else(|error| {
            side.damage = Some(error.to_string());
            None
        });
        let own = manifest.and_then(|manifest| entries_of(manifest, &own_name));
        let Some(manifest) = own else { return side };
        if !manifest.pictures.is_empty() {
            side.places.insert(name.to_owned(), 0);
        }
        let drawn = drawn(&manifest).into_iter().filter(|drawn| drawn.file == own_name);
        side.drawn = drawn.map(|drawn| (name.to_owned(), drawn.clone())).collect();
        side.promised = manifest.files().into_iter().filter(|name| is_raw(name)).collect();
        side.manifest = Some(manifest);
        let raw = side.named_raw(name).cloned().unwrap_or_else(|| raw_beside(name));
        side.promised.retain(|promised| *promised == raw);
        let is_own = output::is_below(&raw) && !output::is_behind_a_link(folder, &raw);
        let file = folder.join(&raw);
        if is_own && file.exists() {
            side.raw.insert(raw, file);
        }
        side
    }

    pub(super) fn folder(path: &Path) -> Result<Side, Error> {
        let (manifest, damage) = match Manifest::read(path) {
            Ok(manifest) => (manifest, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let pictures = manifest.iter().flat_map(|m| &m.pictures).enumerate();
        let places = pictures.map(|(place, picture)| (picture.file.clone(), place)).collect();
        let drawn = manifest.iter().flat_map(drawn);
        let drawn = drawn.map(|drawn| (drawn.file.clone(), drawn.clone())).collect();
        let promised = manifest.iter().flat_map(Manifest::files);
        let promised = promised.filter(|name| is_picture(name) || is_raw(name)).collect();
        let (mut files, mut raw) = (BTreeMap::new(), BTreeMap::new());
        let mut others = BTreeSet::new();
        for name in output::files_below(path)? {
            let file = path.join(&name);
            if is_picture(&name) {
                files.insert(name, file);
            } else if is_raw(&name) {
                raw.insert(name, file);
            } else if !is_about_a_run(&name) {
                others.insert(name);
            }
        }
        let is_folder = true;
        Ok(Side { files, raw, manifest, places, drawn, promised, others, is_folder, damage })
    }

    /// The pictures' names, those included that only the manifest knows: what is
    /// promised and not there is missing.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.files.keys().chain(self.promised.iter().filter(|name| is_picture(name)))
    }

    /// The names of raw maps, as [`Side::names`].
    pub fn raw_names(&self) -> impl Iterator<Item = &String> {
        self.raw.keys().chain(self.promised.iter().filter(|name| is_raw(name)))
    }

    /// Whether the file is there, a picture or a raw map.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name) || self.raw.contains_key(name)
    }

    /// Whether the manifest speaks of the file.
    pub fn promises(&self, name: &str) -> bool {
        self.promised.contains(name)
    }

    /// Where the file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.get(name).or(self.raw.get(name)).cloned().unwrap_or_default()
    }

    /// The manifest's entry for a picture.
    pub fn entry(&self, name: &str) -> Option<&Picture> {
        self.manifest.as_ref()?.pictures.get(*self.places.get(name)?)
    }

    /// The colour map of a picture, or of a consensus; a sheet has several.
    pub fn colormap(&self, name: &str) -> Option<Colormap> {
        let own = self.entry(name).map(|picture| picture.colormap);
        own.or_else(|| self.drawn.get(name).map(|drawn| drawn.colormap))
    }

    /// The values at both ends of a picture's colour map, if the manifest says.
    pub fn range(&self, name: &str) -> Option<[f32; 2]> {
        let own = self.entry(name).map(|picture| [picture.low, picture.high]);
        own.or_else(|| self.drawn.get(name).map(|drawn| [drawn.low, drawn.high]))
    }

    /// What the manifest calls the raw map of a picture.
    fn named_raw(&self, name: &str) -> Option<&String> {
        let own = self.entry(name).and_then(|picture| picture.raw.as_ref());
        own.or_else(|| self.drawn.get(name)?.raw.as_ref())
    }

    /// The raw map of this name, if it is there.
    pub fn raw(&self, raw: &str) -> Option<&PathBuf> {
        self.raw.get(raw)
    }
}

/// What the raw map of a picture is called in GOLDEN and in NEW: by the own manifest, by the
/// other side's, or as the picture. A raw map is its own.
pub(super) fn raw_names(name: &str, golden: &Side, new: &Side) -> (String, String) {
    let named = (golden.named_raw(name), new.named_raw(name));
    let beside = raw_beside(name);
    let of = |own: Option<&String>, other| own.or(other).unwrap_or(&beside).clone();
    (of(named.0, named.1), of(named.1, named.0))
}

fn raw_beside(name: &str) -> String {
    without_ending(name, PICTURE).map_or(name.to_owned(), |stem| format!("{stem}{RAW}"))
}
