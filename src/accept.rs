//! Accepting a change: new pictures become the golden ones.

use std::collections::BTreeSet;
use std::path::Path;

use crate::compare::report;
use crate::error::Error;
use crate::manifest::{self, Manifest, Picture};
use crate::output;

/// What will be done to GOLDEN, by relative names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Acceptance {
    /// Files that are new or other than before.
    pub copied: Vec<String>,
    /// Files that go.
    pub pruned: Vec<String>,
    /// How many files are already the same.
    pub same: usize,
}

/// Decides what is copied and what goes. `pictures` empty: all of NEW's.
///
/// # Errors
/// [`Error::Usage`] for a picture that NEW has not, or a NEW without pictures.
pub fn plan(
    golden: &Path,
    new: &Path,
    pictures: &[String],
    prune: bool,
) -> Result<Acceptance, Error> {
    let is_ours = |name: &String| name.ends_with(".png") || name.ends_with(".npy");
    let there: BTreeSet<String> = files(new)?.into_iter().filter(is_ours).collect();
    if let Some(name) = pictures.iter().find(|name| !there.contains(*name)) {
        return Err(Error::usage_hint(
            format!("{} has no picture {name}", new.display()),
            "name pictures as they stand in the folder, e.g. 1_3.png or fox/1_3.png",
        ));
    }
    if there.is_empty() {
        return Err(Error::usage(format!("{} holds no pictures", new.display())));
    }
    let chosen = |name: &&String| {
        let stem = |name: &str| name.rsplit_once('.').map(|(stem, _)| stem.to_owned());
        let beside = |picture: &String| stem(picture) == stem(name);
        pictures.is_empty() || pictures.iter().any(beside)
    };
    let mut acceptance = Acceptance::default();
    for name in there.iter().filter(chosen) {
        if same_bytes(&golden.join(name), &new.join(name))? {
            acceptance.same += 1;
        } else {
            acceptance.copied.push(name.clone());
        }
    }
    if prune && golden.is_dir() {
        let here = files(golden)?.into_iter().filter(is_ours);
        acceptance.pruned = here.filter(|name| !there.contains(name)).collect();
    }
    Ok(acceptance)
}

/// Does what was planned: each file whole or not at all, the manifest last.
///
/// # Errors
/// [`Error::Io`].
pub fn carry_out(
    golden: &Path,
    new: &Path,
    acceptance: &Acceptance,
    all: bool,
) -> Result<(), Error> {
    for name in &acceptance.copied {
        let from = new.join(name);
        let bytes = std::fs::read(&from).map_err(Error::io("read", &from))?;
        report::write(&golden.join(name), &bytes)?;
    }
    for name in &acceptance.pruned {
        let file = golden.join(name);
        std::fs::remove_file(&file).map_err(Error::io("remove", &file))?;
    }
    if let Some(manifest) = accepted_manifest(golden, new, acceptance, all)? {
        report::write(&golden.join(manifest::FILE_NAME), manifest.to_json().as_bytes())?;
    }
    Ok(())
}

/// NEW's manifest; if only some pictures are accepted, or older ones stay, GOLDEN's with
/// the entries of those that are new.
fn accepted_manifest(
    golden: &Path,
    new: &Path,
    acceptance: &Acceptance,
    all: bool,
) -> Result<Option<Manifest>, Error> {
    let Some(theirs) = Manifest::read(new)? else { return Ok(None) };
    let Some(mut ours) = Manifest::read(golden).ok().flatten() else {
        return Ok(Some(only(theirs, golden)));
    };
    let wanted = |picture: &Picture| all || acceptance.copied.contains(&picture.file);
    let accepted: Vec<Picture> =
        theirs.pictures.iter().filter(|picture| wanted(picture)).cloned().collect();
    ours.pictures.retain(|picture| {
        !acceptance.pruned.contains(&picture.file)
            && !accepted.iter().any(|accepted| accepted.file == picture.file)
    });
    if all && ours.pictures.is_empty() {
        return Ok(Some(theirs));
    }
    let base = if all { &theirs } else { &ours };
    let mut merged = base.clone();
    merged.pictures = ours.pictures;
    merged.pictures.extend(accepted);
    merged.pictures.sort_by_key(|picture| (picture.image, picture.fold, picture.b));
    Ok(Some(merged))
}

/// Without the pictures that GOLDEN has not.
fn only(mut manifest: Manifest, golden: &Path) -> Manifest {
    manifest.pictures.retain(|picture| golden.join(&picture.file).is_file());
    manifest
}

fn files(folder: &Path) -> Result<BTreeSet<String>, Error> {
    if !folder.is_dir() {
        return Err(Error::usage(format!("{} is not a folder", folder.display())));
    }
    output::files_below(folder)
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool, Error> {
    match std::fs::read(one) {
        Ok(bytes) => Ok(bytes == std::fs::read(other).map_err(Error::io("read", other))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", one)(error)),
    }
}
