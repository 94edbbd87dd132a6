//! Where a fold begins to differ: the first layer that does, and how it goes on.
//! Everything after that layer gets other input, so that is where to look.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Outcome, PictureComparison};

/// One fold's way from the first layer that differs to the last.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Divergence {
    /// The fold, from 1.
    pub fold: usize,
    /// The position of the first layer that differs, from 1.
    pub first: usize,
    /// Its name, if a manifest says.
    pub layer: Option<String>,
    /// Earlier layers of which a picture or a raw map was not compared: it may begin there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<usize>,
    /// That layer and all later ones, in order.
    pub growth: Vec<Step>,
}

/// One layer on the way.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Step {
    /// The position of the layer, from 1.
    #[serde(rename = "b")]
    pub layer_position: usize,
    /// The largest root mean square over the layer's pictures, 0..255; without a
    /// picture that can be measured, none.
    pub rmse: Option<f64>,
    /// The largest difference of its raw maps as a share of their largest value, if
    /// both sides have them.
    pub raw: Option<f64>,
}

/// The folds that differ, in order. Where each picture has a scale of its own
/// (`is_own_scale`), low and high tell of its map; else another picture may have moved them.
pub(super) fn find(pictures: &[PictureComparison], is_own_scale: bool) -> Vec<Divergence> {
    let mut folds: BTreeMap<usize, BTreeMap<usize, Vec<&PictureComparison>>> = BTreeMap::new();
    for picture in pictures {
        if let (Some(fold), Some(b)) = (picture.fold, picture.layer_position) {
            folds.entry(fold).or_default().entry(b).or_default().push(picture);
        }
    }
    folds.into_iter().filter_map(|(fold, layers)| of_fold(fold, &layers, is_own_scale)).collect()
}

/// Whether a picture's map is another. Values count as pixels do; but pixels that only have
/// another range than before, which pictures of other maps share, are of the same map.
fn is_of_another_map(picture: &PictureComparison, is_own_scale: bool) -> bool {
    use Outcome::{Different, Range, Size};
    let is_only_scaled = !is_own_scale
        && picture.raw.is_none()
        && !picture.values.is_empty()
        && picture.values.iter().all(|change| change.what.is_of_scale());
    match picture.outcome {
        Different | Range => !is_only_scaled,
        Size => true,
        _ => false,
    }
}

