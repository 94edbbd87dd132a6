//! Two folders -> pairs -> differences -> verdict.
//!
//! Decoded pixels are compared, for encoders differ; the manifests and the raw maps
//! beside the pictures are compared too, where both sides have them.

mod context;
mod divergence;
mod entry_changes;
mod measure;
mod raw;
pub mod report;
mod side;
mod tolerances;
mod values;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

pub use context::Note;
pub use divergence::{Divergence, Step};
pub use measure::{Densest, PixelDifference};
pub use raw::{RawMeasured, npy_values};
pub use side::Side;
pub(crate) use side::{is_picture, is_raw};
pub use tolerances::{Profile, Tolerances, Window};
pub use values::{Value, ValueChange};

use crate::error::Error;
use crate::picture::png;
use crate::terminal::count;

/// The version of the JSON document's shape.
pub const SCHEMA: u32 = 1;

/// Pixels from which on pictures are not decoded beside others.
const LARGE_PICTURE: u64 = 1 << 24;

/// What became of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Outcome {
    /// Every pixel is the same.
    Same,
    /// It differs, within the limits.
    Within,
    /// It differs beyond a limit.
    Different,
    /// GOLDEN has it, or its raw map, and NEW has not.
    Missing,
    /// NEW has it, or its raw map, and GOLDEN has not.
    Extra,
    /// One side is no picture.
    Unreadable,
    /// One side is an empty file.
    Empty,
    /// Width or height differ.
    Size,
    /// No pixel differs beyond a limit, and the values behind them do: by the manifests, the
    /// colours mean other values.
    Range,
}

/// What `--allow` can forgive.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames, Display, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Allowed {
    /// [`Outcome::Missing`]
    Missing,
    /// [`Outcome::Extra`]
    Extra,
    /// [`Outcome::Unreadable`]
    Unreadable,
    /// [`Outcome::Empty`]
    Empty,
    /// [`Outcome::Size`]
    Size,
    /// [`Outcome::Range`]
    Range,
}

/// One picture, compared.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PictureComparison {
    /// Its name, relative to both folders.
    pub file: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether it makes the comparison fail.
    pub fails: bool,
    /// Why, in words; empty for what is the same.
    pub reasons: Vec<String>,
    /// The fold, from 1, if a manifest or the name says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// The position of the layer, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "b")]
    pub layer_position: Option<usize>,
    /// The layer's name, if a manifest says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// What was measured of its pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<PixelDifference>,
    /// What was measured of its raw map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawMeasured>,
    /// The values beyond the tolerances, of those that both manifests tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueChange>,
}

impl PictureComparison {
    /// Takes over what became of something that belongs to the picture: if it is worse than
    /// what is known, or the first that is wrong.
    fn also(&mut self, outcome: Outcome, allowed: &[Allowed]) {
        let is_measured = matches!(self.outcome, Outcome::Same | Outcome::Within);
        let is_worse = outcome.fails(allowed) && !self.outcome.fails(allowed);
        if is_worse || (is_measured && outcome != Outcome::Same) {
            self.outcome = outcome;
        }
    }
}

/// The whole answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The version of this shape: 1.
    pub schema: u32,
    /// As given.
    pub golden: String,
    /// As given.
    pub new: String,
    /// The profile whose limits were in force.
    pub profile: Profile,
    /// Whether nothing failed.
    pub same: bool,
    /// What else differs between the runs, and may explain the rest.
    pub notes: Vec<Note>,
    /// Where each fold begins to differ, and how that goes on.
    pub divergence: Vec<Divergence>,
    /// Every picture of either side, and raw maps that belong to none, by name.
    pub pictures: Vec<PictureComparison>,
    /// Files of either folder that are of no kind that is compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_compared: Vec<String>,
    /// Where both sides' files are, for the reports.
    #[serde(skip)]
    pub sides: Option<(Side, Side)>,
}

impl Report {
    /// Where a picture is on both sides.
    pub fn paths(&self, picture: &PictureComparison) -> (PathBuf, PathBuf) {
        let path = |side: &Side| side.path(&picture.file);
        self.sides.as_ref().map(|(golden, new)| (path(golden), path(new))).unwrap_or_default()
    }

