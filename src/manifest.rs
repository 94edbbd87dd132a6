//! `manifest.json`: what was run and what every picture shows.
//!
//! Scripts rely on these fields: some may be added, none changes its meaning
//! without a new [`SCHEMA`] number. The JSON Schema in `docs/manifest.schema.json`
//! is generated from these types, and a test keeps both equal.

use std::collections::BTreeSet;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The version of the manifest's shape.
pub const SCHEMA: u32 = 1;
/// The manifest's name in the output folder.
pub const FILE_NAME: &str = "manifest.json";

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
    /// Every option that changes a pixel.
    pub options: Options,
    /// The networks, in the order in which they were run.
    pub folds: Vec<Fold>,
    /// The images, in the order in which they were given. `Picture::image`
    /// counts into this list, from 0.
    pub images: Vec<Image>,
    /// The pictures: by image, then fold, then b.
    pub pictures: Vec<Picture>,
    /// What could not be done, and why. Those pictures are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failed>,
}

/// Every option that changes a pixel, as it was in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Options {
    /// The choice of layers as typed: `auto`, `all`, `every:2`, names, numbers.
    pub layers: String,
    /// How channels became one map.
    pub reduce: crate::engine::Reduce,
    /// The colour map.
    pub colormap: crate::colormap::Colormap,
    /// How maps were brought to the pictures' size.
    pub interpolation: crate::picture::Interpolation,
    /// The pictures' size as typed: `input`, `native`, or pixels of the longer side.
    pub size: String,
    /// The size of the network's input, width and height in pixels.
    pub input_size: [usize; 2],
    /// How an image of another shape was brought to that size.
    pub resize: crate::bundle::ResizeRule,
    /// Mean of each channel, subtracted from values in 0..1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, divided by.
    pub std: Vec<f32>,
}

/// One network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fold {
    /// The fold's number, from 1.
    pub fold: usize,
    /// Its file, as found.
    pub file: String,
    /// The SHA-256 of that file, in hexadecimal.
    pub sha256: String,
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
    /// The fold, from 1; none if it was so in all of them.
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
    /// The map itself as a NumPy file (f32, height x width), if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The image, counted from 0 in the manifest's list.
    pub image: usize,
    /// The fold, from 1.
    pub fold: usize,
    /// The position of the layer in the chosen list, from 1.
    pub b: usize,
    /// The layer's name.
    pub layer: String,
    /// The activation function.
    pub operator: String,
    /// The layer's channels.
    pub channels: usize,
    /// The map's height: the layer's own resolution.
    pub height: usize,
    /// The map's width: the layer's own resolution.
    pub width: usize,
    /// How the channels became one map.
    pub reduce: crate::engine::Reduce,
    /// The map's value at the dark end of the colour map.
    pub low: f32,
    /// The map's value at the bright end of the colour map.
    pub high: f32,
    /// The mean of the map's finite values.
    pub mean: f32,
    /// The standard deviation of the map's finite values (of the population).
    pub std: f32,
    /// The share of the map's values that are exactly zero, 0 to 1.
    pub zeros: f32,
    /// How many of the map's values are NaN or infinite.
    pub non_finite: usize,
}

impl Manifest {
    /// Reads the manifest of the output folder `folder`; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::Json`] if it is none of ours, [`Error::Io`] if it cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Manifest>, Error> {
        let file = folder.join(FILE_NAME);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", &file)(error)),
        };
        let bad = |problem: String| Error::Json { file: file.clone(), problem };
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        if manifest.schema != SCHEMA {
            return Err(bad(format!(
                "schema {} is not {SCHEMA}, the one that this actviz reads",
                manifest.schema
            )));
        }
        Ok(Some(manifest))
    }

    /// The files that the manifest speaks of, and itself.
    pub fn files(&self) -> BTreeSet<String> {
        let raw = self.pictures.iter().filter_map(|picture| picture.raw.clone());
        let files = self.pictures.iter().map(|picture| picture.file.clone());
        files.chain(raw).chain([FILE_NAME.to_owned()]).collect()
    }

    /// Whether two runs were asked for the same, whatever came out: the same model
    /// and folds, images and options.
    pub fn same_configuration(&self, other: &Manifest) -> bool {
        let folds = |m: &Manifest| -> Vec<_> {
            m.folds.iter().map(|fold| (fold.fold, fold.file.clone())).collect()
        };
        let images =
            |m: &Manifest| -> Vec<_> { m.images.iter().map(|image| image.path.clone()).collect() };
        self.model == other.model
            && self.options == other.options
            && folds(self) == folds(other)
            && images(self) == images(other)
    }

    /// The JSON text, ending in a line break.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// The JSON Schema of [`Manifest`], as text ending in a line break.
pub fn json_schema() -> String {
    let schema = schemars::schema_for!(Manifest);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A manifest with these picture files.
    pub(crate) fn example(files: &[&str]) -> Manifest {
        let picture = |file: &&str| Picture {
            file: (*file).to_owned(),
            raw: None,
            image: 0,
            fold: 1,
            b: 1,
            layer: "relu".to_owned(),
            operator: "relu".to_owned(),
            channels: 64,
            height: 112,
            width: 112,
            reduce: crate::engine::Reduce::Mean,
            low: 0.0,
            high: 1.93,
            mean: 0.4,
            std: 0.3,
            zeros: 0.21,
            non_finite: 0,
        };
        Manifest {
            schema: SCHEMA,
            actviz: "0.1.0".to_owned(),
            libtorch: "2.13.0".to_owned(),
            device: "cpu".to_owned(),
            threads: 2,
            model: "example".to_owned(),
            options: Options {
                layers: "auto".to_owned(),
                reduce: crate::engine::Reduce::Mean,
                colormap: crate::colormap::Colormap::Viridis,
                interpolation: crate::picture::Interpolation::Bilinear,
                size: "input".to_owned(),
                input_size: [224, 224],
                resize: crate::bundle::ResizeRule::Stretch,
                mean: vec![0.5; 3],
                std: vec![0.5; 3],
            },
            folds: vec![],
            images: vec![],
            pictures: files.iter().map(picture).collect(),
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

    #[test]
    fn the_committed_json_schema_is_the_one_of_the_types() {
        // To accept a change: cargo run --example manifest_schema > docs/manifest.schema.json
        assert_eq!(json_schema(), include_str!("../docs/manifest.schema.json"));
    }
}
