//! Models on disk: which file is which fold, and what its input looks like.
//!
//! A *bundle* is a folder with `model.json` and one TorchScript file per fold.
//! Without one, a file or a pattern of files with `{fold}` in it is a model too.

mod carried;
mod pattern;
mod places;
mod same;

use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use crate::archive;
use crate::error::Error;
use crate::model_file::ModelFile;
use crate::plan::MOST_CHANNELS;

pub use pattern::{PLACE, in_words};
use pattern::{Pattern, missing};
pub use places::{PATH_VARIABLE, as_pattern, bundles_in, places};

/// The bundle's description, beside its TorchScript files.
pub const FILE_NAME: &str = "model.json";
/// The version of that file's shape.
pub const SCHEMA: u32 = 1;
/// The largest input that a description may ask for, in pixels: 8192 x 8192. A file of a
/// stranger could ask for more than there is memory; `--input-size` can, too.
const MOST_PIXELS: usize = 1 << 26;

/// `model.json`, or the extra file `actviz.json` inside a TorchScript file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The version of this shape: 1.
    pub schema: u32,
    /// The bundle's name, as `--model` takes it.
    pub name: String,
    /// What the network does, in a sentence.
    #[serde(default)]
    pub description: String,
    /// The names of its outputs.
    #[serde(default)]
    pub classes: Vec<String>,
    /// What it is fed with.
    pub input: Input,
    /// The layers that are drawn by default; empty: chosen by rule.
    #[serde(default)]
    pub layers: Vec<String>,
    /// One entry per fold, in order. Empty inside a TorchScript file.
    #[serde(default)]
    pub folds: Vec<DescribedFold>,
    /// The picture that is drawn if none is given, relative to this file.
    #[serde(default)]
    pub sample: Option<PathBuf>,
    /// The licence of the weights.
    #[serde(default)]
    pub licence: String,
    /// How the weights came about, and from which data.
    #[serde(default)]
    pub provenance: String,
}

/// One fold of a bundle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DescribedFold {
    /// Its TorchScript file, relative to model.json.
    pub file: PathBuf,
    /// That file's SHA-256, in hexadecimal.
    pub sha256: String,
    /// What was measured with it, e.g. balanced accuracy on the held-out fold.
    #[serde(default)]
    pub metrics: serde_json::Map<String, serde_json::Value>,
}

/// What a network is fed with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// 1 (grey), 3 (RGB), or as many as the network was made for, up to 4096.
    pub channels: usize,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Subtracted from each channel's values in 0..1.
    pub mean: Vec<f32>,
    /// What the difference is divided by.
    pub std: Vec<f32>,
    /// How an image of another shape is brought to this size.
    #[serde(default)]
    pub resize: ResizeRule,
}

/// How an image of another shape is brought to the input's size.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    EnumString,
    VariantNames,
    Display,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum ResizeRule {
    /// Both sides at once; the whole image is seen, its proportions change.
    #[default]
    Stretch,
    /// Proportions kept; what stands out at the longer side is cut off.
    Crop,
}

/// What is taken for granted of a network's input, because nobody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Assumed {
    /// 224 x 224 pixels.
    InputSize,
    /// ImageNet's.
    Mean,
    /// ImageNet's.
    Std,
}

/// A model as found: every fold with its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The bundle's name, or the file or pattern as given.
    pub name: String,
    /// The folds to look at, in order.
    pub folds: Vec<FoldFile>,
    /// The input, if a bundle or the file itself says.
    pub input: Option<Input>,
    /// The layers to draw by default; empty: chosen by rule.
    pub layers: Vec<String>,
    /// The picture to draw if none is given.
    pub sample: Option<PathBuf>,
    /// Numbers between those of the folds that have no file.
    pub missing: Vec<RangeInclusive<usize>>,
    /// The bundle's folder, if it is one.
    pub folder: Option<PathBuf>,
    /// Other bundles of that name, which were not taken.
    pub others: Vec<PathBuf>,
}

