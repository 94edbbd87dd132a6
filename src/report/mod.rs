//! One self-contained HTML page of a folder of pictures and the figures beside them. It
//! loads nothing, and all but enlarging pictures works without JavaScript.

mod figures;
mod pictures;
mod plots;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use pictures::Pictures;

use crate::accept;
use crate::error::Error;
use crate::insights::{Document, FILE_NAME as FIGURES, ModelInsights};
use crate::manifest::{self, Manifest};
use crate::output;
use crate::terminal::count;

/// The page's name in the folder.
pub const FILE_NAME: &str = "report.html";

/// What every page has in its head, and says whose it is.
pub(crate) const MARK: &str = "<title>actviz: ";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A page, and what is not on it.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Its HTML.
    pub html: String,
    /// Pictures that the manifest names and the folder has not.
    pub missing: Vec<String>,
    /// Pictures that the manifest names and nobody can read.
    pub damaged: Vec<String>,
    /// What is there of a run that has not ended, in words; none of one that has.
    pub unfinished: Option<String>,
    /// Figures that are there and not of these pictures' networks, and why.
    pub left_out: Vec<String>,
}

/// The page of the pictures that `manifest` names in `folder`, and of the figures of its
/// model, if they are there. Names are escaped: one that holds HTML shows as text.
///
/// # Errors
/// [`Error::Io`] or [`Error::Picture`] if a picture of the page is no file of the folder, or
/// no PNG; [`Error::Json`] if the manifest speaks of an image that it does not list.
pub fn page(
    folder: &Path,
    manifest: &Manifest,
    document: Option<&Document>,
) -> Result<Page, Error> {
    accept::check_images(folder, Some(manifest))?;
    let Pictures { markup: pictures, missing, damaged } = pictures::section(folder, manifest)?;
    let models = document.map(|document| document.models.as_slice()).unwrap_or_default();
    let left_out: Vec<String> =
        models.iter().filter_map(|model| is_of_others(model, manifest)).collect();
    let progress = Progress::of(manifest);
    let has_begun_again = output::is_unfinished(folder);
    let unfinished = (manifest.interrupted || has_begun_again).then(|| progress.in_words(manifest));
    let own = || models.iter().filter(|model| is_of_others(model, manifest).is_none());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // The page needs no other file, and may ask for none.
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
                title { "actviz: " (manifest.model) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (manifest.model) }
                @if let Some(unfinished) = &unfinished { p.bad { b { (unfinished) } } }
                p { (summary(manifest, &progress)) }
                nav {
                    a href="#pictures" { "Pictures" }
                    a href="#figures" { "Figures" }
                    a href="#run" { "What was run" }
                }
                div id="pictures" { (pictures) }
                div id="figures" {
                    @for model in own() { (figures::section(model)) }
                    @if own().next().is_none() {
                        section {
                            h2 { "Figures" }
                            p { "There are none: " code { "actviz insights --model ... -o DIR" } " puts them into the folder." }
                        }
                    }
                    @for reason in &left_out { p.bad { (reason) } }
                }
                div id="run" { (run(manifest)) }
                dialog id="large" {
                    form method="dialog" { button aria-label="close" { "×" } }
                    h2 {}
                    img alt="";
                    label { "fold " output {} " " input type="range" min="0" step="1" value="0"; }
                    p.hint { "↑ ↓ layers, ← → folds, Esc closes" }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Ok(Page { html: page.into_string(), missing, damaged, unfinished, left_out })
}

/// Why figures are not of the networks whose pictures these are, if so.
fn is_of_others(model: &ModelInsights, manifest: &Manifest) -> Option<String> {
    let name = &model.model;
    if *name != manifest.model {
        return Some(format!(
            "The figures of {name} in {FIGURES} are left out: the pictures are of {}.",
            manifest.model
        ));
    }
    let is_other = |own: &&manifest::Fold| {
        let fold = manifest.folds.iter().find(|fold| fold.fold == own.fold);
        fold.is_some_and(|fold| fold.sha256 != own.sha256)
    };
    let other = model.networks.iter().find(is_other)?;
    Some(format!(
        "The figures of {name} in {FIGURES} are left out: they are of another file of fold {} \
         than the pictures.",
        other.fold
    ))
}

/// How far a run has got, by its manifest.
struct Progress {
    /// Images of which there is a picture.
    images: usize,
    /// Pictures of one layer that there are.
    pictures: usize,
    /// How many a whole run has, as far as those that there are tell.
    of: usize,
}

impl Progress {
    fn of(manifest: &Manifest) -> Progress {
        let mut images = BTreeSet::new();
        let mut each: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for picture in &manifest.pictures {
            images.insert(picture.image);
            *each.entry((picture.image, picture.fold)).or_default() += 1;
        }
        let of_one = each.values().copied().max().unwrap_or(0);
        let of = of_one * manifest.folds.len() * manifest.images.len();
        Progress { images: images.len(), pictures: manifest.pictures.len(), of }
    }

    fn in_words(&self, manifest: &Manifest) -> String {
        let Progress { images, pictures, of } = self;
        let all_images = count(manifest.images.len(), "image");
        let there = match of.max(pictures) == pictures {
            true => count(*pictures, "picture"),
            false => format!("{pictures} of {of} pictures"),
        };
        format!(
            "This run has not ended: {there}, of {images} of {all_images}. The same actviz render \
             command, run again, goes on from here."
        )
    }
}

fn summary(manifest: &Manifest, progress: &Progress) -> String {
    let layers = manifest.pictures.iter().map(|picture| picture.layer_position).max().unwrap_or(0);
    let (shown, all) = (progress.images, manifest.images.len());
    let images = if shown == all { all.to_string() } else { format!("{shown} of {all}") };
    format!(
        "Folds: {}. Activation layers: {layers}, deeper ones further down. Images: {images}.",
        manifest.folds.len()
    )
}

fn run(manifest: &Manifest) -> Markup {
    let options = &manifest.options;
    let [width, height] = options.input_size;
    html! {
        section {
            h2 { "What was run" }
            div.scroll { table {
                tr { th { "actviz" } td { (manifest.actviz) ", libtorch " (manifest.libtorch) " on " (manifest.device) } }
                tr { th { "input" } td { (width) " x " (height) " pixels" } }
                tr { th { "layers" } td { (options.layers) } }
                tr { th { "channels" } td { (options.reduce) } }
                tr { th { "scale" } td { (options.scale) ", " (options.colormap) } }
                @for fold in &manifest.folds {
                    tr { th { "fold " (fold.fold) } td { (fold.file) br; small { (fold.sha256) } } }
                }
                @for image in &manifest.images {
                    tr { th { "image" } td { (image.path) br; small { (image.sha256) } } }
                }
                @for failed in &manifest.failed {
                    tr.bad { th { "failed" } td { (failed.problem) } }
                }
            } }
        }
    }
}
