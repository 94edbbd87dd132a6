//! Runs every fold on every image and takes the figures.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, ArrayView3, Axis};
use rayon::prelude::*;

use super::reach::Reach;
use super::structure::Structure;
use super::trend::Trend;
use super::{
    Blur, FoldInsights, LayerInsights, ModelInsights, Spread, blur, channels, effective,
    observations, spectrum,
};
use crate::agreement;
use crate::bundle::{FoldFile, Input, Model};
use crate::engine::{Batch, Engine, Network, Output, Probe, Source, Taps, Target};
use crate::error::Error;
use crate::input::{self, Reading};
use crate::layers::{Choice, Layer, same_in_all_folds};
use crate::manifest;
use crate::model_file::ModelFile;
use crate::plan::{InputPlan, text};
use crate::terminal::Reporter;

/// What is to be measured.
pub struct Measure<'a> {
    /// The networks.
    pub model: &'a Model,
    /// What they are fed with.
    pub input: InputPlan,
    /// How images are read.
    pub reading: Reading,
    /// The images.
    pub images: &'a [PathBuf],
    /// Which activation layers.
    pub layers: &'a Choice,
    /// Places of each layer at which the effective field is measured; 0 leaves it out.
    pub places: usize,
}

/// One layer in one image.
struct LayerFigures {
    detail: Option<f64>,
    zeros: Option<f64>,
    rank: Option<f64>,
    active: Vec<bool>,
    mean: Array2<f32>,
    effective: Option<f64>,
    inside: Option<f64>,
}

/// One fold, opened.
struct Opened {
    network: Box<dyn Network>,
    input: Input,
    /// All operators, activations among them.
    operators: Vec<Layer>,
    /// The activation layers to be measured, as positions in `operators`.
    chosen: Vec<usize>,
    structure: Structure,
    reaches: Vec<Reach>,
}

/// One fold, measured: by image, then layer.
struct Fold {
    number: usize,
    seen: Vec<Vec<LayerFigures>>,
    input_detail: Vec<Option<f64>>,
    blur: Option<Blur>,
}

/// Measures one model.
///
/// # Errors
/// Those of the engine; [`Error::FoldsDiffer`]; [`Error::Picture`] if no image is readable.
pub fn measure(
    what: &Measure<'_>,
    engine: &dyn Engine,
    reporter: &Reporter,
) -> Result<ModelInsights, Error> {
    let mut first: Option<(usize, Opened)> = None;
    let mut folds = Vec::new();
    let mut images: Option<Images<'_>> = None;
    let mut failed = Vec::new();
    let mut last = None;
    for fold in &what.model.folds {
        let expected = first.as_ref().map(|(number, first)| (*number, first));
        match one_fold(what, engine, fold, expected, &mut images, reporter) {
            Ok((measured, opened)) => {
                folds.push(measured);
                first.get_or_insert((fold.fold, opened));
            }
            // Folds that differ are not of one cross-validation: no figure would hold.
            Err(error @ Error::FoldsDiffer { .. }) => return Err(error),
            Err(error) if what.model.folds.len() > 1 && error.is_of_one_fold() => {
                reporter.failed(&error);
                failed.push(format!("fold {}: {error}", fold.fold));
                last = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    let (Some((_, first)), Some((images, unread))) = (first, images) else {
        return Err(last.unwrap_or_else(|| Error::usage("there is no fold to look at")));
    };
    failed.extend(unread);
    let images = images.iter().map(|(path, _)| text(path)).collect();
    Ok(summary(what, &first, &folds, images, failed))
}

/// The images that could be read, and what was wrong with the others.
type Images<'a> = (Vec<(&'a Path, Array3<f32>)>, Vec<String>);

/// Measures one fold; the first one that is open reads the images for all.
fn one_fold<'a>(
    what: &Measure<'a>,
    engine: &dyn Engine,
    fold: &FoldFile,
    first: Option<(usize, &Opened)>,
    images: &mut Option<Images<'a>>,
    reporter: &Reporter,
) -> Result<(Fold, Opened), Error> {
    let mut opened = open(what, engine, &fold.open()?)?;
    if let Some((number, first)) = first {
        same_in_all_folds((number, &first.operators), (fold.fold, &opened.operators))?;
    }
    let images = match images {
        Some(images) => images,
        None => images.insert(prepare(what, &opened.input, reporter)?),
    };
    let mut measured =
        Fold { number: fold.fold, seen: Vec::new(), input_detail: Vec::new(), blur: None };
    for (path, image) in &images.0 {
        reporter.now(format!("{} fold {} {}", what.model.name, fold.fold, path.display()));
        let detail = input_detail(image.view());
        measured.seen.push(look(&mut opened, image, what.places)?);
        measured.input_detail.push(detail);
        reporter.advance(1);
    }
    if let Some(last) = end_of_way(&opened.chosen, &measured.seen) {
        let mut blurs = Vec::new();
        for ((_, image), detail) in images.0.iter().zip(&measured.input_detail) {
            blurs.extend(blur_of(&mut opened, image, *detail, last, fold.fold)?);
        }
        measured.blur = mean_blur(blurs);
    }
    Ok((measured, opened))
}