    /// How many pictures had this outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.pictures.iter().filter(|picture| picture.outcome == outcome).count()
    }

    /// The pictures that fail, the worst first: those without a measure, then by the
    /// root mean square of their differences.
    pub fn failures(&self) -> Vec<&PictureComparison> {
        let mut failures: Vec<&PictureComparison> =
            self.pictures.iter().filter(|p| p.fails).collect();
        let badness = |p: &PictureComparison| p.measured.as_ref().map_or(f64::INFINITY, |m| m.rmse);
        failures.sort_by(|a, b| badness(b).total_cmp(&badness(a)));
        failures
    }
}

/// What is asked of a comparison.
#[derive(Clone, Debug, Default)]
pub struct CompareOptions {
    /// Where limits come from that are not set.
    pub profile: Profile,
    /// Limits that are set.
    pub limits: Tolerances,
    /// What does not fail.
    pub allowed: Vec<Allowed>,
}

/// Compares two folders or two files.
///
/// # Errors
/// [`Error::Usage`] if there is no pair to compare, or one side is a file and the other
/// a folder; [`Error::Io`] if a folder cannot be read.
pub fn compare(golden: &Path, new: &Path, question: &CompareOptions) -> Result<Report, Error> {
    let (left, right) = side::read_both(golden, new)?;
    let names = names(&left, &right);
    let not_compared: BTreeSet<&String> = left.others.union(&right.others).collect();
    if !names.iter().any(|name| left.has(name) && right.has(name)) {
        let others = not_compared.first().map_or(String::new(), |first| {
            format!(", but {} of other kinds, e.g. {first}", count(not_compared.len(), "file"))
        });
        return Err(Error::usage_hint(
            format!("{} and {} have no picture in common{others}", golden.display(), new.display()),
            "pictures (.png) and raw maps (.npy) are paired by their names; give the two folders \
             that `actviz render` wrote into",
        ));
    }
    let not_compared: Vec<String> = not_compared.into_iter().cloned().collect();
    let (pictures, were_read): (Vec<PictureComparison>, Vec<bool>) =
        names.into_par_iter().map(|name| one(name, &left, &right, question)).unzip();
    if !pictures.iter().any(|picture| picture.fails) && !were_read.contains(&true) {
        return Err(Error::usage_hint(
            format!(
                "nothing could be compared: of {} none could be read on both sides at one size",
                count(pictures.len(), "picture")
            ),
            "--allow says what does not fail; it cannot make a pass of nothing",
        ));
    }
    let mut notes = context::notes(&left, &right, question);
    notes.extend(context::not_compared(&not_compared));
    let same = !pictures.iter().any(|p| p.fails) && !notes.iter().any(|note| note.fails);
    Ok(Report {
        schema: SCHEMA,
        golden: golden.display().to_string(),
        new: new.display().to_string(),
        profile: question.profile,
        same,
        notes,
        divergence: divergence::find(&pictures, is_own_scale(&left, &right)),
        pictures,
        not_compared,
        sides: Some((left, right)),
    })
}

/// Whether both sides' pictures have a scale of their own each, so that low and high tell of
/// no other picture.
fn is_own_scale(golden: &Side, new: &Side) -> bool {
    let is_own = |side: &Side| side.manifest.as_ref().is_some_and(|m| m.options.scale == "map");
    is_own(golden) && is_own(new)
}

/// The pictures of both sides, and the raw maps that are compared with none of them.
fn names<'a>(left: &'a Side, right: &'a Side) -> BTreeSet<&'a String> {
    let mut names: BTreeSet<&String> = left.names().chain(right.names()).collect();
    let (mut ours, mut theirs) = (HashSet::new(), HashSet::new());
    for name in &names {
        let (golden, new) = side::raw_names(name, left, right);
        // Without its picture a raw map is compared if both sides have it, and gone with it
        // if not.
        let is_of_picture =
            |raw: &str| (left.has(name) && right.has(name)) || !(left.has(raw) && right.has(raw));
        ours.extend(Some(golden).filter(|raw| is_of_picture(raw)));
        theirs.extend(Some(new).filter(|raw| is_of_picture(raw)));
    }
    names.extend(left.raw_names().filter(|raw| !ours.contains(*raw)));
    names.extend(right.raw_names().filter(|raw| !theirs.contains(*raw)));
    names
}

