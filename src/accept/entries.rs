//! GOLDEN's manifest after an acceptance: true to the files that are there.

use std::collections::{BTreeMap, BTreeSet};

use crate::manifest::{Consensus, Drawn, Fold, Image, Manifest};

/// What is done to GOLDEN's files.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// Whether all of NEW was accepted, not single pictures.
    pub all: bool,
    /// NEW's files that GOLDEN has afterwards.
    pub taken: BTreeSet<String>,
    /// Those among them that it did not have before.
    pub copied: BTreeSet<String>,
    /// With `--prune`, all that stays.
    pub kept: Option<BTreeSet<String>>,
}

impl Change {
    /// Whether an entry of GOLDEN's about this file is of the past.
    fn outdates(&self, file: &String) -> bool {
        self.copied.contains(file) || self.removes(file)
    }

    fn removes(&self, file: &String) -> bool {
        self.kept.as_ref().is_some_and(|kept| !kept.contains(file))
    }
}

/// The manifest that GOLDEN needs; `None` if neither side has one. Every image index of
/// both lies in its list.
pub(super) fn after(
    ours: Option<Manifest>,
    theirs: Option<Manifest>,
    change: &Change,
) -> Option<Manifest> {
    let whole = theirs.clone();
    let theirs = theirs.map(|theirs| (mixed(&theirs, ours.as_ref(), change), theirs));
    let theirs = theirs.map(|(mixed, theirs)| accepted(theirs, mixed, change));
    let Some(ours) = ours else { return theirs };
    let used_before = used_images(&ours);
    let ours = remaining(ours, theirs.as_ref(), change);
    let Some(theirs) = theirs else { return Some(without_images(ours, &used_before)) };
    match change.all {
        true if is_empty(&ours) => Some(theirs),
        true => Some(joined(theirs, ours)),
        false => {
            let changed: BTreeSet<usize> =
                theirs.pictures.iter().map(|p| p.layer_position).collect();
            let mut joined = joined(ours, theirs);
            joined.agreement.retain(|agreement| !changed.contains(&agreement.layer_position));
            let of_new = whole.and_then(|whole| if_all_is_of(whole, &joined));
            of_new.or_else(|| Some(without_images(joined, &used_before)))
        }
    }
}

/// NEW's manifest with what GOLDEN has of it, if GOLDEN has nothing else: then nothing is
/// left that GOLDEN's own options and versions are true of.
fn if_all_is_of(mut new: Manifest, golden: &Manifest) -> Option<Manifest> {
    let hashes = |manifest: &Manifest| {
        let pictures = manifest.pictures.iter().map(|p| (p.file.clone(), p.sha256.clone()));
        let sheets = manifest.sheets.iter().map(|sheet| (sheet.file.clone(), sheet.sha256.clone()));
        let drawn = manifest.consensus.iter().flat_map(|both| [&both.mean, &both.std]);
        let drawn = drawn.map(|drawn| (drawn.file.clone(), drawn.sha256.clone()));
        pictures.chain(sheets).chain(drawn).collect::<BTreeSet<_>>()
    };
    let (there, own) = (hashes(&new), hashes(golden));
    if !own.iter().all(|one| !one.1.is_empty() && there.contains(one)) {
        return None;
    }
    let files = golden.files();
    new.pictures.retain(|picture| files.contains(&picture.file));
    new.sheets.retain(|sheet| files.contains(&sheet.file));
    new.consensus.retain(|both| files.contains(&both.mean.file) && files.contains(&both.std.file));
    for (raw, sha256) in raw_maps(&mut new) {
        if raw.as_ref().is_some_and(|raw| !files.contains(raw)) {
            (*raw, *sha256) = (None, None);
        }
    }
    Some(new)
}