/// The last layer that has a detail in any image. One end for all images, so that their
/// shares can be averaged.
fn end_of_way(chosen: &[usize], seen: &[Vec<LayerFigures>]) -> Option<usize> {
    let has_detail = |place: usize| seen.iter().any(|image| image[place].detail.is_some());
    (0..chosen.len()).rev().find(|place| has_detail(*place)).map(|place| chosen[place])
}

fn open(what: &Measure<'_>, engine: &dyn Engine, file: &ModelFile) -> Result<Opened, Error> {
    let mut network = engine.open(file, Taps::Operators)?;
    let file = file.path();
    let input = what.input.resolve(network.as_ref(), file)?;
    let operators = network.layers(input.shape())?;
    let places: Vec<usize> =
        (0..operators.len()).filter(|at| blur::is_activation(&operators[*at])).collect();
    let activations: Vec<Layer> = places.iter().map(|at| operators[*at].clone()).collect();
    if activations.is_empty() {
        return Err(Error::NoActivations { file: file.to_owned() });
    }
    let chosen = what
        .layers
        .pick(&activations, &what.model.layers)?
        .into_iter()
        .map(|at| places[at])
        .filter(|at| operators[*at].is_spatial())
        .collect();
    let structure = network.graph().map(Structure::of).unwrap_or_default();
    // Only if every tap ran, and ran once, does the code's order tell which is which.
    let reaches = if structure.tap_count() == operators.len() {
        structure.reaches()
    } else {
        vec![Reach::Unknown; operators.len()]
    };
    Ok(Opened { network, input, operators, chosen, structure, reaches })
}

/// The images that can be read, as the network takes them, and what was wrong with others.
fn prepare<'a>(
    what: &Measure<'a>,
    input: &Input,
    reporter: &Reporter,
) -> Result<Images<'a>, Error> {
    let (mut prepared, mut failed, mut last) = (Vec::new(), Vec::new(), None);
    for path in what.images {
        match input::prepare(path, None, input, &what.reading) {
            Ok(image) => {
                if image.frames > 1 {
                    let path = path.display();
                    reporter.note(format!(
                        "{path} has {} frames: the first one is measured",
                        image.frames
                    ));
                }
                prepared.push((path.as_path(), image.normalised(input)));
            }
            Err(error) => {
                reporter.failed(&error);
                failed.push(error.to_string());
                last = Some(error);
            }
        }
    }
    match last {
        Some(error) if prepared.is_empty() => Err(error),
        _ => Ok((prepared, failed)),
    }
}

fn input_detail(image: ArrayView3<'_, f32>) -> Option<f64> {
    spectrum::detail(image.mean_axis(Axis(0))?.view())
}

fn batch(image: &Array3<f32>) -> Batch {
    Batch::of(image.view().insert_axis(Axis(0)).to_owned())
}

/// Runs one image, and takes every channel of these layers.
fn channels_of(
    network: &mut dyn Network,
    image: &Array3<f32>,
    names: &[String],
) -> Result<Vec<Array3<f32>>, Error> {
    let probes: Vec<_> = names.iter().map(|name| (name.clone(), Probe::Channels)).collect();
    let outputs = network.run(&batch(image), &probes)?;
    Ok(outputs.into_iter().flatten().map(Option::unwrap_or_default).collect())
}

/// For each of these layers and each place, the energy of the gradient by the image. None
/// for a layer that has no gradient.
fn energies_of(
    network: &mut dyn Network,
    image: &Array3<f32>,
    names: &[String],
    places: &[(f64, f64)],
) -> Result<Vec<Vec<Array2<f32>>>, Error> {
    if places.is_empty() {
        return Ok(vec![Vec::new(); names.len()]);
    }
    let probe = |name: &String, (row, column): (f64, f64)| {
        let of = Target::Unit { row, column };
        (name.clone(), Probe::Gradient { of, wrt: Source::Input })
    };
    let probes: Vec<_> =
        names.iter().flat_map(|name| places.iter().map(|place| probe(name, *place))).collect();
    let outputs: Vec<_> = network.run(&batch(image), &probes)?.into_iter().flatten().collect();
    let of_layer = |outputs: &[Output]| outputs.iter().flatten().map(effective::energy).collect();
    Ok(outputs.chunks(places.len()).map(of_layer).collect())
}

