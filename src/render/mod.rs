//! Carries a plan out: every fold, every image, every chosen layer.
//!
//! A picture is drawn as soon as its layer has run, if nothing else is needed for it;
//! what needs the other images or folds (a shared scale, a consensus, sheets) waits on
//! disk until all of them have been seen.

mod draw;
mod look;
mod ranges;
mod together;

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array3, Array4};
use rayon::prelude::*;

use crate::bundle::{FoldFile, Input};
use crate::digest;
use crate::engine::{Engine, Network, Take};
use crate::error::{EXIT_TRY_AGAIN, Error};
use crate::input::{self, Prepared};
use crate::layers::{Layer, same_in_all_folds};
use crate::manifest::{Failed, Manifest, Picture};
use crate::output::Folder;
use crate::picture::grid::Order;
use crate::picture::{Rgb, View};
use crate::plan::{self, Plan};
use crate::reduction;
use crate::spool::Spool;
use crate::talk::Talk;

use draw::Draw;
use look::Look;
use ranges::Ranges;

/// Images that run through the network at once. Measured on two cores: eight were
/// better than one and than 32.
const BATCH: usize = 8;

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
    spool: Spool,
    /// The manifest without pictures.
    run: Manifest,
    input: Input,
}

/// A plan under way.
pub struct Render<'a> {
    plan: &'a Plan,
    engine: &'a dyn Engine,
    talk: &'a mut Talk,
    /// The first fold that was opened, with all of its layers.
    first: Option<(usize, Vec<Layer>)>,
    /// The images' digests, once read.
    sha256: Vec<Option<String>>,
    failed: Vec<Failed>,
    /// What waits for the other folds.
    waiting: Vec<Look>,
    /// By image, fold, b, and place among their views: the manifest's order.
    pictures: BTreeMap<(usize, usize, usize, usize), Picture>,
}