/// NEW's manifest with the hashes of GOLDEN's files, where these stay in their place.
pub(super) fn with_hashes(mut theirs: Manifest, kept: &BTreeMap<String, String>) -> Manifest {
    let pictures = theirs.pictures.iter_mut().map(|p| (&p.file, &mut p.sha256));
    let sheets = theirs.sheets.iter_mut().map(|sheet| (&sheet.file, &mut sheet.sha256));
    let drawn = theirs.consensus.iter_mut().flat_map(|both| [&mut both.mean, &mut both.std]);
    let drawn = drawn.map(|drawn| (&drawn.file, &mut drawn.sha256));
    for (file, sha256) in pictures.chain(sheets).chain(drawn) {
        // Of one that no manifest gave a hash none is known.
        if let Some(own) = kept.get(file).filter(|_| !sha256.is_empty()) {
            own.clone_into(sha256);
        }
    }
    theirs
}

/// Consensus pictures of which only one of the two is accepted.
fn mixed(theirs: &Manifest, ours: Option<&Manifest>, change: &Change) -> Vec<Consensus> {
    let ours = ours.map(|ours| ours.consensus.as_slice()).unwrap_or_default();
    let taken = |drawn: &Drawn| change.taken.contains(&drawn.file);
    let halves = theirs.consensus.iter().filter(|new| taken(&new.mean) != taken(&new.std));
    halves
        .filter_map(|new| {
            let is_same =
                |old: &&Consensus| old.mean.file == new.mean.file && old.std.file == new.std.file;
            let old = ours.iter().find(is_same)?;
            let (mean, std) = if taken(&new.mean) { (new, old) } else { (old, new) };
            Some(Consensus { mean: mean.mean.clone(), std: std.std.clone(), ..new.clone() })
        })
        .collect()
}

/// NEW's manifest with the entries of what is accepted.
fn accepted(mut theirs: Manifest, mixed: Vec<Consensus>, change: &Change) -> Manifest {
    let taken = |file: &String| change.taken.contains(file);
    theirs.pictures.retain(|picture| taken(&picture.file));
    theirs.sheets.retain(|sheet| taken(&sheet.file));
    theirs.consensus.retain(|both| taken(&both.mean.file) && taken(&both.std.file));
    for (raw, sha256) in raw_maps(&mut theirs) {
        if raw.as_ref().is_some_and(|raw| !taken(raw)) {
            (*raw, *sha256) = (None, None);
        }
    }
    theirs.consensus.extend(mixed);
    theirs
}

/// GOLDEN's manifest with the entries of what stays as it was.
fn remaining(mut ours: Manifest, theirs: Option<&Manifest>, change: &Change) -> Manifest {
    let replaced = theirs.map(Manifest::files).unwrap_or_default();
    let stays = |file: &String| !replaced.contains(file) && !change.outdates(file);
    ours.pictures.retain(|picture| stays(&picture.file));
    ours.sheets.retain(|sheet| stays(&sheet.file));
    ours.consensus.retain(|both| stays(&both.mean.file) && stays(&both.std.file));
    for (raw, sha256) in raw_maps(&mut ours) {
        if raw.as_ref().is_some_and(|raw| change.removes(raw)) {
            (*raw, *sha256) = (None, None);
        } else if raw.as_ref().is_some_and(|raw| change.copied.contains(raw)) {
            *sha256 = None;
        }
    }
    ours
}

/// `base` with the entries of `other`, which keep their images and folds.
fn joined(mut base: Manifest, mut other: Manifest) -> Manifest {
    let used = used_images(&other);
    let mut place = |image: Image| {
        let same = base.images.iter().position(|own| *own == image);
        same.unwrap_or_else(|| {
            base.images.push(image);
            base.images.len() - 1
        })
    };
    let places: Vec<usize> = std::mem::take(&mut other.images)
        .into_iter()
        .map(|image| if used.contains(&image) { place(image) } else { usize::MAX })
        .collect();
    image_indices(&mut other).for_each(|index| *index = places[*index]);
    let own: BTreeSet<usize> = base.pictures.iter().map(|picture| picture.fold).collect();
    let needed: BTreeSet<usize> = other.pictures.iter().map(|picture| picture.fold).collect();
    for fold in other.folds.into_iter().filter(|fold| needed.contains(&fold.fold)) {
        take_fold(&mut base.folds, fold, &own);
    }
    base.pictures.extend(other.pictures);
    base.pictures.sort_by_key(|picture| (picture.image, picture.fold, picture.layer_position));
    base.sheets.extend(other.sheets);
    base.sheets.sort_by_key(|sheet| sheet.image);
    base.consensus.extend(other.consensus);
    base.consensus.sort_by_key(|both| (both.image, both.layer_position));
    base
}

