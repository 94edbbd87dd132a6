//! What can only be drawn when all folds have been seen: aligned grids, the folds'
//! consensus, sheets.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ndarray::Array2;

use super::draw::{Coloured, Draw};
use super::look::Look;
use crate::about::About;
use crate::agreement::{mean, odd_one_out, spearman};
use crate::align::Aligner;
use crate::colormap::Colormap;
use crate::error::Error;
use crate::input;
use crate::manifest::{Agreement, Consensus, Drawn, Sheet};
use crate::picture::{Rgb, sheet};
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
    // The deviation is never negative, so a diverging map would waste half of itself.
    let of_std = match draw.plan.colormap {
        Colormap::BlueRed => Colormap::Auto,
        other => other,
    };
    let (mean, std) = (
        (format!("{prefix}mean_{b}.png"), colours(draw, &mean, draw.plan.colormap)),
        (format!("{prefix}std_{b}.png"), colours(draw, &std, of_std)),
    );
    let drawn = |(file, coloured): &(String, Coloured)| Drawn {
        file: file.clone(),
        colormap: coloured.colormap,
        low: coloured.range.low,
        high: coloured.range.high,
    };
    let layer = looks[0].layer.name.clone();
    let entry = Consensus { image, b, layer: layer.clone(), mean: drawn(&mean), std: drawn(&std) };
    let folds: Vec<_> = draw
        .run
        .folds
        .iter()
        .filter(|fold| looks.iter().any(|look| look.fold == fold.fold))
        .cloned()
        .collect();
    let mut about = About::new(draw.run, &folds, draw.image(image));
    about.consensus = Some(entry.clone());
    for (what, (file, coloured)) in [("mean", &mean), ("std", &std)] {
        draw.save(&about, coloured, &format!("{what} of the folds  {layer}"), |_| {
            Some(file.clone())
        })?;
    }
    Ok(entry)
}

fn colours(draw: &Draw<'_>, map: &Array2<f32>, colormap: Colormap) -> Coloured {
    let range = Range::of(map.iter().copied(), draw.plan.clip);
    draw.in_colours(map, range, colormap, draw.size(map))
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

/// The rank correlations of the folds' maps, layer by layer.
pub(super) fn agreement(looks: &[Look], spool: &Spool) -> Result<Vec<Agreement>, Error> {
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
                for (fold_b, b) in &maps {
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

/// The longer side of a sheet's pictures in pixels, at most.
const CELL: usize = 160;

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
        let page = one_sheet(draw, image, &layers)?;
        if write {
            let file = format!("{}sheet.png", draw.plan.images[image].prefix);
            let about = About::new(draw.run, &draw.run.folds, draw.image(image));
            draw.save_plain(&file, &page, &about.to_json())?;
            entries.push(Sheet { file, image });
        }
        show(&page);
    }
    Ok(entries)
}

fn one_sheet(
    draw: &Draw<'_>,
    image: usize,
    layers: &BTreeMap<usize, ByImageAndFold<'_>>,
) -> Result<Rgb, Error> {
    let longer = draw.input.width.max(draw.input.height);
    let shown = crate::picture::Size::Longer(longer.min(CELL));
    let size = shown.of((0, 0), (draw.input.width, draw.input.height));
    let input = input::shown(&draw.plan.images[image].path, draw.input, size)?;
    let folds: Vec<String> =
        draw.run.folds.iter().map(|fold| format!("fold {}", fold.fold)).collect();
    let mut labels = Vec::new();
    let mut cells = Vec::new();
    for looks in layers.values() {
        let Some(any) = looks.values().next() else { continue };
        let shape: Vec<String> = any.layer.shape.iter().map(usize::to_string).collect();
        labels.push((any.layer.name.clone(), shape.join(" × ")));
        let row = draw.run.folds.iter().map(|fold| match looks.get(&(image, fold.fold)) {
            Some(look) => draw.cell(look, size),
            None => Ok(None),
        });
        cells.push(row.collect::<Result<Vec<_>, _>>()?);
    }
    let title = format!(
        "{}   {}   {}, scale {}",
        draw.run.model, draw.run.images[image].path, draw.plan.reduce, draw.plan.scale
    );
    Ok(sheet::sheet(&sheet::Sheet {
        title: &title,
        input: &input,
        folds: &folds,
        layers: &labels,
        cells,
    }))
}
