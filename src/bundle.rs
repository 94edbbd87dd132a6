//! Models on disk: which file is which fold, and what its input looks like.
//!
//! A *bundle* is a folder with `model.json` and one TorchScript file per fold.
//! Without one, a file or a pattern of files with `{fold}` in it is a model too.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, VariantNames};

use crate::archive;
use crate::error::Error;
use crate::model_file::ModelFile;

/// The bundle's description, beside its TorchScript files.
pub const FILE_NAME: &str = "model.json";
/// The version of that file's shape.
pub const SCHEMA: u32 = 1;
/// The largest input that a description may ask for, in pixels: 8192 x 8192. A file of a
/// stranger could ask for more than there is memory; `--input-size` can, too.
const MOST_PIXELS: usize = 1 << 26;
/// What stands for the fold's number in a pattern.
const PLACE: &str = "{fold}";
/// Folders to look for bundles in, before all others.
pub const PATH_VARIABLE: &str = "ACTVIZ_MODELS";

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
    /// 1 (grey) or 3 (RGB).
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
    /// A fold without a file, though the other, after it, has one: both are left out.
    pub gap: Option<(usize, usize)>,
}

/// How far behind a missing fold others are looked for.
const FAR: usize = 100;

/// One network's file. Copies share what is open and known of it.
#[derive(Clone, Debug)]
pub struct FoldFile {
    /// The fold, from 1.
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
                "folds are counted from 1: --folds 1 or more",
            ));
        }
        let mut model = if name.contains(PLACE) {
            Model::from_pattern(name, count, only)?
        } else if Path::new(name).is_file() {
            Model::from_file(name, count, only)
        } else {
            let folder = find_bundle(name)?;
            Model::from_bundle(&folder, count)?
        };
        keep_only(&mut model.folds, only)?;
        let mut carried = None;
        for FoldFile { fold, file, .. } in &model.folds {
            if !file.is_file() {
                return Err(Error::usage_hint(
                    format!("fold {fold} has no file: {} does not exist", file.display()),
                    "check the path, or choose the folds that exist with --folds K or --fold A,B",
                ));
            }
            let extra = match archive::check(file) {
                // Of several folds, it is for the engine to say when its turn comes: the others
                // can be run.
                Err(Error::NotTorchScript { .. }) if model.folds.len() > 1 => None,
                checked => checked?,
            };
            carried = carried.or(extra.map(|text| (file.clone(), text)));
        }
        // What a file says about itself fills in what no bundle says.
        if let (None, Some((file, text))) = (&model.input, carried) {
            let own = Description::parse(&text, &file.join(archive::EXTRA))?;
            model.input = Some(own.input);
            model.layers = own.layers;
        }
        Ok(model)
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

    fn from_bundle(folder: &Path, count: Option<usize>) -> Result<Model, Error> {
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
        let folds = description
            .folds
            .iter()
            .take(count.unwrap_or(found))
            .enumerate()
            .map(|(index, fold)| {
                FoldFile::new(index + 1, folder.join(&fold.file), Some(fold.sha256.clone()))
            })
            .collect();
        Ok(Model {
            name: description.name,
            folds,
            input: Some(description.input),
            layers: description.layers,
            sample: description.sample.map(|sample| tidy(&folder.join(sample))),
            gap: None,
        })
    }

    fn from_pattern(pattern: &str, count: Option<usize>, only: &[usize]) -> Result<Model, Error> {
        let file = |fold: usize| PathBuf::from(pattern.replace(PLACE, &fold.to_string()));
        // Without a number, what is there counts: fold 1, 2, ... up to the first gap.
        let found = || (1..).take_while(|fold| file(*fold).is_file()).count();
        let is_guessed = count.is_none() && only.is_empty();
        let count = count.unwrap_or_else(|| found().max(only.iter().copied().max().unwrap_or(0)));
        if count == 0 {
            return Err(Error::usage_hint(
                format!("fold 1 has no file: {} does not exist", file(1).display()),
                "{fold} in --model stands for the fold's number, counted from 1",
            ));
        }
        let folds = (1..=count).map(|fold| FoldFile::new(fold, file(fold), None)).collect();
        let after = is_guessed.then(|| (count + 2..count + FAR).find(|fold| file(*fold).is_file()));
        let gap = after.flatten().map(|after| (count + 1, after));
        Ok(Model { gap, ..Model::bare(pattern, folds) })
    }

    /// One file without `{fold}` serves all folds.
    fn from_file(name: &str, count: Option<usize>, only: &[usize]) -> Model {
        let count = count.unwrap_or_else(|| only.iter().copied().max().unwrap_or(1));
        let folds =
            (1..=count).map(|fold| FoldFile::new(fold, PathBuf::from(name), None)).collect();
        Model::bare(name, folds)
    }

    fn bare(name: &str, folds: Vec<FoldFile>) -> Model {
        let (input, layers, sample, gap) = (None, Vec::new(), None, None);
        Model { name: name.to_owned(), folds, input, layers, sample, gap }
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
        let input = &description.input;
        if !matches!(input.channels, 1 | 3) || input.width == 0 || input.height == 0 {
            return Err(bad("input: channels is 1 or 3, width and height at least 1".to_owned()));
        }
        if input.width.saturating_mul(input.height) > MOST_PIXELS {
            return Err(bad(format!("input: width x height is at most {MOST_PIXELS}")));
        }
        if input.mean.len() != input.channels || input.std.len() != input.channels {
            return Err(bad("input: mean and std have one number per channel".to_owned()));
        }
        Ok(description)
    }
}

