//! What can only be drawn when all folds have been seen: aligned grids, the folds'
//! consensus, sheets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ndarray::Array2;

use super::capture::LayerCapture;
use super::ranges::{ALL_FOLDS, Kind};
use super::renderer::{Coloured, PictureRenderer};
use crate::about::About;
use crate::agreement::{mean, odd_one_out, spearman};
use crate::align::Aligner;
use crate::colormap::Colormap;
use crate::error::Error;
use crate::input;
use crate::manifest::{Agreement, Consensus, Drawn, Flagged, Sheet};
use crate::maps;
use crate::picture::{Rgb, Size, sheet};
use crate::reduction::Reduction;
use crate::scale::Range;
use crate::spool::Spool;

/// The looks at one layer, by image and fold.
type ByImageAndFold<'a> = BTreeMap<(usize, usize), &'a LayerCapture>;

fn by_layer(captures: &[LayerCapture]) -> BTreeMap<usize, ByImageAndFold<'_>> {
    let mut layers: BTreeMap<usize, ByImageAndFold<'_>> = BTreeMap::new();
    for capture in captures {
        layers
            .entry(capture.layer_position)
            .or_default()
            .insert((capture.image, capture.fold), capture);
    }
    layers
}

/// The channels' order in every fold's grid, by (fold, b): that of the first fold, and
/// in each other fold the channels that match those.
pub(super) fn orders(
    captures: &[LayerCapture],
    spool: &Spool,
    first_order: impl Fn(&LayerCapture) -> Result<Vec<usize>, Error>,
) -> Result<HashMap<(usize, usize), Vec<usize>>, Error> {
    let mut orders = HashMap::new();
    for (b, captures) in by_layer(captures) {
        let folds: BTreeSet<usize> = captures.keys().map(|(_, fold)| *fold).collect();
        let images: BTreeSet<usize> = captures.keys().map(|(image, _)| *image).collect();
        let Some(first) = folds.first().copied() else { continue };
        let Some(leader) = captures.iter().find(|((_, fold), _)| *fold == first) else { continue };
        let order = first_order(leader.1)?;
        for fold in folds.iter().copied().filter(|fold| *fold != first) {
            let mut aligner = Aligner::new(order.len());
            for image in &images {
                let pair = captures.get(&(*image, first)).zip(captures.get(&(*image, fold)));
                let Some((a, b)) =
                    pair.and_then(|(a, b)| a.channels.as_ref().zip(b.channels.as_ref()))
                else {
                    continue;
                };
                aligner.add(a.get(spool)?.view(), b.get(spool)?.view());
            }
            let best = aligner.best();
            orders.insert((fold, b), order.iter().map(|channel| best[channel - 1]).collect());
        }
        orders.insert((first, b), order);
    }
    Ok(orders)
}

/// Draws the mean and the deviation over the folds, for every image and layer that at
/// least two folds have.
pub(super) fn consensus(
    draw: &PictureRenderer<'_>,
    captures: &[LayerCapture],
) -> Result<Vec<Consensus>, Error> {
    let mut entries = BTreeMap::new();
    for (b, captures) in by_layer(captures) {
        for (image, folds) in images(&captures) {
            if folds.len() > 1 {
                entries.insert((image, b), one_consensus(draw, image, b, &folds)?);
            }
        }
    }
    Ok(entries.into_values().collect())
}

fn images<'a>(captures: &ByImageAndFold<'a>) -> BTreeMap<usize, Vec<&'a LayerCapture>> {
    let mut images: BTreeMap<usize, Vec<&LayerCapture>> = BTreeMap::new();
    for ((image, _), capture) in captures {
        images.entry(*image).or_default().push(capture);
    }
    images
}

