//! The views of one layer: each is a file below, and a line of [`VIEWS`].
//!
//! A new one is a variant of [`View`] (its name in flags and manifests), a file here with its
//! suffix, what it needs and how it draws, and its line. Sheets, which show all layers and
//! folds at once, are drawn by `cross_fold`.

mod grid;
mod heat;
mod overlay;

use ndarray::{Array2, Array3};

use super::capture::LayerCapture;
use super::renderer::{Coloured, PictureRenderer};
use crate::error::Error;
use crate::manifest::Picture;
use crate::picture::View;

/// How a captured layer is drawn.
pub(super) struct LayerView {
    /// Its name.
    pub view: View,
    /// What stands before `.png` in its files' names.
    pub suffix: &'static str,
    /// What it draws, and how.
    pub drawing: Drawing,
}

/// What a view draws.
#[derive(Clone, Copy)]
pub(super) enum Drawing {
    /// Each of the layer's maps.
    Map(fn(&PictureRenderer<'_>, &LayerCapture, &Array2<f32>) -> Result<Coloured, Error>),
    /// All of its channels in one picture.
    Channels(fn(&PictureRenderer<'_>, &LayerCapture, &Array3<f32>) -> DrawnChannels),
}

/// A picture of all channels.
pub(super) struct DrawnChannels {
    pub drawn: Coloured,
    /// The manifest's entry, but for file and view.
    pub entry: Picture,
    /// What stands below the layer's name.
    pub note: String,
}

const VIEWS: [LayerView; 3] = [heat::VIEW, overlay::VIEW, grid::VIEW];

/// Those of the wanted views that show one layer, in the order in which they are wanted.
pub(super) fn wanted(views: &[View]) -> impl Iterator<Item = &'static LayerView> {
    static ALL: [LayerView; VIEWS.len()] = VIEWS;
    views.iter().filter_map(|wanted| ALL.iter().find(|view| view.view == *wanted))
}

/// Whether one of them draws every channel, so that no map is enough.
pub(super) fn need_channels(views: &[View]) -> bool {
    wanted(views).any(|view| matches!(view.drawing, Drawing::Channels(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_views_write_the_same_file() {
        let mut suffixes: Vec<&str> = VIEWS.iter().map(|view| view.suffix).collect();
        suffixes.sort_unstable();
        suffixes.dedup();
        assert_eq!(suffixes.len(), VIEWS.len());
    }

    #[test]
    fn only_grids_need_every_channel() {
        assert!(!need_channels(&[View::Heat, View::Overlay, View::Sheet]));
        assert!(need_channels(&[View::Heat, View::Grid]));
    }
}
