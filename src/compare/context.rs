//! What else differs between two runs: it is said first, since it explains the rest.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::side::Side;
use crate::manifest::Manifest;

/// A difference between the runs, not between the pictures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Note {
    /// What it is about: `manifest`, `layers`, `model`, `images`, `options`, `device`,
    /// `threads`, `versions`.
    pub about: String,
    /// Both sides, in words.
    pub text: String,
    /// Whether the comparison fails for this alone: what a picture shows is another
    /// layer, or a manifest is damaged.
    pub fails: bool,
}

/// Compares what both sides say of their runs.
pub(super) fn notes(golden: &Side, new: &Side) -> Vec<Note> {
    let mut notes = Vec::new();
    for (name, side) in [("GOLDEN", golden), ("NEW", new)] {
        if let Some(problem) = &side.damage {
            notes.push(note("manifest", format!("{name}: {problem}"), true));
        }
    }
    match (&golden.manifest, &new.manifest) {
        (Some(golden), Some(new)) => notes.extend(between(golden, new)),
        (Some(_), None) if new.damage.is_none() => {
            notes.push(note("manifest", "NEW has no manifest.json".to_owned(), false));
        }
        (None, Some(_)) if golden.damage.is_none() => {
            notes.push(note("manifest", "GOLDEN has no manifest.json".to_owned(), false));
        }
        _ => {}
    }
    notes
}

fn note(about: &str, text: String, fails: bool) -> Note {
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
    differs("versions", "libtorch", &golden.libtorch, &new.libtorch);
    differs("device", "device", &golden.device, &new.device);
    differs("threads", "threads", &golden.threads.to_string(), &new.threads.to_string());
    for fold in &golden.folds {
        if let Some(other) = new.folds.iter().find(|other| other.fold == fold.fold) {
            let what = format!("fold {}: {} has SHA-256", fold.fold, other.file);
            differs("model", &what, short(&fold.sha256), short(&other.sha256));
        }
    }
    for (image, other) in golden.images.iter().zip(&new.images) {
        let what = format!("{} has SHA-256", other.path);
        differs("images", &what, short(&image.sha256), short(&other.sha256));
    }
    options(golden, new, &mut differs);
    layers(golden, new, &mut notes);
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

/// Layer b is no longer the layer that it was.
fn layers(golden: &Manifest, new: &Manifest, notes: &mut Vec<Note>) {
    let names = |manifest: &Manifest| -> BTreeMap<(usize, usize), String> {
        let pictures = manifest.pictures.iter();
        pictures.map(|picture| ((picture.b, picture.fold), picture.layer.clone())).collect()
    };
    let (golden, new) = (names(golden), names(new));
    let mut others: BTreeMap<(usize, &str, &str), Vec<String>> = BTreeMap::new();
    for ((b, fold), was) in &golden {
        match new.get(&(*b, *fold)) {
            Some(is) if is != was => {
                others.entry((*b, was, is)).or_default().push(fold.to_string());
            }
            _ => {}
        }
    }
    for ((b, was, is), folds) in others {
        let text = format!("layer {b} was {was}, is {is} in fold {}", folds.join(", "));
        notes.push(note("layers", text, true));
    }
    let (golden, new) = (positions(&golden), positions(&new));
    if golden != new {
        notes.push(note("layers", format!("{golden} layers were drawn, now {new}"), false));
    }
}

/// How many layers there are among those of all folds.
fn positions(names: &BTreeMap<(usize, usize), String>) -> usize {
    names.keys().map(|(b, _)| b).collect::<BTreeSet<_>>().len()
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