fn keep_only(folds: &mut Vec<FoldFile>, only: &[usize]) -> Result<(), Error> {
    let count = folds.len();
    if let Some(fold) = only.iter().find(|fold| !(1..=count).contains(*fold)) {
        return Err(Error::usage_hint(
            format!("--fold {fold} is none of the {count} folds"),
            format!("folds are counted from 1 to {count}"),
        ));
    }
    if !only.is_empty() {
        folds.retain(|fold| only.contains(&fold.fold));
    }
    Ok(())
}

/// The folders in which bundles are looked for, in order: those of
/// `ACTVIZ_MODELS`, `./models`, beside an installed binary
/// (`PREFIX/share/actviz/models`), and the checkout that the binary was built in.
pub fn places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(path) = std::env::var_os(PATH_VARIABLE) {
        places.extend(std::env::split_paths(&path).filter(|path| !path.as_os_str().is_empty()));
    }
    places.push(PathBuf::from("models"));
    if let Some(bin) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
        places.push(tidy(&bin.join("../share/actviz/models")));
        places.push(tidy(&bin.join("../../models")));
    }
    places
}

/// The bundles in one folder, by folder name.
pub fn bundles_in(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    let mut bundles: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|folder| folder.join(FILE_NAME).is_file())
        .collect();
    bundles.sort();
    bundles
}

fn find_bundle(name: &str) -> Result<PathBuf, Error> {
    let given = Path::new(name);
    if given.join(FILE_NAME).is_file() {
        return Ok(given.to_owned());
    }
    let bundles: Vec<PathBuf> = places().iter().flat_map(|place| bundles_in(place)).collect();
    let named = |folder: &&PathBuf| folder.file_name().is_some_and(|own| own == name);
    if let Some(folder) = bundles.iter().find(named) {
        return Ok(folder.clone());
    }
    if given.is_dir() {
        return Err(Error::usage_hint(
            format!("{name} is a folder without {FILE_NAME}"),
            format!("name its files by a pattern, e.g. --model '{name}/fold_{PLACE}.pt'"),
        ));
    }
    if looks_like_path(name) {
        return Err(Error::usage_hint(
            format!("{name} does not exist"),
            "--model takes a bundle's name, a folder with model.json, a TorchScript file, \
             or a pattern such as 'runs/fold_{fold}.pt'",
        ));
    }
    let mut known: Vec<String> = bundles
        .iter()
        .filter_map(|folder| folder.file_name().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    known.sort();
    known.dedup();
    let hint = if known.is_empty() {
        format!("no bundle was found; set {PATH_VARIABLE} to the folder that holds them")
    } else {
        format!("known models: {}; or give a TorchScript file", known.join(", "))
    };
    Err(Error::usage_hint(format!("there is no model named {name}"), hint))
}

fn looks_like_path(name: &str) -> bool {
    name.contains(['/', '\\']) || Path::new(name).extension().is_some()
}

/// A path without `a/..` where that is certain, so that messages read well.
fn tidy(path: &Path) -> PathBuf {
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
        assert_eq!((numbers(&model), model.gap), (vec![1, 2], Some((3, 4))));
        let model = Model::find(&pattern(&folder), Some(2), &[]).expect("two folds");
        assert_eq!(model.gap, None);
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
    fn one_file_serves_all_folds() {
        let folder = files(&["net.pt"]);
        let name = folder.path().join("net.pt").to_string_lossy().into_owned();
        assert_eq!(numbers(&Model::find(&name, Some(3), &[]).expect("3 folds")), [1, 2, 3]);
        assert_eq!(numbers(&Model::find(&name, None, &[]).expect("1 fold")), [1]);
    }

    #[test]
    fn fold_numbers_out_of_range_and_no_folds_are_refused() {
        let folder = files(&["fold_1.pt"]);
        for only in [[0], [2]] {
            let error = Model::find(&pattern(&folder), Some(1), &only).expect_err("no such fold");
            assert!(error.to_string().contains("none of the 1 folds"), "{error}");
        }
        let error = Model::find(&pattern(&folder), Some(0), &[]).expect_err("no folds");
        assert!(error.to_string().contains("--folds 0"), "{error}");
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
    fn a_description_that_asks_for_an_enormous_input_is_refused() {
        let text = r#"{"schema": 1, "name": "x", "input": {"channels": 1, "width": 8193,
                       "height": 8192, "mean": [0.5], "std": [0.5]}}"#;
        let parse = |text: &str| Description::parse(text, Path::new("model.json"));
        assert!(parse(text).expect_err("too large").to_string().contains("67108864"));
        assert!(parse(&text.replace("8193", "8192")).is_ok());
    }
}
