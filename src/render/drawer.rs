//! Draws what the networks have given, on threads of its own, while the next batch runs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
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
use crate::plan::Plan;
use crate::talk::Talk;

/// What one fold gives for some images.
pub(super) struct Batch {
    pub fold: usize,
    /// The chosen layers.
    pub layers: Vec<Layer>,
    /// By image, then layer: what the network gave.
    pub given: Vec<(usize, Vec<Array3<f32>>)>,
    /// By image and b: what is there already, from an earlier attempt.
    pub left: Vec<((usize, usize), Left)>,
}

/// What an earlier attempt has left of one layer of an image.
pub(super) enum Left {
    Pictures(Vec<Picture>),
    /// Maps that wait on disk.
    Maps(Box<Look>),
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
    /// How many pictures an earlier attempt has left whole.
    pub kept: &'a AtomicUsize,
}

impl Drawer<'_> {
    /// Draws every batch that comes. What can only be drawn when all folds have been seen
    /// waits on disk and is given back.
    pub fn draw_all(self, batches: Receiver<Batch>) -> Result<(Pictures, Vec<Look>), Error> {
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
            for ((image, b), left) in left {
                self.talk.advance(1);
                match left {
                    Left::Pictures(own) => {
                        self.kept.fetch_add(own.len(), Ordering::Relaxed);
                        self.keep(&mut pictures, (image, fold, b), own);
                    }
                    Left::Maps(look) => waiting.push(*look),
                }
            }
            let looks = self.looks(batch, &there);
            if self.plan.is_local() {
                self.draw(&looks, &ranges, &HashMap::new(), &mut pictures)?;
            } else {
                waiting.extend(self.put_away(looks)?);
            }
        }
        Ok((pictures, waiting))
    }

    /// Moves looks to disk, and notes in the journal that they are there.
    fn put_away(&self, mut looks: Vec<Look>) -> Result<Vec<Look>, Error> {
        let mut lines = Vec::with_capacity(looks.len());
        for look in &mut looks {
            look.put_away(&self.started.maps)?;
            lines.push(Line { waiting: look.waiting(), ..self.line(look, Vec::new()) });
            self.talk.advance(1);
        }
        self.started.folder.note(&lines)?;
        Ok(looks)
    }

    fn line(&self, look: &Look, pictures: Vec<Picture>) -> Line {
        Line {
            image: self.plan.images[look.image].label(),
            image_sha256: self.images.sha256(look.image).unwrap_or_default().to_owned(),
            pictures,
            waiting: None,
        }
    }

    /// The looks of a batch, but for those of an image and b that are `there` already.
    fn looks(&self, batch: Batch, there: &HashSet<(usize, usize)>) -> Vec<Look> {
        let Batch { fold, layers, given, .. } = batch;
        let (reduce, grids) = (self.plan.reduce, self.plan.views.contains(&View::Grid));
        let by_layer = given.into_par_iter().flat_map_iter(|(image, given)| {
            given.into_iter().enumerate().map(move |(at, given)| (image, at, given))
        });
        by_layer
            .filter(|(image, at, _)| !there.contains(&(*image, at + 1)))
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
                // What waited was counted when its network had run.
                if self.plan.is_local() {
                    self.talk.advance(1);
                }
                Ok(Some((look, pictures)))
            })
            .collect::<Result<Vec<_>, Error>>();
        drop(turn);
        let drawn = drawn?;
        let drawn: Vec<_> = drawn.into_iter().flatten().collect();
        if self.plan.is_local() {
            let line = |(look, own): &(&Look, Vec<Picture>)| self.line(look, own.clone());
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
            spool: &self.started.maps,
            ranges,
            orders,
            images: self.images,
        }
    }
}
