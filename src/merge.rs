//! The shards of a run, put together: their manifests' parts become one manifest, as if
//! one run had written it.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;

use crate::error::Error;
use crate::manifest::{self, Failed, Image, Manifest, ShardInfo};
use crate::output;
use crate::shard::Shard;
use crate::terminal::count;

/// What a merge has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// The manifest of the whole run.
    pub manifest: Manifest,
    /// Whether there was nothing left to merge: the folder held one whole run.
    pub was_whole: bool,
}

/// Merges the parts in `folder`. Nothing is written unless all shards are there, of one
/// run, without overlap, and every picture is the one that its shard wrote.
///
/// A merge that was interrupted after its manifest was whole is finished; so is one after
/// which single shards were run again. A run that is whole stays as it is.
///
/// # Errors
/// [`Error::Usage`] with what is missing or does not fit, [`Error::Io`].
pub fn merge(folder: &Path) -> Result<Merged, Error> {
    let parts = manifest::parts(folder)?;
    let merged = |manifest| Merged { manifest, was_whole: false };
    let Some((_, first)) = parts.first() else {
        let whole = Manifest::read(folder)?.filter(|whole| !whole.interrupted);
        if let Some(manifest) = whole.filter(|_| !output::is_unfinished(folder)) {
            check_files(folder, &manifest)?;
            return Ok(Merged { manifest, was_whole: true });
        }
        return Err(Error::usage_hint(
            format!("{} holds no part of a sharded run", folder.display()),
            "actviz render --shard I/N -o DIR ... writes them",
        ));
    };
    if let Some(whole) = Manifest::read(folder)?
        && parts.iter().all(|(_, part)| is_in(part, &whole))
    {
        check_files(folder, &whole)?;
        remove(folder, &parts);
        return Ok(merged(whole));
    }
    let shards = shards(folder, &parts, first)?;
    let whole = joined(folder, &shards)?;
    check_files(folder, &whole)?;
    let text = whole.to_json();
    output::write_result(&folder.join(manifest::FILE_NAME), text.as_bytes())?;
    remove(folder, &parts);
    // Of shards that were killed before they were run again.
    let _ = output::remove_leftovers(folder, true);
    Ok(merged(whole))
}

/// Whether a whole manifest was made of this part, among others.
fn is_in(part: &Manifest, whole: &Manifest) -> bool {
    let pictures = |m: &Manifest| -> BTreeMap<String, String> {
        m.pictures.iter().map(|p| (p.file.clone(), p.sha256.clone())).collect()
    };
    let (own, all) = (pictures(part), pictures(whole));
    whole.same_provenance(part)
        && whole.same_configuration(part)
        && own.iter().all(|(file, sha256)| all.get(file) == Some(sha256))
        && part.failed.iter().all(|failed| whole.failed.contains(failed))
}

fn remove(folder: &Path, parts: &[(String, Manifest)]) {
    for (name, _) in parts {
        // The manifest is whole: a part that stays is found and removed by the next merge.
        let _ = std::fs::remove_file(folder.join(name));
    }
}

/// Every shard once, in order, all of one run.
fn shards<'a>(
    folder: &Path,
    parts: &'a [(String, Manifest)],
    first: &Manifest,
) -> Result<Vec<(&'a ShardInfo, &'a Manifest)>, Error> {
    let bad = |what: String, hint: &str| Err(Error::usage_hint(what, hint));
    let with_parts = parts.iter().filter_map(|(_, m)| Some((m.shard.as_ref()?, m)));
    let shards: Vec<(&ShardInfo, &Manifest)> = with_parts.collect();
    let Some((part, _)) = shards.first() else { return Ok(shards) };
    let count = part.of.count();
    for (other, manifest) in &shards {
        if other.of.count() != count {
            return bad(
                format!("{} holds shards of {count} and of {}", folder.display(), other.of.count()),
                "remove the parts (manifest.I-of-N.json) of the run that is not meant",
            );
        }
        if (other.total, &other.list) != (part.total, &part.list) {
            return bad(
                format!("shards {} and {} were given other lists of images", part.of, other.of),
                "run the shards again with one list; what is whole is kept",
            );
        }
        if !first.same_configuration(manifest) || !first.same_provenance(manifest) {
            return bad(
                format!(
                    "shards {} and {} are of other configurations: {}",
                    part.of,
                    other.of,
                    difference(first, manifest)
                ),
                "run one of them again with the other's flags and versions",
            );
        }
    }
    let is_there = |index: &usize| shards.iter().any(|(part, _)| part.of.index() == *index);
    let missing: Vec<String> = (1..=count)
        .filter(|index| !is_there(index))
        .map(|index| format!("{index}/{count}"))
        .collect();
    if !missing.is_empty() {
        let what = format!("missing of {count} shards: {}", missing.join(", "));
        return bad(what, "run them with --shard I/N; the others need not run again");
    }
    Ok(shards)
}

