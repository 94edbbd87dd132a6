//! The black and white that pictures share.

use std::collections::BTreeMap;

use super::capture::LayerCapture;
use crate::error::Error;
use crate::scale::{Range, Scale};
use crate::spool::Spool;

/// What is drawn to one scale: maps with maps, grids with grids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Map,
    Grid,
}

/// The ranges of a run.
#[derive(Debug)]
pub(super) struct Ranges {
    scale: Scale,
    clip: f32,
    shared: BTreeMap<(usize, usize, Kind), Range>,
}

impl Ranges {
    /// For scales that look at one map at a time.
    pub fn local(scale: Scale, clip: f32) -> Ranges {
        Ranges { scale, clip, shared: BTreeMap::new() }
    }

    /// With the ranges that several pictures share. One group's values are in memory at
    /// a time.
    pub fn shared(
        scale: Scale,
        clip: f32,
        captures: &[LayerCapture],
        spool: &Spool,
    ) -> Result<Ranges, Error> {
        let mut ranges = Ranges::local(scale, clip);
        let mut groups: BTreeMap<(usize, usize), Vec<&LayerCapture>> = BTreeMap::new();
        for capture in captures {
            if let Some(group) = ranges.group(capture.fold, capture.layer_position) {
                groups.entry(group).or_default().push(capture);
            }
        }
        for ((fold, b), captures) in groups {
            let mut maps = Gathered::new(clip);
            let mut grids = Gathered::new(clip);
            for capture in captures {
                for part in &capture.parts {
                    maps.add(part.map(spool)?.into_iter());
                }
                if let Some(channels) = &capture.channels {
                    grids.add(channels.get(spool)?.iter().copied());
                }
            }
            ranges.shared.insert((fold, b, Kind::Map), maps.range());
            ranges.shared.insert((fold, b, Kind::Grid), grids.range());
        }
        Ok(ranges)
    }

    /// Fold (or [`ALL_FOLDS`]) and b of the pictures that share a range.
    fn group(&self, fold: usize, b: usize) -> Option<(usize, usize)> {
        match self.scale {
            Scale::Map | Scale::Fixed(_) => None,
            Scale::Layer => Some((fold, b)),
            Scale::Folds => Some((ALL_FOLDS, b)),
        }
    }

    /// The range for these values of this fold and layer.
    pub fn of(
        &self,
        (fold, b): (usize, usize),
        kind: Kind,
        own: impl Iterator<Item = f32>,
    ) -> Range {
        if let Scale::Fixed(range) = self.scale {
            return range;
        }
        let shared = self.group(fold, b).and_then(|(fold, b)| self.shared.get(&(fold, b, kind)));
        shared.copied().unwrap_or_else(|| Range::of(own, self.clip))
    }
}

/// What stands in a fold's place for what is of all of them.
pub(super) const ALL_FOLDS: usize = 0;

/// The values of a group: all of them for percentiles, else their ends alone.
struct Gathered {
    clip: f32,
    values: Vec<f32>,
}

impl Gathered {
    fn new(clip: f32) -> Gathered {
        Gathered { clip, values: Vec::new() }
    }

    fn add(&mut self, values: impl Iterator<Item = f32>) {
        let finite = values.filter(|value| value.is_finite());
        if self.clip > 0.0 {
            self.values.extend(finite);
        } else {
            let mut finite = finite.peekable();
            if finite.peek().is_some() {
                let Range { low, high } = Range::of(finite, 0.0);
                self.values.extend([low, high]);
            }
        }
    }

    fn range(self) -> Range {
        Range::of(self.values.into_iter(), self.clip)
    }
}
