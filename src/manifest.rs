//! `manifest.json`: what was run and what every picture shows.
//!
//! Scripts rely on these fields: some may be added, none changes its meaning
//! without a new [`SCHEMA`] number. The JSON Schema in `docs/manifest.schema.json`
//! is generated from these types, and a test keeps both equal.

use std::collections::BTreeSet;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bundle::{Assumed, ResizeRule};
use crate::colormap::Colormap;
use crate::digest;
use crate::engine::Precision;
use crate::error::Error;
use crate::maps::Flag;
use crate::output;
use crate::picture::grid::TileOrder;
use crate::picture::{Interpolation, View};
use crate::shard::Shard;

/// The version of the manifest's shape.
pub const SCHEMA: u32 = 1;
/// The manifest's name in the output folder.
pub const FILE_NAME: &str = "manifest.json";

/// The name of a shard's part of it: `manifest.2-of-4.json`.
pub fn part_name(shard: Shard) -> String {
    format!("manifest.{}.json", shard.in_file_names())
}

/// The part that a shard has written, if it is done.
///
/// # Errors
/// As [`Manifest::read`].
pub fn part(folder: &Path, shard: Shard) -> Result<Option<Manifest>, Error> {
    Manifest::read_file(&folder.join(part_name(shard)))
}

/// All parts in a folder with their names, in the order of the shards.
///
/// # Errors
/// As [`Manifest::read`].
pub fn parts(folder: &Path) -> Result<Vec<(String, Manifest)>, Error> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut parts = Vec::new();
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let of = |name: &str| -> Option<Shard> {
            let middle = name.strip_prefix("manifest.")?.strip_suffix(".json")?;
            middle.replacen("-of-", "/", 1).parse().ok()
        };
        let Some(shard) = of(&name) else { continue };
        let file = folder.join(&name);
        let part = Manifest::read_file(&file)?
            .filter(|part| part.shard.as_ref().is_some_and(|own| own.of == shard));
        let part = part.ok_or_else(|| Error::Json {
            file,
            problem: "it is not the part that its name says".to_owned(),
        })?;
        parts.push((shard, name, part));
    }
    parts.sort_by_key(|(shard, _, _)| *shard);
    Ok(parts.into_iter().map(|(_, name, part)| (name, part)).collect())
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// The version of this shape: 1.
    pub schema: u32,
    /// The version of actviz.
    pub actviz: String,
    /// The version of libtorch.
    pub libtorch: String,
    /// The device: `cpu`, `cuda:0`, `mps`.
    pub device: String,
    /// Threads that one operator of the network may use.
    pub threads: usize,
    /// The name of the model: a bundle's name, or the file or pattern as given.
    pub model: String,
    /// Which part of a run this is the manifest of; none for a whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardInfo>,
    /// Whether the run was interrupted: pictures are missing that the same command, run
    /// again, would add.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
    /// Every option that changes a pixel.
    pub options: Options,
    /// The networks, in the order in which they were run.
    pub folds: Vec<Fold>,
    /// The images, in the order in which they were given. `Picture::image`
    /// counts into this list, from 0.
    pub images: Vec<Image>,
    /// The pictures: by image, then fold, then b.
    pub pictures: Vec<Picture>,
    /// The sheets, one an image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sheets: Vec<Sheet>,
    /// What the folds have in common, by image, then b.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consensus: Vec<Consensus>,
    /// How far the folds agree, by b.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreement: Vec<Agreement>,
    /// What could not be done, and why. Those pictures are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
}

/// One of several shards of a run, and where its images stand in the whole of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShardInfo {
    /// Which shard of how many, as `1/4`.
    pub of: Shard,
    /// How many images all shards have together.
    pub total: usize,
    /// The SHA-256 of all images' paths, each followed by a zero byte: the shards of one
    /// run agree in it.
    pub list: String,
    /// The places of this shard's images among all of them, from 0.
    pub places: Vec<usize>,
}