fn one_consensus(
    draw: &PictureRenderer<'_>,
    image: usize,
    b: usize,
    captures: &[&LayerCapture],
) -> Result<Consensus, Error> {
    let maps = captures
        .iter()
        .map(|capture| capture.parts[0].map(draw.spool))
        .collect::<Result<Vec<_>, _>>()?;
    let (mean, std) = mean_and_deviation(&maps);
    let prefix = &draw.plan.images[image].prefix;
    let drawn = |what: &str, map: &Array2<f32>, coloured: &Coloured| -> Result<Drawn, Error> {
        let (raw, raw_sha256) = draw.raw(format!("{prefix}{what}_{b}.npy"), map)?.unzip();
        Ok(Drawn {
            file: format!("{prefix}{what}_{b}.png"),
            sha256: String::new(),
            raw,
            raw_sha256,
            colormap: coloured.colours.colormap,
            low: coloured.colours.range.low,
            high: coloured.colours.range.high,
            flags: coloured.flags.clone(),
        })
    };
    let pictures = (averaged(draw, captures[0], &mean), deviation(draw, &std));
    let mean = drawn("mean", &mean, &pictures.0)?;
    let std = drawn("std", &std, &pictures.1)?;
    let layer = captures[0].layer.name.clone();
    let mut entry = Consensus { image, layer_position: b, layer: layer.clone(), mean, std };
    let folds: Vec<_> = draw
        .run
        .folds
        .iter()
        .filter(|fold| captures.iter().any(|capture| capture.fold == fold.fold))
        .cloned()
        .collect();
    let about = About::new(draw.run, &folds, draw.image(image)).with_consensus(&entry);
    let own = [("mean", &pictures.0, &mut entry.mean), ("deviation", &pictures.1, &mut entry.std)];
    for (what, coloured, drawn) in own {
        let note = format!("{what} over {} folds", folds.len());
        drawn.sha256 = draw.save(&drawn.file, &about, coloured, (&layer, &note))?;
    }
    Ok(entry)
}

/// Where the folds share a scale, their mean is on it, too.
fn averaged(draw: &PictureRenderer<'_>, capture: &LayerCapture, map: &Array2<f32>) -> Coloured {
    let range = draw.ranges.of((ALL_FOLDS, capture.layer_position), Kind::Map, map.iter().copied());
    let colours = draw.colours(range, draw.plan.reduce.is_signed(&capture.layer));
    draw.in_colours(map, colours, draw.flags(capture, map), draw.size(map))
}

fn deviation(draw: &PictureRenderer<'_>, map: &Array2<f32>) -> Coloured {
    // The deviation is never negative, so a diverging map would waste half of itself.
    let colormap = match draw.plan.colormap {
        Colormap::BlueRed => Colormap::Auto,
        other => other,
    };
    let colours = colormap.colours(Range::of(map.iter().copied(), draw.plan.clip));
    // Folds that agree to the last bit are not dead.
    let flags = maps::flags_of_differences(map.view());
    draw.in_colours(map, colours, flags, draw.size(map))
}

/// Position by position over the folds' maps, summed in f64.
fn mean_and_deviation(maps: &[Array2<f32>]) -> (Array2<f32>, Array2<f32>) {
    let count = maps.len() as f64;
    let at = |place| maps.iter().map(move |map: &Array2<f32>| f64::from(map[place]));
    let shape = maps[0].dim();
    let mean = Array2::from_shape_fn(shape, |place| at(place).sum::<f64>() / count);
    let deviation = Array2::from_shape_fn(shape, |place| {
        (at(place).map(|value| (value - mean[place]).powi(2)).sum::<f64>() / count).sqrt() as f32
    });
    (mean.mapv(|value| value as f32), deviation)
}

/// The rank correlations of the folds' maps, layer by layer. Two folds that are one network
/// (`are_one`) have none: it would be perfect, and say nothing.
pub(super) fn agreement(
    captures: &[LayerCapture],
    spool: &Spool,
    are_one: impl Fn(usize, usize) -> bool,
) -> Result<Vec<Agreement>, Error> {
    let mut entries = Vec::new();
    for (b, captures) in by_layer(captures) {
        let folds: Vec<usize> =
            captures.keys().map(|(_, fold)| *fold).collect::<BTreeSet<_>>().into_iter().collect();
        let mut found = vec![vec![Vec::new(); folds.len()]; folds.len()];
        for captures in images(&captures).into_values() {
            let maps = captures
                .iter()
                .map(|capture| Ok((capture.fold, capture.parts[0].map(spool)?)))
                .collect::<Result<Vec<_>, Error>>()?;
            for (fold_a, a) in &maps {
                for (fold_b, b) in maps.iter().filter(|(fold_b, _)| !are_one(*fold_a, *fold_b)) {
                    let place = |fold| folds.iter().position(|other| other == fold);
                    if let (Some(i), Some(j)) = (place(fold_a), place(fold_b)) {
                        found[i][j].extend(spearman(a.view(), b.view()));
                    }
                }
            }
        }
        let mean_row = |row: Vec<Vec<f64>>| row.into_iter().map(|v| mean(v.into_iter())).collect();
        let spearman: Vec<Vec<Option<f64>>> = found.into_iter().map(mean_row).collect();
        let odd = odd_one_out(&spearman).map(|place| folds[place]);
        let layer =
            captures.values().next().map(|capture| capture.layer.name.clone()).unwrap_or_default();
        entries.push(Agreement { layer_position: b, layer, folds, spearman, odd_one_out: odd });
    }
    Ok(entries)
}

