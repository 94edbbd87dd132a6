//! What can only be drawn when all folds have been seen: aligned grids, the folds'
//! consensus, sheets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ndarray::Array2;

use super::draw::{Coloured, Draw};
use super::look::Look;
use super::ranges::{ALL_FOLDS, Kind};
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
type ByImageAndFold<'a> = BTreeMap<(usize, usize), &'a Look>;

fn by_layer(looks: &[Look]) -> BTreeMap<usize, ByImageAndFold<'_>> {
    let mut layers: BTreeMap<usize, ByImageAndFold<'_>> = BTreeMap::new();
    for look in looks {
        layers.entry(look.b).or_default().insert((look.image, look.fold), look);
    }
    layers
}

/// The channels' order in every fold's grid, by (fold, b): that of the first fold, and
/// in each other fold the channels that match those.
pub(super) fn orders(
    looks: &[Look],
    spool: &Spool,
    first_order: impl Fn(&Look) -> Result<Vec<usize>, Error>,
) -> Result<HashMap<(usize, usize), Vec<usize>>, Error> {
    let mut orders = HashMap::new();
    for (b, looks) in by_layer(looks) {
        let folds: BTreeSet<usize> = looks.keys().map(|(_, fold)| *fold).collect();
        let images: BTreeSet<usize> = looks.keys().map(|(image, _)| *image).collect();
        let Some(first) = folds.first().copied() else { continue };
        let Some(leader) = looks.iter().find(|((_, fold), _)| *fold == first) else { continue };
        let order = first_order(leader.1)?;
        for fold in folds.iter().copied().filter(|fold| *fold != first) {
            let mut aligner = Aligner::new(order.len());
            for image in &images {
                let pair = looks.get(&(*image, first)).zip(looks.get(&(*image, fold)));
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
pub(super) fn consensus(draw: &Draw<'_>, looks: &[Look]) -> Result<Vec<Consensus>, Error> {
    let mut entries = BTreeMap::new();
    for (b, looks) in by_layer(looks) {
        for (image, folds) in images(&looks) {
            if folds.len() > 1 {
                entries.insert((image, b), one_consensus(draw, image, b, &folds)?);
            }
        }
    }
    Ok(entries.into_values().collect())
}

fn images<'a>(looks: &ByImageAndFold<'a>) -> BTreeMap<usize, Vec<&'a Look>> {
    let mut images: BTreeMap<usize, Vec<&Look>> = BTreeMap::new();
    for ((image, _), look) in looks {
        images.entry(*image).or_default().push(look);
    }
    images
}

fn one_consensus(
    draw: &Draw<'_>,
    image: usize,
    b: usize,
    looks: &[&Look],
) -> Result<Consensus, Error> {
    let maps =
        looks.iter().map(|look| look.parts[0].map(draw.spool)).collect::<Result<Vec<_>, _>>()?;
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
    let pictures = (averaged(draw, looks[0], &mean), deviation(draw, &std));
    let mean = drawn("mean", &mean, &pictures.0)?;
    let std = drawn("std", &std, &pictures.1)?;
    let layer = looks[0].layer.name.clone();
    let mut entry = Consensus { image, b, layer: layer.clone(), mean, std };
    let folds: Vec<_> = draw
        .run
        .folds
        .iter()
        .filter(|fold| looks.iter().any(|look| look.fold == fold.fold))
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
fn averaged(draw: &Draw<'_>, look: &Look, map: &Array2<f32>) -> Coloured {
    let range = draw.ranges.of((ALL_FOLDS, look.b), Kind::Map, map.iter().copied());
    let colours = draw.colours(range, draw.plan.reduce.is_signed(&look.layer));
    draw.in_colours(map, colours, draw.flags(look, map), draw.size(map))
}

fn deviation(draw: &Draw<'_>, map: &Array2<f32>) -> Coloured {
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
    looks: &[Look],
    spool: &Spool,
    are_one: impl Fn(usize, usize) -> bool,
) -> Result<Vec<Agreement>, Error> {
    let mut entries = Vec::new();
    for (b, looks) in by_layer(looks) {
        let folds: Vec<usize> =
            looks.keys().map(|(_, fold)| *fold).collect::<BTreeSet<_>>().into_iter().collect();
        let mut found = vec![vec![Vec::new(); folds.len()]; folds.len()];
        for looks in images(&looks).into_values() {
            let maps = looks
                .iter()
                .map(|look| Ok((look.fold, look.parts[0].map(spool)?)))
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
        let layer = looks.values().next().map(|look| look.layer.name.clone()).unwrap_or_default();
        entries.push(Agreement { b, layer, folds, spearman, odd_one_out: odd });
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
    draw: &Draw<'_>,
    looks: &[Look],
    write: bool,
    mut show: impl FnMut(&Rgb),
) -> Result<Vec<Sheet>, Error> {
    let layers = by_layer(looks);
    let seen: BTreeSet<usize> = looks.iter().map(|look| look.image).collect();
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
    draw: &Draw<'_>,
    image: usize,
    layers: &BTreeMap<usize, ByImageAndFold<'_>>,
) -> Result<(Rgb, Vec<Flagged>), Error> {
    let many = layers.len() * draw.run.folds.len() > MANY;
    let proportions = (draw.input.width, draw.input.height);
    let size = Size::Longer(if many { CELLS.1 } else { CELLS.0 }).of((0, 0), proportions);
    let planned = &draw.plan.images[image];
    let small = Size::Longer(INPUT).of((0, 0), proportions);
    let input = input::shown(&planned.path, planned.frame, draw.input, small, &draw.plan.reading)?;
    let folds: Vec<String> =
        draw.run.folds.iter().map(|fold| format!("fold {}", fold.fold)).collect();
    let mut labels = Vec::new();
    let mut cells = Vec::new();
    let mut flagged = Vec::new();
    for looks in layers.values() {
        let Some(any) = looks.values().next() else { continue };
        let shape: Vec<String> = any.layer.shape.iter().map(usize::to_string).collect();
        labels.push((any.layer.name.clone(), shape.join(" × ")));
        let row = draw.run.folds.iter().map(|fold| match looks.get(&(image, fold.fold)) {
            Some(look) => draw.cell(look, size),
            None => Ok(None),
        });
        cells.push(row.collect::<Result<Vec<_>, _>>()?);
        let cells = cells.last().into_iter().flatten();
        for (look, cell) in draw.run.folds.iter().zip(cells).filter_map(|(fold, cell)| {
            looks.get(&(image, fold.fold)).zip(cell.as_ref().filter(|c| !c.flags.is_empty()))
        }) {
            let (layer, flags) = (look.layer.name.clone(), cell.flags.clone());
            flagged.push(Flagged { fold: look.fold, b: look.b, layer, flags });
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