/// Every option that changes a pixel, as it was in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Options {
    /// The choice of layers as typed: `auto`, `all`, `every:2`, names, numbers.
    pub layers: String,
    /// How channels became one map: `mean`, `max`, `l2`, `std`, `pca`, `channel:N`, `top:K`.
    pub reduce: String,
    /// Which pictures share their black and white: `map`, `layer`, `folds`, `fixed:LOW,HIGH`.
    pub scale: String,
    /// Percent of the values at either end that go over into black and white.
    pub clip: f32,
    /// What was drawn.
    pub view: Vec<View>,
    /// The heatmap's share of an overlay, 0 to 1.
    pub alpha: f32,
    /// Whether a colour bar stands below each picture.
    pub legend: bool,
    /// The order of a grid's channels.
    pub grid_order: TileOrder,
    /// Whether grids give matching channels of all folds the same place.
    pub align_folds: bool,
    /// Whether the mean and the standard deviation over the folds were drawn.
    pub consensus: bool,
    /// Whether this was a run of the one documented configuration.
    pub deterministic: bool,
    /// How many images went through the network at once; nothing where it is not told, as
    /// in the pictures themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// In which numbers the network computed.
    #[serde(default)]
    pub precision: Precision,
    /// The colour map as asked for; `auto` was chosen by the activation function and the data.
    pub colormap: Colormap,
    /// How maps were brought to the pictures' size.
    pub interpolation: Interpolation,
    /// The pictures' size as typed: `input`, `native`, or pixels of the longer side.
    pub size: String,
    /// The size of the network's input, width and height in pixels.
    pub input_size: [usize; 2],
    /// How an image of another shape was brought to that size.
    pub resize: ResizeRule,
    /// Mean of each channel, subtracted from values in 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, divided by.
    pub std: Vec<f32>,
    /// Which of these nobody has said: neither bundle, file nor flags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<Assumed>,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fold {
    /// The fold's number: that in its file's name; in a bundle, its place, from 1.
    pub fold: usize,
    /// Its file, as found.
    pub file: String,
    /// The SHA-256 of that file, in hexadecimal.
    pub sha256: String,
}

/// Whether two different folds are one network: their files have the same SHA-256. Then they
/// agree on everything, which says nothing.
pub(crate) fn are_one_network(networks: &[Fold], a: usize, b: usize) -> bool {
    let digest = |fold: usize| {
        let network = networks.iter().find(|network| network.fold == fold)?;
        (!network.sha256.is_empty()).then_some(&network.sha256)
    };
    a != b && digest(a).is_some_and(|own| digest(b) == Some(own))
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// Its path, as given.
    pub path: String,
    /// The SHA-256 of that file, in hexadecimal.
    pub sha256: String,
}

/// What has no pictures: an image, a fold, or an image in one fold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// The fold; none if it was so in all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// The image's path, as given; none if it was so with all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What was wrong.
    pub problem: String,
}

/// One picture: one activation layer of one fold for one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Picture {
    /// Its file, relative to the manifest, with `/` between folders.
    pub file: String,
    /// That file's SHA-256, in hexadecimal; empty inside of the file itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// The map itself as a NumPy file (f32, height x width), if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The SHA-256 of the NumPy file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_sha256: Option<String>,
    /// What it shows of the layer.
    #[serde(default)]
    pub view: View,
    /// The image, counted from 0 in the manifest's list.
    pub image: usize,
    /// The fold's number.
    pub fold: usize,
    /// The position of the layer in the chosen list, from 1.
    #[serde(rename = "b")]
    pub layer_position: usize,
    /// The layer's name.
    pub layer: String,
    /// The activation function.
    pub operator: String,
    /// The layer's channels.
    pub channels: usize,
    /// The channel that is shown, from 1, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<usize>,
    /// The channels of a grid's tiles, from 1, row by row, if not in their own order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<usize>>,
    /// The map's height: the layer's own resolution.
    pub height: usize,
    /// The map's width: the layer's own resolution.
    pub width: usize,
    /// How the channels became one map; `none` for a grid, which shows all of them.
    pub reduce: String,
    /// The colour map, never `auto`.
    #[serde(default)]
    pub colormap: Colormap,
    /// The value at the low end of the colour map.
    pub low: f32,
    /// The value at the high end of the colour map.
    pub high: f32,
    /// The mean of the finite values of the map (of a grid: of all channels).
    pub mean: f32,
    /// The standard deviation of the finite values (of the population).
    pub std: f32,
    /// The share of values that are exactly zero, 0 to 1.
    pub zeros: f32,
    /// How many values are NaN or infinite.
    pub non_finite: usize,
    /// What makes the map one that shows nothing, or not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
}

/// All layers x folds of one image on one page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sheet {
    /// Its file, relative to the manifest.
    pub file: String,
    /// That file's SHA-256, in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// The image, counted from 0 in the manifest's list.
    pub image: usize,
    /// The maps on it that show nothing, or not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flagged: Vec<Flagged>,
}

/// A map of a sheet that shows nothing, or not all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flagged {
    /// The fold's number.
    pub fold: usize,
    /// The position of the layer in the chosen list, from 1.
    #[serde(rename = "b")]
    pub layer_position: usize,
    /// The layer's name.
    pub layer: String,
    /// What makes it so.
    pub flags: Vec<Flag>,
}

