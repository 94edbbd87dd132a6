//! Expected, actual, and ten times their difference.

use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use super::write;
use crate::compare::Report;
use crate::error::Error;

/// How much differences are made larger, so that small ones can be seen.
const GAIN: u8 = 10;
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
            let bytes = std::fs::read(path).ok()?;
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

/// Writes one file for every failed picture, side by side, under its own name.
///
/// # Errors
/// [`Error::Io`].
pub fn write_all(report: &Report, folder: &Path) -> Result<usize, Error> {
    let mut written = 0;
    for picture in report.failures() {
        let (golden, new) = report.paths(picture);
        let triple = Triple::read(&golden, &new);
        if triple.expected.is_none() && triple.actual.is_none() {
            continue;
        }
        let file = folder.join(&picture.file);
        write(&file, &png(&triple.side_by_side(), &file)?)?;
        written += 1;
    }
    Ok(written)
}
