//! `actviz render`: a heatmap for every chosen layer of every fold.

use std::collections::BTreeMap;
use std::io::Write;

use ndarray::{Array2, Array3, Array4, Axis};
use rayon::prelude::*;

use super::{EXIT_DONE, EXIT_PARTLY, print_json};
use crate::args::RenderArgs;
use crate::bundle::{FoldFile, Input};
use crate::colormap::Table;
use crate::digest;
use crate::engine::{Engine, Network, Take};
use crate::error::Error;
use crate::input::{self, Prepared};
use crate::layers::{Layer, same_in_all_folds};
use crate::manifest::{Failed, Manifest, Picture};
use crate::maps;
use crate::output::Folder;
use crate::picture;
use crate::plan::{Plan, PlannedImage};
use crate::scale::Range;
use crate::talk::Talk;

/// Images that run through the network at once. Measured on two cores: eight were
/// better than one and than 32.
const BATCH: usize = 8;

/// Carries out the plan: every fold, every image, every chosen layer.
///
/// # Errors
/// Whatever leaves nothing to write, or ends all writing (a full disk).
pub fn run(
    args: &RenderArgs,
    plan: &Plan,
    engine: &dyn Engine,
    talk: &mut Talk,
    stdout: &mut dyn Write,
) -> anyhow::Result<u8> {
    let mut run = Run::new(plan, engine);
    if args.dry_run {
        let would = run.rehearse()?;
        plan.check_output(&would)?;
        if args.json {
            print_json(stdout, &would)?;
        } else {
            describe(&would, plan, stdout)?;
        }
        return Ok(EXIT_DONE);
    }
    let manifest = run.all_folds(talk)?;
    for failed in manifest.pictures.iter().filter(|picture| picture.non_finite > 0) {
        talk.warn(format!(
            "fold {}, layer {}: {} values are NaN or infinite (grey in {})",
            failed.fold, failed.layer, failed.non_finite, failed.file
        ));
    }
    talk.note(format!(
        "{} pictures in {} (manifest.json says what each one shows)",
        manifest.pictures.len(),
        plan.out.display()
    ));
    if args.json {
        print_json(stdout, &manifest)?;
    }
    Ok(if manifest.failed.is_empty() { EXIT_DONE } else { EXIT_PARTLY })
}

/// The plan in words, one line a file.
fn describe(would: &Manifest, plan: &Plan, out: &mut dyn Write) -> std::io::Result<()> {
    for fold in &would.folds {
        writeln!(out, "read   {} (fold {})", fold.file, fold.fold)?;
    }
    for image in &would.images {
        writeln!(out, "read   {}", image.path)?;
    }
    for picture in &would.pictures {
        let (layer, file) = (&picture.layer, plan.out.join(&picture.file));
        writeln!(out, "write  {}  fold {}  {layer}", file.display(), picture.fold)?;
        if let Some(raw) = &picture.raw {
            writeln!(out, "write  {}", plan.out.join(raw).display())?;
        }
    }
    Ok(())
}

/// A network that is ready to be drawn.
struct Opened {
    network: Box<dyn Network>,
    input: Input,
    /// The chosen layers, in order.
    layers: Vec<Layer>,
}

