//! Carries a plan out: every fold, every image, every chosen layer.
//!
//! Three things happen at once, and wait for each other so that memory does not grow:
//! the next images are read (`images`), the network at hand runs, and what it gave before
//! is drawn (`render_worker`; on the processor, these two pass a `cpu_gate`).
//!
//! A picture is drawn as soon as its layer has run, if nothing else is needed for it;
//! what needs the other images or folds (a shared scale, a consensus, sheets) waits on
//! disk until all of them have been seen.

mod capture;
mod cpu_gate;
mod cross_fold;
mod failures;
mod images;
mod ranges;
mod render_worker;
mod renderer;
mod views;

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
use crate::output::{Folder, ResumeIndex};
use crate::picture::grid::TileOrder;
use crate::picture::{Rgb, View};
use crate::plan::Plan;
use crate::reduction;
use crate::spool::Spool;
use crate::terminal::Reporter;

use capture::{LayerCapture, PictureKey};
use cpu_gate::CpuGate;
use failures::Failures;
use images::Images;
use ranges::Ranges;
use render_worker::{Batch, Pictures, RenderWorker, Resumed};

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
struct RunContext {
    folder: Folder,
    /// What earlier attempts have left.
    kept: ResumeIndex,
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
    layers: Vec<LayerCapture>,
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
            for capture in &mut self.layers {
                capture.image = image;
                let mut picture = renderer::blank(self.plan, capture);
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
    reporter: &'a Reporter,
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
        reporter: &'a Reporter,
        interrupt: &'a Interrupt,
    ) -> Render<'a> {
        Render { plan, engine, reporter, interrupt, first: None, try_again: None }
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
                let nothing = Array3::zeros((1, 1, 1));
                let key = PictureKey { image: 0, fold: fold.fold, layer_position: position + 1 };
                layers.push(LayerCapture::new(key, layer, nothing, Default::default(), false));
            }
        }
        let run = would.ok_or_else(|| Error::usage("there is no fold to capture at"))?;
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
        let (images, gate) = (Images::new(plan), CpuGate::on(self.engine.runtime().device));
        let failures = Failures::new(plan, self.reporter, watch);
        let (context, kept) = (OnceLock::new(), AtomicUsize::new(0));
        let drawn = thread::scope(|scope| {
            let mut folds = plan.model.folds.iter();
            let Some((fold, opened)) = self.next(&mut folds, &failures)? else { return Ok(None) };
            let run = self.start(&opened)?;
            let context = context.get_or_init(|| run);
            let (reporter, interrupt) = (self.reporter, self.interrupt);
            let (images, gate, kept) = (&images, &gate, &kept);
            let worker =
                RenderWorker { plan, context, images, gate, reporter, interrupt, watch, kept };
            let (batches, received) = sync_channel(1);
            let drawing = scope.spawn(move || worker.draw_all(received));
            let ran = self.all_folds(
                (fold, opened),
                &mut folds,
                &FoldContext { context, images, failures: &failures, gate, batches },
            );
            let drawn = drawing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            ran.map(|()| Some((worker, drawn)))
        });
        let Some((worker, (mut pictures, waiting))) = drawn? else {
            self.reporter.stop();
            let nothing = || nothing_done("no fold could be run");
            return Err(self.try_again.take().unwrap_or_else(nothing));
        };
        let mut manifest = worker.context.run.clone();
        if !plan.is_local() && !self.interrupt.is_set() {
            self.across_folds(&worker, &waiting, &mut manifest, &mut pictures, show)?;
        }
        self.reporter.stop();
        let kept = kept.into_inner();
        if kept > 0 {
            let made = HumanCount((pictures.len() - kept) as u64);
            self.reporter.note(format!("{} kept, {made} made", HumanCount(kept as u64)));
        }
        if let Some(note) = images.note_of_frames() {
            self.reporter.note(note);
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
        let Some(RunContext { folder, .. }) = context.into_inner() else { return Ok(manifest) };
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

    fn start(&mut self, opened: &Opened) -> Result<RunContext, Error> {
        let mut run = self.plan.configuration(self.engine, &opened.input);
        self.plan.check_output(&run)?;
        let digests = self.plan.model.folds.par_iter().map(FoldFile::digest);
        for (fold, sha256) in run.folds.iter_mut().zip(digests.collect::<Result<Vec<_>, _>>()?) {
            fold.sha256 = sha256;
        }
        let (mut folder, kept) = Folder::open(&self.plan.out, &run)?;
        if self.plan.sync {
            folder.outlive_power()?;
        }
        let kept = if self.plan.force { ResumeIndex::default() } else { kept };
        let captures = self.plan.model.folds.len() * self.plan.images.len() * opened.layers.len();
        self.reporter.start(captures as u64, self.plan.unit());
        let pixels = Spool::unnamed(&self.plan.out)?;
        let maps = match self.plan.is_local() {
            true => Spool::unnamed(&self.plan.out)?,
            false => Spool::named(&folder.maps(), !kept.is_empty())?,
        };
        Ok(RunContext { folder, kept, pixels, maps, run, input: opened.input.clone() })
    }

    /// The next fold that can be opened; those that cannot are reported.
    fn next<'b>(
        &mut self,
        folds: &mut Iter<'b, FoldFile>,
        failures: &Failures<'_>,
    ) -> Result<Option<(&'b FoldFile, Opened)>, Error> {
        while !self.is_over(failures) {
            let Some(fold) = folds.next() else { break };
            self.reporter.now(format!("fold {}", fold.fold));
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
        run: &FoldContext<'_>,
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
    fn one_fold(
        &self,
        fold: usize,
        mut opened: Opened,
        run: &FoldContext<'_>,
    ) -> Result<bool, Error> {
        let (todo, left) = self.look_for_whole(fold, &opened.layers, run);
        let layers = &opened.layers.clone();
        let probe = match views::need_channels(&self.plan.views) {
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
                    let read = run.images.prepare(batch, input, &run.context.pixels, run.failures);
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
                let turn = run.gate.take();
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
        run: &FoldContext<'_>,
    ) -> (Vec<Vec<usize>>, Vec<((usize, usize), Resumed)>) {
        let all: Vec<usize> = (0..self.plan.images.len()).collect();
        let batches = all.chunks(self.plan.batch);
        let RunContext { kept, maps, .. } = run.context;
        if kept.is_empty() {
            return (batches.map(<[usize]>::to_vec).collect(), Vec::new());
        }
        let found = all.par_iter().map(|&image| {
            let Some(sha256) = run.images.read_sha256(image) else { return Vec::new() };
            let path = self.plan.images[image].label();
            let left = |b: usize| match self.plan.is_local() {
                true => Some(Resumed::Pictures(kept.whole(&path, &sha256, fold, b)?.to_vec())),
                false => {
                    let waiting = kept.waiting(&path, &sha256, fold, b)?;
                    LayerCapture::left(image, &layers[b - 1], waiting, maps)
                        .map(Box::new)
                        .map(Resumed::Maps)
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
    fn across_folds(
        &self,
        worker: &RenderWorker<'_>,
        captures: &[LayerCapture],
        manifest: &mut Manifest,
        pictures: &mut Pictures,
        show: impl FnMut(&Rgb),
    ) -> Result<(), Error> {
        self.reporter.now("all folds".to_owned());
        let (plan, spool) = (self.plan, &worker.context.maps);
        let ranges = Ranges::shared(plan.scale, plan.clip, captures, spool)?;
        let mut orders = HashMap::new();
        if plan.align_folds {
            orders = cross_fold::orders(captures, spool, |capture| {
                match (&capture.channels, plan.grid_order) {
                    (Some(channels), TileOrder::Activity) => {
                        Ok(reduction::most_active(channels.get(spool)?.view()))
                    }
                    (Some(channels), TileOrder::Channel) => {
                        Ok((1..=channels.get(spool)?.dim().0).collect())
                    }
                    (None, _) => Ok(Vec::new()),
                }
            })?;
        }
        worker.draw(captures, &ranges, &orders, pictures)?;
        if self.interrupt.is_set() {
            return Ok(());
        }
        let draw = worker.drawing(&ranges, &orders);
        if plan.consensus {
            manifest.consensus = cross_fold::consensus(&draw, captures)?;
            manifest.agreement = cross_fold::agreement(captures, spool, |a, b| {
                manifest::are_one_network(&manifest.folds, a, b)
            })?;
        }
        if plan.wants_sheets() {
            let write = plan.views.contains(&View::Sheet);
            manifest.sheets = cross_fold::sheets(&draw, captures, write, show)?;
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
struct FoldContext<'a> {
    context: &'a RunContext,
    images: &'a Images<'a>,
    failures: &'a Failures<'a>,
    gate: &'a CpuGate,
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
