//! `actviz insights --csv`.

use std::io::{self, Write};

use crate::insights::reach::Reach;
use crate::insights::{Document, Spread};
use crate::terminal::line;

const HEADER: [&str; 23] = [
    "model",
    "fold",
    "index",
    "layer",
    "operator",
    "channels",
    "height",
    "width",
    "images",
    "detail",
    "detail_std",
    "fill",
    "fill_std",
    "field_height",
    "field_width",
    "effective_field",
    "effective_field_std",
    "sparsity",
    "sparsity_std",
    "dead_channels",
    "effective_rank",
    "effective_rank_std",
    "agreement",
];

/// One line for each model, layer and fold.
pub(super) fn write(document: &Document, out: &mut dyn Write) -> io::Result<()> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(HEADER).map_err(io_error)?;
    for model in &document.models {
        for layer in &model.layers {
            for fold in &layer.folds {
                let pair = |spread: Option<Spread>| match spread {
                    Some(s) => [s.mean.to_string(), s.std.to_string()],
                    None => [String::new(), String::new()],
                };
                let field = match layer.receptive_field {
                    Reach::Window(field) => field.size.map(|side| side.to_string()),
                    _ => [String::new(), String::new()],
                };
                let cells = [
                    vec![
                        name(&model.model),
                        fold.fold.to_string(),
                        layer.index.to_string(),
                        name(&layer.name),
                        name(&layer.operator),
                    ],
                    layer.shape.map(|side| side.to_string()).into(),
                    vec![model.images.len().to_string()],
                    pair(fold.detail).into(),
                    pair(fold.fill).into(),
                    field.into(),
                    pair(fold.effective_field).into(),
                    pair(fold.sparsity).into(),
                    vec![fold.dead_channels.to_string()],
                    pair(fold.effective_rank).into(),
                    vec![layer.mean_agreement().map(|value| value.to_string()).unwrap_or_default()],
                ];
                table.write_record(cells.concat()).map_err(io_error)?;
            }
        }
    }
    table.flush()
}

/// What went wrong with the output stays what it was.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A name as one line that neither a terminal nor a spreadsheet obeys: what these would take
/// for a formula gets an apostrophe in front (OWASP, CSV injection).
fn name(text: &str) -> String {
    let name = line(text);
    match name.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) {
        true => format!("'{name}"),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_name_is_one_harmless_cell() {
        for (text, expected) in [
            ("layer1.0.relu", "layer1.0.relu"),
            ("=1+1", "'=1+1"),
            (" +A1", "' +A1"),
            ("-x", "'-x"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("a\n::error::b", "a\\n::error::b"),
            ("::error::b", "\\u{3a}:error::b"),
            ("gpj.\u{202e}png\u{1b}[31m", "gpj.\\u{202e}png\\u{1b}[31m"),
            ("\t=1", "\\t=1"),
        ] {
            assert_eq!(name(text), expected);
        }
    }
}