/// One network's file. Copies share what is open and known of it.
#[derive(Clone, Debug)]
pub struct FoldFile {
    /// The fold: the number in its file's name; of a bundle, its place, from 1.
    pub fold: usize,
    /// Its TorchScript file.
    pub file: PathBuf,
    /// That file's SHA-256, in hexadecimal, as a bundle has it.
    pub sha256: Option<String>,
    opened: Arc<OnceLock<ModelFile>>,
    /// The SHA-256 that it has, once somebody has asked.
    found: Arc<Mutex<Option<String>>>,
}

impl PartialEq for FoldFile {
    fn eq(&self, other: &FoldFile) -> bool {
        (self.fold, &self.file, &self.sha256) == (other.fold, &other.file, &other.sha256)
    }
}

impl FoldFile {
    fn new(fold: usize, file: PathBuf, sha256: Option<String>) -> FoldFile {
        FoldFile { fold, file, sha256, opened: Arc::default(), found: Arc::default() }
    }

    /// The file, opened once: what is hashed is what is run.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be opened.
    pub fn open(&self) -> Result<ModelFile, Error> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened.clone());
        }
        let opened = ModelFile::open(&self.file)?;
        Ok(self.opened.get_or_init(|| opened).clone())
    }

    /// The SHA-256 that the file has, in hexadecimal; read once, also where several threads
    /// ask.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn digest(&self) -> Result<String, Error> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = &*found {
            return Ok(found.clone());
        }
        Ok(found.insert(self.open()?.digest()?).clone())
    }
}

impl Model {
    /// Finds the model that `--model NAME --folds COUNT --fold ONLY` means, and
    /// checks that the files of the folds to look at are there and are TorchScript.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown name, a missing fold's file, or fold numbers
    /// out of range; whatever [`archive::check`] finds in a single fold's.
    pub fn find(name: &str, count: Option<usize>, only: &[usize]) -> Result<Model, Error> {
        if count == Some(0) {
            return Err(Error::usage_hint(
                "--folds 0 leaves nothing to look at",
                "it is how many folds to look at: --folds 1 or more",
            ));
        }
        let mut model = if let Some(pattern) = Pattern::parse(name)? {
            Model::from_pattern(name, &pattern, count, only)?
        } else if Path::new(name).is_file() {
            Model::from_file(name, count, only)?
        } else {
            Model::from_bundle(&places::find_bundle(name)?, count, only)?
        };
        let mut carried = None;
        for opened in &model.folds {
            let FoldFile { fold, file, .. } = opened;
            if !file.is_file() {
                let problem = match file.exists() {
                    true => "is no regular file",
                    false => "does not exist",
                };
                return Err(Error::usage_hint(
                    format!("fold {fold} has no file: {} {problem}", file.display()),
                    "check the path, or choose the folds that exist with --folds K or --fold A,B",
                ));
            }
            let extra = match opened.open().and_then(|file| archive::check(&file)) {
                // Of several folds, it is for the engine to say when its turn comes: the others
                // can be run.
                Err(Error::NotTorchScript { .. }) if model.folds.len() > 1 => None,
                checked => checked?,
            };
            carried = carried.or(extra.map(|text| (file.clone(), text)));
        }
        // What a file says about itself fills in what no bundle says.
        if let (None, Some((file, text))) = (&model.input, carried)
            && let Some((input, layers)) = carried::read(&text, &file)?
        {
            (model.input, model.layers) = (Some(input), layers);
        }
        Ok(model)
    }

    /// `folds 3 and 5 to 7 have no files`
    pub fn missing_in_words(&self) -> String {
        /// More are not named one by one.
        const MOST: usize = 6;
        let range = |range: &RangeInclusive<usize>| match (range.start(), range.end()) {
            (start, end) if start == end => start.to_string(),
            (start, end) => format!("{start} to {end}"),
        };
        let mut named: Vec<String> = self.missing.iter().take(MOST).map(range).collect();
        if self.missing.len() > MOST {
            named.push("others".to_owned());
        }
        let last = named.pop().unwrap_or_default();
        match &self.missing[..] {
            [one] if one.start() == one.end() => format!("fold {last} has no file"),
            [_] => format!("folds {last} have no files"),
            _ => format!("folds {} and {last} have no files", named.join(", ")),
        }
    }