fn look(
    opened: &mut Opened,
    image: &Array3<f32>,
    places: usize,
) -> Result<Vec<LayerFigures>, Error> {
    let names: Vec<String> =
        opened.chosen.iter().map(|at| opened.operators[*at].name.clone()).collect();
    let tensors = channels_of(opened.network.as_mut(), image, &names)?;
    let places = &effective::PLACES[..places.min(effective::PLACES.len())];
    let energies = energies_of(opened.network.as_mut(), image, &names, places)?;
    let (_, height, width) = image.dim();
    let reaches = &opened.reaches;
    let chosen = &opened.chosen;
    Ok(tensors
        .par_iter()
        .zip(&energies)
        .zip(chosen)
        .map(|((tensor, energies), at)| {
            let (_, rows, columns) = tensor.dim();
            let fields = energies.iter().zip(places).map(|(energy, place)| {
                let (centre, size) = centre(reaches[*at], *place, (rows, columns), (height, width));
                let inside = size.and_then(|size| effective::inside(energy.view(), centre, size));
                (effective::side(energy.view(), centre), inside)
            });
            let (sides, inside): (Vec<_>, Vec<_>) = fields.unzip();
            let mean = mean_map(tensor);
            LayerFigures {
                detail: spectrum::detail(mean.view()),
                zeros: channels::zeros(tensor.view()),
                rank: channels::effective_rank(tensor.view()),
                active: channels::active(tensor.view()),
                effective: agreement::mean(sides.into_iter().flatten()),
                inside: agreement::mean(inside.into_iter().flatten()),
                mean,
            }
        })
        .collect())
}

fn mean_map(tensor: &Array3<f32>) -> Array2<f32> {
    let wide = tensor.mapv(f64::from).mean_axis(Axis(0)).unwrap_or_default();
    wide.mapv(|value| value as f32)
}

/// Where the field of the layer's value at `place` has its centre, in pixels, and its size
/// if the graph tells.
fn centre(
    reach: Reach,
    place: (f64, f64),
    (rows, columns): (usize, usize),
    (height, width): (usize, usize),
) -> ([f64; 2], Option<[f64; 2]>) {
    let index = |share: f64, side: usize| ((share * side as f64) as usize).min(side - 1) as f64;
    let at = [index(place.0, rows), index(place.1, columns)];
    match reach {
        Reach::Window(field) => {
            let centre = |axis: usize| field.offset[axis] + at[axis] * field.stride[axis];
            ([centre(0), centre(1)], Some(field.size))
        }
        _ => {
            let centre = |at: f64, side: usize, pixels: usize| {
                (at + 0.5) * pixels as f64 / side as f64 - 0.5
            };
            ([centre(at[0], rows, height), centre(at[1], columns, width)], None)
        }
    }
}

/// What each kind of operator took of this image's detail up to the layer `last`; `None`
/// where the graph does not tell the way, or an end of it has no detail.
fn blur_of(
    opened: &mut Opened,
    image: &Array3<f32>,
    input: Option<f64>,
    last: usize,
    fold: usize,
) -> Result<Option<Blur>, Error> {
    let (operators, structure) = (&opened.operators, &opened.structure);
    if structure.tap_count() != operators.len() {
        return Ok(None);
    }
    // Small maps have no detail, and are no part of the way: squeezed branches, heads.
    let wide = |at: usize| {
        let shape = &operators[at].shape;
        operators[at].is_spatial() && shape[1..].iter().all(|s| *s >= spectrum::SMALLEST_SIDE)
    };
    let (Some(way), Some(input)) = (structure.way(last, wide), input) else { return Ok(None) };
    let names: Vec<String> = way.iter().map(|step| operators[step.tap].name.clone()).collect();
    let maps = channels_of(opened.network.as_mut(), image, &names)?;
    let mut details = vec![None; operators.len()];
    let found: Vec<Option<f64>> =
        maps.par_iter().map(|map| spectrum::detail(mean_map(map).view())).collect();
    way.iter().zip(found).for_each(|(step, detail)| details[step.tap] = detail);
    if details[last].is_none() {
        return Ok(None);
    }
    let shares = blur::shares(input, &way, operators, &details, structure);
    let octaves = shares.iter().map(|share| share.octaves).sum();
    let (_, height, width) = image.dim();
    let (rows, columns) = (operators[last].shape[1], operators[last].shape[2]);
    let grid = (spectrum::limit(height, width) / spectrum::limit(rows, columns)).log2();
    Ok(Some(Blur { fold, layer: operators[last].name.clone(), octaves, grid, shares }))
}

