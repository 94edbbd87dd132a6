//! Expected, actual, and ten times their difference.

use std::collections::BTreeMap;
use std::path::Path;

use image::{ImageBuffer, ImageFormat, Rgb, RgbImage, Rgba};
use rayon::prelude::*;

use crate::compare::side::is_picture;
use crate::compare::{PictureComparison, Report};
use crate::digest;
use crate::error::Error;
use crate::output;
use crate::picture::png as own;

/// How much differences are made larger, so that small ones can be seen.
const GAIN: u8 = 10;
/// What lists the files that a comparison wrote, each with its SHA-256.
pub(super) const LIST: &str = ".actviz-diff.json";
/// Pixels of a picture that is shown at most: three of them stand side by side.
const MOST_PIXELS: u64 = 1 << 25;
/// Pictures that are drawn before what they are called and hold is noted.
const AT_ONCE: usize = 32;
/// Pixels between the three.
const GAP: u32 = 8;

/// The pictures of a failed pair that can be read.
#[derive(Debug, Default)]
pub struct DiffImage {
    /// From GOLDEN.
    pub expected: Option<RgbImage>,
    /// From NEW.
    pub actual: Option<RgbImage>,
    /// Ten times the absolute difference, if both have one size.
    pub difference: Option<RgbImage>,
}

impl DiffImage {
    /// Reads both sides of a picture and draws their difference.
    pub fn read(golden: &Path, new: &Path) -> DiffImage {
        let read = |path: &Path| own::decode_within(&own::read(path).ok()?, MOST_PIXELS).ok();
        let (expected, actual) = (read(golden), read(new));
        let difference = match (&expected, &actual) {
            (Some(expected), Some(actual))
                if expected.width() == actual.width() && expected.height() == actual.height() =>
            {
                Some(difference(&expected.to_rgba16(), &actual.to_rgba16()))
            }
            _ => None,
        };
        let [expected, actual] =
            [expected, actual].map(|picture| picture.map(|picture| picture.to_rgb8()));
        DiffImage { expected, actual, difference }
    }

    /// All three side by side, each always in its own place: chequers where there is none.
    pub fn side_by_side(&self) -> RgbImage {
        let parts = [&self.expected, &self.actual, &self.difference];
        let largest = |side: fn(&RgbImage) -> u32| parts.into_iter().flatten().map(side).max();
        let none =
            chequers(largest(RgbImage::width).unwrap_or(0), largest(RgbImage::height).unwrap_or(0));
        let parts = parts.map(|part| part.as_ref().unwrap_or(&none));
        let gaps = GAP * (parts.len() as u32 - 1);
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

type Rgba16Image = ImageBuffer<Rgba<u16>, Vec<u16>>;

/// The difference of each colour; of transparency, that of all three.
fn difference(expected: &Rgba16Image, actual: &Rgba16Image) -> RgbImage {
    RgbImage::from_fn(expected.width(), expected.height(), |x, y| {
        let (mine, other) = (expected.get_pixel(x, y).0, actual.get_pixel(x, y).0);
        let [red, green, blue, alpha] =
            std::array::from_fn(|channel| mine[channel].abs_diff(other[channel]));
        Rgb([red, green, blue].map(|colour| enlarged(colour.max(alpha))))
    })
}

/// Of 65,535 to of 255. One that is there is seen, be it as small as only 16 bits hold.
fn enlarged(difference: u16) -> u8 {
    let large = (u32::from(difference) * u32::from(GAIN)).div_ceil(257).min(255) as u8;
    if difference == 0 { 0 } else { large.max(GAIN) }
}

fn chequers(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let is_dark = (x / GAP + y / GAP) % 2 == 1;
        Rgb([if is_dark { 224 } else { 255 }; 3])
    })
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
    for pictures in report.failures().chunks(AT_ONCE) {
        let drawn = pictures.par_iter().map(|picture| side_by_side(report, picture, folder));
        let drawn: Vec<(&str, Vec<u8>)> =
            drawn.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        written.extend(drawn.iter().map(|(name, bytes)| (*name, digest::of_bytes(bytes))));
        // The list comes first: what a comparison that is killed has written is in it.
        let list = serde_json::to_vec_pretty(&written).unwrap_or_default();
        if !drawn.is_empty() {
            output::write_whole(&folder.join(LIST), &list)?;
        }
        for (name, bytes) in &drawn {
            output::write_whole(&folder.join(name), bytes)?;
        }
    }
    Ok(written.len())
}

/// A failed picture's name, and its file's bytes; none if neither side can be shown.
fn side_by_side<'a>(
    report: &Report,
    picture: &'a PictureComparison,
    folder: &Path,
) -> Result<Option<(&'a str, Vec<u8>)>, Error> {
    let (golden, new) = report.paths(picture);
    let triple = DiffImage::read(&golden, &new);
    if triple.expected.is_none() && triple.actual.is_none() {
        return Ok(None);
    }
    let bytes = png(&triple.side_by_side(), &folder.join(&picture.file))?;
    Ok(Some((&picture.file, bytes)))
}

/// What an earlier comparison wrote into a folder: names, each with its SHA-256.
pub(super) fn earlier(folder: &Path) -> BTreeMap<String, String> {
    let read = output::read_file(&folder.join(LIST)).ok();
    read.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Removes what the list names and is still as it was written. Anything else is someone
/// else's, and a list may come from anywhere.
fn remove_earlier(folder: &Path) {
    // What cannot be removed stays, and hurts nobody.
    let _ = output::remove_leftovers(folder, true);
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
