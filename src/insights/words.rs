//! The observations that started this tool, held against the figures.

use super::blur::Kind;
use super::reach::Reach;
use super::trend::Trend;
use super::{Blur, ModelInsights, Observation};
use crate::agreement;

/// The observations that are about what took the detail away.
const BLAMED: &[(&[Kind], &str)] = &[
    (&[Kind::Stride, Kind::Pooling], "stride and pooling add to the blur"),
    (&[Kind::Convolution], "convolutions of stride 1 add to the blur"),
    (&[Kind::Activation], "activation functions add to the blur"),
];
/// The least that is called an effect, in octaves: 7 % of the detail. Below that, another
/// image says something else.
const EFFECT: f64 = 0.1;

/// What the figures of one model say of each observation: the same claims, in the same
/// order, for every model.
pub fn observations(model: &ModelInsights) -> Vec<Observation> {
    let mut observations = vec![
        falling(model.trend.as_ref(), "detail", "deeper layers show less detail"),
        falling(model.fill_trend.as_ref(), "fill", "deeper maps are smoother than their grid"),
        fields(model),
    ];
    observations.extend(BLAMED.iter().map(|(kinds, claim)| blame(model, kinds, claim)));
    observations
}

fn observation(claim: &str, holds: Option<bool>, figures: &str) -> Observation {
    let verdict = match holds {
        Some(true) => "supported",
        Some(false) => "not supported",
        None => "nothing can be said",
    };
    Observation { claim: claim.to_owned(), holds, text: format!("{claim}: {verdict}; {figures}") }
}

fn falling(trend: Option<&Trend>, figure: &str, claim: &str) -> Observation {
    match trend {
        Some(trend) => observation(claim, Some(trend.supported), &trend.sentence(figure)),
        None => observation(claim, None, "fewer than two layers have a detail"),
    }
}

fn fields(model: &ModelInsights) -> Observation {
    let claim = "deeper layers see more of the image";
    let size = |reach: Reach| match reach {
        Reach::Window(field) => Some(field.size[0].max(field.size[1])),
        Reach::Whole => Some(f64::INFINITY),
        Reach::Unknown => None,
    };
    let sizes: Vec<Option<f64>> =
        model.layers.iter().map(|layer| size(layer.receptive_field)).collect();
    let (Some(Some(first)), Some(Some(last))) = (sizes.first(), sizes.last()) else {
        return observation(claim, None, "the graph does not tell the receptive fields");
    };
    // In blocks with branches, a layer inside of a branch may see less than one before.
    let holds = last > first;
    let words = |size: f64| match size.is_finite() {
        true => format!("{size} px"),
        false => "the whole image".to_owned(),
    };
    let figures = format!(
        "receptive field {} at the first layer, {} at the last",
        words(*first),
        words(*last)
    );
    observation(claim, Some(holds), &figures)
}

/// Whether these kinds of operators took detail worth the name in every fold.
fn blame(model: &ModelInsights, kinds: &[Kind], claim: &str) -> Observation {
    let took = |blur: &Blur| -> (f64, usize) {
        let shares = blur.shares.iter().filter(|share| kinds.contains(&share.kind));
        shares.fold((0.0, 0), |(sum, count), s| (sum + s.octaves, count + s.operators))
    };
    let by_fold: Vec<(f64, usize)> = model.blur.iter().map(took).collect();
    let operators = by_fold.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let mean = agreement::mean(by_fold.iter().map(|(octaves, _)| *octaves));
    let (Some(mean), Some(total)) = (mean, octaves(model)) else {
        let figures = "no layer has a detail, or the graph does not tell the way to the last one \
                       that has";
        return observation(claim, None, figures);
    };
    if operators == 0 {
        return observation(claim, None, "there is no such operator on the way");
    }
    let falling = by_fold.iter().filter(|(octaves, _)| *octaves >= EFFECT).count();
    let figures = format!(
        "{operators} operators took {mean:.2} octaves of a total of {total:.2}, and at \
         least {EFFECT} in {falling} of {} folds",
        by_fold.len()
    );
    observation(claim, Some(falling == by_fold.len()), &figures)
}

/// The octaves between the input and the last layer with a detail, mean over the folds.
pub fn octaves(model: &ModelInsights) -> Option<f64> {
    agreement::mean(model.blur.iter().map(|blur| blur.octaves))
}

/// What sets the models apart: which one loses more detail.
pub fn comparisons(models: &[ModelInsights]) -> Vec<String> {
    let mut sentences = Vec::new();
    for (place, a) in models.iter().enumerate() {
        for b in &models[place + 1..] {
            let (Some(x), Some(y)) = (range(a), range(b)) else { continue };
            let (more, less, most, least) = if y.1 < x.1 { (a, b, x, y) } else { (b, a, y, x) };
            let words = |(low, high): (f64, f64)| format!("{low:.2} to {high:.2} octaves");
            let (most_words, least_words) = (words(most), words(least));
            sentences.push(if most.0 > least.1 {
                format!(
                    "{} loses more detail than {} in every fold: {most_words} over {} layers, \
                     {least_words} over {}",
                    more.model,
                    less.model,
                    more.layers.len(),
                    less.layers.len()
                )
            } else {
                format!(
                    "the folds of {} and {} lose alike: {most_words}, and {least_words}",
                    more.model, less.model
                )
            });
        }
    }
    sentences
}

/// The least and the most that a fold loses, in octaves.
fn range(model: &ModelInsights) -> Option<(f64, f64)> {
    let octaves = || model.blur.iter().map(|blur| blur.octaves);
    octaves().reduce(f64::min).zip(octaves().reduce(f64::max))
}

#[cfg(test)]
mod tests {
    use super::super::blur::Share;
    use super::*;

    /// A model of one activation on the way, which took so much.
    fn model(octaves: f64) -> ModelInsights {
        let shares = vec![Share { kind: Kind::Activation, octaves, operators: 1 }];
        ModelInsights {
            model: "m".to_owned(),
            folds: vec![1],
            networks: Vec::new(),
            images: Vec::new(),
            input: [64, 64],
            input_detail: None,
            layers: Vec::new(),
            trend: None,
            fill_trend: None,
            blur: vec![Blur { fold: 1, layer: "relu".to_owned(), octaves, grid: 0.0, shares }],
            observations: Vec::new(),
            failed: Vec::new(),
        }
    }

    #[test]
    fn a_share_next_to_nothing_is_no_effect() {
        let activations = |octaves: f64| observations(&model(octaves)).pop().expect("activations");
        assert_eq!(activations(0.02).holds, Some(false));
        let text = activations(0.02).text;
        assert!(
            text.contains("not supported") && text.contains("at least 0.1 in 0 of 1"),
            "{text}"
        );
        assert_eq!(activations(0.1).holds, Some(true));
        assert_eq!(observations(&model(-1.0)).pop().expect("activations").holds, Some(false));
    }

    #[test]
    fn without_a_detail_nothing_can_be_said() {
        let nothing = ModelInsights { blur: Vec::new(), ..model(0.0) };
        let said = observations(&nothing);
        assert!(said.iter().all(|observation| observation.holds.is_none()), "{said:?}");
    }
}