/// A fold's file is the one that its pictures are of; where they are of two, the base's.
fn take_fold(folds: &mut Vec<Fold>, fold: Fold, with_own_pictures: &BTreeSet<usize>) {
    match folds.iter_mut().find(|own| own.fold == fold.fold) {
        Some(own) if !with_own_pictures.contains(&fold.fold) => *own = fold,
        Some(_) => {}
        None => folds.push(fold),
    }
}

/// Without the images that had pictures before and have none now.
fn without_images(mut manifest: Manifest, used_before: &[Image]) -> Manifest {
    let used = used_images(&manifest);
    let stays = |image: &Image| used.contains(image) || !used_before.contains(image);
    let mut next = 0;
    let mut places = Vec::new();
    for image in &manifest.images {
        places.push(next);
        next += usize::from(stays(image));
    }
    image_indices(&mut manifest).for_each(|index| *index = places[*index]);
    manifest.images.retain(stays);
    manifest
}

fn used_images(manifest: &Manifest) -> Vec<Image> {
    let mut used = vec![false; manifest.images.len()];
    let pictures = manifest.pictures.iter().map(|picture| picture.image);
    let sheets = manifest.sheets.iter().map(|sheet| sheet.image);
    let consensus = manifest.consensus.iter().map(|both| both.image);
    pictures.chain(sheets).chain(consensus).for_each(|index| used[index] = true);
    let images = manifest.images.iter().zip(used);
    images.filter(|(_, used)| *used).map(|(image, _)| image.clone()).collect()
}

fn is_empty(manifest: &Manifest) -> bool {
    manifest.pictures.is_empty() && manifest.sheets.is_empty() && manifest.consensus.is_empty()
}

/// An entry of an image that the manifest does not list, if there is one: its file.
pub(super) fn of_no_image(manifest: &Manifest) -> Option<&str> {
    let pictures = manifest.pictures.iter().map(|picture| (picture.image, &picture.file));
    let sheets = manifest.sheets.iter().map(|sheet| (sheet.image, &sheet.file));
    let consensus = manifest.consensus.iter().map(|both| (both.image, &both.mean.file));
    let mut all = pictures.chain(sheets).chain(consensus);
    all.find(|(image, _)| *image >= manifest.images.len()).map(|(_, file)| file.as_str())
}

/// Everything that counts into the list of images.
fn image_indices(manifest: &mut Manifest) -> impl Iterator<Item = &mut usize> {
    let pictures = manifest.pictures.iter_mut().map(|picture| &mut picture.image);
    let sheets = manifest.sheets.iter_mut().map(|sheet| &mut sheet.image);
    let consensus = manifest.consensus.iter_mut().map(|both| &mut both.image);
    pictures.chain(sheets).chain(consensus)
}

/// Every raw map that is promised, with its SHA-256.
fn raw_maps(
    manifest: &mut Manifest,
) -> impl Iterator<Item = (&mut Option<String>, &mut Option<String>)> {
    let pictures = manifest.pictures.iter_mut().map(|p| (&mut p.raw, &mut p.raw_sha256));
    let drawn = manifest.consensus.iter_mut().flat_map(|both| [&mut both.mean, &mut both.std]);
    pictures.chain(drawn.map(|drawn| (&mut drawn.raw, &mut drawn.raw_sha256)))
}
