//! What else differs between two runs: it is said first, since it explains the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::side::Side;
use super::{Allowed, CompareOptions, entry_changes};
use crate::manifest::{Image, Manifest};
use crate::terminal::count;

/// A difference between the runs, not between the pictures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Note {
    /// What it is about: `manifest`, `layers`, `pictures`, `files`, `model`, `images`, `options`,
    /// `device`, `threads`, `versions`.
    pub about: String,
    /// Both sides, in words.
    pub text: String,
    /// Whether the comparison fails for this alone: a picture shows something else, or it is
    /// not told any more what it shows, or a manifest is damaged.
    pub fails: bool,
}

/// Compares what both sides say of their runs.
pub(super) fn notes(golden: &Side, new: &Side, question: &CompareOptions) -> Vec<Note> {
    let mut notes = Vec::new();
    let forgiven = question.allowed.contains(&Allowed::Missing);
    for (name, side) in [("GOLDEN", golden), ("NEW", new)] {
        if side.is_folder && side.manifest.as_ref().is_some_and(|own| own.interrupted) {
            let text = format!("{name} is of an interrupted run: pictures of it are missing");
            notes.push(note("manifest", text, false));
        }
        if let Some(problem) = &side.damage {
            notes.push(note("manifest", format!("{name}: {problem}"), true));
        }
        notes.extend(
            side.manifest.as_ref().and_then(|own| entry_changes::duplicate_entries(name, own)),
        );
    }
    match (&golden.manifest, &new.manifest) {
        (Some(ours), Some(theirs)) => {
            notes.extend(between(ours, theirs));
            if golden.is_folder {
                notes.extend(gone(ours, theirs));
            }
            notes.extend(untold(golden, new, forgiven));
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
        "NEW's manifest says nothing of {}, the first is {first}",
        match untold.len() {
            1 => "1 picture that is there".to_owned(),
            several => format!("{several} pictures that are there"),
        }
    );
    Some(note("manifest", text, !forgiven))
}

/// Files that nobody looked at: that they are gone or other than before is not seen.
pub(super) fn not_compared(files: &[String]) -> Option<Note> {
    /// Names that are told.
    const NAMED: usize = 5;
    let named = files.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest = match files.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!(
        "{} not compared, for only pictures (.png) and raw maps (.npy) are: {named}{rest}",
        count(files.len(), "file")
    );
    (!files.is_empty()).then(|| note("files", text, false))
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
        let verb = if gone == 1 { "is" } else { "are" };
        let (all, first) = (count(all, "image"), &first.path);
        let text = format!("{gone} of {all} {verb} not in NEW, the first is {first}");
        notes.push(note("images", text, false));
    }
    notes
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
    notes.extend(entry_changes::notes(golden, new));
    let (drawn, now) = (positions(golden), positions(new));
    if drawn != now {
        notes.push(note(
            "layers",
            format!("{} drawn before, now {now}", count(drawn, "layer")),
            false,
        ));
    }
    if !new.failed.is_empty() && golden.failed.is_empty() {
        let what = format!("in NEW, {} made it incomplete", count(new.failed.len(), "failure"));
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
    manifest.pictures.iter().map(|picture| picture.layer_position).collect::<BTreeSet<_>>().len()
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
