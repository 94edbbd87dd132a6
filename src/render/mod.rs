//! Carries a plan out: every fold, every image, every chosen layer.
//!
//! Three things happen at once, and wait for each other so that memory does not grow:
//! the next images are read (`images`), the network at hand runs, and what it gave before
//! is drawn (`drawer`; on the processor, these two take `turns`).
//!
//! A picture is drawn as soon as its layer has run, if nothing else is needed for it;
//! what needs the other images or folds (a shared scale, a consensus, sheets) waits on
//! disk until all of them have been seen.

mod draw;
mod drawer;
mod failures;
mod images;
mod look;
mod ranges;
mod together;
mod turns;

use std::collections::HashMap;
use std::path::Path;
use std::slice::Iter;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use indicatif::HumanCount;
use ndarray::{Array3, Array4};
use rayon::prelude::*;

use crate::bundle::{FoldFile, Input};
use crate::engine::{self, Engine, LayerId, Network, Output, Probe, Taps};
use crate::error::{EXIT_TRY_AGAIN, Error};
use crate::input::Prepared;
use crate::interrupt::Interrupt;
use crate::layers::{Layer, same_in_all_folds};
use crate::manifest::{self, Failed, Manifest, Picture};
use crate::output::{Folder, Kept};
use crate::picture::grid::Order;
use crate::picture::{Rgb, View};
use crate::plan::Plan;
use crate::reduction;
use crate::spool::Spool;
use crate::talk::Talk;

use drawer::{Batch, Drawer, Left, Pictures};
use failures::Failures;
use images::Images;
use look::Look;
use ranges::Ranges;
use turns::Turns;

/// What happens during a run, for whoever wants to watch.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A picture of this image is there, whole.
    Picture(&'a Path, &'a Picture),
    /// Something could not be done.
    Failed(&'a Failed),
}

/// A network that is ready to be drawn.
struct Opened {
    network: Box<dyn Network>,
    input: Input,
    /// The chosen layers, in order.
    layers: Vec<Layer>,
}

/// What is known once the first fold is open.
struct Started {
    folder: Folder,
    /// What earlier attempts have left.
    kept: Kept,
    /// The images' pixels, for the other folds.
    pixels: Spool,
    /// The maps that wait for those of other images.
    maps: Spool,
    /// The manifest without pictures.
    run: Manifest,
    input: Input,
}

/// What a run would write. The pictures are named one by one: there may be millions.
#[derive(Debug)]
pub struct Rehearsal<'a> {
    plan: &'a Plan,
    /// The manifest without pictures.
    pub run: Manifest,
    /// Every fold's layers, in order.
    layers: Vec<Look>,
}

impl Rehearsal<'_> {
    /// Tells of each heatmap as far as it is known, in the manifest's order: by image, fold
    /// and layer.
    ///
    /// # Errors
    /// The first one of `tell`.
    pub fn each_picture<E>(
        mut self,
        mut tell: impl FnMut(&Picture) -> Result<(), E>,
    ) -> Result<(), E> {
        for image in 0..self.plan.images.len() {
            for look in &mut self.layers {
                look.image = image;
                let mut picture = draw::blank(self.plan, look);
                picture.raw = self.plan.raw.then(|| picture.file.replace(".png", ".npy"));
                tell(&picture)?;
            }
        }
        Ok(())
    }
}

/// A plan under way.
pub struct Render<'a> {
    plan: &'a Plan,
    engine: &'a dyn Engine,
    talk: &'a Talk,
    interrupt: &'a Interrupt,
    /// The first fold that was opened, with all of its layers.
    first: Option<(usize, Vec<Layer>)>,
    /// Why a fold could not be opened, if that may change by itself.
    try_again: Option<Error>,
}