/// What the folds have in common at one layer for one image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Consensus {
    /// The image, counted from 0 in the manifest's list.
    pub image: usize,
    /// The position of the layer in the chosen list, from 1.
    #[serde(rename = "b")]
    pub layer_position: usize,
    /// The layer's name.
    pub layer: String,
    /// The mean over the folds, position by position.
    pub mean: Drawn,
    /// The standard deviation over the folds (of the population).
    pub std: Drawn,
}

/// A picture that belongs to all folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Drawn {
    /// Its file, relative to the manifest.
    pub file: String,
    /// That file's SHA-256, in hexadecimal; empty inside of the file itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// The map itself as a NumPy file (f32, height x width), if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The SHA-256 of the NumPy file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_sha256: Option<String>,
    /// The colour map.
    pub colormap: Colormap,
    /// The value at the low end of the colour map.
    pub low: f32,
    /// The value at the high end of the colour map.
    pub high: f32,
    /// What makes it one that shows nothing, or not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
}

/// How far the folds agree on where a layer is active.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Agreement {
    /// The position of the layer in the chosen list, from 1.
    #[serde(rename = "b")]
    pub layer_position: usize,
    /// The layer's name.
    pub layer: String,
    /// The folds' numbers: the rows and columns of `spearman`.
    pub folds: Vec<usize>,
    /// Spearman's rank correlation of the folds' maps over the positions that are numbers
    /// in both, mean over the images; null where a map is constant, and for two folds that
    /// have the same file.
    pub spearman: Vec<Vec<Option<f64>>>,
    /// The fold that agrees least with the others, if there are three or more and no two
    /// are equally odd. One that is constant where others are not is the odd one.
    pub odd_one_out: Option<usize>,
}

impl ShardInfo {
    /// The part of a run with these images (all of them, by their paths in order) that
    /// stand at `places`.
    pub fn new<'a>(
        of: Shard,
        paths: impl ExactSizeIterator<Item = &'a str>,
        places: Vec<usize>,
    ) -> ShardInfo {
        ShardInfo { of, total: paths.len(), list: digest_of_list(paths), places }
    }

    /// Whether a whole run has the images that this is a part of.
    fn is_of(&self, whole: &Manifest) -> bool {
        let paths = whole.images.iter().map(|image| image.path.as_str());
        self.total == whole.images.len() && self.list == digest_of_list(paths)
    }
}

fn digest_of_list<'a>(paths: impl Iterator<Item = &'a str>) -> String {
    let text: Vec<u8> = paths.flat_map(|path| path.bytes().chain([0])).collect();
    digest::of_bytes(&text)
}

