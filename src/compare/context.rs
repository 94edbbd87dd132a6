//! What else differs between two runs: it is said first, since it explains the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::side::Side;
use super::{Allowed, Compared, Outcome, Question, shown};
use crate::manifest::{Image, Manifest};

/// A difference between the runs, not between the pictures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Note {
    /// What it is about: `manifest`, `layers`, `pictures`, `model`, `images`, `ranges`, `options`,
    /// `device`, `threads`, `versions`.
    pub about: String,
    /// Both sides, in words.
    pub text: String,
    /// Whether the comparison fails for this alone: a picture shows something else, or it is
    /// not told any more what it shows, or a manifest is damaged.
    pub fails: bool,
}

/// Compares what both sides say of their runs.
pub(super) fn notes(
    golden: &Side,
    new: &Side,
    question: &Question,
    pictures: &[Compared],
) -> Vec<Note> {
    let mut notes = Vec::new();
    let forgiven = question.allowed.contains(&Allowed::Missing);
    for (name, side) in [("GOLDEN", golden), ("NEW", new)] {
        if let Some(problem) = &side.damage {
            notes.push(note("manifest", format!("{name}: {problem}"), true));
        }
        notes.extend(side.manifest.as_ref().and_then(|own| shown::told_twice(name, own)));
    }
    match (&golden.manifest, &new.manifest) {
        (Some(ours), Some(theirs)) => {
            notes.extend(between(ours, theirs));
            if golden.is_folder {
                notes.extend(gone(ours, theirs));
            }
            notes.extend(untold(golden, new, forgiven));
            notes.extend(ranges(golden, new, question, pictures));
        }
        // Two files may come from anywhere.
        _ if !golden.is_folder => {}
        (Some(_), None) if new.damage.is_none() => {
            notes.push(note("manifest", "NEW has no manifest.json".to_owned(), !forgiven));
        }
        (None, Some(_)) if golden.damage.is_none() => {
            notes.push(note("manifest", "GOLDEN has no manifest.json".to_owned(), false));
        }
        _ => {}
    }
    notes
}

/// Pictures that are there and that NEW's manifest is silent about, though GOLDEN's is not:
/// whether they show the same layer is not known.
fn untold(golden: &Side, new: &Side, forgiven: bool) -> Option<Note> {
    let is_untold = |name: &&String| golden.promises(name) && new.has(name) && !new.promises(name);
    let untold: BTreeSet<&String> = golden.names().filter(is_untold).collect();
    let first = untold.first()?;
    let text = format!(
        "NEW's manifest says nothing of {} pictures that are there, the first is {first}",
        untold.len()
    );
    Some(note("manifest", text, !forgiven))
}

/// Folds and images that were there.
fn gone(golden: &Manifest, new: &Manifest) -> Vec<Note> {
    let mut notes = Vec::new();
    let has_fold = |fold: usize| new.folds.iter().any(|other| other.fold == fold);
    for fold in golden.folds.iter().filter(|fold| !has_fold(fold.fold)) {
        let text = format!("fold {} ({}) is not in NEW", fold.fold, fold.file);
        notes.push(note("model", text, false));
    }
    let paths: HashSet<&str> = new.images.iter().map(|image| image.path.as_str()).collect();
    let hashes: HashSet<&str> = new.images.iter().map(|image| image.sha256.as_str()).collect();
    // The same image by another path is not gone.
    let is_gone =
        |image: &&Image| !paths.contains(&*image.path) && !hashes.contains(&*image.sha256);
    let gone: Vec<&Image> = golden.images.iter().filter(is_gone).collect();
    if let Some(first) = gone.first() {
        let (gone, all) = (gone.len(), golden.images.len());
        let text = format!("{gone} of {all} images are not in NEW, the first is {}", first.path);
        notes.push(note("images", text, false));
    }
    notes
}

