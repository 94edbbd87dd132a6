//! Draws what the networks have given, on threads of its own, while the next batch runs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use ndarray::Array3;
use rayon::prelude::*;

use super::capture::{LayerCapture, PictureKey};
use super::cpu_gate::CpuGate;
use super::images::Images;
use super::ranges::Ranges;
use super::renderer::PictureRenderer;
use super::views;
use super::{Event, RunContext};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::layers::Layer;
use crate::manifest::Picture;
use crate::output::JournalEntry;
use crate::plan::Plan;
use crate::terminal::Reporter;

/// What one fold gives for some images.
pub(super) struct Batch {
    pub fold: usize,
    /// The chosen layers.
    pub layers: Vec<Layer>,
    /// By image, then layer: what the network gave.
    pub given: Vec<(usize, Vec<Array3<f32>>)>,
    /// By image and b: what is there already, from an earlier attempt.
    pub left: Vec<((usize, usize), Resumed)>,
}

/// What an earlier attempt has left of one layer of an image.
pub(super) enum Resumed {
    Pictures(Vec<Picture>),
    /// Maps that wait on disk.
    Maps(Box<LayerCapture>),
}

/// By key, and place among the key's views: the manifest's order.
pub(super) type Pictures = BTreeMap<(PictureKey, usize), Picture>;

/// What drawing needs besides the maps.
#[derive(Clone, Copy)]
pub(super) struct RenderWorker<'a> {
    pub plan: &'a Plan,
    pub context: &'a RunContext,
    pub images: &'a Images<'a>,
    pub gate: &'a CpuGate,
    pub reporter: &'a Reporter,
    pub interrupt: &'a Interrupt,
    pub watch: &'a (dyn Fn(Event<'_>) + Sync),
    /// How many pictures an earlier attempt has left whole.
    pub kept: &'a AtomicUsize,
}

impl RenderWorker<'_> {
    /// Draws every batch that comes. What can only be drawn when all folds have been seen
    /// waits on disk and is given back.
    pub fn draw_all(
        self,
        batches: Receiver<Batch>,
    ) -> Result<(Pictures, Vec<LayerCapture>), Error> {
        let mut pictures = Pictures::new();
        let mut waiting = Vec::new();
        let ranges = Ranges::local(self.plan.scale, self.plan.clip);
        for mut batch in batches {
            // To put maps away takes no time, and saves the network's.
            if self.interrupt.is_set() && self.plan.is_local() {
                break;
            }
            let fold = batch.fold;
            let left = std::mem::take(&mut batch.left);
            let there: HashSet<(usize, usize)> = left.iter().map(|(place, _)| *place).collect();
            for ((image, layer_position), left) in left {
                self.reporter.advance(1);
                match left {
                    Resumed::Pictures(own) => {
                        self.kept.fetch_add(own.len(), Ordering::Relaxed);
                        let key = PictureKey { image, fold, layer_position };
                        self.keep(&mut pictures, key, own);
                    }
                    Resumed::Maps(capture) => waiting.push(*capture),
                }
            }
            let captures = self.captures(batch, &there);
            if self.plan.is_local() {
                self.draw(&captures, &ranges, &HashMap::new(), &mut pictures)?;
            } else {
                waiting.extend(self.spool_away(captures)?);
            }
        }
        Ok((pictures, waiting))
    }

    /// Moves looks to disk, and notes in the journal that they are there.
    fn spool_away(&self, mut captures: Vec<LayerCapture>) -> Result<Vec<LayerCapture>, Error> {
        let mut lines = Vec::with_capacity(captures.len());
        for capture in &mut captures {
            capture.spool_away(&self.context.maps)?;
            lines.push(JournalEntry {
                waiting: capture.waiting(),
                ..self.line(capture, Vec::new())
            });
            self.reporter.advance(1);
        }
        if self.plan.sync {
            self.context.maps.sync()?;
        }
        self.context.folder.note(&lines)?;
        Ok(captures)
    }

    fn line(&self, capture: &LayerCapture, pictures: Vec<Picture>) -> JournalEntry {
        JournalEntry {
            image: self.plan.images[capture.image].label(),
            image_sha256: self.images.sha256(capture.image).unwrap_or_default().to_owned(),
            pictures,
            waiting: None,
        }
    }

    /// The looks of a batch, but for those of an image and b that are `there` already.
    fn captures(&self, batch: Batch, there: &HashSet<(usize, usize)>) -> Vec<LayerCapture> {
        let Batch { fold, layers, given, .. } = batch;
        let (reduce, grids) = (self.plan.reduce, views::need_channels(&self.plan.views));
        let by_layer = given.into_par_iter().flat_map_iter(|(image, given)| {
            given.into_iter().enumerate().map(move |(at, given)| (image, at, given))
        });
        by_layer
            .filter(|(image, at, _)| !there.contains(&(*image, at + 1)))
            .map(|(image, at, given)| {
                let key = PictureKey { image, fold, layer_position: at + 1 };
                LayerCapture::new(key, &layers[at], given, reduce, grids)
            })
            .collect()
    }

    /// Draws these looks on all cores, and notes in the journal what is whole then.
    pub fn draw(
        &self,
        captures: &[LayerCapture],
        ranges: &Ranges,
        orders: &HashMap<(usize, usize), Vec<usize>>,
        pictures: &mut Pictures,
    ) -> Result<(), Error> {
        let draw = self.drawing(ranges, orders);
        let turn = self.gate.take();
        let drawn = captures
            .par_iter()
            .map(|capture| {
                // What is in hand is finished, what is not begun is left.
                if self.interrupt.is_set() {
                    return Ok(None);
                }
                let pictures = draw.layer(capture)?;
                // What waited was counted when its network had run.
                if self.plan.is_local() {
                    self.reporter.advance(1);
                }
                Ok(Some((capture, pictures)))
            })
            .collect::<Result<Vec<_>, Error>>();
        drop(turn);
        let drawn = drawn?;
        let drawn: Vec<_> = drawn.into_iter().flatten().collect();
        if self.plan.is_local() {
            let line =
                |(capture, own): &(&LayerCapture, Vec<Picture>)| self.line(capture, own.clone());
            self.context.folder.note(&drawn.iter().map(line).collect::<Vec<_>>())?;
        }
        for (capture, own) in drawn {
            self.keep(pictures, capture.key(), own);
        }
        Ok(())
    }

    fn keep(&self, pictures: &mut Pictures, key: PictureKey, own: Vec<Picture>) {
        for (place, picture) in own.into_iter().enumerate() {
            // An earlier attempt may have counted its images otherwise.
            let picture = Picture { image: key.image, ..picture };
            (self.watch)(Event::Picture(&self.plan.images[key.image].path, &picture));
            pictures.insert((key, place), picture);
        }
    }

    pub fn drawing<'b>(
        &'b self,
        ranges: &'b Ranges,
        orders: &'b HashMap<(usize, usize), Vec<usize>>,
    ) -> PictureRenderer<'b> {
        PictureRenderer {
            plan: self.plan,
            run: &self.context.run,
            input: &self.context.input,
            folder: &self.context.folder,
            spool: &self.context.maps,
            ranges,
            orders,
            images: self.images,
        }
    }
}