impl<'a> Render<'a> {
    /// Nothing has been read or written yet.
    pub fn new(plan: &'a Plan, engine: &'a dyn Engine, talk: &'a mut Talk) -> Render<'a> {
        Render {
            plan,
            engine,
            talk,
            first: None,
            sha256: vec![None; plan.images.len()],
            failed: Vec::new(),
            waiting: Vec::new(),
            pictures: BTreeMap::new(),
        }
    }

    /// Opens every fold and says which heatmaps would be written, without writing.
    ///
    /// # Errors
    /// Whatever would keep the run from starting.
    pub fn rehearse(mut self) -> Result<Manifest, Error> {
        let mut would: Option<Manifest> = None;
        for fold in &self.plan.model.folds {
            let opened = self.open(fold)?;
            would.get_or_insert_with(|| self.plan.configuration(self.engine, &opened.input));
            for image in 0..self.plan.images.len() {
                for (position, layer) in opened.layers.iter().enumerate() {
                    let place = (image, fold.fold, position + 1);
                    let nothing = Array3::zeros((1, 1, 1));
                    let look = Look::new(place, layer, nothing, Default::default(), false);
                    let mut picture = draw::blank(self.plan, &look);
                    picture.raw = self.plan.raw.then(|| picture.file.replace(".png", ".npy"));
                    self.pictures.insert((place.0, place.1, place.2, 0), picture);
                }
            }
        }
        let mut would = would.ok_or_else(|| Error::usage("there is no fold to look at"))?;
        self.plan.check_output(&would)?;
        would.pictures = self.pictures.into_values().collect();
        Ok(would)
    }

    /// Runs every fold and writes everything; a fold or image that fails does not stop
    /// the rest. `show` gets the sheets, if there are any.
    ///
    /// # Errors
    /// Whatever leaves nothing to write, or ends all writing (a full disk).
    pub fn run(mut self, show: impl FnMut(&Rgb)) -> Result<Manifest, Error> {
        let folds = &self.plan.model.folds;
        let mut started: Option<Started> = None;
        let mut try_again = None;
        for fold in folds {
            self.talk.now(format!("fold {}", fold.fold));
            let mut opened = match self.open(fold) {
                Ok(opened) => opened,
                Err(error) if folds.len() > 1 && is_of_one_fold(&error) => {
                    self.talk.failed(&error);
                    self.fail(Some(fold.fold), None, &error);
                    if error.exit_code() == EXIT_TRY_AGAIN {
                        try_again = Some(error);
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            if started.is_none() {
                started = Some(self.start(&opened)?);
            }
            if let Some(started) = &started {
                self.one_fold(fold.fold, &mut opened, started)?;
            }
        }
        let Some(started) = started else {
            self.talk.stop();
            return Err(try_again.unwrap_or_else(|| nothing_done("no fold could be run")));
        };
        let mut manifest = self.together(&started, show)?;
        self.talk.stop();
        for (image, sha256) in manifest.images.iter_mut().zip(&mut self.sha256) {
            image.sha256 = sha256.take().unwrap_or_default();
        }
        manifest.pictures = std::mem::take(&mut self.pictures).into_values().collect();
        manifest.failed = std::mem::take(&mut self.failed);
        if manifest.files().len() == 1 {
            return Err(nothing_done("no image could be drawn"));
        }
        started.folder.finish(&manifest)?;
        Ok(manifest)
    }

    fn start(&mut self, opened: &Opened) -> Result<Started, Error> {
        let mut run = self.plan.configuration(self.engine, &opened.input);
        self.plan.check_output(&run)?;
        let folder = Folder::open(&self.plan.out, &run)?;
        let files = self.plan.model.folds.par_iter().map(|fold| digest::of_file(&fold.file));
        for (fold, sha256) in run.folds.iter_mut().zip(files.collect::<Result<Vec<_>, _>>()?) {
            fold.sha256 = sha256;
        }
        let looks = self.plan.model.folds.len() * self.plan.images.len() * opened.layers.len();
        self.talk.start(looks as u64, "layers");
        let spool = Spool::new(&self.plan.out)?;
        Ok(Started { folder, spool, run, input: opened.input.clone() })
    }

    fn open(&mut self, fold: &FoldFile) -> Result<Opened, Error> {
        let mut network = self.engine.open(&fold.file)?;
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

    fn one_fold(
        &mut self,
        fold: usize,
        opened: &mut Opened,
        started: &Started,
    ) -> Result<(), Error> {
        let wanted: Vec<String> = opened.layers.iter().map(|layer| layer.name.clone()).collect();
        let images: Vec<usize> = (0..self.plan.images.len()).collect();
        let grids = self.plan.views.contains(&View::Grid);
        // One image at a time has one shape, whatever stands beside it in the list.
        let batch_size = if self.plan.deterministic { 1 } else { BATCH };
        for batch in images.chunks(batch_size) {
            let ready = self.prepare(batch, &opened.input)?;
            let answers = self.answers(fold, opened, &ready, &wanted);
            let (plan, layers) = (self.plan, &opened.layers);
            let looks: Vec<Look> = answers
                .into_par_iter()
                .flat_map(|(image, given)| {
                    given.into_par_iter().enumerate().map(move |(at, given)| (image, at, given))
                })
                .map(|(image, at, given)| {
                    Look::new((image, fold, at + 1), &layers[at], given, plan.reduce, grids)
                })
                .collect();
            if self.plan.is_local() {
                let ranges = Ranges::local(self.plan.scale, self.plan.clip);
                self.draw(&looks, started, &ranges, &HashMap::new())?;
            } else {
                for mut look in looks {
                    look.put_away(&started.spool)?;
                    self.waiting.push(look);
                }
            }
        }
        Ok(())
    }

    /// Draws these looks on all cores.
    fn draw(
        &mut self,
        looks: &[Look],
        started: &Started,
        ranges: &Ranges,
        orders: &HashMap<(usize, usize), Vec<usize>>,
    ) -> Result<(), Error> {
        let draw = self.drawing(started, ranges, orders);
        let talk = &*self.talk;
        let drawn = looks
            .par_iter()
            .map(|look| {
                let pictures = draw.look(look)?;
                talk.advance(1);
                Ok((look, pictures))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        for (look, pictures) in drawn {
            for (place, picture) in pictures.into_iter().enumerate() {
                self.pictures.insert((look.image, look.fold, look.b, place), picture);
            }
        }
        Ok(())
    }

    fn drawing<'b>(
        &'b self,
        started: &'b Started,
        ranges: &'b Ranges,
        orders: &'b HashMap<(usize, usize), Vec<usize>>,
    ) -> Draw<'b> {
        Draw {
            plan: self.plan,
            run: &started.run,
            input: &started.input,
            folder: &started.folder,
            spool: &started.spool,
            ranges,
            orders,
            sha256: &self.sha256,
        }
    }

    /// Draws what has waited for the other folds.
    fn together(&mut self, started: &Started, show: impl FnMut(&Rgb)) -> Result<Manifest, Error> {
        let mut manifest = started.run.clone();
        if self.plan.is_local() {
            return Ok(manifest);
        }
        self.talk.now("all folds".to_owned());
        let (looks, plan) = (std::mem::take(&mut self.waiting), self.plan);
        let spool = &started.spool;
        let ranges = Ranges::shared(plan.scale, plan.clip, &looks, spool)?;
        let mut orders = HashMap::new();
        if plan.align_folds {
            orders =
                together::orders(&looks, spool, |look| match (&look.channels, plan.grid_order) {
                    (Some(channels), Order::Activity) => {
                        Ok(reduction::most_active(channels.get(spool)?.view()))
                    }
                    (Some(channels), Order::Channel) => {
                        Ok((1..=channels.get(spool)?.dim().0).collect())
                    }
                    (None, _) => Ok(Vec::new()),
                })?;
        }
        self.draw(&looks, started, &ranges, &orders)?;
        let draw = self.drawing(started, &ranges, &orders);
        if plan.consensus {
            manifest.consensus = together::consensus(&draw, &looks)?;
            manifest.agreement = together::agreement(&looks, spool)?;
        }
        if plan.wants_sheets() {
            let write = plan.views.contains(&View::Sheet);
            manifest.sheets = together::sheets(&draw, &looks, write, show)?;
        }
        Ok(manifest)
    }

    /// Reads a batch's images; those that cannot be read are reported once.
    fn prepare(&mut self, batch: &[usize], input: &Input) -> Result<Vec<(usize, Prepared)>, Error> {
        let failed_before = |image: &usize| {
            let path = plan::text(&self.plan.images[*image].path);
            self.failed.iter().any(|f| f.fold.is_none() && f.image.as_ref() == Some(&path))
        };
        let wanted: Vec<usize> =
            batch.iter().copied().filter(|image| !failed_before(image)).collect();
        let prepare = |image: usize| {
            input::prepare_within(&self.plan.images[image].path, input, self.plan.limits)
        };
        let read: Vec<_> = wanted.into_par_iter().map(|image| (image, prepare(image))).collect();
        let mut ready = Vec::with_capacity(read.len());
        for (image, result) in read {
            match result {
                Ok(prepared) => {
                    self.sha256[image] = Some(prepared.sha256.clone());
                    ready.push((image, prepared));
                }
                // The only image: its error is the command's.
                Err(error) if self.plan.images.len() == 1 => return Err(error),
                Err(error) => {
                    self.talk.failed(&error);
                    self.fail(None, Some(image), &error);
                }
            }
        }
        Ok(ready)
    }

    /// Runs the images at once; if that fails, one by one, so that only those that
    /// fail are missing.
    fn answers(
        &mut self,
        fold: usize,
        opened: &mut Opened,
        ready: &[(usize, Prepared)],
        wanted: &[String],
    ) -> Vec<(usize, Vec<Array3<f32>>)> {
        if ready.is_empty() {
            return Vec::new();
        }
        let take = match self.plan.views.contains(&View::Grid) {
            true => Take::Channels,
            false => self.plan.reduce.take(),
        };
        let batch = to_batch(ready, &opened.input);
        match opened.network.run(&batch, wanted, take) {
            Ok(answers) => ready.iter().map(|(image, _)| *image).zip(answers).collect(),
            Err(error) if ready.len() == 1 => {
                self.talk.failed(&error);
                self.fail(Some(fold), Some(ready[0].0), &error);
                Vec::new()
            }
            Err(_) => {
                ready.chunks(1).flat_map(|one| self.answers(fold, opened, one, wanted)).collect()
            }
        }
    }

    fn fail(&mut self, fold: Option<usize>, image: Option<usize>, error: &Error) {
        let image = image.map(|image| plan::text(&self.plan.images[image].path));
        self.failed.push(Failed { fold, image, problem: error.to_string() });
    }
}

/// When every one of several failed, each with a message of its own.
fn nothing_done(what: &str) -> Error {
    Error::usage_hint(what, "the messages above say why")
}

/// Whether the other folds may still work.
fn is_of_one_fold(error: &Error) -> bool {
    matches!(
        error,
        Error::Load { .. }
            | Error::Refused { .. }
            | Error::Run { .. }
            | Error::Crashed { .. }
            | Error::TimedOut { .. }
            | Error::OutOfMemory { .. }
            | Error::NotTorchScript { .. }
            | Error::NoActivations { .. }
            | Error::FoldsDiffer { .. }
            | Error::Channels { .. }
    )
}

fn to_batch(ready: &[(usize, Prepared)], input: &Input) -> Array4<f32> {
    let mut batch = Array4::zeros((ready.len(), input.channels, input.height, input.width));
    for ((_, prepared), target) in ready.iter().zip(batch.outer_iter_mut()) {
        prepared.write_into(target, input);
    }
    batch
}