/// Which pictures of two folders are the same by every pixel and by all that is said of them.
pub(crate) struct Sameness {
    golden: Side,
    new: Side,
    /// Those that show something else.
    others: HashSet<String>,
}

impl Sameness {
    /// # Errors
    /// [`Error::Io`] if a folder cannot be read.
    pub(crate) fn of(golden: &Path, new: &Path) -> Result<Sameness, Error> {
        let (golden, new) = (Side::folder(golden)?, Side::folder(new)?);
        let manifests = golden.manifest.as_ref().zip(new.manifest.as_ref());
        let others =
            manifests.map(|(golden, new)| entry_changes::others(golden, new)).unwrap_or_default();
        Ok(Sameness { golden, new, others })
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        let (compared, _) = one(name, &self.golden, &self.new, &CompareOptions::default());
        compared.outcome == Outcome::Same && !self.others.contains(name)
    }
}

/// Compares one picture; also says whether both sides of it could be read.
fn one(
    name: &str,
    left: &Side,
    right: &Side,
    question: &CompareOptions,
) -> (PictureComparison, bool) {
    let entry = right.entry(name).or(left.entry(name));
    let numbers = entry.map(|e| (e.fold, e.layer_position)).or_else(|| numbers_in(name));
    let mut compared = PictureComparison {
        file: name.to_owned(),
        outcome: Outcome::Same,
        fails: false,
        reasons: Vec::new(),
        fold: numbers.map(|(fold, _)| fold),
        layer_position: numbers.map(|(_, b)| b),
        layer: entry.map(|e| e.layer.clone()),
        measured: None,
        raw: None,
        values: Vec::new(),
    };
    let profile = |side: &Side| question.profile.limits(side.colormap(name));
    let limits = question.limits.over(profile(left).stricter(profile(right)));
    let pixels = pixels(name, left, right, &limits);
    let were_read = pixels.is_ok();
    match pixels {
        Ok(None) => {}
        Ok(Some(measured)) => {
            compared.reasons = limits.broken_by(&measured);
            compared.outcome = match measured.largest {
                0 if compared.reasons.is_empty() => Outcome::Same,
                _ if compared.reasons.is_empty() => Outcome::Within,
                _ => Outcome::Different,
            };
            compared.measured = (measured.largest > 0).then_some(measured);
        }
        Err((outcome, reason)) => {
            compared.outcome = outcome;
            compared.reasons = vec![reason];
        }
    }
    if left.has(name) && right.has(name) {
        add_raw(&mut compared, left, right, &limits, &question.allowed);
        add_values(&mut compared, left, right, &limits, &question.allowed);
    }
    compared.fails = compared.outcome.fails(&question.allowed);
    (compared, were_read)
}

/// Compares the raw maps of a picture. What is forgiven of the picture forgives nothing of
/// its raw map.
fn add_raw(
    compared: &mut PictureComparison,
    left: &Side,
    right: &Side,
    limits: &Tolerances,
    allowed: &[Allowed],
) {
    let name = &compared.file;
    let (ours, theirs) = side::raw_names(name, left, right);
    let outcome = match (left.raw(&ours), right.raw(&theirs)) {
        (Some(golden), Some(new)) => {
            let found = raw::compare(golden, new, limits);
            let differs = found.reason.is_some();
            compared.reasons.extend(found.reason.clone());
            compared.raw = (found.beyond > 0 || found.largest > 0.0).then_some(found);
            if differs { Outcome::Different } else { Outcome::Same }
        }
        (Some(_), None) => {
            compared.reasons.push(format!("its raw map {theirs} is missing in NEW"));
            Outcome::Missing
        }
        (None, Some(_)) => {
            compared.reasons.push(format!("its raw map {ours} is not in GOLDEN"));
            Outcome::Extra
        }
        (None, None) => {
            let promised = [(left, ours), (right, theirs)];
            match promised.into_iter().find(|(side, raw)| side.promises(raw)) {
                Some((_, raw)) => {
                    let text =
                        format!("its raw map {raw} is on neither side, though a manifest says so");
                    compared.reasons.push(text);
                    Outcome::Missing
                }
                None => Outcome::Same,
            }
        }
    };
    compared.also(outcome, allowed);
}