impl<'a> Render<'a> {
    /// Nothing has been read or written yet.
    pub fn new(
        plan: &'a Plan,
        engine: &'a dyn Engine,
        talk: &'a Talk,
        interrupt: &'a Interrupt,
    ) -> Render<'a> {
        Render { plan, engine, talk, interrupt, first: None, try_again: None }
    }

    /// Opens every fold, to say which heatmaps would be written, without writing.
    ///
    /// # Errors
    /// Whatever would keep the run from starting.
    pub fn rehearse(mut self) -> Result<Rehearsal<'a>, Error> {
        let mut would: Option<Manifest> = None;
        let mut layers = Vec::new();
        for fold in &self.plan.model.folds {
            let opened = self.ready(fold)?;
            would.get_or_insert_with(|| self.plan.configuration(self.engine, &opened.input));
            for (position, layer) in opened.layers.iter().enumerate() {
                let (place, nothing) = ((0, fold.fold, position + 1), Array3::zeros((1, 1, 1)));
                layers.push(Look::new(place, layer, nothing, Default::default(), false));
            }
        }
        let run = would.ok_or_else(|| Error::usage("there is no fold to look at"))?;
        self.plan.check_output(&run)?;
        Ok(Rehearsal { plan: self.plan, run, layers })
    }

    /// Runs every fold and writes everything; a fold or image that fails does not stop
    /// the rest. `watch` is told of each picture and failure, `show` gets the sheets, if
    /// there are any. An interruption ends it early; the manifest says so.
    ///
    /// # Errors
    /// Whatever leaves nothing to write, or ends all writing (a full disk).
    pub fn run(
        mut self,
        watch: &(dyn Fn(Event<'_>) + Sync),
        show: impl FnMut(&Rgb),
    ) -> Result<Manifest, Error> {
        let plan = self.plan;
        let (images, turns) = (Images::new(plan), Turns::on(self.engine.runtime().device));
        let failures = Failures::new(plan, self.talk, watch);
        let (started, kept) = (OnceLock::new(), AtomicUsize::new(0));
        let drawn = thread::scope(|scope| {
            let mut folds = plan.model.folds.iter();
            let Some((fold, opened)) = self.next(&mut folds, &failures)? else { return Ok(None) };
            let run = self.start(&opened)?;
            let started = started.get_or_init(|| run);
            let (talk, interrupt) = (self.talk, self.interrupt);
            let (images, turns, kept) = (&images, &turns, &kept);
            let drawer = Drawer { plan, started, images, turns, talk, interrupt, watch, kept };
            let (batches, received) = sync_channel(1);
            let drawing = scope.spawn(move || drawer.draw_all(received));
            let ran = self.all_folds(
                (fold, opened),
                &mut folds,
                &Run { started, images, failures: &failures, turns, batches },
            );
            let drawn = drawing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            ran.map(|()| Some((drawer, drawn)))
        });
        let Some((drawer, (mut pictures, waiting))) = drawn? else {
            self.talk.stop();
            let nothing = || nothing_done("no fold could be run");
            return Err(self.try_again.take().unwrap_or_else(nothing));
        };
        let mut manifest = drawer.started.run.clone();
        if !plan.is_local() && !self.interrupt.is_set() {
            self.together(&drawer, &waiting, &mut manifest, &mut pictures, show)?;
        }
        self.talk.stop();
        let kept = kept.into_inner();
        if kept > 0 {
            let made = HumanCount((pictures.len() - kept) as u64);
            self.talk.note(format!("{} kept, {made} made", HumanCount(kept as u64)));
        }
        if let Some(note) = images.note_of_frames() {
            self.talk.note(note);
        }
        for (place, image) in manifest.images.iter_mut().enumerate() {
            image.sha256 = images.sha256(place).unwrap_or_default().to_owned();
        }
        manifest.pictures = pictures.into_values().collect();
        manifest.interrupted = self.interrupt.is_set() || (plan.fail_fast && !failures.is_empty());
        manifest.failed = failures.into_list();
        let is_empty = manifest.files().len() == 1;
        // A shard may have no images, and says so when all of them failed.
        if is_empty && manifest.shard.is_none() && !self.interrupt.is_set() {
            return Err(nothing_done("no image could be drawn"));
        }
        // Whatever borrows it is gone: the folder can be closed.
        let Some(Started { folder, .. }) = started.into_inner() else { return Ok(manifest) };
        match manifest.interrupted {
            true if is_empty => {}
            true => folder.pause(&manifest)?,
            false => folder.finish(&manifest)?,
        }
        Ok(manifest)
    }

    /// Whether the run is to end before its time.
    fn is_over(&self, failures: &Failures<'_>) -> bool {
        self.interrupt.is_set() || (self.plan.fail_fast && !failures.is_empty())
    }

    fn start(&mut self, opened: &Opened) -> Result<Started, Error> {
        let mut run = self.plan.configuration(self.engine, &opened.input);
        self.plan.check_output(&run)?;
        let digests = self.plan.model.folds.par_iter().map(FoldFile::digest);
        for (fold, sha256) in run.folds.iter_mut().zip(digests.collect::<Result<Vec<_>, _>>()?) {
            fold.sha256 = sha256;
        }
        let (folder, kept) = Folder::open(&self.plan.out, &run)?;
        let kept = if self.plan.force { Kept::default() } else { kept };
        let looks = self.plan.model.folds.len() * self.plan.images.len() * opened.layers.len();
        self.talk.start(looks as u64, self.plan.unit());
        let pixels = Spool::unnamed(&self.plan.out)?;
        let maps = match self.plan.is_local() {
            true => Spool::unnamed(&self.plan.out)?,
            false => Spool::named(&folder.maps(), !kept.is_empty())?,
        };
        Ok(Started { folder, kept, pixels, maps, run, input: opened.input.clone() })
    }

    /// The next fold that can be opened; those that cannot are reported.
    fn next<'b>(
        &mut self,
        folds: &mut Iter<'b, FoldFile>,
        failures: &Failures<'_>,
    ) -> Result<Option<(&'b FoldFile, Opened)>, Error> {
        while !self.is_over(failures) {
            let Some(fold) = folds.next() else { break };
            self.talk.now(format!("fold {}", fold.fold));
            match self.ready(fold) {
                Ok(opened) => return Ok(Some((fold, opened))),
                Err(_) if self.interrupt.is_set() => break,
                Err(error) if self.plan.model.folds.len() > 1 && error.is_of_one_fold() => {
                    failures.add(Some(fold.fold), None, &error);
                    if error.exit_code() == EXIT_TRY_AGAIN {
                        self.try_again = Some(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn ready(&mut self, fold: &FoldFile) -> Result<Opened, Error> {
        let mut network = self.engine.open(&fold.open()?, Taps::Activations)?;
        let input = self.plan.input.resolve(network.as_ref(), &fold.file)?;
        let all = network.layers(input.shape())?;
        match &self.first {
            None => self.first = Some((fold.fold, all.clone())),
            Some((first, expected)) => same_in_all_folds((*first, expected), (fold.fold, &all))?,
        }
        let picked = self.plan.layers.pick(&all, &self.plan.model.layers)?;
        let layers: Vec<Layer> = picked.into_iter().map(|position| all[position].clone()).collect();
        layers.iter().try_for_each(|layer| self.plan.reduce.check(layer))?;
        Ok(Opened { network, input, layers })
    }

    fn all_folds<'b>(
        &mut self,
        first: (&'b FoldFile, Opened),
        folds: &mut Iter<'b, FoldFile>,
        run: &Run<'_>,
    ) -> Result<(), Error> {
        let mut current = Some(first);
        while let Some((fold, opened)) = current {
            if !self.one_fold(fold.fold, opened, run)? {
                break;
            }
            current = self.next(folds, run.failures)?;
        }
        Ok(())
    }

    /// Runs all images through one fold; false if nobody wants the rest.
    fn one_fold(&self, fold: usize, mut opened: Opened, run: &Run<'_>) -> Result<bool, Error> {
        let (todo, left) = self.look_for_whole(fold, &opened.layers, run);
        let layers = &opened.layers.clone();
        let probe = match self.plan.views.contains(&View::Grid) {
            true => Probe::Channels,
            false => self.plan.reduce.probe(),
        };
        let probes: Vec<(LayerId, Probe)> =
            layers.iter().map(|layer| (layer.name.clone(), probe)).collect();
        let input = opened.input.clone();
        let send = |given, left| {
            let layers = layers.clone();
            run.batches.send(Batch { fold, layers, given, left }).is_ok()
        };
        let (done, mut unfinished): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|((image, _), _)| !todo.iter().flatten().any(|i| i == image));
        if !done.is_empty() && !send(Vec::new(), done) {
            return Ok(false);
        }
        thread::scope(|scope| {
            // One batch waits, one is being read.
            let (reads, ready): (SyncSender<_>, Receiver<_>) = sync_channel(1);
            let (input, todo) = (&input, &todo);
            scope.spawn(move || {
                for batch in todo {
                    let read = run.images.prepare(batch, input, &run.started.pixels, run.failures);
                    if reads.send((batch, read)).is_err() {
                        break;
                    }
                }
            });
            for (batch, ready) in ready {
                let ready = ready?;
                if self.is_over(run.failures) {
                    break;
                }
                let turn = run.turns.take();
                let given = self.answers(fold, &mut opened, &ready, &probes, run.failures);
                drop(turn);
                let own = unfinished.extract_if(.., |((image, _), _)| batch.contains(image));
                if !send(given, own.collect()) {
                    return Ok(false);
                }
            }
            Ok(!self.is_over(run.failures))
        })
    }

    /// The batches that have to be run, and what is there already, by image and b. A batch
    /// runs with the images that it always has, so that the last bits of their maps are the
    /// same.
    #[allow(clippy::type_complexity)]
    fn look_for_whole(
        &self,
        fold: usize,
        layers: &[Layer],
        run: &Run<'_>,
    ) -> (Vec<Vec<usize>>, Vec<((usize, usize), Left)>) {
        let all: Vec<usize> = (0..self.plan.images.len()).collect();
        let batches = all.chunks(self.plan.batch);
        let Started { kept, maps, .. } = run.started;
        if kept.is_empty() {
            return (batches.map(<[usize]>::to_vec).collect(), Vec::new());
        }
        let found = all.par_iter().map(|&image| {
            let Some(sha256) = run.images.read_sha256(image) else { return Vec::new() };
            let path = self.plan.images[image].label();
            let left = |b: usize| match self.plan.is_local() {
                true => Some(Left::Pictures(kept.whole(&path, &sha256, fold, b)?.to_vec())),
                false => {
                    let waiting = kept.waiting(&path, &sha256, fold, b)?;
                    Look::left(image, &layers[b - 1], waiting, maps).map(Box::new).map(Left::Maps)
                }
            };
            let own: Vec<_> =
                (1..=layers.len()).filter_map(|b| Some(((image, b), left(b)?))).collect();
            if own.len() == layers.len() {
                run.images.set_sha256(image, sha256);
            }
            own
        });
        let found: Vec<_> = found.collect();
        let is_missing = |image: &usize| found[*image].len() < layers.len();
        let todo = batches.filter(|batch| batch.iter().any(is_missing)).map(<[usize]>::to_vec);
        (todo.collect(), found.into_iter().flatten().collect())
    }

    /// Draws what has waited for the other folds.
    fn together(
        &self,
        drawer: &Drawer<'_>,
        looks: &[Look],
        manifest: &mut Manifest,
        pictures: &mut Pictures,
        show: impl FnMut(&Rgb),
    ) -> Result<(), Error> {
        self.talk.now("all folds".to_owned());
        let (plan, spool) = (self.plan, &drawer.started.maps);
        let ranges = Ranges::shared(plan.scale, plan.clip, looks, spool)?;
        let mut orders = HashMap::new();
        if plan.align_folds {
            orders =
                together::orders(looks, spool, |look| match (&look.channels, plan.grid_order) {
                    (Some(channels), Order::Activity) => {
                        Ok(reduction::most_active(channels.get(spool)?.view()))
                    }
                    (Some(channels), Order::Channel) => {
                        Ok((1..=channels.get(spool)?.dim().0).collect())
                    }
                    (None, _) => Ok(Vec::new()),
                })?;
        }
        drawer.draw(looks, &ranges, &orders, pictures)?;
        if self.interrupt.is_set() {
            return Ok(());
        }
        let draw = drawer.drawing(&ranges, &orders);
        if plan.consensus {
            manifest.consensus = together::consensus(&draw, looks)?;
            manifest.agreement = together::agreement(looks, spool, |a, b| {
                manifest::are_one_network(&manifest.folds, a, b)
            })?;
        }
        if plan.wants_sheets() {
            let write = plan.views.contains(&View::Sheet);
            manifest.sheets = together::sheets(&draw, looks, write, show)?;
        }
        Ok(())
    }

    /// Runs the images at once; if that fails, one by one, so that only those that
    /// fail are missing.
    fn answers(
        &self,
        fold: usize,
        opened: &mut Opened,
        ready: &[(usize, Prepared)],
        probes: &[(LayerId, Probe)],
        failures: &Failures<'_>,
    ) -> Vec<(usize, Vec<Array3<f32>>)> {
        if ready.is_empty() {
            return Vec::new();
        }
        let batch = to_batch(ready, &opened.input, self.plan.batch);
        match opened.network.run(&batch, probes) {
            Ok(outputs) => {
                let maps = |image: Vec<Output>| image.into_iter().flatten().collect();
                ready.iter().map(|(image, _)| *image).zip(outputs.into_iter().map(maps)).collect()
            }
            // Whatever a network says while everything ends is of no interest.
            Err(_) if self.interrupt.is_set() => Vec::new(),
            Err(error) if ready.len() == 1 => {
                failures.add(Some(fold), Some(ready[0].0), &error);
                Vec::new()
            }
            Err(_) => {
                let one_by_one = ready.chunks(1);
                one_by_one
                    .flat_map(|one| self.answers(fold, opened, one, probes, failures))
                    .collect()
            }
        }
    }
}

/// What the folds of a run share.
struct Run<'a> {
    started: &'a Started,
    images: &'a Images<'a>,
    failures: &'a Failures<'a>,
    turns: &'a Turns,
    batches: SyncSender<Batch>,
}

/// When every one of several failed, each with a message of its own.
fn nothing_done(what: &str) -> Error {
    Error::usage_hint(what, "the messages above say why")
}

/// A batch of these images, filled up to `fill`.
fn to_batch(ready: &[(usize, Prepared)], input: &Input, fill: usize) -> engine::Batch {
    let mut images = Array4::zeros((ready.len(), input.channels, input.height, input.width));
    for ((_, prepared), target) in ready.iter().zip(images.outer_iter_mut()) {
        prepared.write_into(target, input);
    }
    engine::Batch { images, fill }
}