/// What differs first, in words.
fn difference(one: &Manifest, other: &Manifest) -> String {
    let fields = |manifest: &Manifest| -> BTreeMap<String, String> {
        let bare = Manifest {
            pictures: vec![],
            images: vec![],
            failed: vec![],
            sheets: vec![],
            shard: None,
            ..manifest.clone()
        };
        let value = serde_json::to_value(bare).unwrap_or_default();
        let mut fields = BTreeMap::new();
        for (name, value) in value.as_object().into_iter().flatten() {
            match value.as_object() {
                Some(inner) => {
                    fields
                        .extend(inner.iter().map(|(n, v)| (format!("{name}.{n}"), v.to_string())));
                }
                None => {
                    fields.insert(name.clone(), value.to_string());
                }
            }
        }
        fields
    };
    let (one, other) = (fields(one), fields(other));
    let differs = one.iter().find(|(name, value)| other.get(*name) != Some(value));
    differs.map_or("their images".to_owned(), |(name, value)| {
        format!("{name} is {value} and {}", other.get(name).map_or("nothing", String::as_str))
    })
}

/// One manifest of all, in the order of the whole list.
fn joined(folder: &Path, shards: &[(&ShardInfo, &Manifest)]) -> Result<Manifest, Error> {
    let Some((first, whole)) = shards.first() else {
        return Err(Error::usage_hint(
            format!("{} holds no shards", folder.display()),
            "each shard is a run of its own into this folder: actviz render --shard 1/N -o DIR ...",
        ));
    };
    let damaged = |of: Shard, problem: &str| Error::Json {
        file: folder.join(manifest::part_name(of)),
        problem: problem.to_owned(),
    };
    let mut images: BTreeMap<usize, Image> = BTreeMap::new();
    let mut pictures = Vec::new();
    let mut sheets = Vec::new();
    let mut failed: Vec<(Option<usize>, Failed)> = Vec::new();
    for (part, manifest) in shards {
        if part.places.len() != manifest.images.len() {
            return Err(damaged(part.of, "its images and their places are not as many"));
        }
        let place = |image: usize| {
            let place = part.places.get(image).copied();
            place.ok_or_else(|| damaged(part.of, "a picture is of an image that is not there"))
        };
        for (image, place) in manifest.images.iter().zip(&part.places) {
            if let Some(other) = images.insert(*place, image.clone()) {
                let what = format!("two shards have the same image: {}", other.path);
                return Err(Error::usage_hint(what, "remove the parts and run the shards again"));
            }
        }
        for picture in &manifest.pictures {
            let image = place(picture.image)?;
            pictures.push(manifest::Picture { image, ..picture.clone() });
        }
        for sheet in &manifest.sheets {
            sheets.push(manifest::Sheet { image: place(sheet.image)?, ..sheet.clone() });
        }
        for one in &manifest.failed {
            let at = manifest.images.iter().position(|i| Some(&i.path) == one.image.as_ref());
            let entry = (at.map(place).transpose()?, one.clone());
            // What is so for all images is told by every shard.
            if !failed.contains(&entry) {
                failed.push(entry);
            }
        }
    }
    if !images.keys().copied().eq(0..first.total) {
        let (there, all) = (images.len(), count(first.total, "image"));
        let what = format!("the shards have {there} of {all}");
        return Err(Error::usage_hint(what, "remove the parts and run the shards again"));
    }
    // A stable order by image; within one it is the shard's own.
    pictures.sort_by_key(|picture| picture.image);
    sheets.sort_by_key(|sheet| sheet.image);
    failed.sort_by_key(|(image, failed)| (*image, failed.fold));
    Ok(Manifest {
        shard: None,
        images: images.into_values().collect(),
        pictures,
        sheets,
        failed: failed.into_iter().map(|(_, failed)| failed).collect(),
        ..(*whole).clone()
    })
}

/// Whether every file is the one that its shard wrote.
fn check_files(folder: &Path, manifest: &Manifest) -> Result<(), Error> {
    let pictures = manifest.pictures.par_iter();
    let bad = pictures.filter(|picture| !output::is_whole(folder, picture)).map(|p| &p.file);
    let mut bad: Vec<&String> = bad.collect();
    let sheets = manifest.sheets.iter();
    let is_other = |sheet: &&manifest::Sheet| {
        !output::file_is(&folder.join(&sheet.file), &sheet.sha256).unwrap_or(false)
    };
    bad.extend(sheets.filter(is_other).map(|sheet| &sheet.file));
    match bad.first() {
        None => Ok(()),
        Some(file) => Err(Error::usage_hint(
            format!(
                "{} in {}: missing, or not as it was written, e.g. {file}",
                count(bad.len(), "file"),
                folder.display()
            ),
            "run the shards again, or the whole run: what is whole is kept",
        )),
    }
}
