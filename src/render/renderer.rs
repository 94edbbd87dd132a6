//! Captured layers -> pictures, as files with their entries.

use std::collections::HashMap;

use ndarray::Array2;

use super::capture::{LayerCapture, ReducedMap};
use super::images::Images;
use super::ranges::{Kind, Ranges};
use super::views::{self, Drawing, DrawnChannels};
use crate::about::About;
use crate::bundle::Input;
use crate::colormap::Colours;
use crate::digest;
use crate::engine::Reduce;
use crate::error::Error;
use crate::manifest::{Fold, Image, Manifest, Picture};
use crate::maps::{self, Flag};
use crate::output::Folder;
use crate::picture::legend::Caption;
use crate::picture::sheet::Cell;
use crate::picture::{Rgb, View, heat, legend, png};
use crate::plan::Plan;
use crate::reduction::Reduction;
use crate::scale::{Range, Scale};
use crate::spool::Spool;

/// All that drawing needs to know of a run.
pub(super) struct PictureRenderer<'a> {
    pub plan: &'a Plan,
    pub run: &'a Manifest,
    pub input: &'a Input,
    pub folder: &'a Folder,
    pub spool: &'a Spool,
    pub ranges: &'a Ranges,
    /// The grids' order of channels by (fold, b), where the folds are aligned.
    pub orders: &'a HashMap<(usize, usize), Vec<usize>>,
    pub images: &'a Images<'a>,
}

/// A map's picture with the colours that it is drawn in.
pub(super) struct Coloured {
    pub colours: Colours,
    pub heat: Rgb,
    pub flags: Vec<Flag>,
}