/// What is known while the folds are run one after another.
struct Run<'a> {
    plan: &'a Plan,
    engine: &'a dyn Engine,
    table: Table,
    /// The first fold that was opened, with all of its layers.
    first: Option<(usize, Vec<Layer>)>,
    /// The images' digests, once read.
    sha256: Vec<Option<String>>,
    failed: Vec<Failed>,
    /// By image, fold, b: the manifest's order.
    pictures: BTreeMap<(usize, usize, usize), Picture>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, engine: &'a dyn Engine) -> Run<'a> {
        Run {
            plan,
            engine,
            table: plan.colormap.table(),
            first: None,
            sha256: vec![None; plan.images.len()],
            failed: Vec::new(),
            pictures: BTreeMap::new(),
        }
    }

    /// Opens every fold and says what would be written.
    fn rehearse(&mut self) -> Result<Manifest, Error> {
        let mut would: Option<Manifest> = None;
        for fold in &self.plan.model.folds {
            let opened = self.open(fold)?;
            would.get_or_insert_with(|| self.plan.configuration(self.engine, &opened.input));
            for (image, planned) in self.plan.images.iter().enumerate() {
                for (position, layer) in opened.layers.iter().enumerate() {
                    let picture = self.picture(image, planned, fold.fold, position + 1, layer);
                    self.pictures.insert((image, fold.fold, position + 1), picture);
                }
            }
        }
        let mut would = would.ok_or_else(|| Error::usage("there is no fold to look at"))?;
        would.pictures = std::mem::take(&mut self.pictures).into_values().collect();
        Ok(would)
    }

    /// Runs every fold and writes everything; a fold that fails does not stop the rest.
    fn all_folds(&mut self, talk: &mut Talk) -> Result<Manifest, Error> {
        let folds = &self.plan.model.folds;
        let mut output: Option<(Folder, Manifest)> = None;
        for fold in folds {
            talk.now(format!("fold {}", fold.fold));
            let mut opened = match self.open(fold) {
                Ok(opened) => opened,
                Err(error) if folds.len() > 1 && is_of_one_fold(&error) => {
                    talk.failed(&error);
                    self.fail(Some(fold.fold), None, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if output.is_none() {
                let configuration = self.plan.configuration(self.engine, &opened.input);
                self.plan.check_output(&configuration)?;
                let folder = Folder::open(&self.plan.out, &configuration)?;
                let total = folds.len() * self.plan.images.len() * opened.layers.len();
                talk.start(total as u64, "pictures");
                output = Some((folder, configuration));
            }
            if let Some((folder, _)) = &output {
                self.one_fold(fold.fold, &mut opened, folder, talk)?;
            }
        }
        talk.stop();
        let Some((folder, configuration)) = output else {
            return Err(nothing_done("no fold could be run"));
        };
        let manifest = self.manifest(configuration)?;
        if manifest.pictures.is_empty() {
            return Err(nothing_done("no image could be drawn"));
        }
        folder.finish(&manifest)?;
        Ok(manifest)
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
        let layers = picked.into_iter().map(|position| all[position].clone()).collect();
        Ok(Opened { network, input, layers })
    }

    fn one_fold(
        &mut self,
        fold: usize,
        opened: &mut Opened,
        folder: &Folder,
        talk: &Talk,
    ) -> Result<(), Error> {
        let wanted: Vec<String> = opened.layers.iter().map(|layer| layer.name.clone()).collect();
        let images: Vec<usize> = (0..self.plan.images.len()).collect();
        for batch in images.chunks(BATCH) {
            let ready = self.prepare(batch, &opened.input, talk)?;
            let answers = self.answers(fold, opened, &ready, &wanted, talk);
            let written = answers
                .into_par_iter()
                .flat_map(|(image, maps)| {
                    maps.into_par_iter().enumerate().map(move |(at, map)| (image, at, map))
                })
                .map(|(image, at, map)| {
                    let layer = &opened.layers[at];
                    let picture =
                        self.write(folder, image, fold, at + 1, layer, &map, &opened.input)?;
                    talk.advance(1);
                    Ok(((image, fold, at + 1), picture))
                })
                .collect::<Result<Vec<_>, Error>>()?;
            self.pictures.extend(written);
        }
        Ok(())
    }

    /// Reads a batch's images; those that cannot be read are reported once.
    fn prepare(
        &mut self,
        batch: &[usize],
        input: &Input,
        talk: &Talk,
    ) -> Result<Vec<(usize, Prepared)>, Error> {
        let failed_before = |image: &usize| {
            let path = crate::plan::text(&self.plan.images[*image].path);
            self.failed.iter().any(|f| f.fold.is_none() && f.image.as_ref() == Some(&path))
        };
        let wanted: Vec<usize> =
            batch.iter().copied().filter(|image| !failed_before(image)).collect();
        let read: Vec<_> = wanted
            .into_par_iter()
            .map(|image| (image, input::prepare(&self.plan.images[image].path, input)))
            .collect();
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
                    talk.failed(&error);
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
        talk: &Talk,
    ) -> Vec<(usize, Vec<Array2<f32>>)> {
        if ready.is_empty() {
            return Vec::new();
        }
        let take = Take::Reduced(self.plan.reduce);
        let batch = to_batch(ready, &opened.input);
        match opened.network.run(&batch, wanted, take) {
            Ok(answers) => ready
                .iter()
                .zip(answers)
                .map(|((image, _), maps)| (*image, maps.into_iter().map(only_channel).collect()))
                .collect(),
            Err(error) if ready.len() == 1 => {
                talk.failed(&error);
                self.fail(Some(fold), Some(ready[0].0), &error);
                Vec::new()
            }
            Err(_) => ready
                .chunks(1)
                .flat_map(|one| self.answers(fold, opened, one, wanted, talk))
                .collect(),
        }
    }

    /// Draws and writes one map.
    #[allow(clippy::too_many_arguments)]
    fn write(
        &self,
        folder: &Folder,
        image: usize,
        fold: usize,
        b: usize,
        layer: &Layer,
        map: &Array2<f32>,
        input: &Input,
    ) -> Result<Picture, Error> {
        let found = maps::statistics(map.view());
        let range = Range { low: found.min, high: found.max };
        let size = self.plan.size.of((map.ncols(), map.nrows()), (input.width, input.height));
        let scaled = range.apply(map.view());
        let heat = picture::heat(scaled.view(), size, self.plan.interpolation, &self.table);
        let entry = Picture {
            height: map.nrows(),
            width: map.ncols(),
            low: range.low,
            high: range.high,
            mean: found.mean,
            std: found.std,
            zeros: found.zeros,
            non_finite: found.non_finite,
            ..self.picture(image, &self.plan.images[image], fold, b, layer)
        };
        let encoding = |name: &str, problem: String| Error::Io {
            doing: "encode",
            path: self.plan.out.join(name),
            source: std::io::Error::other(problem),
        };
        let bytes = picture::png(&heat).map_err(|e| encoding(&entry.file, e.to_string()))?;
        folder.write(&entry.file, &bytes)?;
        if let Some(raw) = &entry.raw {
            folder.write(raw, &npy(map).map_err(|e| encoding(raw, e.to_string()))?)?;
        }
        Ok(entry)
    }

    /// The manifest's entry, as far as it is known before the network runs.
    fn picture(
        &self,
        image: usize,
        planned: &PlannedImage,
        fold: usize,
        b: usize,
        layer: &Layer,
    ) -> Picture {
        let (channels, height, width) = match layer.shape[..] {
            [channels, height, width] if layer.is_spatial() => (channels, height, width),
            _ => (1, 0, 0),
        };
        let stem = format!("{}{fold}_{b}", planned.prefix);
        Picture {
            file: format!("{stem}.png"),
            raw: self.plan.raw.then(|| format!("{stem}.npy")),
            image,
            fold,
            b,
            layer: layer.name.clone(),
            operator: layer.operator.clone(),
            channels,
            height,
            width,
            reduce: self.plan.reduce,
            low: 0.0,
            high: 0.0,
            mean: 0.0,
            std: 0.0,
            zeros: 0.0,
            non_finite: 0,
        }
    }

    fn fail(&mut self, fold: Option<usize>, image: Option<usize>, error: &Error) {
        let image = image.map(|image| crate::plan::text(&self.plan.images[image].path));
        self.failed.push(Failed { fold, image, problem: error.to_string() });
    }

    fn manifest(&mut self, configuration: Manifest) -> Result<Manifest, Error> {
        let mut manifest = configuration;
        let files = self.plan.model.folds.par_iter().map(|fold| digest::of_file(&fold.file));
        let sha256 = files.collect::<Result<Vec<_>, _>>()?;
        for (fold, sha256) in manifest.folds.iter_mut().zip(sha256) {
            fold.sha256 = sha256;
        }
        for (image, sha256) in manifest.images.iter_mut().zip(&mut self.sha256) {
            image.sha256 = sha256.take().unwrap_or_default();
        }
        manifest.pictures = std::mem::take(&mut self.pictures).into_values().collect();
        manifest.failed = std::mem::take(&mut self.failed);
        Ok(manifest)
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
            | Error::Run { .. }
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

fn only_channel(map: Array3<f32>) -> Array2<f32> {
    map.index_axis_move(Axis(0), 0)
}

/// A map as the bytes of a NumPy file.
fn npy(map: &Array2<f32>) -> Result<Vec<u8>, ndarray_npy::WriteNpyError> {
    use ndarray_npy::WriteNpyExt;
    let mut bytes = Vec::new();
    map.write_npy(&mut bytes)?;
    Ok(bytes)
}