    /// `folds 1, 2 and 4`
    pub fn numbers_in_words(&self) -> String {
        let numbers: Vec<usize> = self.folds.iter().map(|fold| fold.fold).collect();
        format!("fold{} {}", if numbers.len() == 1 { "" } else { "s" }, in_words(&numbers))
    }

    /// Begins to read the SHA-256 of every fold, on a thread of its own. Whoever asks for
    /// one later waits for it.
    pub fn hash_ahead(&self) {
        let folds = self.folds.clone();
        std::thread::spawn(move || {
            for fold in &folds {
                // Whoever asks is told what is wrong.
                let _ = fold.digest();
            }
        });
    }

    /// The files whose SHA-256 is not the one that the bundle says.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be read.
    pub fn other_files(&self) -> Result<Vec<&Path>, Error> {
        let mut others = Vec::new();
        for fold in &self.folds {
            let Some(expected) = &fold.sha256 else { continue };
            if !fold.digest()?.eq_ignore_ascii_case(expected) {
                others.push(fold.file.as_path());
            }
        }
        Ok(others)
    }

    fn from_bundle(
        place: &places::Place,
        count: Option<usize>,
        only: &[usize],
    ) -> Result<Model, Error> {
        let folder = &place.folder;
        let description = Description::read(folder)?;
        let found = description.folds.len();
        if let Some(count) = count.filter(|count| *count > found) {
            return Err(Error::usage_hint(
                format!(
                    "fold {} has no file: model {} has {found} folds",
                    found + 1,
                    description.name
                ),
                format!("--folds {found} takes all of them, not {count}"),
            ));
        }
        let mut folds = Vec::new();
        for (index, fold) in description.folds.iter().take(count.unwrap_or(found)).enumerate() {
            let file = inside(folder, &fold.file, &format!("folds[{index}].file"))?;
            folds.push(FoldFile::new(index + 1, file, Some(fold.sha256.clone())));
        }
        keep_only(&mut folds, only)?;
        let sample = description.sample.as_ref();
        let sample = sample.map(|sample| inside(folder, sample, "sample")).transpose()?;
        Ok(Model {
            folds,
            input: Some(description.input),
            layers: description.layers,
            sample: sample.map(|sample| shorten_path(&sample)),
            folder: Some(folder.clone()),
            others: place.others.clone(),
            ..Model::bare(&description.name)
        })
    }

    /// The files that are there, each with the number in its name.
    fn from_pattern(
        name: &str,
        pattern: &Pattern,
        count: Option<usize>,
        only: &[usize],
    ) -> Result<Model, Error> {
        let found = pattern.find()?;
        let numbers: Vec<usize> = found.keys().copied().collect();
        let no_file = |fold: usize| {
            let file = pattern.file_like(fold, &found);
            let hint = match numbers.is_empty() {
                true => format!("{PLACE} in --model stands for the fold's number"),
                false => format!(
                    "there are the folds {}: choose among them with --folds K (the first K) or \
                     --fold A,B",
                    in_words(&numbers)
                ),
            };
            Error::usage_hint(
                format!("fold {fold} has no file: {} does not exist", file.display()),
                hint,
            )
        };
        if let Some(fold) = only.iter().find(|fold| !found.contains_key(fold)) {
            return Err(no_file(*fold));
        }
        if numbers.is_empty() {
            return Err(no_file(1));
        }
        let mut folds: Vec<FoldFile> =
            found.iter().map(|(fold, file)| FoldFile::new(*fold, file.clone(), None)).collect();
        if let Some(count) = count {
            // Who says which ones need not have the others.
            if count > folds.len() && only.is_empty() {
                let next = numbers.last().map_or(1, |last| last.saturating_add(1));
                let first_missing =
                    missing(numbers.iter().copied()).first().map(|gap| *gap.start());
                return Err(no_file(first_missing.unwrap_or(next)));
            }
            folds.truncate(count);
        }
        let missing = match only {
            [] => missing(folds.iter().map(|fold| fold.fold)),
            _ => Vec::new(),
        };
        keep_only(&mut folds, only)?;
        Ok(Model { folds, missing, ..Model::bare(name) })
    }

