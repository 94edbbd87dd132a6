//! `actviz layers`: what can be seen in a network.

use std::io::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::{EXIT_DONE, EXIT_PARTLY, each_fold, print_json, print_table};
use crate::args::LayersArgs;
use crate::bundle::Model;
use crate::engine::{Engine, Taps};
use crate::layers::{Choice, Layer, same_in_all_folds};
use crate::plan::InputPlan;
use crate::terminal::{Reporter, line};

/// The JSON document; scripts rely on its fields.
#[derive(Serialize)]
struct Document {
    schema: u32,
    model: String,
    folds: Vec<usize>,
    layers: Vec<Row>,
    failed: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    index: usize,
    name: String,
    operator: String,
    shape: Vec<usize>,
    spatial: bool,
    default: bool,
    parameters: u64,
}

/// Opens every fold, checks that all have the same layers, and lists them. A fold that
/// fails is told of, and the others are listed.
///
/// # Errors
/// Those of the engine, if no fold is left; [`crate::error::Error::FoldsDiffer`].
pub fn run(
    args: &LayersArgs,
    model: &Model,
    engine: &dyn Engine,
    reporter: &Reporter,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let input = InputPlan::new(&args.input, model)?;
    input.assumed_in_words(false).into_iter().for_each(|assumed| reporter.note(assumed));
    let (listed, failed) = each_fold(model, reporter, |fold| {
        let mut network = engine.open(&fold.open()?, Taps::Activations)?;
        let shape = input.resolve(network.as_ref(), &fold.file)?.shape();
        Ok((fold.fold, network.layers(shape)?))
    })?;
    for (fold, layers) in listed.iter().skip(1) {
        same_in_all_folds((listed[0].0, &listed[0].1), (*fold, layers))?;
    }
    let folds = listed.iter().map(|(fold, _)| *fold).collect();
    let layers = listed.into_iter().next().map(|(_, layers)| layers).unwrap_or_default();
    // A network of vectors alone has no default, and can still be listed.
    let default = Choice::default().pick(&layers, &model.layers).unwrap_or_default();
    let row = |(position, layer): (usize, Layer)| Row {
        index: position + 1,
        spatial: layer.is_spatial(),
        default: default.contains(&position),
        name: layer.name,
        operator: layer.operator,
        shape: layer.shape,
        parameters: layer.parameters,
    };
    let document = Document {
        schema: 1,
        model: model.name.clone(),
        folds,
        layers: layers.into_iter().enumerate().map(row).collect(),
        failed,
    };
    if args.json {
        print_json(out, &document)?;
    } else {
        print_table(out, &table(&document))?;
    }
    Ok(if document.failed.is_empty() { EXIT_DONE } else { EXIT_PARTLY })
}

fn table(document: &Document) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["", "layer", "name", "operator", "shape", "parameters"]);
    for row in &document.layers {
        let shape: Vec<String> = row.shape.iter().map(usize::to_string).collect();
        table.add_row([
            if row.default { "*".to_owned() } else { String::new() },
            row.index.to_string(),
            line(&row.name),
            line(&row.operator),
            shape.join(" x "),
            thousands(row.parameters),
        ]);
    }
    for column in [1, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// 23508032 -> 23,508,032
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (23508032, "23,508,032")] {
            assert_eq!(thousands(number), text);
        }
    }
}