/// Equal pixels of another range are other values in the same colours.
fn ranges(golden: &Side, new: &Side, question: &Question, pictures: &[Compared]) -> Option<Note> {
    let limits = question.limits.over(question.profile.limits(None));
    let (rtol, atol) = (limits.rtol.unwrap_or(0.0), limits.atol.unwrap_or(0.0));
    let is_near = |was: f32, is: f32| {
        let (was, is) = (f64::from(was), f64::from(is));
        was == is || (was.is_nan() && is.is_nan()) || (is - was).abs() <= atol + rtol * was.abs()
    };
    let same = pictures.iter().filter(|picture| picture.outcome == Outcome::Same);
    let both = same.filter_map(|p| Some((p, golden.range(&p.file)?, new.range(&p.file)?)));
    let others: Vec<_> =
        both.filter(|(_, was, is)| !(is_near(was[0], is[0]) && is_near(was[1], is[1]))).collect();
    let (picture, [low, high], [new_low, new_high]) = others.first()?;
    let text = format!(
        "{} pictures have the same pixels for other values, the first is {}: {low} to {high} -> \
         {new_low} to {new_high}",
        others.len(),
        picture.file
    );
    Some(note("ranges", text, false))
}

pub(super) fn note(about: &str, text: String, fails: bool) -> Note {
    Note { about: about.to_owned(), text, fails }
}

fn between(golden: &Manifest, new: &Manifest) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut differs = |about: &str, what: &str, golden: &str, new: &str| {
        if golden != new {
            notes.push(note(about, format!("{what} {golden} -> {new}"), false));
        }
    };
    differs("versions", "actviz", &golden.actviz, &new.actviz);
    differs("model", "model", &golden.model, &new.model);
    differs("versions", "libtorch", &golden.libtorch, &new.libtorch);
    differs("device", "device", &golden.device, &new.device);
    differs("threads", "threads", &golden.threads.to_string(), &new.threads.to_string());
    for fold in &golden.folds {
        if let Some(other) = new.folds.iter().find(|other| other.fold == fold.fold) {
            let what = format!("fold {}: {} has SHA-256", fold.fold, other.file);
            differs("model", &what, short(&fold.sha256), short(&other.sha256));
        }
    }
    let by_path: HashMap<&str, &Image> =
        new.images.iter().map(|image| (image.path.as_str(), image)).collect();
    for image in &golden.images {
        if let Some(other) = by_path.get(image.path.as_str()) {
            let what = format!("{} has SHA-256", other.path);
            differs("images", &what, short(&image.sha256), short(&other.sha256));
        }
    }
    options(golden, new, &mut differs);
    notes.extend(shown::notes(golden, new));
    let (drawn, now) = (positions(golden), positions(new));
    if drawn != now {
        notes.push(note("layers", format!("{drawn} layers were drawn, now {now}"), false));
    }
    if !new.failed.is_empty() && golden.failed.is_empty() {
        let what = format!("in NEW, {} things could not be drawn", new.failed.len());
        notes.push(note("manifest", format!("{what}: {}", new.failed[0].problem), false));
    }
    notes
}

/// Options that are not the same, by their names in the manifest.
fn options(golden: &Manifest, new: &Manifest, differs: &mut impl FnMut(&str, &str, &str, &str)) {
    let fields = |manifest: &Manifest| -> BTreeMap<String, String> {
        let value = serde_json::to_value(&manifest.options).unwrap_or_default();
        let fields = value.as_object().into_iter().flatten();
        fields.map(|(name, value)| (name.clone(), value.to_string())).collect()
    };
    let (golden, new) = (fields(golden), fields(new));
    for (name, value) in &golden {
        let other = new.get(name).map_or("nothing", String::as_str);
        differs("options", &format!("option {name}:"), value, other);
    }
}

/// How many layers were drawn, of all folds.
fn positions(manifest: &Manifest) -> usize {
    manifest.pictures.iter().map(|picture| picture.b).collect::<BTreeSet<_>>().len()
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
