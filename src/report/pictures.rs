//! The matrix of pictures: layers down, folds across.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{DynamicImage, ImageFormat, imageops::FilterType};
use maud::{Markup, html};

use crate::digest;
use crate::error::Error;
use crate::manifest::{Manifest, Picture};
use crate::output;
use crate::picture::{View, png as own};
use crate::terminal::count;

/// Bytes that the pictures may take before base64 makes a third more of them: what keeps
/// a page below 8 MB.
const BUDGET: usize = 5_000_000;
/// The sides in pixels that are tried, one after another, until all fit.
const SIDES: [u32; 3] = [192, 128, 96];
/// Images on a page at most.
const IMAGES: usize = 12;

/// Missing pictures that are named.
const NAMED: usize = 20;

/// The matrices, and what the manifest promises and cannot be shown.
#[derive(Default)]
pub(super) struct Pictures {
    pub markup: Markup,
    /// Pictures that are not there.
    pub missing: Vec<String>,
    /// Pictures that are there and cannot be read.
    pub damaged: Vec<String>,
}

/// What was measured of one picture, and its PNG; none if it is missing or damaged.
struct Shown<'a> {
    picture: &'a Picture,
    png: Option<Vec<u8>>,
}

/// The matrices of the first images, and all that is missing.
pub(super) fn section(folder: &Path, manifest: &Manifest) -> Result<Pictures, Error> {
    let view = [View::Heat, View::Overlay, View::Grid]
        .into_iter()
        .find(|view| manifest.pictures.iter().any(|picture| picture.view == *view));
    let wanted = |picture: &&Picture| Some(picture.view) == view && picture.image < IMAGES;
    let hashes = hashes(manifest);
    let (mut missing, mut damaged) = (Vec::new(), Vec::new());
    let mut shown = Vec::new();
    for picture in manifest.pictures.iter().filter(wanted) {
        let file = &picture.file;
        let png = match read(folder, file)? {
            Some(png) if is_whole(&png, &picture.sha256) => Some(png),
            Some(_) => {
                damaged.push(file.clone());
                None
            }
            None => {
                missing.push(file.clone());
                None
            }
        };
        shown.push(Shown { picture, png });
    }
    let on_page: BTreeSet<&str> = shown.iter().map(|one| one.picture.file.as_str()).collect();
    for (file, sha256) in hashes.iter().filter(|(file, _)| !on_page.contains(*file)) {
        match read(folder, file) {
            Ok(Some(png)) if is_whole(&png, sha256) => {}
            Ok(None) => missing.push((*file).to_owned()),
            Ok(Some(_)) | Err(_) => damaged.push((*file).to_owned()),
        }
    }
    let elsewhere = hashes.len() - on_page.len();
    fit(&mut shown, folder)?;
    let more = manifest.images.len().saturating_sub(IMAGES);
    let markup = html! {
        @for (what, names) in [("Missing in", &missing), ("Damaged in", &damaged)] {
            @if !names.is_empty() {
                section {
                    p.bad {
                        (what) " the folder: " (names[..names.len().min(NAMED)].join(", "))
                        @if names.len() > NAMED { " and " (names.len() - NAMED) " more" }
                        "."
                    }
                }
            }
        }
        @for (index, image) in manifest.images.iter().enumerate().take(IMAGES) {
            section {
                h2 { "Pictures of " (image.path) }
                (matrix(shown.iter().filter(|one| one.picture.image == index)))
            }
        }
        @if more > 0 { p { "In the folder and not on this page: " (count(more, "more image")) "." } }
        @if elsewhere > 0 {
            p.hint { "In the folder alone: " (count(elsewhere, "more picture")) " of this run. The page shows one view of each layer and fold, no sheets and no consensus." }
        }
    };
    Ok(Pictures { markup, missing, damaged })
}

