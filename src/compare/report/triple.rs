//! Expected, actual, and ten times their difference.

use std::collections::BTreeMap;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use super::write;
use crate::compare::Report;
use crate::compare::side::is_picture;
use crate::digest;
use crate::error::Error;
use crate::output;

/// How much differences are made larger, so that small ones can be seen.
const GAIN: u8 = 10;
/// What lists the files that a comparison wrote, each with its SHA-256.
pub(super) const LIST: &str = ".actviz-diff.json";
/// Pixels between the three.
const GAP: u32 = 8;

/// The pictures of a failed pair that can be read.
#[derive(Debug, Default)]
pub struct Triple {
    /// From GOLDEN.
    pub expected: Option<RgbImage>,
    /// From NEW.
    pub actual: Option<RgbImage>,
    /// Ten times the absolute difference, if both have one size.
    pub difference: Option<RgbImage>,
}

impl Triple {
    /// Reads both sides of a picture and draws their difference.
    pub fn read(golden: &Path, new: &Path) -> Triple {
        let read = |path: &Path| {
            let bytes = output::read_file(path).ok()?;
            let picture = image::load_from_memory_with_format(&bytes, ImageFormat::Png).ok()?;
            Some(picture.to_rgb8())
        };
        let (expected, actual) = (read(golden), read(new));
        let difference = match (&expected, &actual) {
            (Some(expected), Some(actual)) if expected.dimensions() == actual.dimensions() => {
                Some(difference(expected, actual))
            }
            _ => None,
        };
        Triple { expected, actual, difference }
    }

    /// All three side by side; a missing one leaves its place out.
    pub fn side_by_side(&self) -> RgbImage {
        let parts: Vec<&RgbImage> =
            [&self.expected, &self.actual, &self.difference].into_iter().flatten().collect();
        let gaps = GAP * parts.len().saturating_sub(1) as u32;
        let width = parts.iter().map(|part| part.width()).sum::<u32>() + gaps;
        let height = parts.iter().map(|part| part.height()).max().unwrap_or(0);
        let mut whole = RgbImage::from_pixel(width.max(1), height.max(1), Rgb([255; 3]));
        let mut x = 0;
        for part in parts {
            image::imageops::replace(&mut whole, part, i64::from(x), 0);
            x += part.width() + GAP;
        }
        whole
    }
}

fn difference(expected: &RgbImage, actual: &RgbImage) -> RgbImage {
    let mut picture = expected.clone();
    for (mine, other) in picture.pixels_mut().zip(actual.pixels()) {
        for (value, other) in mine.0.iter_mut().zip(other.0) {
            *value = value.abs_diff(other).saturating_mul(GAIN);
        }
    }
    picture
}

/// A picture as a PNG file's bytes.
///
/// # Errors
/// [`Error::Picture`] if it cannot be encoded.
pub fn png(picture: &RgbImage, name: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Error::Picture { path: name.to_owned(), problem: error.to_string() })?;
    Ok(bytes.into_inner())
}

/// Writes one file for every failed picture, side by side, under its own name. Those of an
/// earlier comparison go: what stands in the folder has failed.
///
/// # Errors
/// [`Error::Io`].
pub fn write_all(report: &Report, folder: &Path) -> Result<usize, Error> {
    remove_earlier(folder);
    let mut written = BTreeMap::new();
    for picture in report.failures() {
        let (golden, new) = report.paths(picture);
        let triple = Triple::read(&golden, &new);
        if triple.expected.is_none() && triple.actual.is_none() {
            continue;
        }
        let file = folder.join(&picture.file);
        let bytes = png(&triple.side_by_side(), &file)?;
        write(&file, &bytes)?;
        written.insert(picture.file.as_str(), digest::of_bytes(&bytes));
    }
    if !written.is_empty() {
        let list = serde_json::to_vec_pretty(&written).unwrap_or_default();
        write(&folder.join(LIST), &list)?;
    }
    Ok(written.len())
}

/// What an earlier comparison wrote into a folder: names, each with its SHA-256.
pub(super) fn earlier(folder: &Path) -> BTreeMap<String, String> {
    let read = output::read_file(&folder.join(LIST)).ok();
    read.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Removes what the list names and is still as it was written. Anything else is someone
/// else's, and a list may come from anywhere.
fn remove_earlier(folder: &Path) {
    let earlier = earlier(folder);
    for (name, sha256) in &earlier {
        let is_own = is_picture(name) && output::is_below(name);
        if !is_own || output::is_behind_a_link(folder, name) {
            continue;
        }
        let file = folder.join(name);
        if output::file_is(&file, sha256).unwrap_or(false) {
            // Gone already is as good as removed; a folder that is not empty stays.
            let _ = std::fs::remove_file(&file);
            if let Some(parent) = file.parent().filter(|parent| *parent != folder) {
                let _ = std::fs::remove_dir(parent);
            }
        }
    }
    if !earlier.is_empty() {
        let _ = std::fs::remove_file(folder.join(LIST));
    }
}