    /// One file is one fold: drawn as several, it would agree with itself.
    fn from_file(name: &str, count: Option<usize>, only: &[usize]) -> Result<Model, Error> {
        let file = PathBuf::from(name);
        let several = match (count, only.iter().find(|fold| **fold != 1)) {
            (Some(count), _) if count > 1 => {
                Some(format!("--folds {count} asks for {count} folds"))
            }
            (_, Some(fold)) => Some(format!("--fold {fold} asks for another one")),
            _ => None,
        };
        if let Some(asked) = several {
            return Err(Error::usage_hint(
                format!("{name} is one file, so it is fold 1 alone, and {asked}"),
                format!(
                    "put {PLACE} where the fold's number stands in the files' names: --model '{}'",
                    as_pattern(&file)
                ),
            ));
        }
        Ok(Model { folds: vec![FoldFile::new(1, file, None)], ..Model::bare(name) })
    }

    /// Without anything but a name.
    fn bare(name: &str) -> Model {
        Model {
            name: name.to_owned(),
            folds: Vec::new(),
            input: None,
            layers: Vec::new(),
            sample: None,
            missing: Vec::new(),
            folder: None,
            others: Vec::new(),
        }
    }
}

impl Description {
    /// Reads `folder/model.json`.
    ///
    /// # Errors
    /// [`Error::Json`] if it does not hold what it should, [`Error::Io`] if it
    /// cannot be read.
    pub fn read(folder: &Path) -> Result<Description, Error> {
        let file = folder.join(FILE_NAME);
        let text = std::fs::read_to_string(&file).map_err(Error::io("read", &file))?;
        Description::parse(&text, &file)
    }

    /// Reads the text of a `model.json`; `file` is where it comes from.
    ///
    /// # Errors
    /// [`Error::Json`] if it does not hold what it should.
    pub fn parse(text: &str, file: &Path) -> Result<Description, Error> {
        let bad = |problem: String| Error::Json { file: file.to_owned(), problem };
        let description: Description =
            serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        if description.schema != SCHEMA {
            return Err(bad(format!(
                "schema {} is not {SCHEMA}, the one that this actviz reads",
                description.schema
            )));
        }
        description.input.check().map_err(|problem| bad(format!("input: {problem}")))?;
        Ok(description)
    }
}

impl Input {
    /// Whether pictures can be brought to it; else, why not.
    fn check(&self) -> Result<(), String> {
        let is_possible = (1..=MOST_CHANNELS).contains(&self.channels);
        if !is_possible || self.width == 0 || self.height == 0 {
            return Err(format!("channels is 1 to {MOST_CHANNELS}, width and height at least 1"));
        }
        if self.width.saturating_mul(self.height) > MOST_PIXELS {
            return Err(format!("width x height is at most {MOST_PIXELS}"));
        }
        if self.mean.len() != self.channels || self.std.len() != self.channels {
            return Err("mean and std have one number per channel".to_owned());
        }
        if !self.std.iter().all(|number| *number > 0.0) {
            return Err("std has numbers above 0: images are divided by it".to_owned());
        }
        // Other counts are those of arrays, whose values have units of their own.
        let is_picture = matches!(self.channels, 1 | 3);
        match !is_picture || self.mean.iter().chain(&self.std).all(|number| *number <= 1.0) {
            true => Ok(()),
            false => {
                Err("mean and std are for values in 0..1: divide those for 0..255 by 255"
                    .to_owned())
            }
        }
    }
}

/// Leaves the chosen folds; none chosen: all of them.
fn keep_only(folds: &mut Vec<FoldFile>, only: &[usize]) -> Result<(), Error> {
    let numbers: Vec<usize> = folds.iter().map(|fold| fold.fold).collect();
    if let Some(fold) = only.iter().find(|fold| !numbers.contains(fold)) {
        return Err(Error::usage_hint(
            format!("--fold {fold} is none of the {} folds", numbers.len()),
            format!("there are the folds {}", in_words(&numbers)),
        ));
    }
    if !only.is_empty() {
        folds.retain(|fold| only.contains(&fold.fold));
    }
    Ok(())
}

