//! Accepting a change: new pictures become the golden ones.

mod entries;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;

use crate::compare::report::targets::resolved;
use crate::compare::{self, Sameness};
use crate::digest;
use crate::error::Error;
use crate::manifest::{self, Manifest};
use crate::output;
use entries::Change;

/// How many files an error names.
const NAMED: usize = 10;

/// What will be done to GOLDEN, by relative names.
#[derive(Debug, Default, PartialEq)]
pub struct Acceptance {
    /// Files that are new or other than before.
    pub copied: Vec<String>,
    /// Files that go.
    pub pruned: Vec<String>,
    /// How many files are already the same.
    pub same: usize,
    /// What GOLDEN's manifest will say; none if it stays as it is.
    pub manifest: Option<Manifest>,
}

/// Decides what is copied and what goes, and checks all that can be checked before the
/// first file is written. `pictures` empty: all of NEW's.
///
/// # Errors
/// [`Error::Usage`] for a picture that NEW has not or that cannot be read, a NEW without
/// pictures, a linked folder in GOLDEN, a side that lies in the other, a damaged manifest.
pub fn plan(
    golden: &Path,
    new: &Path,
    pictures: &[String],
    prune: bool,
) -> Result<Acceptance, Error> {
    check_apart(golden, new)?;
    let is_ours = |name: &String| compare::is_picture(name) || compare::is_raw(name);
    let there: BTreeSet<String> = files(new)?.into_iter().filter(is_ours).collect();
    if let Some(name) = pictures.iter().find(|name| !there.contains(*name)) {
        return Err(Error::usage_hint(
            format!("{} has no picture {name}", new.display()),
            "name pictures as they stand in the folder, e.g. 1_3.png or fox/1_3.png",
        ));
    }
    if there.is_empty() {
        return Err(Error::usage_hint(
            format!("{} holds no pictures", new.display()),
            "give the folder that `actviz render -o DIR` has written",
        ));
    }
    let theirs = manifest_of("NEW", new)?;
    let ours = manifest_of("GOLDEN", golden)?;
    let taken: BTreeSet<String> = match pictures {
        [] => there.clone(),
        pictures => there.iter().filter(belongs_to(pictures, theirs.as_ref())).cloned().collect(),
    };
    let mut acceptance = Acceptance::default();
    let sameness = Sameness::of(golden, new)?;
    let state = |name: &String| state(name, golden, new, &sameness);
    let states: Vec<State> = taken.par_iter().map(state).collect::<Result<_, _>>()?;
    let mut kept = BTreeMap::new();
    for (name, state) in taken.iter().zip(states) {
        match state {
            State::Differs => {
                acceptance.copied.push(name.clone());
                continue;
            }
            State::SamePicture { sha256 } => drop(kept.insert(name.clone(), sha256)),
            State::SameBytes => {}
        }
        acceptance.same += 1;
    }
    let theirs = theirs.map(|theirs| entries::with_hashes(theirs, &kept));
    if prune && golden.is_dir() {
        let here = files(golden)?.into_iter().filter(is_ours);
        let gone = here.filter(|name| !there.contains(name));
        acceptance.pruned = gone.filter(is_of_a_run(ours.as_ref())).collect();
        check_names(golden, &acceptance.pruned)?;
    }
    check_links(golden, &acceptance.copied)?;
    check_readable(new, &acceptance.copied)?;
    check_images(golden, ours.as_ref())?;
    check_images(new, theirs.as_ref())?;
    let copied = acceptance.copied.iter().cloned().collect();
    let kept = prune.then(|| there.clone());
    let change = Change { all: pictures.is_empty(), taken, copied, kept };
    let manifest = entries::after(ours.clone(), theirs, &change);
    acceptance.manifest = manifest.filter(|manifest| Some(manifest) != ours.as_ref());
    Ok(acceptance)
}

/// A side's manifest. One that cannot be read is never replaced unasked: it may be of a
/// newer actviz, or somebody else's file.
fn manifest_of(side: &str, folder: &Path) -> Result<Option<Manifest>, Error> {
    let error = match Manifest::read(folder) {
        Err(error @ Error::Json { .. }) => error,
        manifest => return manifest,
    };
    let hint = format!(
        "{side}'s manifest is damaged, or of another actviz; remove it if the pictures are to be \
         accepted all the same"
    );
    Err(Error::usage_hint(error.to_string(), hint))
}

/// Of two folders, one in the other, each picture of the inner one is one of the outer one's,
/// too: it would be copied into itself, or pruned.
fn check_apart(golden: &Path, new: &Path) -> Result<(), Error> {
    let (real_golden, real_new) = (resolved(golden), resolved(new));
    let how = match (real_new.starts_with(&real_golden), real_golden.starts_with(&real_new)) {
        (true, true) => "are the same folder",
        (true, false) => "lie in each other: NEW is in GOLDEN",
        (false, true) => "lie in each other: GOLDEN is in NEW",
        (false, false) => return Ok(()),
    };
    Err(Error::usage_hint(
        format!("{} and {} {how}", golden.display(), new.display()),
        "give two folders that lie beside each other",
    ))
}

/// Whether a run wrote the file of this name: by its manifest, or, where there is none, as
/// far as names tell. All else is somebody's who put it there.
fn is_of_a_run(manifest: Option<&Manifest>) -> impl Fn(&String) -> bool {
    let listed = manifest.map(Manifest::files);
    let is_hidden = |name: &str| name.split('/').any(|part| part.starts_with('.'));
    move |name| match &listed {
        Some(listed) => listed.contains(name) && !is_hidden(name),
        None => output::is_output_name(name) && !is_hidden(name),
    }
}

