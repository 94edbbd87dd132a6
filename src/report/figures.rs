//! The figures of one model: the observations, plots over depth, attribution, agreement.

use maud::{Markup, html};

use super::plots::{Series, plot};
use crate::agreement;
use crate::insights::reach::Reach;
use crate::insights::{Blur, FoldInsights, ModelInsights, Spread};

pub(super) fn section(model: &ModelInsights) -> Markup {
    html! {
        section {
            h2 { "Figures of " (model.model) }
            p {
                "Layers are counted in order of depth. Images, over which figures are means: "
                (model.images.len()) "."
            }
            ul { @for observation in &model.observations {
                @let figures = observation.text.strip_prefix(&observation.claim);
                li { b { (observation.claim) } (figures.unwrap_or_default()) }
            } }
            div.plots {
                (plot("Detail: finer structure is higher", "cycles per image", &by_fold(model, |f| f.detail)))
                (plot("Fill: detail over what the grid carries", "share", &by_fold(model, |f| f.fill)))
                (plot("Receptive field, theoretical and effective", "pixels", &fields(model)))
                (plot("Sparsity: values that are zero", "share", &by_fold(model, |f| f.sparsity)))
            }
            (attribution(&model.blur))
            (agreements(model))
        }
    }
}

fn by_fold(model: &ModelInsights, of: impl Fn(&FoldInsights) -> Option<Spread>) -> Vec<Series> {
    model
        .folds
        .iter()
        .enumerate()
        .map(|(place, fold)| Series {
            name: format!("fold {fold}"),
            values: model
                .layers
                .iter()
                .map(|layer| of(&layer.folds[place]).map(|spread| spread.mean))
                .collect(),
        })
        .collect()
}

fn fields(model: &ModelInsights) -> Vec<Series> {
    let mut lines = by_fold(model, |fold| fold.effective_field);
    lines.iter_mut().for_each(|line| line.name = format!("{}, effective", line.name));
    let size = |reach: Reach| match reach {
        Reach::Window(field) => Some(field.size[0].max(field.size[1])),
        _ => None,
    };
    let values = model.layers.iter().map(|layer| size(layer.receptive_field)).collect();
    lines.push(Series { name: "theoretical".to_owned(), values });
    lines
}

fn attribution(blurs: &[Blur]) -> Markup {
    let most = blurs
        .iter()
        .flat_map(|blur| blur.shares.iter().map(|share| share.octaves.abs()))
        .fold(1e-9, f64::max);
    html! {
        @if !blurs.is_empty() {
            h3 { "Where the blur comes from" }
            div.scroll { table.bars { @for blur in blurs {
                tr { th colspan="3" {
                    "fold " (blur.fold) ": " (format!("{:.2}", blur.octaves)) " octaves up to " (blur.layer)
                    " (grid " (format!("{:+.2}", blur.grid)) ", fill " (format!("{:+.2}", blur.octaves - blur.grid)) ")"
                } }
                @for share in blur.shares.iter().filter(|share| share.operators > 0) {
                    tr {
                        td { (share.kind) " (" (share.operators) ")" }
                        td.number { (format!("{:+.2}", share.octaves)) }
                        td.wide { div.bar.gain[share.octaves < 0.0]
                            style={ "width:" (format!("{:.1}", 100.0 * share.octaves.abs() / most)) "%" } {} }
                    }
                }
            } } }
            p.hint { "Orange took detail, in octaves (1 is half of it); blue added some." }
        }
    }
}

fn agreements(model: &ModelInsights) -> Markup {
    if model.folds.len() < 2 {
        return html! {};
    }
    let mean = |row: usize, column: usize| {
        agreement::mean(model.layers.iter().filter_map(|layer| layer.agreement[row][column]))
    };
    html! {
        h3 { "Agreement of folds" }
        p.hint { "Spearman's rank correlation of two folds' maps, mean over the layers." }
        div.scroll { table {
            thead { tr { th {} @for fold in &model.folds { th { "fold " (fold) } } } }
            tbody { @for (row, fold) in model.folds.iter().enumerate() { tr {
                th { "fold " (fold) }
                @for column in 0..model.folds.len() { (cell(mean(row, column))) }
            } } }
        } }
        details {
            summary { "Layer by layer" }
            div.scroll { table {
                thead { tr { th { "layer" } @for (a, b) in pairs(model.folds.len()) {
                    th { (model.folds[a]) " and " (model.folds[b]) }
                } } }
                tbody { @for layer in &model.layers { tr {
                    th { (layer.name) }
                    @for (a, b) in pairs(model.folds.len()) { (cell(layer.agreement[a][b])) }
                } } }
            } }
        }
    }
}

fn pairs(folds: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..folds).flat_map(move |a| (a + 1..folds).map(move |b| (a, b)))
}

fn cell(value: Option<f64>) -> Markup {
    html! {
        @match value {
            Some(value) => td.number style={ "--share:" (format!("{:.0}", 100.0 * value.max(0.0))) "%" } { (format!("{value:.2}")) },
            None => td.number { "-" },
        }
    }
}
