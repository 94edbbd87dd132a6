//! What a picture carries inside itself: enough to know, without its manifest, what
//! it shows and where it comes from.

use serde::{Deserialize, Serialize};

use crate::manifest::{Consensus, Drawn, Fold, Image, Manifest, Options, Picture};

/// The JSON in a picture's text chunk. It holds nothing of the machine or of the moment: no
/// time, no folder, no device and no number of threads. So the same picture of the same network
/// gives the same bytes, wherever both lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The version of this shape: the manifest's.
    pub schema: u32,
    /// The version of actviz.
    pub actviz: String,
    /// The version of libtorch.
    pub libtorch: String,
    /// The model's name; of files, their name without their folder.
    pub model: String,
    /// The networks that the picture speaks of, without their folders.
    pub folds: Vec<Fold>,
    /// The image, without its folder.
    pub image: Image,
    /// Every option that changes a pixel.
    pub options: Options,
    /// The manifest's entry of a picture of one layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Picture>,
    /// The manifest's entry of a picture of all folds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consensus: Option<Consensus>,
}

impl About {
    /// What is common to all pictures of one image and these folds.
    pub fn new(run: &Manifest, folds: &[Fold], image: Image) -> About {
        About {
            schema: run.schema,
            actviz: run.actviz.clone(),
            libtorch: run.libtorch.clone(),
            model: alone(&run.model),
            folds: folds.iter().map(|f| Fold { file: alone(&f.file), ..f.clone() }).collect(),
            image: Image { path: alone(&image.path), ..image },
            // How many other images there were is nothing that a picture tells of.
            options: Options { batch: None, ..run.options.clone() },
            picture: None,
            consensus: None,
        }
    }

    /// With the manifest's entry of a picture of one layer. Nothing is taken along of
    /// where its image stands among others, so that the same image gives the same bytes
    /// in any company.
    pub fn with_picture(self, entry: &Picture) -> About {
        let picture = Picture {
            file: alone(&entry.file),
            raw: entry.raw.as_ref().map(alone),
            sha256: String::new(),
            raw_sha256: None,
            image: 0,
            ..entry.clone()
        };
        About { picture: Some(picture), ..self }
    }

    /// With the manifest's entry of a picture of all folds; see [`About::with_picture`].
    pub fn with_consensus(self, entry: &Consensus) -> About {
        let without_company = |drawn: &Drawn| Drawn {
            file: alone(&drawn.file),
            raw: drawn.raw.as_ref().map(alone),
            sha256: String::new(),
            raw_sha256: None,
            ..drawn.clone()
        };
        let (mean, std) = (without_company(&entry.mean), without_company(&entry.std));
        About { consensus: Some(Consensus { image: 0, mean, std, ..entry.clone() }), ..self }
    }

    /// The text that goes into the file.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A file's name without its folder.
fn alone(file: impl AsRef<str>) -> String {
    // Manifests have `/` between folders; paths of a user's may have Windows' own, too.
    let is_separator = |c: char| c == '/' || std::path::is_separator(c);
    file.as_ref().rsplit(is_separator).next().unwrap_or_default().to_owned()
}