/// Refuses a name that is no text: the file cannot be found again by what is left of it.
fn check_names(golden: &Path, names: &[String]) -> Result<(), Error> {
    match names.iter().find(|name| !golden.join(name).is_symlink() && !golden.join(name).exists()) {
        Some(name) => Err(Error::usage_hint(
            format!(
                "{}: the name is not UTF-8, so --prune cannot remove it",
                golden.join(name).display()
            ),
            "rename or remove the file, or its folder",
        )),
        None => Ok(()),
    }
}

/// Whether a file is one of these pictures or a raw map of theirs.
fn belongs_to<'a>(
    pictures: &'a [String],
    manifest: Option<&'a Manifest>,
) -> impl Fn(&&String) -> bool + 'a {
    let stem = |name: &str| name.rsplit_once('.').map(|(stem, _)| stem.to_owned());
    let entries = manifest.into_iter().flat_map(|manifest| &manifest.pictures);
    let chosen = entries.filter(|entry| pictures.contains(&entry.file));
    let raw: BTreeSet<&String> = chosen.filter_map(|entry| entry.raw.as_ref()).collect();
    move |name| raw.contains(*name) || pictures.iter().any(|picture| stem(picture) == stem(name))
}

/// What a linked folder holds is not GOLDEN's, and must not be written over.
fn check_links(golden: &Path, copied: &[String]) -> Result<(), Error> {
    let folder = |name: &str| name.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let folders: BTreeSet<String> = copied.iter().filter_map(|name| folder(name)).collect();
    match folders.iter().find(|folder| output::is_behind_a_link(golden, folder)) {
        Some(folder) => Err(Error::usage_hint(
            format!(
                "{} is, or lies in, a symbolic link: what would be written there may be outside \
                 of GOLDEN",
                golden.join(folder).display()
            ),
            "put a folder in its place, or give the folder that it leads to for GOLDEN",
        )),
        None => Ok(()),
    }
}

/// What nobody can look at is not accepted.
fn check_readable(new: &Path, copied: &[String]) -> Result<(), Error> {
    let problem = |name: &String| {
        let problem = compare::check_file(&new.join(name)).err()?;
        Some(format!("{name} ({problem})"))
    };
    let bad: Vec<String> = copied.par_iter().filter_map(problem).collect();
    if bad.is_empty() {
        return Ok(());
    }
    let rest = match bad.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = bad[..bad.len().min(NAMED)].join(", ");
    Err(Error::usage_hint(
        format!("{} cannot be accepted, nothing was: {named}{rest}", new.display()),
        "render them again, or name the pictures that are accepted",
    ))
}

/// Whether every entry is of an image that the manifest lists.
///
/// # Errors
/// [`Error::Json`].
pub(crate) fn check_images(folder: &Path, manifest: Option<&Manifest>) -> Result<(), Error> {
    match manifest.and_then(entries::of_no_image) {
        Some(file) => Err(Error::Json {
            file: folder.join(manifest::FILE_NAME),
            problem: format!("{file} is of an image that it does not list"),
        }),
        None => Ok(()),
    }
}

/// Does what was planned: each file whole or not at all, the manifest last.
///
/// # Errors
/// [`Error::Io`].
pub fn carry_out(golden: &Path, new: &Path, acceptance: &Acceptance) -> Result<(), Error> {
    output::remove_leftovers(golden, true)?;
    for name in &acceptance.copied {
        let from = new.join(name);
        let bytes = output::read_file(&from).map_err(Error::io("read", &from))?;
        output::write_whole(&golden.join(name), &bytes)?;
    }
    for name in &acceptance.pruned {
        let file = golden.join(name);
        std::fs::remove_file(&file).map_err(Error::io("remove", &file))?;
        let folders = file.ancestors().skip(1).take_while(|folder| *folder != golden);
        for folder in folders {
            // One that is not empty stays.
            if std::fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
    if let Some(manifest) = &acceptance.manifest {
        output::write_whole(&golden.join(manifest::FILE_NAME), manifest.to_json().as_bytes())?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<BTreeSet<String>, Error> {
    if !folder.is_dir() {
        return Err(Error::usage_hint(
            format!("{} is not a folder", folder.display()),
            "actviz accept GOLDEN NEW takes the two folders that were compared",
        ));
    }
    output::files_below(folder)
}

/// What GOLDEN has of a file of NEW's.
enum State {
    /// Nothing, or something else.
    Differs,
    /// The very file.
    SameBytes,
    /// Another file that shows the same; its SHA-256.
    SamePicture { sha256: String },
}

/// Two files of one picture need not be equal: encoders differ, and so does what pictures
/// carry, as the versions that made them. What a comparison calls the same is left alone.
fn state(name: &str, golden: &Path, new: &Path, sameness: &Sameness) -> Result<State, Error> {
    let (one, other) = (golden.join(name), new.join(name));
    let bytes = match output::read_file(&one) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(State::Differs),
        Err(error) => return Err(Error::io("read", &one)(error)),
    };
    if bytes == output::read_file(&other).map_err(Error::io("read", &other))? {
        return Ok(State::SameBytes);
    }
    Ok(match compare::is_picture(name) && sameness.holds(name) {
        true => State::SamePicture { sha256: digest::of_bytes(&bytes) },
        false => State::Differs,
    })
}