/// A file that a bundle's model.json names. What a bundle of a stranger names is opened:
/// it lies in the bundle's own folder, or it is no part of the bundle.
fn inside(folder: &Path, file: &Path, field: &str) -> Result<PathBuf, Error> {
    let whole = folder.join(file);
    let leads_out = || {
        Error::usage_hint(
            format!(
                "{}: {field}: {} does not lie in the bundle's folder",
                folder.join(FILE_NAME).display(),
                file.display()
            ),
            "the paths in model.json stay inside of its folder, without .. and without links \
             that lead out; copy the file there, or name files elsewhere with --model PATTERN",
        )
    };
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if !file.components().all(is_plain) {
        return Err(leads_out());
    }
    // What is not there leads nowhere, and is missed later.
    if let (Ok(folder), Ok(whole)) = (folder.canonicalize(), whole.canonicalize())
        && !whole.starts_with(&folder)
    {
        return Err(leads_out());
    }
    Ok(whole)
}

/// A path without `a/..` where that is certain, so that messages read well.
fn shorten_path(path: &Path) -> PathBuf {
    path.canonicalize()
        .ok()
        .and_then(|whole| {
            // Keep it relative if it lies below the current folder.
            let here = std::env::current_dir().ok()?.canonicalize().ok()?;
            whole.strip_prefix(here).ok().map(Path::to_owned).or(Some(whole))
        })
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in names {
            crate::fake::write_archive(&folder.path().join(name), None).expect("a file");
        }
        folder
    }

    fn pattern(folder: &tempfile::TempDir) -> String {
        folder.path().join("fold_{fold}.pt").to_string_lossy().into_owned()
    }

    fn numbers(model: &Model) -> Vec<usize> {
        model.folds.iter().map(|fold| fold.fold).collect()
    }

    #[test]
    fn a_pattern_without_a_count_takes_the_folds_that_are_there() {
        let folder = files(&["fold_1.pt", "fold_2.pt", "fold_4.pt"]);
        let model = Model::find(&pattern(&folder), None, &[]).expect("two folds");
        assert_eq!((numbers(&model), &model.missing[..]), (vec![1, 2, 4], &[3..=3][..]));
        assert_eq!(model.missing_in_words(), "fold 3 has no file");
        let model = Model::find(&pattern(&folder), Some(2), &[]).expect("two folds");
        assert_eq!((numbers(&model), &model.missing[..]), (vec![1, 2], &[][..]));
        let model = Model::find(&pattern(&folder), Some(3), &[]).expect("three folds");
        assert_eq!((numbers(&model), &model.missing[..]), (vec![1, 2, 4], &[3..=3][..]));
    }

    #[test]
    fn a_missing_fold_file_is_named_in_the_error() {
        let folder = files(&["fold_1.pt", "fold_3.pt"]);
        let error = Model::find(&pattern(&folder), Some(3), &[]).expect_err("no fold 2");
        assert!(error.to_string().contains("fold_2.pt"), "{error}");
    }

    #[test]
    fn only_the_chosen_folds_must_exist() {
        let folder = files(&["fold_1.pt", "fold_3.pt"]);
        let model = Model::find(&pattern(&folder), Some(3), &[1, 3]).expect("two folds");
        assert_eq!(numbers(&model), [1, 3]);
        let model = Model::find(&pattern(&folder), None, &[3]).expect("one fold");
        assert_eq!(numbers(&model), [3]);
    }

    #[test]
    fn files_that_are_numbered_from_0_are_all_found() {
        let folder = files(&["fold_0.pt", "fold_1.pt", "fold_2.pt"]);
        let find = |count, only: &[usize]| {
            let model = Model::find(&pattern(&folder), count, only).expect("folds");
            assert!(model.missing.is_empty(), "{:?}", model.missing);
            numbers(&model)
        };
        assert_eq!(find(None, &[]), [0, 1, 2]);
        assert_eq!(find(Some(2), &[]), [0, 1]);
        assert_eq!(find(None, &[0, 2]), [0, 2]);
        let error = Model::find(&pattern(&folder), Some(4), &[]).expect_err("three folds");
        assert!(error.to_string().contains("fold_3.pt"), "{error}");
    }

    #[test]
    fn missing_folds_are_told_in_words() {
        let of = |missing: &[RangeInclusive<usize>]| {
            Model { missing: missing.to_vec(), ..Model::bare("x") }.missing_in_words()
        };
        assert_eq!(of(&[3..=4]), "folds 3 to 4 have no files");
        assert_eq!(of(&[1..=2, 4..=4, 7..=9]), "folds 1 to 2, 4 and 7 to 9 have no files");
    }

    #[test]
    fn one_file_is_one_fold() {
        let folder = files(&["net.pt", "fold_2.pt"]);
        let find = |name: &str, count, only: &[usize]| {
            Model::find(&folder.path().join(name).to_string_lossy(), count, only)
        };
        for (count, only) in [(None, &[][..]), (Some(1), &[][..]), (None, &[1][..])] {
            assert_eq!(numbers(&find("net.pt", count, only).expect("1 fold")), [1]);
        }
        for (count, only) in [(Some(3), &[][..]), (None, &[2][..]), (Some(3), &[3][..])] {
            for (name, pattern) in [("net.pt", "net_{fold}.pt'"), ("fold_2.pt", "fold_{fold}.pt'")]
            {
                let error = find(name, count, only).expect_err("one file");
                assert!(error.to_string().contains("one file"), "{error}");
                assert!(error.hint().is_some_and(|hint| hint.contains(pattern)), "{error:?}");
            }
        }
    }

    #[test]
    fn folds_with_the_same_bytes_are_found() {
        let folder = files(&["fold_1.pt", "fold_3.pt"]);
        for copy in ["fold_2.pt", "fold_4.pt"] {
            let whole = folder.path().join("fold_1.pt");
            std::fs::copy(whole, folder.path().join(copy)).expect("a file");
        }
        let model = |folds: &[usize]| {
            let file = |fold: &usize| {
                let file = folder.path().join(format!("fold_{fold}.pt"));
                FoldFile::new(*fold, file, None)
            };
            Model { folds: folds.iter().map(file).collect(), ..Model::bare("x") }
        };
        let identical = |folds: &[usize]| model(folds).identical_folds().expect("files");
        assert_eq!(identical(&[1, 2, 3, 4]), [[1, 2, 4]]);
        assert!(identical(&[1, 3]).is_empty());
        // The same length, and one byte is another.
        let mut bytes = std::fs::read(folder.path().join("fold_1.pt")).expect("bytes");
        *bytes.last_mut().expect("a byte") ^= 1;
        std::fs::write(folder.path().join("fold_2.pt"), bytes).expect("a file");
        assert!(identical(&[1, 2]).is_empty());
    }

    #[test]
    fn fold_numbers_that_are_not_there_and_no_folds_are_refused() {
        let folder = files(&["fold_1.pt", "fold_2.pt"]);
        for only in [[0], [3]] {
            let error = Model::find(&pattern(&folder), None, &only).expect_err("no such fold");
            assert!(error.to_string().contains(&format!("fold_{}.pt", only[0])), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains("1 and 2")), "{error:?}");
        }
        let error = Model::find(&pattern(&folder), Some(1), &[2]).expect_err("not the first");
        assert!(error.to_string().contains("none of the 1 folds"), "{error}");
        let error = Model::find(&pattern(&folder), Some(0), &[]).expect_err("no folds");
        assert!(error.to_string().contains("--folds 0"), "{error}");
    }

    /// A bundle with one fold and a sample, in a folder of its own.
    fn bundle(file: &str, sample: &str) -> tempfile::TempDir {
        let folder = files(&["outside.pt"]);
        std::fs::create_dir(folder.path().join("net")).expect("a folder");
        crate::fake::write_archive(&folder.path().join("net/fold_1.pt"), None).expect("a file");
        std::fs::write(folder.path().join("net/cat.png"), b"").expect("a file");
        let text = serde_json::json!({
            "schema": 1, "name": "net", "sample": sample, "folds": [{"file": file, "sha256": ""}],
            "input": {"channels": 1, "width": 8, "height": 8, "mean": [0.5], "std": [0.5]},
        });
        std::fs::write(folder.path().join("net/model.json"), text.to_string()).expect("a file");
        folder
    }

    #[test]
    fn a_bundle_names_files_of_its_own_folder_alone() {
        let find = |place: &tempfile::TempDir| {
            Model::find(&place.path().join("net").to_string_lossy(), None, &[])
        };
        assert!(find(&bundle("./fold_1.pt", "cat.png")).is_ok());
        let outside = bundle("", "").path().join("outside.pt");
        for file in ["../outside.pt", "x/../../outside.pt", &outside.to_string_lossy()] {
            for place in [bundle(file, "cat.png"), bundle("fold_1.pt", file)] {
                let error = find(&place).expect_err("outside").to_string();
                assert!(error.contains("does not lie in the bundle's folder"), "{error}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_bundle_s_links_do_not_lead_out_of_it() {
        for (file, sample) in
            [("link.pt", "cat.png"), ("fold_1.pt", "link.pt"), ("up/outside.pt", "cat.png")]
        {
            let place = bundle(file, sample);
            let net = place.path().join("net");
            std::os::unix::fs::symlink("../outside.pt", net.join("link.pt")).expect("a link");
            std::os::unix::fs::symlink("..", net.join("up")).expect("a link");
            let error = Model::find(&net.to_string_lossy(), None, &[]).expect_err("outside");
            assert!(error.to_string().contains("does not lie in"), "{error}");
        }
        let place = bundle("link.pt", "cat.png");
        let net = place.path().join("net");
        std::os::unix::fs::symlink("fold_1.pt", net.join("link.pt")).expect("a link");
        assert!(Model::find(&net.to_string_lossy(), None, &[]).is_ok());
    }

    #[test]
    fn a_file_can_carry_its_own_description() {
        let text = r#"{"schema": 1, "name": "x", "input": {"channels": 1, "width": 8, "height": 9,
                       "mean": [0.5], "std": [0.5]}, "layers": ["a.relu"]}"#;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("net.pt");
        crate::fake::write_archive(&file, Some(text)).expect("a file");
        let model = Model::find(&file.to_string_lossy(), None, &[]).expect("a model");
        assert_eq!(model.input.map(|input| (input.channels, input.height)), Some((1, 9)));
        assert_eq!(model.layers, ["a.relu"]);
    }

    #[test]
    fn an_unknown_model_lists_what_exists() {
        let error = Model::find("no-such-net", None, &[]).expect_err("unknown");
        assert!(error.to_string().contains("no model named no-such-net"), "{error}");
        assert!(error.hint().is_some());
    }

    #[test]
    fn a_description_with_a_wrong_input_is_refused() {
        let text = r#"{"schema": 1, "name": "x", "input": {"channels": 3, "width": 8, "height": 8,
                       "mean": [0.5], "std": [0.5, 0.5, 0.5]}}"#;
        let error = Description::parse(text, Path::new("model.json")).expect_err("one mean");
        assert!(error.to_string().contains("mean and std"), "{error}");
    }

    #[test]
    fn a_mean_for_values_up_to_255_is_refused() {
        let text = r#"{"schema": 1, "name": "x", "input": {"channels": 1, "width": 8, "height": 8,
                       "mean": [123.675], "std": [58.395]}}"#;
        let error = Description::parse(text, Path::new("model.json")).expect_err("too large");
        assert!(error.to_string().contains("divide those for 0..255"), "{error}");
    }

    #[test]
    fn a_description_that_asks_for_an_enormous_input_is_refused() {
        let text = r#"{"schema": 1, "name": "x", "input": {"channels": 1, "width": 8193,
                       "height": 8192, "mean": [0.5], "std": [0.5]}}"#;
        let parse = |text: &str| Description::parse(text, Path::new("model.json"));
        assert!(parse(text).expect_err("too large").to_string().contains("67108864"));
        assert!(parse(&text.replace("8193", "8192")).is_ok());
    }
}