impl PictureRenderer<'_> {
    /// Draws and writes every view of a captured layer that is wanted.
    pub fn layer(&self, capture: &LayerCapture) -> Result<Vec<Picture>, Error> {
        let mut pictures = Vec::new();
        for part in &capture.parts {
            let map = part.map(self.spool)?;
            let raw = self.raw(self.file(capture, part.rank, "", "npy"), &map)?;
            for view in views::wanted(&self.plan.views) {
                let Drawing::Map(draw) = view.drawing else { continue };
                let drawn = draw(self, capture, &map)?;
                let mut entry = self.entry(capture, part, &map, &drawn);
                entry.file = self.file(capture, part.rank, view.suffix, "png");
                entry.view = view.view;
                (entry.raw, entry.raw_sha256) = raw.clone().unzip();
                let how = self.plan.reduce.in_words(entry.channels, part.channel);
                let note = format!("fold {}: {how}", capture.fold);
                pictures.push(self.write(capture, entry, &drawn, &note)?);
            }
        }
        let Some(channels) = &capture.channels else { return Ok(pictures) };
        for view in views::wanted(&self.plan.views) {
            let Drawing::Channels(draw) = view.drawing else { continue };
            let DrawnChannels { drawn, mut entry, note } =
                draw(self, capture, &*channels.get(self.spool)?);
            entry.file = self.file(capture, 0, view.suffix, "png");
            entry.view = view.view;
            let note = format!("fold {}: {note}", capture.fold);
            pictures.push(self.write(capture, entry, &drawn, &note)?);
        }
        Ok(pictures)
    }

    /// Writes a map's numbers, if that is wanted; gives the file's name and SHA-256.
    pub fn raw(&self, name: String, map: &Array2<f32>) -> Result<Option<(String, String)>, Error> {
        if !self.plan.raw {
            return Ok(None);
        }
        let bytes = npy(map).map_err(|e| self.unwritable(&name, &e))?;
        self.folder.write(&name, &bytes)?;
        Ok(Some((name, digest::of_bytes(&bytes))))
    }

    /// The heatmap of a map and its colours.
    pub fn coloured(
        &self,
        capture: &LayerCapture,
        map: &Array2<f32>,
        size: (usize, usize),
    ) -> Coloured {
        let own = map.iter().copied();
        let range = self.ranges.of((capture.fold, capture.layer_position), Kind::Map, own);
        let colours = self.colours(range, self.plan.reduce.is_signed(&capture.layer));
        self.in_colours(map, colours, self.flags(capture, map), size)
    }

    /// What is to be said of a layer's map, or of the folds' mean of it.
    pub fn flags(&self, capture: &LayerCapture, map: &Array2<f32>) -> Vec<Flag> {
        match self.plan.reduce {
            Reduction::Whole(Reduce::Std) | Reduction::Pca if capture.layer.is_spatial() => {
                maps::flags_of_differences(map.view())
            }
            _ => maps::flags(map.view()),
        }
    }

    /// The colours for a range, which stays as it is if the user has fixed it, of values
    /// that can be below zero or cannot.
    pub fn colours(&self, range: Range, is_signed: bool) -> Colours {
        let colormap = self.plan.colormap.of(is_signed);
        match self.plan.scale {
            Scale::Fixed(_) => colormap.colours_within(range),
            _ => colormap.colours(range),
        }
    }

    /// A map in these colours, marked with these flags.
    pub fn in_colours(
        &self,
        map: &Array2<f32>,
        colours: Colours,
        flags: Vec<Flag>,
        size: (usize, usize),
    ) -> Coloured {
        let heat = heat(map.view(), &colours, &flags, size, self.plan.interpolation);
        Coloured { colours, heat, flags }
    }

    /// The size of a map's picture, width and height.
    pub fn size(&self, map: &Array2<f32>) -> (usize, usize) {
        self.plan.size.of((map.ncols(), map.nrows()), (self.input.width, self.input.height))
    }

    /// `NAME/a_b.SUFFIX.png`
    fn file(&self, capture: &LayerCapture, rank: usize, suffix: &str, ending: &str) -> String {
        let prefix = &self.plan.images[capture.image].prefix;
        let rank = if rank > 0 { format!(".top{rank}") } else { String::new() };
        format!("{prefix}{}_{}{rank}{suffix}.{ending}", capture.fold, capture.layer_position)
    }

    /// The manifest's entry of a map, but for file and view.
    pub fn entry(
        &self,
        capture: &LayerCapture,
        part: &ReducedMap,
        map: &Array2<f32>,
        drawn: &Coloured,
    ) -> Picture {
        let found = maps::statistics(map.view());
        Picture {
            channel: part.channel,
            height: map.nrows(),
            width: map.ncols(),
            colormap: drawn.colours.colormap,
            low: drawn.colours.range.low,
            high: drawn.colours.range.high,
            mean: found.mean,
            std: found.std,
            zeros: found.zeros,
            non_finite: found.non_finite,
            flags: drawn.flags.clone(),
            ..blank(self.plan, capture)
        }
    }

    fn write(
        &self,
        capture: &LayerCapture,
        mut entry: Picture,
        drawn: &Coloured,
        note: &str,
    ) -> Result<Picture, Error> {
        let fold = self.run.folds.iter().find(|fold| fold.fold == capture.fold);
        let folds: Vec<Fold> = fold.cloned().into_iter().collect();
        let about = About::new(self.run, &folds, self.image(capture.image)).with_picture(&entry);
        entry.sha256 = self.save(&entry.file, &about, drawn, (&capture.layer.name, note))?;
        Ok(entry)
    }

    /// Encodes and writes a picture, with its legend (title and note) if that is wanted;
    /// gives the file's SHA-256.
    pub fn save(
        &self,
        file: &str,
        about: &About,
        drawn: &Coloured,
        (title, note): (&str, &str),
    ) -> Result<String, Error> {
        let caption = Caption { title, note, flags: &drawn.flags };
        let legend = || legend::with_legend(&drawn.heat, &caption, &drawn.colours);
        let legend = self.plan.legend.then(legend);
        self.save_plain(file, legend.as_ref().unwrap_or(&drawn.heat), &about.to_json())
    }

    /// Encodes and writes a picture as it is; gives the file's SHA-256.
    pub fn save_plain(&self, name: &str, picture: &Rgb, about: &str) -> Result<String, Error> {
        let bytes = png::encode(picture, about).map_err(|error| self.unwritable(name, &error))?;
        self.folder.write(name, &bytes)?;
        Ok(digest::of_bytes(&bytes))
    }

    /// The manifest's entry of an image.
    pub fn image(&self, image: usize) -> Image {
        Image {
            sha256: self.images.sha256(image).unwrap_or_default().to_owned(),
            ..self.run.images[image].clone()
        }
    }

    /// The cell of a sheet.
    pub fn cell(
        &self,
        capture: &LayerCapture,
        size: (usize, usize),
    ) -> Result<Option<Cell>, Error> {
        let Some(part) = capture.parts.first() else { return Ok(None) };
        let Coloured { colours, heat, flags } =
            self.coloured(capture, &part.map(self.spool)?, size);
        Ok(Some(Cell { heat, colours, flags }))
    }

    fn unwritable(&self, name: &str, problem: &dyn std::fmt::Display) -> Error {
        let source = std::io::Error::other(problem.to_string());
        Error::io("encode", &self.plan.out.join(name))(source)
    }
}

/// The manifest's entry, as far as it is known before the network runs.
pub(super) fn blank(plan: &Plan, capture: &LayerCapture) -> Picture {
    let (channels, height, width) = match capture.layer.shape[..] {
        [channels, height, width] if capture.layer.is_spatial() => (channels, height, width),
        _ => (1, 0, 0),
    };
    Picture {
        file: format!(
            "{}{}_{}.png",
            plan.images[capture.image].prefix, capture.fold, capture.layer_position
        ),
        sha256: String::new(),
        raw: None,
        raw_sha256: None,
        view: View::Heat,
        image: capture.image,
        fold: capture.fold,
        layer_position: capture.layer_position,
        layer: capture.layer.name.clone(),
        operator: capture.layer.operator.clone(),
        channels,
        channel: None,
        order: None,
        height,
        width,
        reduce: plan.reduce.to_string(),
        colormap: plan.colormap,
        low: 0.0,
        high: 0.0,
        mean: 0.0,
        std: 0.0,
        zeros: 0.0,
        non_finite: 0,
        flags: Vec::new(),
    }
}

/// A map as the bytes of a NumPy file.
fn npy(map: &Array2<f32>) -> Result<Vec<u8>, ndarray_npy::WriteNpyError> {
    use ndarray_npy::WriteNpyExt;
    let mut bytes = Vec::new();
    map.write_npy(&mut bytes)?;
    Ok(bytes)
}