/// Every picture that the manifest promises, with its SHA-256.
fn hashes(manifest: &Manifest) -> BTreeMap<&str, &str> {
    let pictures = manifest.pictures.iter().map(|p| (p.file.as_str(), p.sha256.as_str()));
    let sheets = manifest.sheets.iter().map(|sheet| (sheet.file.as_str(), sheet.sha256.as_str()));
    let drawn = manifest.consensus.iter().flat_map(|both| [&both.mean, &both.std]);
    let drawn = drawn.map(|drawn| (drawn.file.as_str(), drawn.sha256.as_str()));
    pictures.chain(sheets).chain(drawn).collect()
}

/// Whether a picture is as it was written, or can at least be read to its end.
fn is_whole(png: &[u8], sha256: &str) -> bool {
    digest::of_bytes(png) == sha256 || own::decode(png).is_ok()
}

/// A picture that lies in the folder. A manifest may come from anywhere, and what it names
/// becomes part of a page that is passed on. `None` if it is missing.
fn read(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let file = folder.join(name);
    let strange = |problem: &str| Error::Picture {
        path: file.clone(),
        problem: format!("{problem}; the page would show it"),
    };
    if !output::is_below(name) || output::is_behind_a_link(folder, name) {
        return Err(strange("manifest.json names a file that is not in its folder"));
    }
    let too_long = std::fs::metadata(&file).is_ok_and(|found| found.len() > own::LIMITS.bytes);
    if too_long {
        return Err(strange("manifest.json names a file that is too long for a picture"));
    }
    let png = match output::read_file(&file) {
        Ok(png) => png,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", &file)(error)),
    };
    match png.starts_with(b"\x89PNG\r\n\x1a\n") {
        true => Ok(Some(png)),
        false => Err(strange("manifest.json names a file that is no PNG")),
    }
}

/// Makes the pictures smaller until they fit.
fn fit(shown: &mut [Shown<'_>], folder: &Path) -> Result<(), Error> {
    for side in SIDES {
        if shown.iter().flat_map(|one| &one.png).map(Vec::len).sum::<usize>() <= BUDGET {
            break;
        }
        for one in shown.iter_mut() {
            let bad = |error: image::ImageError| {
                Error::io("read", &folder.join(&one.picture.file))(std::io::Error::other(error))
            };
            let Some(bytes) = &mut one.png else { continue };
            let unreadable = |problem| {
                let path = folder.join(&one.picture.file);
                Error::Picture { path, problem }
            };
            let picture = own::decode(bytes).map_err(unreadable)?;
            if picture.width().max(picture.height()) > side {
                *bytes = png(&picture.resize(side, side, FilterType::Triangle)).map_err(bad)?;
            }
        }
    }
    Ok(())
}

fn png(picture: &DynamicImage) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

fn matrix<'a>(shown: impl Iterator<Item = &'a Shown<'a>>) -> Markup {
    let mut rows: BTreeMap<usize, Vec<&Shown>> = BTreeMap::new();
    let mut folds = BTreeSet::new();
    for one in shown {
        rows.entry(one.picture.layer_position).or_default().push(one);
        folds.insert(one.picture.fold);
    }
    html! {
        div.scroll { table.matrix {
            thead { tr { th { "layer" } @for fold in &folds { th { "fold " (fold) } } } }
            tbody { @for (b, row) in &rows { tr {
                th {
                    @if let Some(one) = row.first() {
                        (b) " " (one.picture.layer)
                        small { (one.picture.height) " x " (one.picture.width) " of " (one.picture.channels) }
                    }
                }
                @for fold in &folds { td {
                    @if let Some(one) = row.iter().find(|one| one.picture.fold == *fold) { (cell(one)) }
                } }
            } } }
        } }
    }
}

fn cell(shown: &Shown<'_>) -> Markup {
    let picture = shown.picture;
    let title = format!("{}, fold {}", picture.layer, picture.fold);
    let values = format!("values {:.3} to {:.3}", picture.low, picture.high);
    html! {
        @match &shown.png {
            Some(png) => img tabindex="0" src={ "data:image/png;base64," (STANDARD.encode(png)) }
                alt=(title) title={ (title) ": " (values) } data-fold=(picture.fold);,
            None => small.bad title=(picture.file) { "missing" },
        }
        @if !picture.flags.is_empty() {
            small.bad { @for flag in &picture.flags { (flag) " " } }
        }
    }
}
