//! `actviz layers --audit`: what a network's code would do.

use std::io::Write;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::Serialize;

use super::{EXIT_DONE, EXIT_PARTLY, each_fold, print_json, print_table};
use crate::args::LayersArgs;
use crate::bundle::Model;
use crate::engine::{Engine, OperatorUse};
use crate::terminal::{Reporter, line};

#[derive(Serialize)]
struct Document {
    schema: u32,
    model: String,
    folds: Vec<Fold>,
    failed: Vec<String>,
}

#[derive(Serialize)]
struct Fold {
    fold: usize,
    file: String,
    operators: Vec<OperatorUse>,
}

/// Lists the operators of every fold, without running any of its code. A fold that cannot be
/// read is told of, and the others are listed.
///
/// # Errors
/// Those of the engine, if no fold is left.
pub fn run(
    args: &LayersArgs,
    model: &Model,
    engine: &dyn Engine,
    reporter: &Reporter,
    out: &mut dyn Write,
) -> anyhow::Result<u8> {
    let (folds, failed) = each_fold(model, reporter, |fold| {
        let operators = engine.audit(&fold.open()?)?;
        Ok(Fold { fold: fold.fold, file: crate::plan::text(&fold.file), operators })
    })?;
    let harmless =
        failed.is_empty() && folds.iter().flat_map(|fold| &fold.operators).all(|used| used.allowed);
    let document = Document { schema: 1, model: model.name.clone(), folds, failed };
    if args.json {
        print_json(out, &document)?;
    } else {
        print_table(out, &table(&document))?;
    }
    Ok(if harmless { EXIT_DONE } else { EXIT_PARTLY })
}

fn table(document: &Document) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["fold", "operator", "uses", "", "first at"]);
    for fold in &document.folds {
        // What is refused comes first.
        let (harmless, refused): (Vec<_>, Vec<_>) =
            fold.operators.iter().partition(|used| used.allowed);
        for used in refused.into_iter().chain(harmless) {
            table.add_row([
                fold.fold.to_string(),
                line(&used.operator),
                used.count.to_string(),
                if used.allowed { "allowed" } else { "REFUSED" }.to_owned(),
                line(&used.place),
            ]);
        }
    }
    table
}
