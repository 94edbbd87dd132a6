//! Draws what the networks have given, on threads of its own, while the next batch runs.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::Receiver;

use ndarray::Array3;
use rayon::prelude::*;

use super::draw::Draw;
use super::images::Images;
use super::look::Look;
use super::ranges::Ranges;
use super::turns::Turns;
use super::{Event, Started};
use crate::error::Error;
use crate::interrupt::Interrupt;
use crate::layers::Layer;
use crate::manifest::Picture;
use crate::output::Line;
use crate::picture::View;
use crate::plan::{self, Plan};
use crate::talk::Talk;

/// What one fold gives for some images.
pub(super) struct Batch {
    pub fold: usize,
    /// The chosen layers.
    pub layers: Vec<Layer>,
    /// By image, then layer: what the network gave.
    pub given: Vec<(usize, Vec<Array3<f32>>)>,
    /// By image and b: what is there already, from an earlier attempt.
    pub whole: Vec<((usize, usize), Vec<Picture>)>,
}

/// By image, fold, b, and place among their views: the manifest's order.
pub(super) type Pictures = BTreeMap<(usize, usize, usize, usize), Picture>;

/// What drawing needs besides the maps.
#[derive(Clone, Copy)]
pub(super) struct Drawer<'a> {
    pub plan: &'a Plan,
    pub started: &'a Started,
    pub images: &'a Images<'a>,
    pub turns: &'a Turns,
    pub talk: &'a Talk,
    pub interrupt: &'a Interrupt,
    pub watch: &'a (dyn Fn(Event<'_>) + Sync),
}

impl Drawer<'_> {
    /// Draws every batch that comes. What can only be drawn when all folds have been seen
    /// waits on disk and is given back.
    pub fn draw_all(self, batches: Receiver<Batch>) -> Result<(Pictures, Vec<Look>), Error> {
        let mut pictures = Pictures::new();
        let mut waiting = Vec::new();
        let ranges = Ranges::local(self.plan.scale, self.plan.clip);
        for batch in batches {
            if self.interrupt.is_set() {
                break;
            }
            let fold = batch.fold;
            for ((image, b), whole) in &batch.whole {
                self.talk.advance(1);
                self.keep(&mut pictures, (*image, fold, *b), whole.clone());
            }
            let looks = self.looks(batch);
            if self.plan.is_local() {
                self.draw(&looks, &ranges, &HashMap::new(), &mut pictures)?;
            } else {
                for mut look in looks {
                    look.put_away(&self.started.spool)?;
                    waiting.push(look);
                }
            }
        }
        Ok((pictures, waiting))
    }

    /// The looks of a batch that are not drawn yet.
    fn looks(&self, batch: Batch) -> Vec<Look> {
        let Batch { fold, layers, given, whole } = batch;
        let (reduce, grids) = (self.plan.reduce, self.plan.views.contains(&View::Grid));
        let missing = |image: usize, b: usize| !whole.iter().any(|(key, _)| *key == (image, b));
        let by_layer = given.into_par_iter().flat_map_iter(|(image, given)| {
            given.into_iter().enumerate().map(move |(at, given)| (image, at, given))
        });
        by_layer
            .filter(|(image, at, _)| missing(*image, at + 1))
            .map(|(image, at, given)| {
                Look::new((image, fold, at + 1), &layers[at], given, reduce, grids)
            })
            .collect()
    }

    /// Draws these looks on all cores, and notes in the journal what is whole then.
    pub fn draw(
        &self,
        looks: &[Look],
        ranges: &Ranges,
        orders: &HashMap<(usize, usize), Vec<usize>>,
        pictures: &mut Pictures,
    ) -> Result<(), Error> {
        let draw = self.drawing(ranges, orders);
        let turn = self.turns.take();
        let drawn = looks
            .par_iter()
            .map(|look| {
                // What is in hand is finished, what is not begun is left.
                if self.interrupt.is_set() {
                    return Ok(None);
                }
                let pictures = draw.look(look)?;
                self.talk.advance(1);
                Ok(Some((look, pictures)))
            })
            .collect::<Result<Vec<_>, Error>>();
        drop(turn);
        let drawn = drawn?;
        let drawn: Vec<_> = drawn.into_iter().flatten().collect();
        if self.plan.is_local() {
            let line = |(look, pictures): &(&Look, Vec<Picture>)| Line {
                image: plan::text(&self.plan.images[look.image].path),
                image_sha256: self.images.sha256(look.image).unwrap_or_default().to_owned(),
                pictures: pictures.clone(),
            };
            self.started.folder.note(&drawn.iter().map(line).collect::<Vec<_>>())?;
        }
        for (look, own) in drawn {
            self.keep(pictures, (look.image, look.fold, look.b), own);
        }
        Ok(())
    }

    fn keep(
        &self,
        pictures: &mut Pictures,
        (image, fold, b): (usize, usize, usize),
        own: Vec<Picture>,
    ) {
        for (place, picture) in own.into_iter().enumerate() {
            // An earlier attempt may have counted its images otherwise.
            let picture = Picture { image, ..picture };
            (self.watch)(Event::Picture(&self.plan.images[image].path, &picture));
            pictures.insert((image, fold, b, place), picture);
        }
    }

    pub fn drawing<'b>(
        &'b self,
        ranges: &'b Ranges,
        orders: &'b HashMap<(usize, usize), Vec<usize>>,
    ) -> Draw<'b> {
        Draw {
            plan: self.plan,
            run: &self.started.run,
            input: &self.started.input,
            folder: &self.started.folder,
            spool: &self.started.spool,
            ranges,
            orders,
            images: self.images,
        }
    }
}