fn of_fold(
    fold: usize,
    layers: &BTreeMap<usize, Vec<&PictureComparison>>,
    is_own_scale: bool,
) -> Option<Divergence> {
    let differs = |pictures: &[&PictureComparison]| {
        pictures.iter().any(|picture| is_of_another_map(picture, is_own_scale))
    };
    let (&first, pictures) = layers.iter().find(|(_, pictures)| differs(pictures))?;
    let layer = pictures.iter().find_map(|picture| picture.layer.clone());
    let largest = |pictures: &[&PictureComparison],
                   value: fn(&PictureComparison) -> Option<f64>| {
        pictures.iter().filter_map(|picture| value(picture)).reduce(f64::max)
    };
    let rmse = |picture: &PictureComparison| match picture.outcome {
        Outcome::Same | Outcome::Range if picture.measured.is_none() => Some(0.0),
        _ => picture.measured.as_ref().map(|measured| measured.rmse),
    };
    // Other shapes, and NaN on one side alone, have no size.
    let raw = |picture: &PictureComparison| {
        picture.raw.as_ref().map(|raw| raw.relative).filter(|relative| *relative > 0.0)
    };
    let was_compared = |picture: &&PictureComparison| {
        use Outcome::{Different, Range, Same, Size, Within};
        matches!(picture.outcome, Same | Within | Different | Size | Range)
    };
    let earlier = layers.range(..first).filter(|(_, all)| !all.iter().all(was_compared));
    let growth = layers
        .range(first..)
        .map(|(&b, pictures)| Step {
            layer_position: b,
            rmse: largest(pictures, rmse),
            raw: largest(pictures, raw),
        })
        .collect();
    Some(Divergence { fold, first, layer, unknown: earlier.map(|(b, _)| *b).collect(), growth })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::measure::{Densest, PixelDifference};
    use crate::compare::values::{Value, ValueChange};

    fn picture(fold: usize, b: usize, rmse: f64) -> PictureComparison {
        let densest = Densest { differing: 1, at: [0, 0], side: 16 };
        let measured = PixelDifference {
            largest: 9,
            at: [0, 0],
            rmse,
            differing: 1,
            pixels: 9,
            ratio: 0.1,
            densest,
        };
        PictureComparison {
            file: format!("{fold}_{b}.png"),
            outcome: if rmse > 0.0 { Outcome::Different } else { Outcome::Same },
            fails: rmse > 0.0,
            reasons: vec![],
            fold: Some(fold),
            layer_position: Some(b),
            layer: Some(format!("relu{b}")),
            measured: (rmse > 0.0).then_some(measured),
            raw: None,
            values: vec![],
        }
    }

    #[test]
    fn the_first_layer_that_differs_is_named_for_each_fold() {
        let pictures: Vec<PictureComparison> =
            [(1, 1, 0.0), (1, 2, 0.0), (2, 1, 0.0), (2, 2, 0.5), (2, 3, 4.0)]
                .map(|(fold, b, rmse)| picture(fold, b, rmse))
                .into();
        let found = find(&pictures, true);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].fold, found[0].first), (2, 2));
        assert_eq!(found[0].layer.as_deref(), Some("relu2"));
        let growth: Vec<_> =
            found[0].growth.iter().map(|step| (step.layer_position, step.rmse)).collect();
        assert_eq!(growth, [(2, Some(0.5)), (3, Some(4.0))]);
        assert!(found[0].unknown.is_empty());
    }

    fn changed(mut picture: PictureComparison, fields: &[Value]) -> PictureComparison {
        let change = |&what| ValueChange { what, golden: 1.0, new: 1.05 };
        picture.values = fields.iter().map(change).collect();
        if picture.outcome == Outcome::Same {
            picture.outcome = Outcome::Range;
        }
        picture
    }

    #[test]
    fn values_tell_where_a_fold_begins_to_differ_though_pixels_are_the_same() {
        use Value::{High, Mean, Std};
        let pictures = [
            picture(1, 1, 0.0),
            changed(picture(1, 2, 0.0), &[High, Mean, Std]),
            picture(1, 3, 2.0),
        ];
        let found = find(&pictures, true);
        assert_eq!(found[0].first, 2);
        let growth: Vec<_> = found[0].growth.iter().map(|step| step.rmse).collect();
        assert_eq!(growth, [Some(0.0), Some(2.0)]);
    }

    #[test]
    fn another_fold_s_values_in_a_scale_of_all_are_no_divergence_of_this_one() {
        use Value::{High, Mean};
        let shared = [
            changed(picture(1, 1, 3.0), &[High]),
            changed(picture(2, 1, 3.0), &[High, Mean]),
            picture(1, 2, 0.0),
        ];
        let folds = |own| find(&shared, own).iter().map(|found| found.fold).collect::<Vec<_>>();
        assert_eq!(folds(false), [2]);
        assert_eq!(folds(true), [1, 2]);
    }

    #[test]
    fn earlier_layers_that_were_not_compared_are_not_called_the_same() {
        use Outcome::{Empty, Extra, Missing, Unreadable};
        let mut pictures: Vec<PictureComparison> =
            (1..=7).map(|b| picture(1, b, if b < 6 { 0.0 } else { 2.0 })).collect();
        for (place, outcome) in [(0, Missing), (2, Unreadable), (3, Empty), (4, Extra), (6, Empty)]
        {
            pictures[place].outcome = outcome;
        }
        let found = find(&pictures, true);
        assert_eq!((found[0].first, &found[0].unknown[..]), (6, &[1, 3, 4, 5][..]));
    }
}