/// The longer side of a sheet's pictures in pixels: of few, and of many.
const CELLS: (usize, usize) = (160, 112);
/// From how many pictures on they are many.
const MANY: usize = 60;
/// The longer side of the input picture beside the title.
const INPUT: usize = 96;

/// A page with all layers x folds for every image; `show` gets each one, too.
pub(super) fn sheets(
    draw: &PictureRenderer<'_>,
    captures: &[LayerCapture],
    write: bool,
    mut show: impl FnMut(&Rgb),
) -> Result<Vec<Sheet>, Error> {
    let layers = by_layer(captures);
    let seen: BTreeSet<usize> = captures.iter().map(|capture| capture.image).collect();
    let mut entries = Vec::new();
    for image in seen {
        let (page, flagged) = one_sheet(draw, image, &layers)?;
        if write {
            let file = format!("{}sheet.png", draw.plan.images[image].prefix);
            let about = About::new(draw.run, &draw.run.folds, draw.image(image));
            let sha256 = draw.save_plain(&file, &page, &about.to_json())?;
            entries.push(Sheet { file, sha256, image, flagged });
        }
        show(&page);
    }
    Ok(entries)
}

fn one_sheet(
    draw: &PictureRenderer<'_>,
    image: usize,
    layers: &BTreeMap<usize, ByImageAndFold<'_>>,
) -> Result<(Rgb, Vec<Flagged>), Error> {
    let many = layers.len() * draw.run.folds.len() > MANY;
    let proportions = (draw.input.width, draw.input.height);
    let size = Size::Longer(if many { CELLS.1 } else { CELLS.0 }).of((0, 0), proportions);
    let planned = &draw.plan.images[image];
    let small = Size::Longer(INPUT).of((0, 0), proportions);
    let input =
        input::preview_rgb(&planned.path, planned.frame, draw.input, small, &draw.plan.reading)?;
    let folds: Vec<String> =
        draw.run.folds.iter().map(|fold| format!("fold {}", fold.fold)).collect();
    let mut labels = Vec::new();
    let mut cells = Vec::new();
    let mut flagged = Vec::new();
    for captures in layers.values() {
        let Some(any) = captures.values().next() else { continue };
        let shape: Vec<String> = any.layer.shape.iter().map(usize::to_string).collect();
        labels.push((any.layer.name.clone(), shape.join(" × ")));
        let row = draw.run.folds.iter().map(|fold| match captures.get(&(image, fold.fold)) {
            Some(capture) => draw.cell(capture, size),
            None => Ok(None),
        });
        cells.push(row.collect::<Result<Vec<_>, _>>()?);
        let cells = cells.last().into_iter().flatten();
        for (capture, cell) in draw.run.folds.iter().zip(cells).filter_map(|(fold, cell)| {
            captures.get(&(image, fold.fold)).zip(cell.as_ref().filter(|c| !c.flags.is_empty()))
        }) {
            let (layer, flags) = (capture.layer.name.clone(), cell.flags.clone());
            flagged.push(Flagged {
                fold: capture.fold,
                layer_position: capture.layer_position,
                layer,
                flags,
            });
        }
    }
    let scale = draw.plan.scale;
    let channels = match draw.plan.reduce {
        Reduction::Top(_) => "the most active one of each fold".to_owned(),
        other => other.to_string(),
    };
    let notes = [
        draw.run.images[image].path.clone(),
        format!("channels: {channels}; {}", scale.in_words()),
    ];
    let page = sheet::sheet(&sheet::Sheet {
        title: &draw.run.model,
        notes: &notes,
        input: &input,
        folds: &folds,
        layers: &labels,
        cells,
    });
    Ok((page, flagged))
}