impl Manifest {
    /// Reads the manifest of the output folder `folder`; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::Json`] if it is none of ours, [`Error::Io`] if it cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Manifest>, Error> {
        Manifest::read_file(&folder.join(FILE_NAME))
    }

    fn read_file(file: &Path) -> Result<Option<Manifest>, Error> {
        let bytes = match output::read_file(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", file)(error)),
        };
        let no_text = |_| Error::Json { file: file.to_owned(), problem: "no UTF-8".to_owned() };
        let text = String::from_utf8(bytes).map_err(no_text)?;
        Manifest::parse(&text, file).map(Some)
    }

    /// Its name in the output folder.
    pub fn file_name(&self) -> String {
        self.shard.as_ref().map_or(FILE_NAME.to_owned(), |part| part_name(part.of))
    }

    /// Reads a manifest's text; `file` is where it comes from.
    ///
    /// # Errors
    /// [`Error::Json`] if it does not hold what it should.
    pub fn parse(text: &str, file: &Path) -> Result<Manifest, Error> {
        let bad = |problem: String| Error::Json { file: file.to_owned(), problem };
        let manifest: Manifest =
            serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(bad(format!(
                "schema {} is not {SCHEMA}, the one that this actviz reads",
                manifest.schema
            )));
        }
        Ok(manifest)
    }

    /// The files that the manifest speaks of, and itself.
    pub fn files(&self) -> BTreeSet<String> {
        let raw = self.pictures.iter().filter_map(|picture| picture.raw.clone());
        let files = self.pictures.iter().map(|picture| picture.file.clone());
        let sheets = self.sheets.iter().map(|sheet| sheet.file.clone());
        let drawn = self.consensus.iter().flat_map(|consensus| [&consensus.mean, &consensus.std]);
        let consensus =
            drawn.flat_map(|drawn| [Some(drawn.file.clone()), drawn.raw.clone()]).flatten();
        files.chain(raw).chain(sheets).chain(consensus).chain([self.file_name()]).collect()
    }

    /// Every map that shows nothing, or not all, with the picture that it is in. A map
    /// that several pictures show is named for each of them.
    pub fn flagged(&self) -> Vec<(&str, Flagged)> {
        let pictures = self.pictures.iter().filter(|picture| !picture.flags.is_empty());
        let own = pictures.map(|p| {
            let (layer, flags) = (p.layer.clone(), p.flags.clone());
            (
                p.file.as_str(),
                Flagged { fold: p.fold, layer_position: p.layer_position, layer, flags },
            )
        });
        let on_sheets = self.sheets.iter().flat_map(|sheet| {
            sheet.flagged.iter().map(|flagged| (sheet.file.as_str(), flagged.clone()))
        });
        own.chain(on_sheets).collect()
    }

    /// How many pictures there are, of one fold and of all.
    pub fn picture_count(&self) -> usize {
        self.pictures.len() + self.sheets.len() + 2 * self.consensus.len()
    }

    /// Whether two runs were asked for the same, whatever came out: the same model
    /// and folds, images and options. Shards have images of their own; of one run they
    /// are if they agree in the list of all images.
    pub fn same_configuration(&self, other: &Manifest) -> bool {
        let folds = |m: &Manifest| -> Vec<_> {
            m.folds.iter().map(|fold| (fold.fold, fold.file.clone())).collect()
        };
        let paths =
            |m: &Manifest| -> Vec<_> { m.images.iter().map(|image| image.path.clone()).collect() };
        let same_images = match (&self.shard, &other.shard) {
            (None, None) => paths(self) == paths(other),
            (Some(one), Some(two)) => (one.total, &one.list) == (two.total, &two.list),
            (Some(part), None) => part.is_of(other),
            (None, Some(part)) => part.is_of(self),
        };
        self.model == other.model
            && self.options == other.options
            && folds(self) == folds(other)
            && same_images
    }

    /// Whether two runs give the same bytes for the same image, as far as can be told: the
    /// same network files and options by the same versions on the same device.
    pub fn same_provenance(&self, other: &Manifest) -> bool {
        let machine =
            |m: &Manifest| (m.actviz.clone(), m.libtorch.clone(), m.device.clone(), m.threads);
        self.model == other.model
            && self.options == other.options
            && self.folds == other.folds
            && machine(self) == machine(other)
    }

    /// The JSON text, ending in a line break.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A manifest with these picture files.
    pub(crate) fn example(files: &[&str]) -> Manifest {
        let picture = |file: &&str| Picture {
            file: (*file).to_owned(),
            sha256: String::new(),
            raw: None,
            raw_sha256: None,
            view: View::Heat,
            image: 0,
            fold: 1,
            layer_position: 1,
            layer: "relu".to_owned(),
            operator: "relu".to_owned(),
            channels: 64,
            channel: None,
            order: None,
            height: 112,
            width: 112,
            reduce: "mean".to_owned(),
            colormap: Colormap::Viridis,
            low: 0.0,
            high: 1.93,
            mean: 0.4,
            std: 0.3,
            zeros: 0.21,
            non_finite: 0,
            flags: vec![],
        };
        Manifest {
            schema: SCHEMA,
            actviz: "0.1.0".to_owned(),
            libtorch: "2.13.0".to_owned(),
            device: "cpu".to_owned(),
            threads: 2,
            model: "example".to_owned(),
            shard: None,
            interrupted: false,
            options: Options {
                layers: "auto".to_owned(),
                reduce: "mean".to_owned(),
                scale: "map".to_owned(),
                clip: 0.0,
                view: vec![View::Heat],
                alpha: 0.5,
                legend: false,
                grid_order: TileOrder::Channel,
                align_folds: false,
                consensus: false,
                deterministic: false,
                batch: Some(1),
                precision: Precision::F32,
                colormap: Colormap::Auto,
                interpolation: Interpolation::Bilinear,
                size: "input".to_owned(),
                input_size: [224, 224],
                resize: ResizeRule::Stretch,
                mean: vec![0.5; 3],
                std: vec![0.5; 3],
                assumed: vec![],
            },
            folds: vec![],
            images: vec![],
            pictures: files.iter().map(picture).collect(),
            sheets: vec![],
            consensus: vec![],
            agreement: vec![],
            failed: vec![],
        }
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = example(&["1_1.png"]);
        std::fs::write(folder.path().join(FILE_NAME), manifest.to_json()).expect("write");
        assert_eq!(Manifest::read(folder.path()).expect("read"), Some(manifest));
    }

    #[test]
    fn another_schema_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = Manifest { schema: 2, ..example(&[]) };
        std::fs::write(folder.path().join(FILE_NAME), manifest.to_json()).expect("write");
        let error = Manifest::read(folder.path()).expect_err("schema 2");
        assert!(error.to_string().contains("schema 2"), "{error}");
    }
}
