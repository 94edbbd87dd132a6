//! `actviz insights --csv`.

use std::io::Write;

use crate::insights::reach::Reach;
use crate::insights::{Document, Spread};

/// One line for each model, layer and fold.
pub(super) fn write(document: &Document, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(
        out,
        "model,fold,index,layer,operator,channels,height,width,images,detail,detail_std,fill,\
         fill_std,field_height,field_width,effective_field,effective_field_std,sparsity,\
         sparsity_std,dead_channels,effective_rank,effective_rank_std,agreement"
    )?;
    for model in &document.models {
        for layer in &model.layers {
            for fold in &layer.folds {
                let pair = |spread: Option<Spread>| match spread {
                    Some(s) => format!("{},{}", s.mean, s.std),
                    None => ",".to_owned(),
                };
                let size = match layer.receptive_field {
                    Reach::Window(field) => format!("{},{}", field.size[0], field.size[1]),
                    _ => ",".to_owned(),
                };
                let [channels, height, width] = layer.shape;
                let cells = [
                    quoted(&model.model),
                    fold.fold.to_string(),
                    layer.index.to_string(),
                    quoted(&layer.name),
                    layer.operator.clone(),
                    format!("{channels},{height},{width},{}", model.images.len()),
                    pair(fold.detail),
                    pair(fold.fill),
                    size,
                    pair(fold.effective_field),
                    pair(fold.sparsity),
                    fold.dead_channels.to_string(),
                    pair(fold.effective_rank),
                    layer.mean_agreement().map(|value| value.to_string()).unwrap_or_default(),
                ];
                writeln!(out, "{}", cells.join(","))?;
            }
        }
    }
    Ok(())
}

/// As RFC 4180 has it.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