/// Compares what the manifests say of a picture's values.
fn add_values(
    compared: &mut PictureComparison,
    left: &Side,
    right: &Side,
    limits: &Tolerances,
    allowed: &[Allowed],
) {
    compared.values = values::changes(&compared.file, left, right, limits);
    if !compared.values.is_empty() {
        compared.reasons.push(values::in_words(&compared.values));
        compared.also(Outcome::Range, allowed);
    }
}

impl Outcome {
    fn fails(self, allowed: &[Allowed]) -> bool {
        let forgiven = match self {
            Outcome::Same | Outcome::Within => return false,
            Outcome::Different => return true,
            Outcome::Missing => Allowed::Missing,
            Outcome::Extra => Allowed::Extra,
            Outcome::Unreadable => Allowed::Unreadable,
            Outcome::Empty => Allowed::Empty,
            Outcome::Size => Allowed::Size,
            Outcome::Range => Allowed::Range,
        };
        !allowed.contains(&forgiven)
    }
}

/// Reads and measures both sides' pixels; `None` if both files are the same bytes, or
/// no pictures but raw maps.
fn pixels(
    name: &str,
    left: &Side,
    right: &Side,
    limits: &Tolerances,
) -> Result<Option<PixelDifference>, (Outcome, String)> {
    if !right.has(name) {
        return Err((Outcome::Missing, "it is missing in NEW".to_owned()));
    }
    if !left.has(name) {
        return Err((Outcome::Extra, "it is not in GOLDEN".to_owned()));
    }
    if side::is_raw(name) {
        return Ok(None);
    }
    let golden = read("GOLDEN", left, name)?;
    let new = read("NEW", right, name)?;
    // Of pictures that need much memory there is one pair at a time.
    static LARGE: Mutex<()> = Mutex::new(());
    let is_large = [&golden, &new].iter().any(|bytes| png::pixels(bytes) > LARGE_PICTURE);
    let _alone = is_large.then(|| LARGE.lock().unwrap_or_else(PoisonError::into_inner));
    if golden == new && measure::is_whole_png(&golden) {
        return Ok(None);
    }
    let golden = decode("GOLDEN", &golden)?;
    let new = decode("NEW", &new)?;
    measure::measure(&golden, &new, limits).map(Some).map_err(|sizes| (Outcome::Size, sizes))
}

/// Whether a file is a picture or a raw map that can be compared.
///
/// # Errors
/// Why not, in words.
pub(crate) fn check_file(path: &Path) -> Result<(), String> {
    if is_raw(&path.to_string_lossy()) {
        return raw::read(path).map(drop);
    }
    let bytes = png::read(path)?;
    match bytes.is_empty() {
        true => Err("it is empty".to_owned()),
        false => png::decode(&bytes).map(drop).map_err(|error| format!("no readable PNG: {error}")),
    }
}

fn read(side: &str, from: &Side, name: &str) -> Result<Vec<u8>, (Outcome, String)> {
    match png::read(&from.path(name)) {
        Ok(bytes) if bytes.is_empty() => {
            Err((Outcome::Empty, format!("the file in {side} is empty")))
        }
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            Err((Outcome::Unreadable, format!("the file in {side} cannot be read: {error}")))
        }
    }
}

fn decode(side: &str, bytes: &[u8]) -> Result<image::DynamicImage, (Outcome, String)> {
    png::decode(bytes).map_err(|error| {
        (Outcome::Unreadable, format!("the file in {side} is no readable PNG: {error}"))
    })
}

/// Fold and position from a name such as `fox/2_7.overlay.png`.
fn numbers_in(name: &str) -> Option<(usize, usize)> {
    let last = name.rsplit('/').next()?;
    let (fold, b) = last.split('.').next()?.split_once('_')?;
    Some((fold.parse().ok()?, b.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fold_and_layer_are_read_from_a_picture_s_name() {
        assert_eq!(numbers_in("fox/2_7.overlay.png"), Some((2, 7)));
        assert_eq!(numbers_in("12_3.png"), Some((12, 3)));
        assert_eq!(numbers_in("sheet.png"), None);
        assert_eq!(numbers_in("mean_3.png"), None);
    }
}
