//! For people: what else differs, where it begins, and the worst pictures first.

use std::io::{self, Write};

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::compare::{Divergence, Outcome, PictureComparison, Report};
use crate::terminal::{count, line};

/// Prints the report.
///
/// # Errors
/// If `out` cannot be written.
pub fn print(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for note in &report.notes {
        writeln!(out, "{:<9} {}", note.about, line(&note.text))?;
    }
    for fold in &report.divergence {
        writeln!(out, "{}", line(divergence(fold)))?;
    }
    let failures = report.failures();
    if !failures.is_empty() {
        if !report.notes.is_empty() || !report.divergence.is_empty() {
            writeln!(out)?;
        }
        for row in table(&failures).lines() {
            writeln!(out, "{}", row.trim_end())?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", summary(report))
}

/// `fold 2 begins to differ at layer 3 (layer1.2.relu_2): RMSE 0.4, 1.2, 3.9`
pub fn divergence(fold: &Divergence) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let growth: Vec<String> = fold.growth.iter().map(|step| number(step.rmse)).collect();
    let name = fold.layer.as_ref().map_or(String::new(), |layer| format!(" ({layer})"));
    let raw: Vec<f64> = fold.growth.iter().filter_map(|step| step.raw).collect();
    let raw = match (raw.first(), raw.last()) {
        (Some(first), Some(last)) => format!("; raw values by {first:.1e} to {last:.1e}"),
        _ => String::new(),
    };
    let unknown: Vec<String> = fold.unknown.iter().map(ToString::to_string).collect();
    let unknown = match unknown.len() {
        0 => String::new(),
        _ => format!(", or before: not all of layer {} was compared", unknown.join(", ")),
    };
    format!(
        "fold {} begins to differ at layer {}{name}{unknown}: RMSE {}{raw}",
        fold.fold,
        fold.first,
        growth.join(", ")
    )
}

/// The verdict with its counts.
pub fn summary(report: &Report) -> String {
    let mut parts = vec![format!("{} the same", report.count(Outcome::Same))];
    for (outcome, words) in [
        (Outcome::Within, "within the limits"),
        (Outcome::Different, "different"),
        (Outcome::Size, "of another size"),
        (Outcome::Range, "with other values"),
        (Outcome::Missing, "missing"),
        (Outcome::Extra, "extra"),
        (Outcome::Unreadable, "unreadable"),
        (Outcome::Empty, "empty"),
    ] {
        match report.count(outcome) {
            0 => {}
            number => parts.push(format!("{number} {words}")),
        }
    }
    let verdict = if report.same { "same" } else { "DIFFERENT" };
    format!("{verdict}: {}, {}", count(report.pictures.len(), "picture"), parts.join(", "))
}

fn table(failures: &[&PictureComparison]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["picture", "layer", "is", "largest", "RMSE", "differing", "why"]);
    for picture in failures {
        let measured = picture.measured.as_ref();
        let cell = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.add_row([
            line(&picture.file),
            cell(picture.layer.as_ref().map(line)),
            picture.outcome.to_string(),
            cell(measured.map(|m| m.largest.to_string())),
            cell(measured.map(|m| format!("{:.2}", m.rmse))),
            cell(measured.map(|m| share(m.ratio))),
            line(picture.reasons.join("; ")),
        ]);
    }
    table
}

/// What differs is never 0 %.
fn share(ratio: f64) -> String {
    match 100.0 * ratio {
        percent if percent > 0.0 && percent < 0.005 => "< 0.01 %".to_owned(),
        percent => format!("{percent:.2} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_share_is_not_told_as_none() {
        assert_eq!(
            [0.0, 1e-9, 0.0001, 1.0].map(share),
            ["0.00 %", "< 0.01 %", "0.01 %", "100.00 %"]
        );
    }
}
