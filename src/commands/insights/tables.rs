//! The tables of `actviz insights`.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use crate::agreement;
use crate::insights::reach::Reach;
use crate::insights::{self, FoldInsights, LayerInsights, ModelInsights, Spread};
use crate::terminal::line;

fn new_table(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(header.to_vec());
    for column in left..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// One line for each layer and fold.
pub(super) fn layers(model: &ModelInsights) -> Table {
    let header = [
        "layer",
        "fold",
        "grid",
        "detail",
        "fill",
        "field",
        "effective",
        "zeros",
        "dead",
        "rank",
        "agree",
    ];
    let mut table = new_table(&header, 1);
    for layer in &model.layers {
        for (place, fold) in layer.folds.iter().enumerate() {
            let first = place == 0;
            table.add_row([
                if first { line(&layer.name) } else { String::new() },
                fold.fold.to_string(),
                format!("{}x{}", layer.shape[1], layer.shape[2]),
                spread(fold.detail, 1),
                spread(fold.fill, 2),
                if first { field(layer.receptive_field) } else { String::new() },
                spread(fold.effective_field, 0),
                spread(fold.sparsity, 2),
                format!("{}/{}", fold.dead_channels, layer.shape[0]),
                spread(fold.effective_rank, 1),
                if first { number(layer.mean_agreement(), 2) } else { String::new() },
            ]);
        }
    }
    table
}

/// One line for each model.
pub(super) fn side_by_side(models: &[ModelInsights]) -> Table {
    let header = [
        "model",
        "layers",
        "first detail",
        "last detail",
        "octaves lost",
        "grid",
        "fill",
        "field",
        "zeros",
    ];
    let mut table = new_table(&header, 1);
    for model in models {
        let detail = |layer: Option<&LayerInsights>| {
            number(layer.and_then(|layer| layer.mean(detail_of)), 1)
        };
        let zeros = model.layers.iter().filter_map(|layer| {
            layer.mean(|fold: &FoldInsights| fold.sparsity.map(|spread| spread.mean))
        });
        let has_detail = |layer: &&LayerInsights| layer.mean(detail_of).is_some();
        let octaves = insights::octaves(model);
        let grid = agreement::mean(model.blur.iter().map(|blur| blur.grid));
        table.add_row([
            line(&model.model),
            model.layers.len().to_string(),
            detail(model.layers.iter().find(has_detail)),
            detail(model.layers.iter().rev().find(has_detail)),
            number(octaves, 2),
            number(grid, 2),
            number(octaves.zip(grid).map(|(octaves, grid)| octaves - grid), 2),
            model.layers.last().map(|layer| field(layer.receptive_field)).unwrap_or_default(),
            number(agreement::mean(zeros), 2),
        ]);
    }
    table
}

/// One line for each observation: which models bear it out.
pub(super) fn observations(models: &[ModelInsights]) -> Table {
    let names: Vec<String> = models.iter().map(|model| line(&model.model)).collect();
    let header: Vec<&str> =
        ["holds for"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut table = new_table(&header, 1);
    let claims = models.first().map(|model| model.observations.as_slice()).unwrap_or_default();
    for (place, observation) in claims.iter().enumerate() {
        let verdict = |model: &ModelInsights| match model.observations[place].holds {
            Some(true) => "yes".to_owned(),
            Some(false) => "no".to_owned(),
            None => "-".to_owned(),
        };
        let claim = std::iter::once(observation.claim.clone());
        table.add_row(claim.chain(models.iter().map(verdict)));
    }
    table
}

fn detail_of(fold: &FoldInsights) -> Option<f64> {
    fold.detail.map(|detail| detail.mean)
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}

/// The mean, and the deviation where there are several images.
fn spread(value: Option<Spread>, digits: usize) -> String {
    match value {
        Some(s) if s.count > 1 => format!("{:.digits$}±{:.digits$}", s.mean, s.std),
        other => number(other.map(|spread| spread.mean), digits),
    }
}

fn field(reach: Reach) -> String {
    match reach {
        Reach::Window(field) if field.size[0] == field.size[1] => field.size[0].to_string(),
        Reach::Window(field) => format!("{}x{}", field.size[0], field.size[1]),
        Reach::Whole => "whole".to_owned(),
        Reach::Unknown => "-".to_owned(),
    }
}
