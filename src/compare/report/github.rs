//! For GitHub: annotations, and a table in the job's summary.

use std::io::{self, Write};
use std::path::Path;

use super::table;
use crate::compare::{PictureComparison, Report};
use crate::terminal;

/// GitHub shows ten annotations of a step and drops the rest
/// (docs.github.com, workflow commands for GitHub Actions).
const ANNOTATIONS: usize = 10;
/// A step's summary is dropped whole when it is larger, in bytes (docs.github.com, job
/// summaries).
const LARGEST: usize = 1024 * 1024;

/// What is said where it is cut.
const CUT: &str = "\n\nThe rest is cut: a summary has a limit of 1 MiB.\n";

/// Prints the annotations.
///
/// # Errors
/// If `out` cannot be written.
pub fn annotate(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let notes: Vec<_> =
        report.notes.iter().filter(|note| note.fails).take(ANNOTATIONS / 2).collect();
    for note in &notes {
        let text = format!("{}: {}", note.about, note.text);
        writeln!(out, "::error title=actviz compare::{}", escaped(&text))?;
    }
    let most = ANNOTATIONS - notes.len();
    let failures = report.failures();
    let fitting = if failures.len() > most { most - 1 } else { most };
    for picture in failures.iter().take(fitting) {
        let (file, kind) = (&picture.file, picture.outcome);
        let text = format!("{file} ({kind}): {}", picture.reasons.join("; "));
        writeln!(out, "::error title=actviz compare::{}", escaped(&text))?;
    }
    if failures.len() > fitting {
        let rest = failures.len() - fitting;
        let rest = terminal::count(rest, "more picture");
        writeln!(out, "::error title=actviz compare::{rest} failed")?;
    }
    Ok(())
}

/// A message of a workflow command is one line.
fn escaped(text: &str) -> String {
    terminal::plain(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Adds the report to a step's summary file, cut at GitHub's limit.
///
/// # Errors
/// If the file cannot be written.
pub fn summarise(report: &Report, file: &Path) -> io::Result<()> {
    if is_pipe(file) {
        return Err(io::Error::other("it is a pipe: a summary is added to a regular file"));
    }
    let mut summary = std::fs::File::options().create(true).append(true).open(file)?;
    let used = summary.metadata()?.len() as usize;
    summary.write_all(markdown(report, LARGEST.saturating_sub(used)).as_bytes())
}

/// Opening a pipe waits for somebody to read it.
#[cfg(unix)]
fn is_pipe(file: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::metadata(file).is_ok_and(|found| found.file_type().is_fifo())
}

#[cfg(not(unix))]
fn is_pipe(_: &Path) -> bool {
    false
}

/// The report as Markdown of at most `most` bytes.
fn markdown(report: &Report, most: usize) -> String {
    let head = format!("### actviz compare\n\n{}\n\n", table::summary(report));
    let notes =
        report.notes.iter().map(|note| format!("* {}: {}\n", note.about, plain(&note.text)));
    let folds =
        report.divergence.iter().map(|fold| format!("* {}\n", plain(&table::divergence(fold))));
    let failures = report.failures();
    let header = "\n| picture | layer | is | why |\n| --- | --- | --- | --- |\n".to_owned();
    let header = (!failures.is_empty()).then_some(header);
    let rows = failures.into_iter().map(row);
    let mut text = String::new();
    for part in std::iter::once(head).chain(notes).chain(folds).chain(header).chain(rows) {
        if text.len() + part.len() + CUT.len() > most {
            text.push_str(CUT);
            break;
        }
        text.push_str(&part);
    }
    // Not even that.
    if text.len() > most { String::new() } else { text }
}

fn row(picture: &PictureComparison) -> String {
    let layer = picture.layer.as_deref().unwrap_or("-");
    let why = picture.reasons.join("; ");
    let (file, kind) = (plain(&picture.file), picture.outcome);
    format!("| {file} | {} | {kind} | {} |\n", plain(layer), plain(&why))
}

/// Without what Markdown or HTML would take for its own.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => plain.push_str("&lt;"),
            '&' => plain.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' => {
                plain.push('\\');
                plain.push(character);
            }
            '\r' | '\n' => plain.push(' '),
            obeyed if terminal::is_obeyed(obeyed) => plain.extend(obeyed.escape_default()),
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Note, Outcome, Profile};

    fn report(failures: usize) -> Report {
        let picture = |number: usize| PictureComparison {
            file: format!("{number}_1.png"),
            outcome: Outcome::Missing,
            fails: true,
            reasons: vec!["100 % gone\nfor ever".to_owned()],
            fold: Some(number),
            layer_position: Some(1),
            layer: Some("a|b<i>".to_owned()),
            measured: None,
            raw: None,
            values: vec![],
        };
        Report {
            schema: 1,
            golden: "golden".to_owned(),
            new: "new".to_owned(),
            profile: Profile::Exact,
            same: false,
            notes: vec![],
            divergence: vec![],
            pictures: (1..=failures).map(picture).collect(),
            not_compared: vec![],
            sides: None,
        }
    }

    fn annotations(failures: usize) -> Vec<String> {
        let mut text = Vec::new();
        annotate(&report(failures), &mut text).expect("memory");
        String::from_utf8(text).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    #[test]
    fn there_are_at_most_ten_annotations_of_one_line() {
        assert_eq!(annotations(3).len(), 3);
        assert_eq!(annotations(10).len(), 10);
        let many = annotations(50);
        assert_eq!(many.len(), 10);
        assert!(many[9].ends_with("41 more pictures failed"));
        assert!(many[0].contains("100 %25 gone%0Afor ever"));
    }

    #[test]
    fn the_summary_stays_below_its_limit_and_says_so() {
        let whole = markdown(&report(100), LARGEST);
        assert!(whole.contains("100\\_1.png") && whole.contains("a\\|b&lt;i>"));
        let cut = markdown(&report(100), 2000);
        assert!(cut.len() <= 2000 && cut.contains("The rest is cut"));
        assert_eq!(markdown(&report(100), 10), "");
    }

    #[test]
    fn notes_that_are_too_long_are_cut_too() {
        let about = || "options".to_owned();
        let mut report = report(3);
        for length in [30, 3000] {
            report.notes.push(Note { about: about(), text: "x".repeat(length), fails: false });
        }
        let cut = markdown(&report, 1000);
        assert!(cut.len() <= 1000 && cut.contains("DIFFERENT") && cut.contains("The rest is cut"));
        assert!(cut.contains(&"x".repeat(30)) && !cut.contains(&"x".repeat(31)));
        assert_eq!(markdown(&report, CUT.len()), CUT);
    }
}