fn mean_blur(blurs: Vec<Blur>) -> Option<Blur> {
    let count = blurs.len() as f64;
    blurs
        .into_iter()
        .reduce(|mut sum, blur| {
            sum.octaves += blur.octaves;
            sum.shares.iter_mut().zip(blur.shares).for_each(|(s, b)| s.octaves += b.octaves);
            sum
        })
        .map(|mut sum| {
            sum.octaves /= count;
            sum.shares.iter_mut().for_each(|share| share.octaves /= count);
            sum
        })
}

fn summary(
    what: &Measure<'_>,
    first: &Opened,
    folds: &[Fold],
    images: Vec<String>,
    failed: Vec<String>,
) -> ModelInsights {
    let measured = |file: &&FoldFile| folds.iter().any(|fold| fold.number == file.fold);
    let network = |file: &FoldFile| {
        let sha256 = file.digest().ok()?;
        Some(manifest::Fold { fold: file.fold, file: text(&file.file), sha256 })
    };
    let networks: Vec<manifest::Fold> =
        what.model.folds.iter().filter(measured).filter_map(network).collect();
    let activations: Vec<usize> = (0..first.operators.len())
        .filter(|at| blur::is_activation(&first.operators[*at]))
        .collect();
    let layers = first.chosen.iter().enumerate().map(|(place, at)| {
        let layer = &first.operators[*at];
        let shape = [layer.shape[0], layer.shape[1], layer.shape[2]];
        LayerInsights {
            index: activations.iter().position(|one| one == at).map_or(0, |index| index + 1),
            name: layer.name.clone(),
            operator: layer.operator.clone(),
            shape,
            receptive_field: first.reaches[*at],
            folds: folds.iter().map(|fold| fold.layer(place, shape)).collect(),
            agreement: agreements(folds, &networks, place),
        }
    });
    let layers: Vec<LayerInsights> = layers.collect();
    let limits: Vec<f64> =
        layers.iter().map(|layer| spectrum::limit(layer.shape[1], layer.shape[2])).collect();
    let figures = |of: &dyn Fn(&LayerFigures, f64) -> Option<f64>| -> Vec<Vec<Vec<Option<f64>>>> {
        let image = |image: &Vec<LayerFigures>| {
            image.iter().zip(&limits).map(|(seen, limit)| of(seen, *limit)).collect()
        };
        folds.iter().map(|fold| fold.seen.iter().map(image).collect()).collect()
    };
    let mut model = ModelInsights {
        model: what.model.name.clone(),
        folds: folds.iter().map(|fold| fold.number).collect(),
        networks,
        images,
        input: [first.input.height, first.input.width],
        input_detail: folds.first().and_then(|fold| Spread::of(fold.input_detail.clone())),
        trend: Trend::of(&figures(&|seen, _| seen.detail)),
        fill_trend: Trend::of(&figures(&|seen, limit| seen.detail.map(|detail| detail / limit))),
        blur: folds.iter().filter_map(|fold| fold.blur.clone()).collect(),
        layers,
        observations: Vec::new(),
        failed,
    };
    model.observations = observations(&model);
    model
}

impl Fold {
    fn layer(&self, place: usize, [channels, height, width]: [usize; 3]) -> FoldInsights {
        let limit = spectrum::limit(height, width);
        let spread = |figure: &dyn Fn(&LayerFigures) -> Option<f64>| {
            Spread::of(self.seen.iter().map(|image| figure(&image[place])))
        };
        let dead = |channel: &usize| {
            !self.seen.iter().any(|image| image[place].active.get(*channel) == Some(&true))
        };
        FoldInsights {
            fold: self.number,
            detail: spread(&|seen| seen.detail),
            fill: spread(&|seen| seen.detail.map(|detail| detail / limit)),
            effective_field: spread(&|seen| seen.effective),
            energy_inside: spread(&|seen| seen.inside),
            sparsity: spread(&|seen| seen.zeros),
            dead_channels: (0..channels).filter(dead).count(),
            effective_rank: spread(&|seen| seen.rank),
        }
    }
}

fn agreements(folds: &[Fold], networks: &[manifest::Fold], place: usize) -> Vec<Vec<Option<f64>>> {
    let pair = |a: &Fold, b: &Fold| {
        if manifest::are_one_network(networks, a.number, b.number) {
            return None;
        }
        let images =
            a.seen.iter().zip(&b.seen).filter_map(|(x, y)| {
                agreement::spearman(x[place].mean.view(), y[place].mean.view())
            });
        agreement::mean(images)
    };
    folds.iter().map(|a| folds.iter().map(|b| pair(a, b)).collect()).collect()
}
